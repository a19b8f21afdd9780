"""Whole results behind handles: opened by ref, bounded, private."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rlm_mcp.engine import handles as module
from rlm_mcp.engine.handles import MAX_MEMORY_CHARS, Handles
from rlm_mcp.errors import BadRequest, Unavailable
from rlm_mcp.refs import parse_ref


def test_a_handle_opens_by_lines_and_characters(tmp_path: Path) -> None:
    kept = Handles(tmp_path)
    assert kept.store_text("a\nb\nc\n") == "r1"
    assert kept.full_text("r1") == "a\nb\nc\n"
    assert kept.full_text(parse_ref("r1#L2-L3")) == "b\nc"
    assert kept.full_text(parse_ref("r1#C2-C3")) == "b"
    passage = kept.peek(parse_ref("r1"), 2)
    assert (passage.text, passage.total, passage.next_ref) == ("a\nb", 3, "r1#L3")


@pytest.mark.parametrize("size", [0, 10, MAX_MEMORY_CHARS, MAX_MEMORY_CHARS + 1, 1_000_000])
def test_a_text_of_any_size_comes_back_as_it_was(tmp_path: Path, size: int) -> None:
    text = ("é\ud800x\n" * size)[:size]
    kept = Handles(tmp_path)
    assert (
        kept.full_text(kept.store_text(text)) == text.replace("\ud800", "\ufffd" * 3) or size == 0
    )
    assert kept.get_result("r1").full_text() == text


def test_large_texts_lie_in_private_files_that_go_at_the_end(tmp_path: Path) -> None:
    kept = Handles(tmp_path)
    path = kept.text_file(kept.store_text("x" * (MAX_MEMORY_CHARS + 1)))
    assert path.stat().st_mode & 0o077 == 0 and path.parent.stat().st_mode & 0o077 == 0
    kept.close()
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_are_dropped_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HANDLES", 2)
    kept = Handles(tmp_path)
    for text in "abc":
        kept.store_text(text)
    assert kept.handle_names() == ["r2", "r3"]
    with pytest.raises(Unavailable, match="make room"):
        kept.full_text("r1")
    with pytest.raises(BadRequest, match="no handle"):
        kept.full_text("r4")


@pytest.mark.parametrize("name", ["r", "r0", "r2", "r-1", "r01x", "repo", "R1", "r¹"])
def test_what_is_no_handle_is_not_taken_for_one(tmp_path: Path, name: str) -> None:
    kept = Handles(tmp_path)
    kept.store_text("x")
    assert name not in kept and "r1" in kept


@pytest.mark.parametrize("ref", ["r1:path", "r1@main", "r1#3.1"])
def test_a_handle_has_no_paths_revisions_or_turns(tmp_path: Path, ref: str) -> None:
    kept = Handles(tmp_path)
    kept.store_text("x")
    with pytest.raises(BadRequest, match="opened as"):
        kept.full_text(parse_ref(ref))


def test_threads_never_get_the_same_handle(tmp_path: Path) -> None:
    kept = Handles(tmp_path)
    names: list[str] = []

    def work() -> None:
        names.extend(kept.store_text(str(n)) for n in range(50))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 400
