from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from rlm_mcp.corpus.search import Query
from rlm_mcp.errors import BadRequest, Denied, RlmError
from rlm_mcp.refs import parse_ref
from tests.project import OpenProject, Work, within_a_second

Make = Callable[..., OpenProject]


def test_a_working_tree_has_tracked_and_untracked_files_without_ignored_ones(
    work: Work, catalog_of: Make
) -> None:
    work.commit("one", a_dot_py="x = 1\n", _dot_gitignore="build/\n")
    work.write("new.py", "y = 2\n")
    work.write("build/out.py", "z = 3\n")
    paths = catalog_of(work.path).get_variable("repo").documents(parse_ref("repo"))
    assert list(paths) == [".gitignore", "a.py", "new.py"]


def test_an_edit_shows_within_a_second(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_py="x = 1\n")
    catalog = catalog_of(work.path)
    assert catalog.peek("repo:a.py").text == "x = 1"
    work.write("a.py", "x = 2\n")
    assert within_a_second(lambda: catalog.peek("repo:a.py").text == "x = 2")
    work.write("b.py", "found = True\n")
    assert within_a_second(lambda: catalog.grep(Query("found"), "repo").total == 1)
    (work.path / "b.py").unlink()
    assert within_a_second(lambda: catalog.grep(Query("found"), "repo").total == 0)
    with pytest.raises(BadRequest, match=r"no document 'b\.py'"):
        catalog.peek("repo:b.py")


def test_a_ref_gives_the_same_text_when_it_is_opened_again(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_py="".join(f"line {n}\n" for n in range(1, 301)))
    catalog = catalog_of(work.path)
    passage = catalog.peek("repo:a.py#L10-L200", limit=50)
    assert passage.ref == "repo:a.py#L10-L59"
    assert passage.next_ref == "repo:a.py#L60-L200"
    assert passage.total == 300
    assert catalog.peek(passage.ref).text == passage.text == catalog.full_text(passage.ref)


def test_windows_follow_one_another_to_the_end(work: Work, catalog_of: Make) -> None:
    text = "".join(f"line {n}\n" for n in range(1, 101))
    work.commit("one", a_dot_txt=text)
    catalog = catalog_of(work.path)
    parts, ref = [], "repo:a.txt"
    while ref:
        passage = catalog.peek(ref, limit=7)
        parts.append(passage.text)
        ref = passage.next_ref
    assert "\n".join(parts) + "\n" == text


def test_a_long_line_is_opened_by_characters_and_lost_nowhere(work: Work, catalog_of: Make) -> None:
    text = "short\n" + "é" * 20_000 + "\nafter\n"
    work.commit("one", min_dot_js=text)
    catalog = catalog_of(work.path)
    parts, ref = [], "repo:min.js"
    for _ in range(20):
        passage = catalog.peek(ref)
        assert len(passage.text) <= 8_000
        assert catalog.full_text(passage.ref) == passage.text
        parts.append(passage.text)
        ref = passage.next_ref
        if not ref:
            break
    assert "".join(parts).replace("\n", "") == text.replace("\n", "")


def test_bytes_that_are_not_text_are_shown_and_counted(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_txt=b"caf\xe9 and \xff\nfine\n")
    passage = catalog_of(work.path).peek("repo:a.txt")
    assert passage.text == "caf\ufffd and \ufffd\nfine"
    assert "2 bytes" in passage.note


def test_a_name_that_is_not_utf8_can_be_opened_by_the_ref_that_search_gives(
    work: Work, catalog_of: Make
) -> None:
    name = os.fsdecode(b"caf\xe9 #1@2.txt")
    (work.path / name).write_text("needle\n")
    work.commit("one")
    catalog = catalog_of(work.path)
    hit = catalog.grep(Query("needle"), "repo").hits[0]
    assert hit.ref.isprintable()
    assert catalog.peek(hit.ref).text == "needle"


def test_a_file_at_a_revision_is_read_as_it_was(work: Work, catalog_of: Make) -> None:
    first = work.commit("one", a_dot_py="old = 1\n")
    work.commit("two", a_dot_py="new = 2\n")
    catalog = catalog_of(work.path)
    passage = catalog.peek("repo:a.py@HEAD~1#L1")
    assert passage.text == "old = 1"
    assert passage.ref == f"repo:a.py@{first[:12]}#L1"
    assert catalog.peek(passage.ref).text == "old = 1"


