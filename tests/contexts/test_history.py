from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from rlm_mcp.corpus.search import Query
from rlm_mcp.errors import BadRequest, Denied, RlmError
from rlm_mcp.git import patches
from tests.project import OpenProject, Work

Make = Callable[..., OpenProject]


@pytest.fixture
def history(work: Work, catalog_of: Make) -> OpenProject:
    """Three commits: one, two and three."""
    work.commit("one: start\n\nwith a body", a_dot_py="alpha = 1\n")
    work.commit("two: change", a_dot_py="alpha = 2\n", b_dot_py="beta = 1\n")
    work.commit("three: remove", a_dot_py="")
    return catalog_of(work.path)


def test_documents_are_commits_newest_first(history: OpenProject, work: Work) -> None:
    listing = history.peek("history")
    subjects = [line.split(": ", 1)[1] for line in listing.text.splitlines()]
    assert subjects == ["three: remove", "two: change", "one: start"]
    assert history.describe("history").documents == 3


def test_a_commit_is_shown_with_its_patch(history: OpenProject, work: Work) -> None:
    second = work.git("rev-parse", "HEAD~1")
    passage = history.peek(f"history:{second[:7]}")
    assert passage.ref.startswith(f"history:{second[:12]}#L1-")
    assert "    two: change" in passage.text
    assert "-alpha = 1\n+alpha = 2" in passage.text
    assert history.full_text(f"history:{second}").startswith(f"commit {second}\n")


def test_a_branch_or_a_tag_names_a_commit(history: OpenProject, work: Work) -> None:
    work.git("tag", "v1", "HEAD~2")
    assert "one: start" in history.peek("history:v1").text
    assert "three: remove" in history.peek("history:main").text


def test_search_covers_messages_and_patches_with_exact_totals(history: OpenProject) -> None:
    found = history.grep(Query("alpha"), "history")
    assert (found.total, found.exact, found.documents) == (4, True, 3)
    assert history.grep(Query("with a body"), "history").total == 1


def test_a_hit_opens_the_very_line(history: OpenProject) -> None:
    for hit in history.grep(Query("alpha|body|change"), "history").hits:
        assert history.peek(hit.ref).text == hit.text


def test_pages_of_a_search_give_every_hit_once(work: Work, catalog_of: Make) -> None:
    for number in range(12):
        work.commit(f"needle {number}", a_dot_py=f"needle {number}\n")
    catalog = catalog_of(work.path)
    whole = catalog.grep(Query("needle", limit=1000), "history")
    refs: list[str] = []
    cursor = ""
    while True:
        page = catalog.grep(Query("needle", limit=5, cursor=cursor), "history")
        assert page.total == whole.total
        refs += [hit.ref for hit in page.hits]
        cursor = page.cursor
        if not cursor:
            break
    assert refs == [hit.ref for hit in whole.hits]
    assert len(set(refs)) == whole.total == 12 + 12 + 11


def test_a_new_commit_shows_in_the_next_call(history: OpenProject, work: Work) -> None:
    assert history.grep(Query("gamma"), "history").total == 0
    work.commit("four", c_dot_py="gamma\n")
    assert history.grep(Query("gamma"), "history").total == 1
    assert history.describe("history").documents == 4


def test_a_rewritten_history_leaves_nothing_of_the_old_one(
    history: OpenProject, work: Work
) -> None:
    assert history.grep(Query("three"), "history").total == 1
    work.git("reset", "-q", "--hard", "HEAD~1")
    assert history.grep(Query("three"), "history").total == 0


def test_secrets_are_left_out_of_patches_counted_and_said(work: Work, catalog_of: Make) -> None:
    work.commit("one", _dot_env="KEY=hunter2\n", a_dot_py="x\n")
    work.git("mv", ".env", "plain.txt")
    work.commit("rename it", keys__server_dot_pem="hunter2\n")
    catalog = catalog_of(work.path)
    first = work.git("rev-parse", "HEAD~1")
    for ref in (f"history:{first}", "history:HEAD"):
        text = catalog.full_text(ref)
        assert "hunter2" not in text
        assert "secrets by name left out" in text
    assert catalog.grep(Query("hunter2"), "history").total == 0
    assert "hunter2" not in catalog.call_method("history", "diff", [first, "HEAD"], {})
    assert catalog.call_method("history", "grep", ["hunter2"], {}) == []
    for method, args in (("file", [".env", first]), ("blame", [".env"]), ("grep", ["x", ".env"])):
        with pytest.raises(Denied):
            catalog.call_method("history", method, args, {})


