"""A repository that wants to run a program, or to show what lies outside the roots."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.confine import Confine
from rlm_mcp.errors import Denied, RlmError, Unavailable
from rlm_mcp.git import find_repository
from tests.project import OpenProject, Work

Make = Callable[..., OpenProject]
CANARY = "canary-of-a-stranger"


@pytest.fixture
def stranger(tmp_path: Path) -> Work:
    """A repository outside of the roots, with a canary."""
    made = Work(tmp_path / "stranger")
    made.path.mkdir()
    made.git("init", "-q", "-b", "main")
    made.commit(CANARY, secret_dot_txt=f"{CANARY}\n")
    return made


def seen(catalog: OpenProject, *asks: Callable[[], object]) -> str:
    """Return everything that these questions show, errors included."""
    said = []
    for ask in asks:
        try:
            said.append(str(ask()))
        except RlmError as error:
            said.append(str(error))
    return "\n".join(said)


def lend_quoted(evil: Work, objects: Path) -> None:
    (evil.path / ".git/objects/info/alternates").write_text(f'"{objects}"\n')


def lend_behind_a_long_comment(evil: Work, objects: Path) -> None:
    text = "#" * 70_000 + f"\n{objects}\n"
    (evil.path / ".git/objects/info/alternates").write_text(text)


def lend_through_a_lender(evil: Work, objects: Path) -> None:
    evil.git("init", "-q", "inner")
    inner = evil.path / "inner/.git/objects"
    (inner / "info/alternates").write_text(f"{objects}\n")
    (evil.path / ".git/objects/info/alternates").write_text(f"{inner}\n")


def lend_above_a_link(evil: Work, objects: Path) -> None:
    (evil.path / "a/b/c").mkdir(parents=True)
    (evil.path / ".git/x").symlink_to(evil.path / "a/b/c")
    way = os.path.relpath(objects, evil.path / ".git")
    alternates = evil.path / ".git/objects/info/alternates"
    alternates.write_text(f"{evil.path}/.git/x/../{way}\n")


def lend_folders_by_links(evil: Work, objects: Path) -> None:
    for folder in objects.glob("??"):
        (evil.path / ".git/objects" / folder.name).symlink_to(folder)


def lend_objects_by_links(evil: Work, objects: Path) -> None:
    for loose in objects.glob("??/*"):
        link = evil.path / ".git/objects" / loose.parent.name / loose.name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(loose)


def lend_packs_by_links(evil: Work, objects: Path) -> None:
    Work(objects.parent.parent).git("gc", "-q")
    for pack in (objects / "pack").iterdir():
        (evil.path / ".git/objects/pack" / pack.name).symlink_to(pack)


def lend_by_a_name_of_two_lines(evil: Work, objects: Path) -> None:
    (evil.path / ".git/\n").mkdir()
    way = os.path.relpath(objects.parent, evil.path / ".git/\n")
    (evil.path / ".git/commondir").write_text(f".\n/{way}\n")
    (evil.path / ".git/.\n").mkdir()


@pytest.mark.parametrize(
    "lend",
    [
        lend_quoted, lend_behind_a_long_comment, lend_through_a_lender, lend_above_a_link,
        lend_folders_by_links, lend_objects_by_links, lend_packs_by_links,
        lend_by_a_name_of_two_lines,
    ],
)  # fmt: skip
def test_no_way_of_borrowing_objects_shows_a_strangers_commits(
    lend: Callable[[Work, Path], None], work: Work, stranger: Work, catalog_of: Make
) -> None:
    secret = stranger.git("rev-parse", "HEAD")
    lend(work, stranger.path / ".git/objects")
    (work.path / ".git/refs/heads/main").write_text(secret + "\n")
    catalog = catalog_of(work.path)
    assert CANARY not in seen(
        catalog,
        lambda: catalog.full_text("history"),
        lambda: catalog.full_text(f"history:{secret}"),
        lambda: catalog.full_text(f"repo:secret.txt@{secret}"),
    )
    with pytest.raises(Denied):
        find_repository(work.path, Confine([work.path]))


def disguise_by_file(evil: Path, stranger: Work) -> None:
    (evil / ".git").write_text(f"gitdir: {stranger.path}/.git\n")


def disguise_by_link(evil: Path, stranger: Work) -> None:
    (evil / ".git").symlink_to(stranger.path / ".git")


def disguise_inside(evil: Path, stranger: Work) -> None:
    Work(evil).git("init", "-q")
    (evil / ".git/.git").symlink_to(stranger.path / ".git")


def disguise_by_suffix(evil: Path, stranger: Work) -> None:
    evil.with_name(f"{evil.name}.git").symlink_to(stranger.path / ".git")


@pytest.mark.parametrize(
    "disguise", [disguise_by_file, disguise_by_link, disguise_inside, disguise_by_suffix]
)
def test_a_file_url_clones_no_strangers_repository(
    disguise: Callable[[Path, Work], None], work: Work, stranger: Work, catalog_of: Make
) -> None:
    evil = work.path / "evil"
    evil.mkdir()
    disguise(evil, stranger)
    catalog = catalog_of(work.path)
    assert CANARY not in seen(
        catalog,
        lambda: catalog.open_context(f"file://{evil}", "x").describe(),
        lambda: catalog.full_text("x"),
        lambda: catalog.full_text("x:secret.txt"),
    )


def test_a_file_url_clones_a_repository_under_the_roots(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_txt="inside\n")
    catalog = catalog_of(work.path)
    catalog.open_context(f"file://{work.path}", "x")
    assert catalog.full_text("x:a.txt") == "inside\n"


@pytest.mark.parametrize("name", [b"a=b", b"", b"caf\xe9", b"Up.per.clean", b"-c", b"x\\\\y"])
def test_a_filter_of_any_name_is_not_run(
    name: bytes, work: Work, tmp_path: Path, catalog_of: Make
) -> None:
    work.commit("one", a_dot_txt="one\n")
    mark = tmp_path / "ran"
    (work.path / ".gitattributes").write_bytes(
        b"*.txt filter=" + name.replace(b"\\\\", b"\\") + b"\n"
    )
    with open(work.path / ".git/config", "ab") as file:
        file.write(b'[filter "' + name + b'"]\n\trequired = true\n\tclean = ')
        file.write(f'"echo >> {mark}; cat"\n'.encode())
    (work.path / "a.txt").write_text("two\n")
    work.git("--no-optional-locks", "status")
    assert mark.exists(), "the trap is not set"
    mark.unlink()
    catalog = catalog_of(work.path)
    assert catalog.call_method("repo", "changed", [], {})[0] == {"path": "a.txt", "status": "M"}
    assert catalog.call_method("repo", "blame", ["a.txt"], {})
    assert "+two" in catalog.call_method("repo", "diff", [], {})
    assert catalog.open_context("repo@index", "staged").describe().documents == 1
    assert not mark.exists()


def test_filters_that_cannot_be_listed_are_a_refusal_not_a_run(
    work: Work, catalog_of: Make
) -> None:
    work.commit("one", a_dot_txt="one\n")
    catalog = catalog_of(work.path)
    catalog.describe("repo")
    with open(work.path / ".git/config", "a") as file:
        file.write("[broken\n")
    with pytest.raises(RlmError):
        catalog.call_method("repo", "changed", [], {})


def test_a_mailmap_outside_of_the_repository_is_not_read(
    work: Work, tmp_path: Path, catalog_of: Make
) -> None:
    work.commit("one", a_dot_txt="one\n")
    people = tmp_path / "people"
    people.write_text(f"{CANARY} <ada@example.org>\n")
    work.git("config", "mailmap.file", str(people))
    catalog = catalog_of(work.path)
    assert CANARY not in str(catalog.call_method("repo", "blame", ["a.txt"], {}))
    assert CANARY not in catalog.full_text("history")


@pytest.mark.parametrize("kind", ["outside", "link", "denied", "pipe", "reset"])
def test_blame_reads_no_list_of_commits_that_may_not_be_shown(
    kind: str, work: Work, tmp_path: Path, catalog_of: Make
) -> None:
    work.commit("one", a_dot_txt="one\n")
    outside = tmp_path / "outside"
    outside.write_text(f"{CANARY}\n")
    (work.path / "link").symlink_to(outside)
    (work.path / ".env").write_text(f"{CANARY}\n")
    os.mkfifo(work.path / "pipe")
    named = {"outside": str(outside), "denied": ".env", "reset": str(outside)}.get(kind, kind)
    work.git("config", "blame.ignoreRevsFile", named)
    if kind == "reset":
        work.git("config", "--add", "blame.ignoreRevsFile", "")
    with pytest.raises(Denied) as caught:
        catalog_of(work.path).call_method("repo", "blame", ["a.txt"], {})
    assert CANARY not in str(caught.value)


def test_a_list_of_commits_in_the_working_tree_lets_blame_run(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_txt="one\n")
    work.write(".git-blame-ignore-revs", "# none\n")
    work.git("config", "blame.ignoreRevsFile", ".git-blame-ignore-revs")
    assert "one" in str(catalog_of(work.path).call_method("repo", "blame", ["a.txt"], {}))


def test_a_revision_with_a_missing_object_is_one_sentence(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_txt="one\n")
    blob = work.git("rev-parse", "HEAD:a.txt").strip()
    (work.path / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(Unavailable, match="may be incomplete"):
        catalog_of(work.path).open_context("repo@HEAD")


@pytest.mark.parametrize(
    "name",
    [
        "", "HEAD", "commondir", "config", "index", "packed-refs", "shallow", "info/exclude",
        "objects/info/alternates",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["pipe", "endless"])
def test_a_git_folder_with_pipes_and_devices_is_refused_at_once(
    name: str, kind: str, tmp_path: Path, work: Work
) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    if name:
        folder = work.path
        work.commit("one", a_dot_txt="one\n")
    place = folder / ".git" / name
    place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/zero")
    with pytest.raises(Denied):
        find_repository(folder, Confine([folder]))