def test_a_revision_is_searched_with_refs_that_name_it(work: Work, catalog_of: Make) -> None:
    first = work.commit("one", src__a_dot_py="needle\n", b_dot_py="needle\n")
    work.commit("two", src__a_dot_py="gone\n", b_dot_py="gone\n")
    catalog = catalog_of(work.path)
    assert catalog.grep(Query("needle"), "repo").total == 0
    found = catalog.grep(Query("needle"), f"repo:src/@{first[:8]}")
    assert [hit.ref for hit in found.hits] == [f"repo:src/a.py@{first[:12]}#L1"]
    assert catalog.grep(Query("needle"), f"repo@{first}").total == 2


def test_a_revision_opened_by_itself_does_not_change(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_py="old\n")
    catalog = catalog_of(work.path)
    variable = catalog.open_context("repo@main")
    work.commit("two", a_dot_py="new\n")
    assert catalog.peek(f"{variable.name}:a.py").text == "old"
    assert variable.describe().freshness.startswith("fixed at")


def test_an_at_sign_in_a_path_is_no_revision_where_the_file_exists(
    work: Work, catalog_of: Make
) -> None:
    work.commit("one")
    work.write("@scope/pkg@1.2.js", "x\n")
    catalog = catalog_of(work.path)
    assert catalog.peek("repo:@scope/pkg@1.2.js").text == "x"


def test_a_bracket_in_a_path_is_no_glob_where_the_file_exists(work: Work, catalog_of: Make) -> None:
    work.commit("one")
    work.write("app/[id]/page.tsx", "here\n")
    assert catalog_of(work.path).peek("repo:app/[id]/page.tsx").text == "here"


def test_globs_and_folders_narrow_a_search(work: Work, catalog_of: Make) -> None:
    work.commit("one", src__a_dot_py="x\n", src__b_dot_js="x\n", tests__a_dot_py="x\n")
    catalog = catalog_of(work.path)
    assert catalog.grep(Query("x"), "repo:src/").total == 2
    assert catalog.grep(Query("x"), "repo:*.py").total == 2
    assert catalog.grep(Query("x"), "repo:src/*.py").total == 1
    assert catalog.grep(Query("x"), "repo:**/*.js").total == 1
    with pytest.raises(BadRequest, match="no document"):
        catalog.grep(Query("x"), "repo:*.rs")


def test_lines_narrow_a_search_with_exact_totals(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_py="x\n" * 50)
    found = catalog_of(work.path).grep(Query("x", limit=3), "repo:a.py#L10-L19")
    assert found.total == 10
    assert [hit.line for hit in found.hits] == [10, 11, 12]
    assert found.cursor


def test_a_binary_file_is_described_and_not_shown(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_bin=b"\0\1\2" * 100, a_dot_py="x\n")
    catalog = catalog_of(work.path)
    description = catalog.describe("repo")
    assert description.documents == 1
    assert description.skipped == {"binary": 1}
    with pytest.raises(BadRequest, match="binary"):
        catalog.peek("repo:a.bin")
    with pytest.raises(BadRequest, match=r"binary, 300 bytes"):
        catalog.grep(Query("x"), "repo:a.bin")


def test_a_text_in_utf16_is_searched_and_shown_in_the_tree_and_at_a_revision(
    work: Work, catalog_of: Make
) -> None:
    first = work.commit("one", a_dot_txt="one\ntwo\n".encode("utf-16"))
    catalog = catalog_of(work.path)
    for scope in ("repo", f"repo@{first}"):
        assert [hit.text for hit in catalog.grep(Query("^t"), scope).hits] == ["two"]
    for ref in ("repo:a.txt", f"repo:a.txt@{first}"):
        assert catalog.peek(ref).text == "one\ntwo"


