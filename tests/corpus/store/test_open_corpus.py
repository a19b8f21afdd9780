"""What belongs to a corpus, and that nothing hostile in a source is opened or run."""

from __future__ import annotations

import codecs
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.corpus.store import open_corpus
from rlm_mcp.corpus.store import tree_source as trees
from rlm_mcp.errors import BadRequest, Denied, Unavailable
from rlm_mcp.git import RepositoryPaths
from tests.corpus.conftest import Tree

Make = Callable[..., Tree]
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX files")


def test_tree_holds_tracked_and_untracked_but_not_ignored_files(
    make_tree: Make, cache: Path
) -> None:
    tree = make_tree({".gitignore": "*.log\nbuild/\n", "a.py": "a\n", "d/b.py": "b\n"})
    tree.write({"new.py": "n\n", "x.log": "no\n", "build/o.py": "no\n", "d/.gitignore": "c.py\n"})
    tree.write({"d/c.py": "no\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    assert list(corpus.document_paths()) == [
        ".gitignore",
        "a.py",
        "d/.gitignore",
        "d/b.py",
        "new.py",
    ]


def test_dot_ignore_files_are_honoured_in_trees_and_folders(make_tree: Make, cache: Path) -> None:
    tree = make_tree({".ignore": "/gen/\n!gen/keep.py\n", "gen/a.py": "a", "b.py": "b"})
    tree.write({"sub/.ignore": "*.txt\n!yes.txt\n", "sub/no.txt": "", "sub/yes.txt": ""})
    wanted = [".ignore", "b.py", "sub/.ignore", "sub/yes.txt"]
    assert list(open_corpus.open_tree(tree.folder, cache=cache).document_paths()) == wanted
    tree.git("rev-parse", "HEAD")
    plain = tree.folder.parent / "plain"
    (tree.folder).rename(plain)
    assert list(open_corpus.open_folder(plain, cache=cache).document_paths()) == wanted


def test_documents_carry_lines_spans_and_gits_blob_id(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a": "one\ntwo", "b": "", "c": "\n\n", "d": "x\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    assert [corpus.line_count(path) for path in "abcd"] == [2, 0, 2, 1]
    assert corpus.line_bytes("a", 1, 9) == [b"one", b"two"]
    assert corpus.line_bytes("a", 2, 2) == [b"two"]
    assert corpus.line_bytes("b", 1, 1) == []
    assert corpus.line_bytes("c", 1, 2) == [b"", b""]
    assert [corpus.document_bytes(path) for path in "abcd"] == [b"one\ntwo", b"", b"\n\n", b"x\n"]
    for path in "abcd":
        document = corpus.find_document(path)
        assert document is not None
        assert document.blob == tree.git("rev-parse", f"HEAD:{path}")
        whole = os.pread(corpus.fd, document.length, document.offset)
        assert whole == corpus.document_bytes(path)


def test_what_is_not_text_is_described_and_not_loaded(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a.bin": b"x\0y", "big.txt": b"line\n" * 2000, "a.txt": "t\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache, limit_bytes=5000)
    assert list(corpus.document_paths()) == ["a.txt"]
    assert corpus.skipped == {"a.bin": {"binary": 3}, "big.txt": {"too large": 10_000}}
    assert corpus.find_document("big.txt") is None
    assert corpus.line_count("big.txt") == 2000
    assert corpus.line_bytes("big.txt", 2, 3) == [b"line", b"line"]
    assert corpus.document_bytes("big.txt") == b"line\n" * 2000
    with pytest.raises(BadRequest, match=r"a\.txt"):
        corpus.document_bytes("a.tx")
    with open(tree.folder / "huge.log", "wb") as huge:
        huge.write(b"x\n")
        huge.truncate(1 << 40)  # a hole: no disk is used
    corpus.refresh()
    assert set(corpus.skipped["huge.log"]) == {"too large"}
    with pytest.raises(Unavailable, match="open it as a context"):
        corpus.document_bytes("huge.log")
    assert corpus.paths_below("a") == ["a.txt"]


def test_utf16_is_read_as_the_text_that_it_is(make_tree: Make, cache: Path) -> None:
    text = "the beginning of it is in ASCII alone\ncafé\n\U0001f600 two\n" * 900
    files: dict[str, str | bytes] = {
        "big": codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        "little": codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
        "han": codecs.BOM_UTF16_LE + ("\u4e2d\u6587" * 9).encode("utf-16-le"),  # without a NUL
        "unmarked": text.encode("utf-16-le"),
        "numbers": bytes(range(1, 64)).decode().encode("utf-16-le"),
        "empty": codecs.BOM_UTF16_LE,
        "odd": codecs.BOM_UTF16_LE + b"a\0b\0c",
        "half": codecs.BOM_UTF16_LE + b"\0\xd8a\0",
        "utf32": "text".encode("utf-32"),
        "one": b"\xff",
        "zero": b"",
    }
    tree = make_tree(files)
    for corpus in (
        open_corpus.open_tree(tree.folder, cache=cache),
        open_corpus.open_revision(tree.folder, "HEAD", cache=cache),
    ):
        for name in ("big", "little", "unmarked"):
            assert corpus.document_bytes(name) == text.encode()
        assert corpus.document_bytes("han") == ("\u4e2d\u6587" * 9).encode()
        assert (corpus.document_bytes("empty"), corpus.document_bytes("one")) == (b"", b"\xff")
        skipped = {(name, *why) for name, why in corpus.skipped.items()}
        assert skipped == {(name, "binary") for name in ("half", "numbers", "odd", "utf32")}
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    before = corpus.generation
    os.utime(tree.folder / "big")
    assert corpus.refresh() is False and corpus.generation == before
    tree.write({"big": codecs.BOM_UTF16_LE + "x\ny".encode("utf-16-le")})
    assert corpus.refresh() and corpus.line_bytes("big", 1, 9) == [b"x", b"y"]


def test_names_and_contents_need_not_be_utf8(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"ok.txt": b"\xff\xfe caf\xe9\n"})
    name = b"caf\xe9 \t\xf0\n.txt"
    (tree.folder / os.fsdecode(name)).write_bytes(b"\x80\x81\n")
    tree.commit()
    for corpus in (
        open_corpus.open_tree(tree.folder, cache=cache),
        open_corpus.open_revision(tree.folder, "HEAD", cache=cache),
    ):
        assert sorted(map(os.fsencode, corpus.document_paths())) == [name, b"ok.txt"]
        assert corpus.document_bytes(os.fsdecode(name)) == b"\x80\x81\n"


def test_ignore_files_speak_of_names_that_are_not_utf8(make_tree: Make, cache: Path) -> None:
    tree = make_tree({".ignore": b"caf\xe9*\n!*.keep\n", "ok.txt": "x\n"})
    for name in (b"caf\xe9.txt", b"caf\xe9.keep", b"th\xe9.txt"):
        (tree.folder / os.fsdecode(name)).write_bytes(b"x\n")
    expected = [b".ignore", b"caf\xe9.keep", b"ok.txt", b"th\xe9.txt"]
    for corpus in (
        open_corpus.open_tree(tree.folder, cache=cache),
        open_corpus.open_folder(tree.folder, cache=cache),
    ):
        assert [os.fsencode(path) for path in corpus.document_paths()] == expected


@posix
def test_links_pipes_sockets_and_devices_are_never_opened(make_tree: Make, cache: Path) -> None:
    secret = Path(cache.parent / "secret.txt")
    secret.write_text("SECRET\n")
    tree = make_tree({"a.txt": "a\n", "was.txt": "w\n", "dir/in.txt": "i\n"})
    os.symlink(secret, tree.folder / "link.txt")
    tree.commit()
    os.unlink(tree.folder / "was.txt")
    os.mkfifo(tree.folder / "was.txt")
    outside = cache.parent / "outside"
    outside.mkdir()
    (outside / "in.txt").write_text("SECRET\n")
    (tree.folder / "dir/in.txt").unlink()
    (tree.folder / "dir").rmdir()
    os.symlink(outside, tree.folder / "dir")
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    assert list(corpus.document_paths()) == ["a.txt"]
    assert set(corpus.skipped["link.txt"]) == {"link"}
    assert set(corpus.skipped["was.txt"]) == {"not a file"}
    plain = cache.parent / "plain"
    plain.mkdir()
    os.mkfifo(plain / "pipe")
    os.symlink(secret, plain / "link")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(plain)
        server.bind("sock")
        (plain / "a").write_text("a")
        corpus = open_corpus.open_folder(plain, cache=cache)
    assert list(corpus.document_paths()) == ["a"]
    assert {path: next(iter(why)) for path, why in corpus.skipped.items()} == {
        "link": "link", "pipe": "not a file", "sock": "not a file",
    }  # fmt: skip
    with pytest.raises(Unavailable):
        corpus.document_bytes("pipe")


@posix
def test_a_pipe_for_an_ignore_file_does_not_hold_a_load_up(
    make_tree: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "LISTING_PATIENCE_S", 0.2)
    tree = make_tree({"a.txt": "a\n", "sub/b.txt": "b\n", "other/.gitignore": "*.log\n"})
    tree.write({"sub/new.txt": "n\n", "other/x.log": "x\n"})
    os.mkfifo(tree.folder / "sub/.gitignore")
    for _ in range(2):
        corpus = open_corpus.open_tree(tree.folder, cache=cache)
        assert list(corpus.document_paths()) == [
            "a.txt",
            "other/.gitignore",
            "sub/b.txt",
            "sub/new.txt",
        ]
        assert set(corpus.skipped["sub/.gitignore"]) == {"not a file"}
        tree.write({"sub/new.txt": "changed\n"})
        corpus.refresh()
        assert corpus.document_bytes("sub/new.txt") == b"changed\n"
        corpus.close()
        tree.write({"sub/new.txt": "n\n"})
    os.unlink(tree.folder / "sub/.gitignore")
    tree.write({"sub/.gitignore": "new.txt\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    assert "sub/new.txt" not in corpus.document_paths()


def test_nothing_that_a_repository_configures_is_run(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a.txt": "a\n", ".gitattributes": "*.txt filter=bad diff=bad\n"})
    ran = cache.parent / "ran"
    script = cache.parent / "bad.sh"
    script.write_text(f"#!/bin/sh\ntouch {ran}\ncat\n")
    script.chmod(0o755)
    for name in (
        "core.fsmonitor", "core.pager", "core.sshCommand", "filter.bad.clean", "filter.bad.smudge",
        "filter.bad.process", "diff.bad.textconv", "diff.external", "core.hooksPath", "core.editor",
    ):  # fmt: skip
        tree.git("config", name, str(script if name != "core.hooksPath" else script.parent))
    hook = tree.folder / ".git/hooks/post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(script.read_text())
    hook.chmod(0o755)
    (tree.folder / "a.txt").write_text("changed\n")
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    corpus.refresh()
    open_corpus.open_revision(tree.folder, "HEAD", cache=cache)
    assert corpus.document_bytes("a.txt") == b"changed\n"
    assert not ran.exists()


def test_environment_variables_of_git_do_not_lead_elsewhere(
    make_tree: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, other = make_tree({"a": "1\n"}), make_tree({"b": "2\n"}, "other")
    monkeypatch.setenv("GIT_DIR", str(other.folder / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.folder))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.folder / ".git/index"))
    assert list(open_corpus.open_tree(tree.folder, cache=cache).document_paths()) == ["a"]


def test_a_git_file_that_points_at_another_project_is_denied(make_tree: Make, cache: Path) -> None:
    other = make_tree({"secret": "2\n"}, "other")
    trap = cache.parent / "trap"
    trap.mkdir()
    (trap / ".git").write_text(f"gitdir: {other.folder / '.git'}\n")
    with pytest.raises(Denied, match="does not know this working tree"):
        open_corpus.open_tree(trap, cache=cache)
    tree = make_tree({"a": "1\n"})
    tree.git("config", "core.worktree", str(other.folder))
    with pytest.raises(Denied):
        open_corpus.open_tree(tree.folder, cache=cache)


def test_worktrees_submodules_and_nested_repositories_are_followed(
    make_tree: Make, cache: Path
) -> None:
    inner, tree = make_tree({"lib.c": "int x;\n"}, "inner"), make_tree({"a": "1\n"})
    tree.git("submodule", "--quiet", "add", str(inner.folder), "vendor/inner")
    tree.commit()
    tree.git("worktree", "add", "--quiet", "../second", "HEAD")
    nested = tree.folder / "nested"
    nested.mkdir()
    Tree(nested).git("init", "--quiet", ".")
    (nested / "n.txt").write_text("n\n")
    (nested / "no.log").write_text("n\n")
    (nested / ".gitignore").write_text("*.log\n")
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    assert list(corpus.document_paths()) == [
        ".gitmodules", "a", "nested/.gitignore", "nested/n.txt", "vendor/inner/lib.c",
    ]  # fmt: skip
    (nested / "m.txt").write_text("m\n")
    assert corpus.refresh()
    assert corpus.document_bytes("nested/m.txt") == b"m\n"
    second = open_corpus.open_tree(tree.folder.parent / "second", cache=cache)
    assert list(second.document_paths()) == [".gitmodules", "a"]
    assert second.skipped == {"vendor/inner": {"not checked out": 0}} or set(
        second.skipped["vendor/inner"]
    ) == {"not checked out"}
    old = open_corpus.open_revision(tree.folder, "HEAD", cache=cache)
    assert set(old.skipped) == {"vendor/inner"}


def test_bare_empty_and_missing_repositories_get_a_sentence(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a": "1\n"})
    tree.git("clone", "--quiet", "--bare", ".", "../bare.git")
    bare = tree.folder.parent / "bare.git"
    with pytest.raises(Unavailable, match="bare"):
        open_corpus.open_tree(bare, cache=cache)
    assert list(open_corpus.open_revision(bare, "main", cache=cache).document_paths()) == ["a"]
    empty = tree.folder.parent / "empty"
    empty.mkdir()
    with pytest.raises(Unavailable, match="not in a git repository"):
        open_corpus.open_tree(empty, cache=cache)
    Tree(empty).git("init", "--quiet", ".")
    assert list(open_corpus.open_tree(empty, cache=cache).document_paths()) == []
    with pytest.raises(BadRequest, match="not a revision"):
        open_corpus.open_revision(empty, "HEAD", cache=cache)
    with pytest.raises(BadRequest, match="not a revision"):
        open_corpus.open_revision(tree.folder, "--output=x", cache=cache)
    with pytest.raises(Unavailable, match="is gone"):
        open_corpus.open_folder(tree.folder / "nowhere", cache=cache)
    assert RepositoryPaths.discover_at(tree.folder / "nowhere") is None


def test_revision_holds_the_blobs_of_a_commit_whatever_the_tree_holds(
    make_tree: Make, cache: Path
) -> None:
    tree = make_tree({"a.txt": "old\n", "b.bin": b"\0", "c.txt": "c"})
    tree.write({"a.txt": "new\n", "z.txt": "z\n"})
    tree.commit()
    corpus = open_corpus.open_revision(tree.folder, "HEAD~1", cache=cache)
    assert corpus.document_bytes("a.txt") == b"old\n"
    assert list(corpus.document_paths()) == ["a.txt", "c.txt"]
    assert corpus.skipped == {"b.bin": {"binary": 1}}
    document = corpus.find_document("c.txt")
    assert document is not None
    assert document.blob == tree.git("rev-parse", "HEAD~1:c.txt")
    assert corpus.refresh() is False
    again = open_corpus.open_revision(tree.folder, "HEAD~1", cache=cache)
    assert again.generation == corpus.generation


def test_marks_tell_generated_minified_and_lfs(make_tree: Make, cache: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    tree = make_tree(
        {
            "a_pb2.py": "x", "b.go": "// Code generated by x. DO NOT EDIT.\n", "m.js": "a;" * 9000,
            "l.psd": pointer, "n.py": "x = 1\n", "package-lock.json": "{}",
        }
    )  # fmt: skip
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    marks = {
        path: getattr(corpus.find_document(path), "mark", None) for path in corpus.document_paths()
    }
    assert marks == {
        "a_pb2.py": "generated", "b.go": "generated", "m.js": "minified", "l.psd": "lfs",
        "n.py": "", "package-lock.json": "generated",
    }  # fmt: skip


def test_admit_keeps_paths_out_also_when_the_pack_was_made_without_it(
    make_tree: Make, cache: Path
) -> None:
    def admit(path: Path) -> str | None:
        return "a secret" if path.name == ".env" else None

    tree = make_tree({"a": "1\n", "d/.env": "KEY=1\n"})
    assert list(open_corpus.open_tree(tree.folder, cache=cache).document_paths()) == ["a", "d/.env"]
    for _ in range(2):
        corpus = open_corpus.open_tree(tree.folder, cache=cache, admit=admit)
        assert list(corpus.document_paths()) == ["a"]
        assert set(corpus.skipped["d/.env"]) == {"denied"}
    assert "d/.env" in open_corpus.open_tree(tree.folder, cache=cache).document_paths()
    named = open_corpus.open_tree(tree.folder, cache=cache, admit=admit, policy="no secrets")
    assert list(named.document_paths()) == ["a"]
    old = open_corpus.open_revision(
        tree.folder, "HEAD", cache=cache, admit=admit, policy="no secrets"
    )
    assert list(old.document_paths()) == ["a"]


@posix
@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_unreadable_files_are_counted_and_the_rest_is_loaded(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a": "1\n", "b": "2\n"})
    (tree.folder / "b").chmod(0)
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    assert list(corpus.document_paths()) == ["a"]
    assert set(corpus.skipped["b"]) == {"unreadable"}


def test_folder_and_files_that_are_no_repository(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "plain"
    (folder / "node_modules/x").mkdir(parents=True)
    (folder / ".gitignore").write_text("node_modules\n*.tmp\n!keep.tmp\n")
    for name in ("a.py", "b.tmp", "keep.tmp", "node_modules/x/i.js"):
        (folder / name).write_text(name)
    corpus = open_corpus.open_folder(folder, cache=cache)
    assert list(corpus.document_paths()) == [".gitignore", "a.py", "keep.tmp"]
    (folder / "c.py").write_text("c")
    assert corpus.refresh()
    assert "c.py" in corpus.document_paths()
    files = open_corpus.open_folder([folder / "a.py", folder / "node_modules/x/i.js"], cache=cache)
    assert list(files.document_paths()) == ["a.py", "node_modules/x/i.js"]


def test_an_ignore_file_made_to_stall_a_matcher_does_not(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / ".gitignore").write_text("*a*a*a*a*a*a*a*a*a*a*a*a*b\n**/**/**/**/x\n[\n\\\n!\n")
    (folder / ("a" * 200)).write_text("x")
    script = (
        "from pathlib import Path; from rlm_mcp.corpus.store import open_corpus;"
        f"print(len(open_corpus.open_folder(Path({str(folder)!r}), "
        f"cache=Path({str(cache)!r})).document_paths()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=30, check=True
    )
    assert done.stdout.strip() == b"2"


def test_texts_at_hand_are_packed_and_deleted_on_close(cache: Path) -> None:
    corpus = open_corpus.pack_texts([("b", b"two\n"), ("a", b"one")], cache=cache, name="r7")
    assert list(corpus.document_paths()) == ["a", "b"]
    assert corpus.document_bytes("a") == b"one"
    assert corpus.refresh() is False
    folder = corpus.cache_folder
    assert folder.is_dir()
    corpus.close()
    assert not folder.exists()
