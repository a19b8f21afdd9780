from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.contexts.catalog import check_name, derive_name
from rlm_mcp.corpus.search import Query
from rlm_mcp.errors import BadRequest, Denied, RlmError, Unavailable
from tests.project import OpenProject, Work

Make = Callable[..., OpenProject]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "stuff"
    (made / "docs").mkdir(parents=True)
    (made / "docs" / "one.md").write_text("# One\n\ntext\n")
    (made / "docs" / "two.md").write_text("# Two\n")
    (made / "notes.txt").write_text("alpha\nbeta\n")
    return made


def test_the_same_source_gives_the_same_variable(folder: Path, catalog_of: Make) -> None:
    catalog = catalog_of(folder)
    first = catalog.open_context("notes.txt")
    assert catalog.open_context("notes.txt") is first
    assert catalog.open_context(f"{folder}/./notes.txt") is first
    assert catalog.open_names() == ["notes"]


def test_names_come_from_sources_and_do_not_collide(folder: Path, catalog_of: Make) -> None:
    catalog = catalog_of(folder)
    (folder / "other").mkdir()
    (folder / "other" / "notes.txt").write_text("x\n")
    assert catalog.open_context("notes.txt").name == "notes"
    assert catalog.open_context("other/notes.txt").name == "notes_2"
    assert catalog.open_context("docs/*.md").name == "docs"


@pytest.mark.parametrize(
    "source", ["r7.txt", "context", "list.txt", "class.py", "42.txt", "...", "é.txt", "repo", "-"]
)
def test_a_derived_name_is_always_usable(source: str) -> None:
    name = derive_name(source, {"list_context"})
    check_name(name)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("v8.1.0..v8.2.0", "v8_1_0_v8_2_0"),
        ("repo@v1.2", "repo_v1_2"),
        ("src/app.py@HEAD~1", "app_py_head_1"),
        ("logs/app.log.1", "app"),
        ("../notes.txt", "notes"),
    ],
)
def test_a_name_keeps_the_numbers_of_a_revision(source: str, name: str) -> None:
    assert derive_name(source, set()) == name


def test_a_name_can_be_chosen_once(folder: Path, catalog_of: Make) -> None:
    catalog = catalog_of(folder)
    assert catalog.open_context("notes.txt", "mine").name == "mine"
    with pytest.raises(BadRequest, match="taken"):
        catalog.open_context("docs", "mine")
    for bad in ("r7", "context", "not a name", "class", "list", "_x", "x" * 80):
        with pytest.raises(BadRequest):
            catalog.open_context("docs", bad)
    assert catalog.open_names() == ["mine"]


def test_a_refused_source_changes_nothing(folder: Path, catalog_of: Make) -> None:
    catalog = catalog_of(folder)
    for source in ("", "   ", "nosuch.txt", "../..", "/etc/passwd", "docs/*.rs", "a\0b", "v1..v2"):
        with pytest.raises(RlmError) as caught:
            catalog.open_context(source)
        assert "\n" not in str(caught.value)
    assert catalog.open_names() == []


def test_a_single_file_can_be_opened_by_lines_of_the_name(folder: Path, catalog_of: Make) -> None:
    catalog = catalog_of(folder)
    catalog.open_context("notes.txt")
    assert catalog.peek("notes#L2").text == "beta"
    assert catalog.peek("notes#L2").ref == "notes:notes.txt#L2"


def test_a_glob_takes_only_what_it_may_have(folder: Path, catalog_of: Make) -> None:
    (folder.parent / "outside.md").write_text("outside\n")
    (folder / "docs" / "link.md").symlink_to("../../outside.md")
    (folder / "docs" / ".env.md").write_text("secret\n")
    (folder / "docs" / "x.key").write_text("secret\n")
    catalog = catalog_of(folder)
    variable = catalog.open_context("docs/*")
    assert catalog.grep(Query("outside|secret"), variable.name).total == 0
    assert variable.describe().documents == 2
    with pytest.raises(Denied):
        catalog.open_context("docs/../../*.md")


