"""The journal of small changes: an edit is a record, and only a whole record counts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.corpus.store import cache_folder, open_corpus
from tests.corpus.conftest import Tree

Make = Callable[..., Tree]


def test_an_edit_leaves_the_table_and_is_there_after_reopening(
    make_tree: Make, cache: Path
) -> None:
    tree = make_tree({f"f{number}": f"{number}\n" for number in range(20)})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    table = (corpus.cache_folder / "table").read_bytes()
    generations = []
    for number in range(5):
        tree.write({"f7": f"edit {number}\nmore\n", "f3": "x" * number + "\n"})
        assert corpus.refresh()
        generations.append(corpus.generation)
    assert generations == sorted(set(generations))
    assert (corpus.cache_folder / "table").read_bytes() == table
    again = open_corpus.open_tree(tree.folder, cache=cache)
    assert again.generation == corpus.generation
    assert (
        again.document_bytes("f7") == b"edit 4\nmore\n" and again.document_bytes("f3") == b"xxxx\n"
    )
    assert again.line_count("f7") == 2
    assert again.snapshot.table.text_id == corpus.snapshot.table.text_id


@pytest.mark.parametrize("cut", [1, 30, -1])
def test_a_record_that_is_not_whole_says_nothing(make_tree: Make, cache: Path, cut: int) -> None:
    tree = make_tree({"a": "1\n", "b": "2\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    for text in ("one\n", "two\n"):
        tree.write({"a": text})
        corpus.refresh()
    path = corpus.cache_folder / "journal"
    data = path.read_bytes()
    if cut > 0:
        path.write_bytes(data[:-cut])
    else:
        path.write_bytes(data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    for text in ("", "three\n"):
        if text:
            tree.write({"a": text})
        again = open_corpus.open_tree(tree.folder, cache=cache)
        assert again.document_bytes("a") == (text or "two\n").encode()
        assert again.document_bytes("b") == b"2\n"
        again.close()


def test_a_journal_of_another_table_says_nothing(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a": "1\n", "b": "2\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    tree.write({"a": "one\n"})
    corpus.refresh()
    old = (corpus.cache_folder / "journal").read_bytes()
    tree.write({"c": "3\n"})
    corpus.refresh()
    assert not (corpus.cache_folder / "journal").exists()
    (corpus.cache_folder / "journal").write_bytes(old)
    tree.write({"a": "two\n"})
    other = open_corpus.open_tree(tree.folder, cache=cache)
    assert other.document_bytes("a") == b"two\n" and other.document_bytes("c") == b"3\n"
    assert corpus.refresh() and corpus.document_bytes("a") == b"two\n"


def test_a_long_journal_becomes_a_table(
    make_tree: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_folder, "MAX_JOURNAL_BYTES", 1000)
    tree = make_tree({"a": "1\n", "b": "2\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    ids = set()
    for number in range(12):
        tree.write({"a": f"{number}\n"})
        corpus.refresh()
        ids.add(corpus.snapshot.table.id)
        assert (
            open_corpus.open_tree(tree.folder, cache=cache).document_bytes("a")
            == f"{number}\n".encode()
        )
    assert 1 < len(ids) < 12


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_no_file_of_the_cache_can_be_read_by_others(make_tree: Make, cache: Path) -> None:
    before = os.umask(0)
    try:
        tree = make_tree({"a": "1\n"})
        corpus = open_corpus.open_tree(tree.folder, cache=cache)
        tree.write({"a": "2\n"})
        corpus.refresh()
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in corpus.cache_folder.iterdir()}
    assert set(modes.values()) == {0o600} and "journal" in modes
    assert corpus.cache_folder.stat().st_mode & 0o077 == 0
    assert corpus.cache_folder.parent.stat().st_mode & 0o077 == 0