@pytest.mark.parametrize(
    "header",
    [
        b"diff --git a/.env b/.env",
        b"diff --git a/x b/.env b/x b/.env",
        b"diff --git a/notes.txt b/.env",
        b"diff --git a/.env b/notes.txt",
        b'diff --git "a/\\303\\251/.env" "b/\\303\\251/.env"',
        b"diff --cc .env",
        b"diff --git a/sub/.ssh/config b/sub/.ssh/config",
    ],
)
def test_a_secret_in_a_patch_is_seen_however_its_header_is_written(header: bytes) -> None:
    patch = b"diff --git a/a b/a\n+fine\n" + header + b"\n@@ -0,0 +1 @@\n+hunter2\n"
    kept, omitted = patches.drop_denied_files(patch, secrets=False)
    assert (kept, omitted) == (b"diff --git a/a b/a\n+fine\n", 1)


def test_a_file_cannot_forge_a_commit(work: Work, catalog_of: Make) -> None:
    forged = b"x\n\x1e\x00" + b"0" * 40 + b"\x00\x00Eve\x00e@e\x002020-01-01\x00forged\x00\x1f\n"
    work.commit("one", a_dot_txt=forged, _dot_gitattributes="*.txt diff\n")
    catalog = catalog_of(work.path)
    found = catalog.grep(Query("."), "history")
    assert {hit.path for hit in found.hits} == {work.git("rev-parse", "HEAD")[:12]}
    assert catalog.describe("history").documents == 1


def test_a_range_is_a_history_of_its_own_with_its_diff(history: OpenProject, work: Work) -> None:
    variable = history.open_context("HEAD~2..HEAD")
    assert variable.describe().documents == 2
    text = history.full_text(f"{variable.name}:diff")
    assert "-alpha = 1" in text and "+beta = 1" in text
    assert history.call_method(variable.name, "diff", [], {}) == text
    work.commit("later")
    assert history.describe(variable.name).documents == 2


def test_log_can_be_narrowed(history: OpenProject) -> None:
    rows = history.call_method("history", "log", [], {"path": "b.py"})
    assert [row["subject"] for row in rows] == ["two: change"]
    assert history.call_method("history", "log", [], {"author": "nobody"}) == []
    assert len(history.call_method("history", "log", [], {"since": "2023-11-14"})) == 3


def test_pickaxe_finds_commits_that_add_or_remove(history: OpenProject) -> None:
    rows = history.call_method("history", "grep", ["alpha = 1"], {})
    assert [(row["subject"], row["line"]) for row in rows] == [
        ("two: change", "-alpha = 1"),
        ("one: start", "+alpha = 1"),
    ]
    assert history.call_method("history", "grep", ["alpha"], {"path": "b.py"}) == []


@pytest.fixture
def moved(work: Work, catalog_of: Make) -> OpenProject:
    """A file that was renamed twice, and one that has its first name now."""
    body = "".join(f"line {number}\n" for number in range(20))
    work.commit("born", old_dot_py=body, friend_dot_py="f = 1\n")
    work.commit("grown", old_dot_py=body + "alpha = 1\n", friend_dot_py="f = 2\n")
    work.git("mv", "old.py", "mid.py")
    work.commit("moved")
    (work.path / "pkg").mkdir()
    work.git("mv", "mid.py", "pkg/new.py")
    work.commit("moved again", other_dot_py="o = 1\n")
    work.commit("edited", pkg__new_dot_py=body + "alpha = 2\n", old_dot_py="another\n")
    return catalog_of(work.path)


def test_a_file_is_followed_through_its_renames(moved: OpenProject) -> None:
    trail = [("edited", "pkg/new.py"), ("moved again", "pkg/new.py"), ("moved", "mid.py"),
             ("grown", "old.py"), ("born", "old.py")]  # fmt: skip
    rows = moved.call_method("history", "log", ["pkg/new.py"], {})
    assert [(row["subject"], row["path"]) for row in rows] == trail
    found = moved.call_method("repo", "log", ["pkg/new.py"], {"limit": 4})
    assert [(commit.subject, commit.path) for commit in found] == trail[:4]
    assert (found.total, found.exact) == (5, False)
    lines = moved.call_method("history", "grep", ["alpha = 1"], {"path": "pkg/new.py"})
    assert [(row["subject"], row["line"]) for row in lines] == [
        ("edited", "-alpha = 1"),
        ("grown", "+alpha = 1"),
    ]
    assert moved.call_method("history", "together", ["pkg/new.py"], {})[0] == {
        "path": "friend.py",
        "commits": 2,
        "share": 0.4,
    }
    files = {row["path"]: row for row in moved.call_method("history", "churn", [], {})["files"]}
    assert files["pkg/new.py"] == {
        "path": "pkg/new.py", "commits": 5, "added": 22, "removed": 1,
    }  # fmt: skip
    assert (files["old.py"]["added"], "mid.py" in files) == (1, False)