@pytest.mark.parametrize("source", ["**/*.md", "logs:*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*.md"])
def test_links_that_lead_round_in_circles_cost_a_glob_nothing(
    source: str, folder: Path, catalog_of: Make
) -> None:
    for name in ("a", "b", "c", "d"):
        (folder / "docs" / name).symlink_to(".")
    variable = catalog_of(folder).open_context(source)
    assert variable.describe().documents >= 2


def test_a_glob_lists_no_folder_outside_the_roots(folder: Path, catalog_of: Make) -> None:
    with pytest.raises(Denied, match="outside the roots"):
        catalog_of(folder).open_context("/**/*.md")


def test_a_folder_without_permission_is_one_sentence(folder: Path, catalog_of: Make) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (folder / "docs").chmod(0)
    try:
        with pytest.raises(Unavailable, match="permission"):
            catalog_of(folder).open_context("docs/one.md")
    finally:
        (folder / "docs").chmod(0o755)


def test_defaults_open_themselves_where_they_exist(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_py="x\n")
    work.write("app.log", "2026-03-14 09:00:00 INFO started\n")
    catalog = catalog_of(work.path)
    offered = dict(catalog.openable_defaults())
    assert {"repo", "history", "logs"} <= set(offered)
    assert "session" not in offered
    assert catalog.grep(Query("started"), "logs").total == 1
    assert catalog.open_names() == ["logs"]
    assert "logs" not in dict(catalog.openable_defaults())


def test_an_unknown_method_or_argument_is_one_sentence(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_py="x\n")
    catalog = catalog_of(work.path)
    with pytest.raises(BadRequest, match="Did you mean symbols"):
        catalog.call_method("repo", "symbol", ["x"], {})
    for args, kwargs in (
        ([], {}),
        (["x", "y", "z", "w", "v"], {}),
        (["x"], {"nope": 1}),
        ([1], {}),
    ):
        with pytest.raises(BadRequest, match="symbols"):
            catalog.call_method("repo", "symbols", args, kwargs)
    with pytest.raises(BadRequest, match="no method"):
        catalog.call_method("repo", "__class__", [], {})


def test_every_method_documents_its_call_in_one_line(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_py="x\n")
    work.write("app.log", "2026-03-14 09:00:00 INFO started\n")
    catalog = catalog_of(work.path)
    for name in ("repo", "history", "logs"):
        variable = catalog.get_variable(name)
        for method, call in variable.methods.items():
            line = (call.__doc__ or "").splitlines()[0]
            assert line.startswith(f"{method}("), (name, method)
        assert len(variable.describe().methods) == len(variable.methods)


def test_a_closed_catalog_refuses_and_leaves_no_descriptor(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_py="def f(): pass\n")
    work.write("app.log", "2026-03-14 09:00:00 INFO started\n")

    def use() -> None:
        catalog = catalog_of(work.path)
        for name in ("repo", "history", "logs"):
            catalog.grep(Query("f"), name)
            catalog.get_variable(name).mapped_text()
        catalog.call_method("repo", "symbols", ["f"], {})
        catalog.search("what is f", "repo")
        catalog.close()
        with pytest.raises(RlmError):
            catalog.get_variable("repo")

    use()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        use()
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_many_threads_may_open_and_ask_at_once(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_py="needle\n" * 20)
    catalog = catalog_of(work.path)
    totals: list[int] = []
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            totals.append(catalog.grep(Query("needle"), "repo").total)
            totals.append(catalog.grep(Query(r"^\+needle"), "history").total)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert totals == [20] * 16
    assert catalog.open_names().count("repo") == 1


