"""Freshness: what is written is seen, cheaply where watched, always where not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.corpus.store import open_corpus
from rlm_mcp.corpus.store import watch as inotify
from rlm_mcp.corpus.store.corpus import Corpus
from rlm_mcp.corpus.store.watch import FolderWatch
from tests.corpus.conftest import Tree

Make = Callable[..., Tree]
linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify")


def settle(corpus: Corpus) -> None:
    """Refresh until the watch is up, or has had its time."""
    for _ in range(6):
        corpus.refresh()
        time.sleep(0.05)


def test_a_watch_answers_none_until_it_knows_and_then_names_what_changed(tmp_path: Path) -> None:
    watch = FolderWatch(str(tmp_path), lambda: [str(tmp_path)])
    deadline = time.monotonic() + 10
    while watch.changed_paths() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert watch.changed_paths() == set()
    (tmp_path / "a").write_text("x")
    found: set[str] = set()
    while not found and time.monotonic() < deadline:
        found |= watch.changed_paths() or set()
    assert str(tmp_path / "a") in found
    watch.close()
    assert watch.changed_paths() is None


def test_a_watch_that_cannot_begin_never_claims_to_know(tmp_path: Path) -> None:
    def fail() -> list[str]:
        raise OSError(28, "no watches left")

    watch = FolderWatch(str(tmp_path), fail)
    time.sleep(0.05)
    assert watch.changed_paths() is None
    assert watch.changed_paths() is None


@linux
def test_lost_events_are_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = inotify.Inotify([str(tmp_path)])
    (tmp_path / "a").write_text("x")
    overflow = inotify._EVENT.pack(-1, inotify._OVERFLOW, 0, 0)
    real, sent = os.read, [overflow]
    monkeypatch.setattr(os, "read", lambda fd, size: sent.pop() if sent else real(fd, size))
    assert queue.changed_paths() is None
    assert queue.changed_paths() == set()
    queue.close()


@linux
def test_network_and_unknown_file_systems_are_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / /mnt/n\\040s rw - nfs4 srv:/ rw\n"
        "3 1 0:6 / /mnt/n\\040s/local rw - xfs /dev/b rw\n"
    )
    real = open
    monkeypatch.setattr(inotify, "open", lambda name, **named: real(mounts, **named), raising=False)
    assert inotify.is_local("/home/me")
    assert not inotify.is_local("/mnt/n s/work")
    assert inotify.is_local("/mnt/n s/local/x")
    mounts.unlink()
    assert not inotify.is_local("/home/me")


@pytest.mark.parametrize("watched", [True, False])
def test_every_kind_of_change_is_seen_at_once(
    make_tree: Make, cache: Path, monkeypatch: pytest.MonkeyPatch, watched: bool
) -> None:
    if not watched:
        monkeypatch.setattr(FolderWatch, "changed_paths", lambda self: None)
    tree = make_tree({"a": "1\n", "d/b": "2\n", ".gitignore": "*.o\nout/\n"})
    (tree.folder / "empty/deep").mkdir(parents=True)
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    settle(corpus)

    def paths() -> set[str]:
        corpus.refresh()
        return set(corpus.document_paths()) - {".gitignore"}

    assert paths() == {"a", "d/b"}
    tree.write({"empty/deep/c": "in an empty folder\n"})
    assert paths() == {"a", "d/b", "empty/deep/c"}
    tree.write({"new/er/e": "in new folders\n"})
    assert "new/er/e" in paths()
    tree.write({"new/er/f": "and again\n"})
    assert "new/er/f" in paths()
    tree.write({"x.o": "ignored\n", "out/y": "ignored\n"})
    assert not {"x.o", "out/y"} & paths()
    (tree.folder / "a").rename(tree.folder / "moved")
    assert {"moved"} == paths() & {"a", "moved"}
    (tree.folder / "d").rename(tree.folder / "dd")
    assert {"dd/b"} == paths() & {"d/b", "dd/b"}
    tree.write({"dd/b": "changed\n"})
    assert "dd/b" in paths() and corpus.document_bytes("dd/b") == b"changed\n"
    tree.write({"dd/b.new": "replaced\n"})
    (tree.folder / "dd/b.new").replace(tree.folder / "dd/b")
    assert "dd/b.new" not in paths() and corpus.document_bytes("dd/b") == b"replaced\n"
    tree.write({".gitignore": "out/\n"})
    assert "x.o" in paths()
    tree.git("add", "--force", "out/y")
    assert "out/y" in paths()
    tree.write({".git/info/exclude": "moved\n"})
    tree.write({".ignore": "moved\n"})
    assert "moved" not in paths()
    os.symlink("moved", tree.folder / "d")
    assert "d" not in paths()
    (tree.folder / "d").unlink()
    tree.write({"d": "a file where a link was\n"})
    assert "d" in paths()


@linux
def test_a_quiet_watched_tree_costs_no_look_at_its_files(
    make_tree: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlm_mcp.corpus.store import tree_source

    tree = make_tree({f"f{number}": "x\n" for number in range(5)})
    if not inotify.is_local(str(tree.folder)):
        pytest.skip("tmp is on a file system that is not watched")
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    settle(corpus)
    calls: list[object] = []
    monkeypatch.setattr(tree_source, "run_git", lambda *args, **named: calls.append(args))
    monkeypatch.setattr(os, "lstat", lambda *args: calls.append(args))
    for _ in range(20):
        assert corpus.refresh() is False
    assert calls == []


def test_a_branch_switch_underneath_never_shows_a_mixture(make_tree: Make, cache: Path) -> None:
    tree = make_tree({f"d{n % 7}/f{n}": "main\n" * 50 for n in range(300)})
    tree.git("checkout", "--quiet", "-b", "other")
    tree.write({f"d{n % 7}/f{n}": "other\n" * 50 for n in range(300)})
    tree.commit()
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    settle(corpus)
    stop = threading.Event()
    failures: list[BaseException] = []

    def switch() -> None:
        try:
            while not stop.is_set():
                for branch in ("main", "other"):
                    tree.git("checkout", "--quiet", branch)
                    time.sleep(0.02)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=switch)
    thread.start()
    try:
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            corpus.refresh()
            snapshot = corpus.snapshot
            words = {
                bytes(snapshot.buffer[offset : offset + length]).split(b"\n")[0]
                for offset, length in snapshot.spans
            }
            assert len(words) == 1 and len(snapshot.spans) == 300, words
    finally:
        stop.set()
        thread.join()
    assert failures == []
    for branch in ("main", "other"):
        tree.git("checkout", "--quiet", branch)
        corpus.refresh()
        assert {
            corpus.document_bytes(path).split(b"\n")[0] for path in corpus.document_paths()
        } == {branch.encode()}


def test_a_stale_lock_of_a_killed_git_holds_nobody_up(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a": "1\n"})
    lock = tree.folder / ".git/index.lock"
    lock.touch()
    os.utime(lock, (1, 1))
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    tree.write({"a": "2\n"})
    corpus.refresh()
    assert corpus.document_bytes("a") == b"2\n"
    assert corpus.note == ""


def test_while_git_holds_the_lock_the_state_before_is_shown_and_said(
    make_tree: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlm_mcp.corpus.store import corpus as pack
    from rlm_mcp.corpus.store import tree_source as trees

    monkeypatch.setattr(trees, "LOCK_WAIT_S", 0.05)
    monkeypatch.setattr(pack, "CHANGE_PATIENCE_S", 0.1)
    tree = make_tree({"a": "1\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    (tree.folder / ".git/index.lock").touch()
    tree.write({"a": "2\n"})
    assert corpus.refresh() is False
    assert corpus.document_bytes("a") == b"1\n"
    assert "git is changing" in corpus.note
    (tree.folder / ".git/index.lock").unlink()
    assert corpus.refresh() is True
    assert (corpus.document_bytes("a"), corpus.note) == (b"2\n", "")


def test_a_tree_in_the_middle_of_a_rebase_is_readable(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a": "base\n"})
    tree.git("checkout", "--quiet", "-b", "side")
    tree.write({"a": "side\n"})
    tree.commit()
    tree.git("checkout", "--quiet", "main")
    tree.write({"a": "main\n"})
    tree.commit()
    with pytest.raises(Exception, match="non-zero"):
        tree.git("rebase", "side")
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    assert corpus.document_bytes("a") == (tree.folder / "a").read_bytes()
    assert b"<<<<<<<" in corpus.document_bytes("a")
    assert list(corpus.document_paths()) == ["a"]


_UNWATCHED = """
import os, sys
from pathlib import Path
from rlm_mcp.corpus.store import open_corpus, watch
root, cache = Path(sys.argv[1]), Path(sys.argv[2])
try:
    watch.Inotify([str(root), str(root / "d"), str(root / "d/e")])