def test_an_older_name_that_may_not_be_shown_ends_the_trail(work: Work, catalog_of: Make) -> None:
    text = "KEY=hunter2\n" * 20
    work.commit("secret", _dot_env=text)
    work.git("mv", ".env", "sample.txt")
    work.commit("renamed")
    catalog = catalog_of(work.path)
    rows = catalog.call_method("history", "log", ["sample.txt"], {})
    assert [(row["subject"], row["path"]) for row in rows] == [("renamed", "sample.txt")]
    assert ".env" not in str(catalog.call_method("history", "churn", [], {}))
    for path in ("", "sample.txt"):
        found = catalog.call_method("history", "grep", ["hunter2"], {"path": path})
        assert "secret" not in [row["subject"] for row in found]
    with pytest.raises(Denied):
        catalog.call_method("history", "log", [".env"], {})


def test_what_only_a_merge_brings_is_found(work: Work, catalog_of: Make) -> None:
    work.commit("base", a_dot_py="one = 1\n")
    work.git("checkout", "-q", "-b", "side")
    work.commit("side", a_dot_py="one = 2\n")
    work.git("checkout", "-q", "main")
    work.commit("main", a_dot_py="one = 3\n")
    with pytest.raises(AssertionError):
        work.git("merge", "-q", "side")
    work.write("a.py", "one = 2\nsmuggled = True\n")
    merge = work.commit("merge")
    catalog = catalog_of(work.path)
    rows = catalog.call_method("history", "grep", ["smuggled"], {})
    assert [(row["subject"], row["line"]) for row in rows] == [("merge", "++smuggled = True")]
    rows = catalog.call_method("history", "grep", ["one = 2"], {})
    assert [row["subject"] for row in rows] == ["side"]
    assert catalog.grep(Query("smuggled"), "history").hits[0].path == merge[:12]
    assert "++smuggled = True" in catalog.full_text(f"history:{merge}")


def test_a_name_in_front_of_changes_is_no_changed_line(work: Work, catalog_of: Make) -> None:
    work.commit("one", needle_dot_py="-- needle\n")
    work.commit("two", needle_dot_py="++ needle\nmore\n")
    rows = catalog_of(work.path).call_method("history", "grep", ["needle"], {})
    assert [(row["subject"], row["line"]) for row in rows] == [
        ("two", "--- needle"),
        ("one", "+-- needle"),
    ]
    assert catalog_of(work.path).call_method("history", "grep", [r"needle\.py"], {}) == []


def test_commits_with_very_many_matching_lines_hide_no_older_ones(
    work: Work, catalog_of: Make
) -> None:
    work.commit("small", a_dot_py="value\n")
    work.commit("huge", b_dot_py="value\n" * 5_000)
    found = catalog_of(work.path).call_method("history", "grep", ["value"], {})
    assert [row["subject"] for row in found] == ["huge", "small"]
    cut = catalog_of(work.path).call_method("history", "grep", ["value"], {"limit": 1})
    assert (len(cut), cut.exact, "larger limit" in cut.note) == (1, False, True)


def test_together_counts_common_commits(history: OpenProject) -> None:
    rows = history.call_method("history", "together", ["b.py"], {})
    assert rows == [{"path": "a.py", "commits": 1, "share": 1.0}]


def test_churn_counts_lines_and_is_the_same_from_the_cache(
    history: OpenProject, work: Work, catalog_of: Make
) -> None:
    once = history.call_method("history", "churn", [], {})
    assert once["files"][0] == {"path": "a.py", "commits": 3, "added": 2, "removed": 2}
    assert catalog_of(work.path).call_method("history", "churn", [], {}) == once


def test_refs_lists_branches_and_tags(history: OpenProject, work: Work) -> None:
    work.git("tag", "v1", "HEAD~1")
    refs = history.call_method("history", "refs", [], {})
    assert refs == {"main": work.git("rev-parse", "HEAD"), "v1": work.git("rev-parse", "HEAD~1")}


@pytest.mark.parametrize("name", ["two\nlines", "a..b", "end.lock", "sp ace"])
def test_a_name_that_git_does_not_allow_spoils_no_other(
    history: OpenProject, work: Work, name: str
) -> None:
    head = work.git("rev-parse", "HEAD")
    work.git("tag", "-a", "-m", "one", "v1", "HEAD~1")
    (work.path / ".git/refs/heads" / name).write_text(head + "\n")
    refs = history.call_method("history", "refs", [], {})
    assert refs["main"] == head
    assert refs["v1"] == work.git("rev-parse", "HEAD~1")