def test_a_search_of_some_lines_says_where_it_did_not_reach_them(
    work: Work, catalog_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.commit("one", a_dot_txt="hit\n" * 9)
    catalog = catalog_of(work.path)
    found = catalog.grep(Query("hit"), "repo:a.txt#L7-L9")
    assert (found.total, found.exact) == (3, True)
    monkeypatch.setattr("rlm_mcp.contexts.text.MOST_LINES", 8)
    found = catalog.grep(Query("hit"), "repo:a.txt#L7-L9")
    assert (found.total, found.exact) == (2, False)
    assert "first 8 matches" in found.note


def test_a_list_of_hits_says_what_it_leaves_out(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_txt="hit\n" * 5)
    catalog = catalog_of(work.path)
    cut = catalog.call_method("repo", "grep", ["hit"], {"limit": 2})
    assert (len(cut), cut.total) == (2, 5)
    assert len(catalog.call_method("repo", "grep", ["hit"], {})) == 5


def test_a_file_too_large_to_load_is_opened_on_demand(work: Work, catalog_of: Make) -> None:
    line = "0123456789" * 10 + "\n"
    work.commit("one", big_dot_txt=line * 60_000, a_dot_py="x\n")
    catalog = catalog_of(work.path)
    assert catalog.describe("repo").skipped == {"too large": 1}
    assert catalog.peek("repo:big.txt#L59000").text == line.strip()


def test_secrets_are_not_read_searched_or_found_at_a_revision(work: Work, catalog_of: Make) -> None:
    first = work.commit("one", _dot_env="KEY=hunter2\n", a_dot_py="x\n")
    catalog = catalog_of(work.path)
    assert catalog.grep(Query("hunter2"), "repo").total == 0
    assert catalog.grep(Query("hunter2"), f"repo@{first}").total == 0
    for ref in ("repo:.env", f"repo:.env@{first}", "repo:sub/../.env", "repo:./.env"):
        with pytest.raises(RlmError) as caught:
            catalog.peek(ref)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(Denied):
        catalog.open_context(f"{work.path}/.env@{first}")
    with pytest.raises(Denied):
        catalog.call_method("repo", "blame", [".env"], {})


def test_a_link_is_never_followed_in_the_tree_or_at_a_revision(
    work: Work, catalog_of: Make
) -> None:
    (work.path.parent / "outside.txt").write_text("outside\n")
    (work.path / "link.txt").symlink_to("../outside.txt")
    (work.path / "folder").symlink_to("/etc")
    first = work.commit("one", a_dot_py="x\n")
    catalog = catalog_of(work.path)
    assert catalog.grep(Query("outside$"), "repo").total == 0
    with pytest.raises(BadRequest, match="link"):
        catalog.peek("repo:link.txt")
    passage = catalog.peek(f"repo:link.txt@{first}")
    assert passage.text == "../outside.txt"
    assert "not followed" in passage.note
    for ref in ("repo:folder/passwd", f"repo:folder/passwd@{first}"):
        with pytest.raises(RlmError):
            catalog.peek(ref)


def test_unknown_things_are_named_with_what_is_close(work: Work, catalog_of: Make) -> None:
    work.commit("one", src__parser_dot_py="x\n")
    catalog = catalog_of(work.path)
    for ref, hint in (
        ("repp:a.py", "repo"),
        ("repo:src/parsers.py", "src/parser.py"),
        ("repo:parser.py", "src/parser.py"),
        ("repo:src/parser.py@nosuch", "no branch, tag or commit"),
        ("repo:src/parser.py#L99", "1 line."),
        ("repo:../up.py", "leaves"),
        ("repo:/etc/passwd", "leaves"),
    ):
        with pytest.raises(RlmError, match=hint):
            catalog.peek(ref)


def test_a_folder_ref_lists_its_entries(work: Work, catalog_of: Make) -> None:
    work.commit("one", src__a_dot_py="x\n", src__sub__b_dot_py="y\n")
    passage = catalog_of(work.path).peek("repo:src/")
    assert passage.text.splitlines() == ["a.py", "sub/  (1 document)"]


def test_parts_of_a_chunking_cover_the_scope_once(work: Work, catalog_of: Make) -> None:
    text = "".join(f"def f{n}():\n    return {n}\n\n" for n in range(400))
    work.commit("one", a_dot_py=text)
    catalog = catalog_of(work.path)
    parts = [catalog.full_text(chunk.ref) for chunk in catalog.chunk("repo:a.py", tokens=300)]
    assert len(parts) > 5
    assert "\n".join(parts) + "\n" == text


def test_blame_log_and_changed_agree_with_git(work: Work, catalog_of: Make) -> None:
    first = work.commit("one", a_dot_py="1\n2\n")
    second = work.commit("two", a_dot_py="1\n2 changed\n")
    work.write("new.py", "x\n")
    catalog = catalog_of(work.path)
    lines = catalog.call_method("repo", "blame", ["a.py"], {})
    assert [(line.line, line.commit, line.text) for line in lines] == [
        (1, first, "1"),
        (2, second, "2 changed"),
    ]
    assert [commit.commit for commit in catalog.call_method("repo", "log", ["a.py"], {})] == [
        second,
        first,
    ]
    assert catalog.call_method("repo", "changed", [], {}) == [{"path": "new.py", "status": "??"}]