except OSError:
    corpus = open_corpus.open_folder(root, cache=cache)
    for turn in range(30):
        (root / "d/e" / f"f{turn % 4}").write_text(f"{turn}\\n" * (turn % 3 + 1))
        (root / "g").unlink(missing_ok=True) if turn % 2 else (root / "g").write_text("g")
        corpus.refresh()
        there = [path for path in root.rglob("*") if path.is_file()]
        wanted = {str(path.relative_to(root)): path.read_bytes() for path in there}
        assert {path: corpus.document_bytes(path) for path in corpus.document_paths()} == wanted
    print("fresh")
"""


@linux
@pytest.mark.parametrize("limit", ["inotify_watches", "inotify_instances"])
def test_without_watches_left_every_answer_is_fresh(limit: str, tmp_path: Path) -> None:
    (tmp_path / "root/d/e").mkdir(parents=True)
    number = "2" if limit == "inotify_watches" else "0"
    command = f'echo {number} > /proc/sys/user/max_{limit} && exec "$@"'
    inside = [sys.executable, "-c", _UNWATCHED, str(tmp_path / "root"), str(tmp_path / "cache")]
    names = ["unshare", "--user", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*names, "true"], check=False).returncode:
        pytest.skip("no user namespaces here")
    done = subprocess.run(
        [*names, "sh", "-c", command, "sh", *inside], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("fresh", 0), done.stderr


def test_rebases_and_resets_underneath_never_show_a_mixture(make_tree: Make, cache: Path) -> None:
    names = [f"d{number % 5}/f{number}" for number in range(80)]
    tree = make_tree({**dict.fromkeys(names, "base\n" * 30), "top": "0\n"})
    tree.git("checkout", "--quiet", "-b", "side")
    for number in range(2):
        tree.write(dict.fromkeys(names, f"side{number}\n" * 30))
        tree.commit()
    tree.git("checkout", "--quiet", "main")
    tree.write({"top": "1\n"})
    tree.commit()
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    settle(corpus)
    stop, failures = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            while not stop.is_set():
                tree.git("checkout", "--quiet", "-B", "tmp", "side")
                tree.git("rebase", "--quiet", "main")
                tree.git("reset", "--quiet", "--hard", "side~1")
                tree.git("checkout", "--quiet", "main")
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            corpus.refresh()
            words = {
                corpus.document_bytes(path).split(b"\n")[0]
                for path in corpus.document_paths()
                if path != "top"
            }
            assert len(words) == 1 and len(corpus.document_paths()) == 81, words
    finally:
        stop.set()
        thread.join()
    assert failures == []