def test_only_safe_protocols_are_cloned(folder: Path, catalog_of: Make) -> None:
    catalog = catalog_of(folder)
    for source in (
        "http://example.org/a.git", "git://example.org/a.git", "ext::sh -c touch% /tmp/x",
        "fd::7", "ftp://example.org/a", "https://user:secret@example.org/a.git",
        "ssh://-oProxyCommand=x/a", "file:///etc",
    ):  # fmt: skip
        with pytest.raises(RlmError) as caught:
            catalog.open_context(source)
        assert isinstance(caught.value, (Denied, BadRequest))


def test_a_clone_runs_no_hook_and_is_reused(work: Work, tmp_path: Path, catalog_of: Make) -> None:
    work.commit("one", a_dot_py="x = 1\n")
    mark = tmp_path / "ran"
    for name in ("post-checkout", "post-update", "pre-upload"):
        hook = work.path / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
        hook.chmod(0o755)
    catalog = catalog_of(work.path)
    variable = catalog.open_context(f"file://{work.path}", "cloned")
    assert catalog.peek("cloned:a.py").text == "x = 1"
    assert variable.kind == "repo"
    assert not mark.exists()
    with pytest.raises(Denied):
        catalog.open_context(f"file://{tmp_path}")


def test_no_network_is_said_plainly(folder: Path, catalog_of: Make) -> None:
    catalog = catalog_of(folder, clone_hosts=("localhost:1", "127.0.0.1", "::1"))
    with pytest.raises(Unavailable, match=r"cannot be cloned"):
        catalog.open_context("https://localhost:1/none.git")


@pytest.mark.parametrize(
    "source",
    [
        "~nobody/x", "~", "a" * 5_000, "[", "**/**/**/*", "*" * 300, "..", "...", "@", "a@", "@a",
        "A..", "..B", "a@b..c", "repo@", "repo@nosuch", "repo@-x", "HEAD@{1}", "\n", "\udcff",
        "%00",
        "session:", "session:nosuch", "session:../../x", "://", "https://", "file://", "-rf", "a:b",
        "notes.txt@HEAD", "notes.txt/x", "git@host:", "con", "NUL", "notes.txt#L1", "{a,b}", "r7",
    ],
)  # fmt: skip
def test_any_source_opens_or_is_refused_in_one_sentence(
    work: Work, catalog_of: Make, source: str
) -> None:
    work.commit("one", notes_dot_txt="x\n")
    catalog = catalog_of(work.path)
    try:
        catalog.open_context(source)
    except RlmError as error:
        assert "\n" not in str(error) and len(str(error)) < 1_000


@pytest.mark.parametrize(
    "ref",
    [
        "repo", "repo:", "repo:/", "repo:.", "repo:./", "repo://", "repo:a//b", "repo:*", "repo:[",
        "repo:[]", "repo:{", "repo:**", "repo:notes.txt/", "repo:notes.txt@", "repo:@", "repo@HEAD",
        "repo:@HEAD", "repo:*@HEAD", "repo:notes.txt@HEAD~99", "repo:%00", "repo:%FF", "repo:~",
        "repo:notes.txt#C0-C0", "repo:notes.txt#C9-C99", "repo:notes.txt#L2-L9", "repo#L1",
        "repo:notes.txt#1.2", "history:HEAD#L99999", "history#L5-L9", "history:notes.txt",
        "history@HEAD", "history:HEAD@HEAD", "history:*", "repo:.git/config", "repo:.git/HEAD@HEAD",
    ],
)  # fmt: skip
def test_any_ref_answers_or_is_refused_in_one_sentence(
    work: Work, catalog_of: Make, ref: str
) -> None:
    work.commit("one", notes_dot_txt="x\n")
    catalog = catalog_of(work.path)
    for call in (
        lambda: catalog.peek(ref),
        lambda: catalog.full_text(ref),
        lambda: catalog.outline(ref),
        lambda: catalog.chunk(ref),
        lambda: catalog.search("notes", ref),
        lambda: catalog.grep(Query("x"), ref),
    ):
        try:
            call()
        except RlmError as error:
            assert "\n" not in str(error)