def test_an_empty_history_says_so(work: Work, catalog_of: Make) -> None:
    catalog = catalog_of(work.path)
    description = catalog.describe("history")
    assert (description.documents, description.notes) == (0, ("There is no commit yet.",))
    assert catalog.grep(Query("x"), "history").total == 0
    assert catalog.peek("history").text == ""


def test_chunks_are_runs_of_whole_commits_and_cover_all(work: Work, catalog_of: Make) -> None:
    for number in range(30):
        work.commit(f"commit {number}\n\n" + "words " * 40)
    catalog = catalog_of(work.path)
    chunks = catalog.chunk("history", tokens=300)
    assert len(chunks) > 3
    text = "\n".join(catalog.full_text(chunk.ref) for chunk in chunks)
    assert text.count("commit ") >= 60
    assert text == catalog.full_text("history")


def test_unknown_commits_and_cursors_are_one_sentence(history: OpenProject) -> None:
    for call in (
        lambda: history.peek("history:0000000"),
        lambda: history.peek("history:--help"),
        lambda: history.grep(Query("x", cursor="zz"), "history"),
        lambda: history.call_method("history", "diff", ["nosuch", "HEAD"], {}),
        lambda: history.call_method("history", "file", ["nosuch.py"], {}),
    ):
        with pytest.raises(RlmError):
            call()
    with pytest.raises(BadRequest, match="no branch"):
        history.open_context("nosuch..HEAD")


def test_memory_stays_bounded_over_many_commits(work: Work, catalog_of: Make) -> None:
    lines = []
    for number in range(5_000):
        lines.append(
            f"commit refs/heads/main\ncommitter A <a@b> {1_700_000_000 + number} +0000\n"
            f"data 8\nn {number:05}\n\nM 100644 inline a.txt\ndata 6\n{number:05}\n\n"
        )
    work.git("fast-import", "--quiet", stdin="".join(lines).encode())
    catalog = catalog_of(work.path)
    started = time.monotonic()
    assert catalog.describe("history").documents == 5_000
    found = catalog.grep(Query("04999", limit=5), "history")
    assert found.total in (1, 2)
    assert time.monotonic() - started < 60


def test_rank_puts_rare_words_and_newer_commits_first(work: Work, catalog_of: Make) -> None:
    for number in range(5):
        work.commit(f"fix the parser {number}")
    work.commit("fix caching of the parser's tables")
    work.commit("fix the parser again")
    catalog = catalog_of(work.path)
    hits = catalog.search("which commit fixed the parser cache?", "history", 3)
    assert [catalog.peek(hit.ref).text.splitlines()[-1].strip() for hit in hits] == [
        "fix caching of the parser's tables",
        "fix the parser again",
        "fix the parser 4",
    ]
    assert hits[0].text in catalog.peek(hits[0].ref).text
    assert not catalog.search("zebra", "history")


def test_a_log_may_be_that_of_a_range_or_of_another_revision(
    history: OpenProject, work: Work
) -> None:
    work.git("tag", "v1", "HEAD~2")
    log = history.get_variable("history").methods["log"]
    subjects = [commit["subject"] for commit in log(revs="v1..")]
    assert subjects == ["three: remove", "two: change"]
    assert [commit["subject"] for commit in log(revs="v1..main", path="b.py")] == ["two: change"]
    assert [commit["subject"] for commit in log(revs="v1")] == ["one: start"]
    for wrong in ("v9", "v1...main", "--all", "v1..--all", "..\n"):
        with pytest.raises(BadRequest):
            log(revs=wrong)


def test_the_tags_that_hold_a_commit_are_listed_oldest_first(
    history: OpenProject, work: Work
) -> None:
    work.git("tag", "v1", "HEAD~2")
    work.git("tag", "v2", "HEAD")
    tags = history.get_variable("history").methods["tags"]
    assert tags(work.git("rev-parse", "HEAD~2")) == ["v1", "v2"]
    assert tags("HEAD~1") == ["v2"]
    with pytest.raises(BadRequest):
        tags("--all")


def test_authors_are_counted_by_name_with_their_days(history: OpenProject, work: Work) -> None:
    work.commit("four", b_dot_py="beta = 2\n")
    work.git("commit", "--amend", "--no-edit", "--author=Ann Other <ann@example.org>")
    authors = history.get_variable("history").methods["authors"]
    history.get_variable("history").refresh()
    first, second = authors()
    assert first["commits"] == 3 and second["commits"] == 1
    assert (second["author"], second["emails"]) == ("Ann Other", ["ann@example.org"])
    assert second["first"] == second["last"] == work.git("log", "-1", "--format=%as")
    assert second["ref"] == f"history:{work.git('rev-parse', 'HEAD')[:12]}"
    assert [row["author"] for row in authors(path="b.py")] == ["Ada", "Ann Other"]
