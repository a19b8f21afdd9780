"""Folders that are links, that are deep, that change while they are read."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from rlm_mcp.corpus.store import open_corpus
from rlm_mcp.corpus.store.safe_files import MAX_OPEN_FOLDERS, RootFolder
from rlm_mcp.errors import Unavailable


@pytest.mark.parametrize("deeper", ["", "inner"])
def test_a_root_that_became_a_link_is_not_followed(deeper: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    (tmp_path / "root").symlink_to(outside)
    with pytest.raises(Unavailable):
        RootFolder(tmp_path / "root" / deeper)
    with RootFolder(outside / deeper):
        pass


@pytest.mark.skipif(os.name == "nt", reason="paths are shorter there")
@pytest.mark.parametrize("levels", [1200, 2500])
def test_folders_of_any_depth_are_walked_or_described(
    levels: int, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("root")
    os.chdir("root")
    for level in range(levels):
        os.mkdir("d")
        os.chdir("d")
        if level in (3, 1100):
            Path("f").write_text(f"{level}\n")
    try:
        corpus = open_corpus.open_folder(tmp_path / "root", cache=cache)
        assert sorted(map(len, corpus.document_paths())) == [9, 2203]
        assert [corpus.document_bytes(path) for path in corpus.document_paths()] == [
            b"1100\n",
            b"3\n",
        ]
        assert len(corpus.skipped) == (levels > 2000)
        assert corpus.refresh() is False
    finally:
        os.chdir(tmp_path)
        _remove(tmp_path / "root")


def _remove(folder: Path) -> None:
    """Remove a tree that is too deep for a recursion."""
    while (deeper := folder / "d").is_dir():
        for file in folder.glob("f"):
            file.unlink()
        deeper.rename(folder.parent / "up")
        folder.rmdir()
        (folder.parent / "up").rename(folder)
    shutil.rmtree(folder)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts handles")
def test_a_deep_path_takes_few_handles(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 300)
    deep.mkdir(parents=True)
    for level in (0, 10, 40, 150, 299, 300):
        tmp_path.joinpath(*["d"] * level, "f").write_text(str(level))
    before = len(os.listdir("/proc/self/fd"))
    with RootFolder(tmp_path) as folder:
        for level in (300, 299, 10, 300, 150, 0, 40, 300, 10, 299):
            handle, status = folder.open_file(b"d/" * level + b"f")
            assert os.read(handle, 9) == str(level).encode() and status.st_size
            os.close(handle)
            assert len(os.listdir("/proc/self/fd")) - before <= 2 * MAX_OPEN_FOLDERS + 2
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(os.name == "nt", reason="folders in use cannot be removed there")
def test_a_folder_that_comes_and_goes_is_a_sentence_each_time(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "root"
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            (root / "a/b").mkdir(parents=True, exist_ok=True)
            for number in range(10):
                (root / f"a/f{number}").write_text("x\n")
            shutil.rmtree(root, ignore_errors=True)

    thread = threading.Thread(target=churn)
    thread.start()
    corpus = None
    try:
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            try:
                corpus = corpus or open_corpus.open_folder(root, cache=cache)
                corpus.refresh()
                assert all(
                    corpus.document_bytes(path) in (b"x\n", b"") for path in corpus.document_paths()
                )
            except Unavailable:
                continue
    finally:
        stop.set()
        thread.join()


@pytest.mark.skipif(os.name == "nt", reason="links and pipes")
def test_files_that_turn_into_links_and_pipes_while_read_show_nothing_of_others(
    tmp_path: Path, cache: Path
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    for number in range(20):
        (secret / f"f{number}").write_text("SECRET\n")
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    stop = threading.Event()

    def churn() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            place = root / "d" / f"f{turn % 20}"
            place.unlink(missing_ok=True)
            kind = turn % 4
            if kind == 0:
                place.symlink_to(secret / f"f{turn % 20}")
            elif kind == 1:
                os.mkfifo(place)
            else:
                place.write_text("plain\n")
            if turn % 9 == 0:
                shutil.rmtree(root / "d", ignore_errors=True)
                (root / "d").symlink_to(secret)
                (root / "d").unlink()
                (root / "d").mkdir()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        deadline = time.monotonic() + 1.5
        number = 0
        while time.monotonic() < deadline:
            number += 1
            corpus = open_corpus.open_folder(root, cache=cache / str(number % 3))
            corpus.refresh()
            found = {corpus.document_bytes(path) for path in corpus.document_paths()}
            assert found <= {b"plain\n", b""}, found
            corpus.close()
            if number % 3 == 0:
                shutil.rmtree(cache, ignore_errors=True)  # a first load reads in its own way
    finally:
        stop.set()
        thread.join()
