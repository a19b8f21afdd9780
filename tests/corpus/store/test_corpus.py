"""The packed store: fresh, shared, compacted, removable, and whole after any kill."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.corpus.search import grep
from rlm_mcp.corpus.store import open_corpus
from rlm_mcp.corpus.store.cache_folder import CorpusStore, evict_corpora
from rlm_mcp.corpus.store.corpus import Corpus
from rlm_mcp.corpus.store.packed_text import BLOCK_BYTES, NEWLINE_SCAN_BYTES
from rlm_mcp.errors import Unavailable
from tests.corpus.conftest import Tree

Make = Callable[..., Tree]
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def text_of(corpus: Corpus) -> dict[str, bytes]:
    return {path: corpus.document_bytes(path) for path in corpus.document_paths()}


def on_disk(tree: Tree) -> dict[str, bytes]:
    names = [path for path in tree.folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {str(path.relative_to(tree.folder)): path.read_bytes() for path in names}


def test_edits_additions_and_deletions_show_after_refresh(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a": "1\n", "b": "2\n", "c": "3\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    first = corpus.generation
    assert corpus.refresh() is False
    tree.write({"a": "one\nmore\n", "new/d": "4\n"})
    (tree.folder / "b").unlink()
    assert corpus.refresh() is True
    assert corpus.generation > first
    assert text_of(corpus) == {"a": b"one\nmore\n", "c": b"3\n", "new/d": b"4\n"}
    assert corpus.line_bytes("a", 2, 2) == [b"more"]
    assert corpus.refresh() is False


def test_an_edit_of_the_same_size_and_time_is_seen(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a": "1111\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    for text in ("2222\n", "3333\n", "4444\n"):
        before = os.stat(tree.folder / "a")
        tree.write({"a": text})
        os.utime(tree.folder / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
        corpus.refresh()
        assert corpus.document_bytes("a") == text.encode()


def test_a_file_read_within_a_tick_of_its_change_is_read_again(
    make_tree: Make, cache: Path
) -> None:
    tree = make_tree({"a": "0\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    for number in range(40):
        tree.write({"a": f"{number % 10}\n"})
        corpus.refresh()
        assert corpus.document_bytes("a") == f"{number % 10}\n".encode()


def test_touching_a_file_is_no_new_generation(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a": "1\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    generation = corpus.generation
    os.utime(tree.folder / "a", (1, 1))
    assert corpus.refresh() is False
    assert corpus.generation == generation


def test_a_snapshot_never_changes(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a": "1\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    snapshot = corpus.snapshot
    tree.write({"a": "2\n", "b": "3\n"})
    corpus.refresh()
    offset, length = snapshot.spans[0]
    assert snapshot.paths == ["a"]
    assert bytes(snapshot.buffer[offset : offset + length]) == b"1\n"


def test_a_reopened_corpus_reads_only_what_changed(
    make_tree: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlm_mcp.corpus.store import safe_files

    tree = make_tree({f"f{number}": f"{number}\n" for number in range(50)})
    time.sleep(0.05)
    open_corpus.open_tree(tree.folder, cache=cache).close()
    tree.write({"f7": "seven\n"})
    reads: list[int] = []
    real = safe_files.read_fully

    def counted(handle: int, room: memoryview) -> int:
        reads.append(handle)
        return real(handle, room)

    monkeypatch.setattr(safe_files, "read_fully", counted)
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    assert corpus.document_bytes("f7") == b"seven\n"
    assert 1 <= len(reads) < 10


def test_dead_bytes_are_compacted_and_positions_stay_right(make_tree: Make, cache: Path) -> None:
    tree = make_tree({f"f{number}": f"start {number}\n" * 20_000 for number in range(8)})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    for number in range(8):
        tree.write({f"f{number}": f"changed {number}\n" * 20_000})
        corpus.refresh()
        assert corpus.snapshot.dead_bytes <= max(1 << 20, corpus.snapshot.table.text_bytes // 4)
        assert text_of(corpus) == on_disk(tree)
        found = grep.grep_corpus(corpus, grep.Query("changed", limit=1))
        assert found.total == 20_000 * (number + 1)
    kept = [name for name in os.listdir(corpus.cache_folder) if name.endswith(".text")]
    assert len(kept) == 1


def test_two_servers_share_one_pack(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a": "1\n"})
    one, two = (
        open_corpus.open_tree(tree.folder, cache=cache),
        open_corpus.open_tree(tree.folder, cache=cache),
    )
    assert one.cache_folder == two.cache_folder
    for number in range(10):
        tree.write({"a": f"{number}\n", f"b{number}": "x\n"})
        writer, reader = (one, two) if number % 2 else (two, one)
        assert writer.refresh()
        assert reader.refresh()
        assert text_of(one) == text_of(two) == on_disk(tree)


def test_the_cache_may_be_deleted_at_any_time(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a": "1\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    shutil.rmtree(cache)
    assert corpus.document_bytes("a") == b"1\n"
    assert corpus.refresh() is False or text_of(corpus) == on_disk(tree)
    tree.write({"a": "2\n"})
    assert corpus.refresh() is True
    assert text_of(corpus) == on_disk(tree)


def test_a_broken_table_or_text_is_loaded_anew(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a": "1\n" * 100, "b": "2\n"})
    rng = random.Random(3)
    for _ in range(12):
        corpus = open_corpus.open_tree(tree.folder, cache=cache)
        folder = corpus.cache_folder
        assert text_of(corpus) == on_disk(tree)
        corpus.close()
        table = folder / "table"
        data = bytearray(table.read_bytes())
        match rng.randrange(4):
            case 0:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 1:
                del data[rng.randrange(len(data)) :]
            case 2:
                data = bytearray()
            case 3:
                next(folder.glob("*.text")).write_bytes(b"")
        table.write_bytes(data)


def test_a_table_from_before_a_reboot_is_not_believed(
    make_tree: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlm_mcp.corpus.store import cache_folder

    tree = make_tree({"a": "1\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    first = corpus.snapshot.table.text_id
    monkeypatch.setattr(cache_folder, "boot_id", lambda: "another boot")
    again = open_corpus.open_tree(tree.folder, cache=cache)
    assert again.snapshot.table.text_id != first
    assert text_of(again) == on_disk(tree)


def test_the_least_lately_used_corpora_are_evicted(make_tree: Make, cache: Path) -> None:
    folders = []
    for number in range(4):
        tree = make_tree({"a": "x\n" * 50_000}, f"t{number}")
        corpus = open_corpus.open_tree(tree.folder, cache=cache)
        os.utime(corpus.cache_folder, (number, number))
        folders.append(corpus.cache_folder)
        corpus.close()
    dead = CorpusStore(cache, "texts-999999999-abc").folder
    dead.mkdir()
    gone = evict_corpora(cache / "packed", folders[3], limit_bytes=700_000)
    assert gone == [dead, folders[0], folders[1]]
    assert [folder.exists() for folder in folders] == [False, False, True, True]


def test_a_full_disk_is_a_sentence_and_leaves_the_old_state(
    make_tree: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlm_mcp.corpus.store import packed_text

    tree = make_tree({"a": "1\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    tree.write({"a": "2\n"})

    def full(_file: object, _data: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(packed_text, "write_all", full)
        with pytest.raises(Unavailable, match="No room on the disk"):
            corpus.refresh()
        assert corpus.document_bytes("a") == b"1\n"
        with pytest.raises(Unavailable, match="No room on the disk"):
            open_corpus.open_tree(tree.folder, cache=cache / "other")
    assert corpus.refresh() is True
    assert corpus.document_bytes("a") == b"2\n"


def test_no_room_to_compact_is_no_failure(
    make_tree: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlm_mcp.corpus.store import corpus as pack

    monkeypatch.setattr(pack, "MIN_DEAD_BYTES", 10)

    def full(_old: object, _writer: object) -> None:
        raise OSError(28, "No space left on device")

    tree = make_tree({"a": "1\n" * 50, "b": "2\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    tree.write({"a": "2\n" * 50})
    with monkeypatch.context() as patch:
        patch.setattr(pack, "_copy_live", full)
        assert corpus.refresh() is True
    assert text_of(corpus) == on_disk(tree)
    assert len(list(corpus.cache_folder.glob("*.text"))) == 1
    tree.write({"a": "3\n" * 50})
    assert corpus.refresh() is True
    assert corpus.snapshot.dead_bytes <= 1 and text_of(corpus) == on_disk(tree)


def test_a_source_that_is_gone_is_a_sentence(make_tree: Make, cache: Path, tmp_path: Path) -> None:
    tree = make_tree({"a": "1\n"})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "a").write_text("x")
    other = open_corpus.open_folder(plain, cache=cache)
    shutil.rmtree(tree.folder)
    shutil.rmtree(plain)
    for gone in (corpus, other):
        with pytest.raises(Unavailable):
            gone.refresh()
        assert gone.document_bytes("a")


@posix
def test_200_kills_at_any_moment_leave_a_whole_state(make_tree: Make, cache: Path) -> None:
    tree = make_tree({f"f{number}": f"{number}\n" * 50 for number in range(12)})
    rng = random.Random(11)
    kills = 0
    while kills < 200:
        # A fork server would not do: each child must die by itself, in the middle of its work.
        context = multiprocessing.get_context("fork")
        children = [
            context.Process(target=_churn, args=(tree.folder, cache, rng.random()))
            for _ in range(2)
        ]
        for child in children:
            child.start()
        time.sleep(rng.random() * 0.06 + 0.01)
        for child in children:
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            kills += 1
        if kills % 10 == 0:
            corpus = open_corpus.open_tree(tree.folder, cache=cache)
            assert text_of(corpus) == on_disk(tree)
            table = corpus.snapshot.table
            assert all(
                corpus.line_count(path) == len(corpus.document_bytes(path).splitlines())
                for path in corpus.document_paths()
            )
            kept = sorted(path.name for path in corpus.cache_folder.glob("*.text"))
            assert f"{table.text_id}.text" in kept
            corpus.close()


def _churn(folder: Path, cache: Path, seed: float) -> None:
    """Change files and refresh, until killed."""
    from rlm_mcp.corpus.store import cache_folder
    from rlm_mcp.corpus.store import corpus as pack

    pack.MIN_DEAD_BYTES = 1000  # so that compaction happens all the time,
    cache_folder.MAX_JOURNAL_BYTES = 2000  # and journals end often
    rng = random.Random(seed)
    corpus = open_corpus.open_tree(folder, cache=cache)
    while True:
        name = folder / f"f{rng.randrange(12)}"
        if rng.random() < 0.2:
            name.unlink(missing_ok=True)
        else:
            name.write_bytes(rng.randbytes(rng.randrange(3000)).hex().encode() + b"\n")
        corpus.refresh()


@posix
def test_several_processes_write_at_once_and_agree(make_tree: Make, cache: Path) -> None:
    tree = make_tree({f"f{number}": f"{number}\n" for number in range(12)})
    context = multiprocessing.get_context("fork")
    children = [
        context.Process(target=_churn, args=(tree.folder, cache, seed)) for seed in range(3)
    ]
    for child in children:
        child.start()
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    try:
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            corpus.refresh()
            snapshot = corpus.snapshot
            for path in snapshot.paths:
                # Children write whole lines of hexadecimal: anything else is another file's bytes.
                offset, length = snapshot.spans[snapshot.index[path]]
                data = bytes(snapshot.buffer[offset : offset + length])
                assert not data or set(data) <= set(b"0123456789abcdef\n")
            assert all(child.is_alive() for child in children)
    finally:
        for child in children:
            child.kill()
            child.join()
    corpus.refresh()
    assert text_of(corpus) == on_disk(tree)


@pytest.mark.parametrize(
    "size",
    [NEWLINE_SCAN_BYTES - 1, NEWLINE_SCAN_BYTES, 3 * NEWLINE_SCAN_BYTES + 1, BLOCK_BYTES + 1],
)
def test_lines_are_counted_over_every_border(make_tree: Make, cache: Path, size: int) -> None:
    rng = random.Random(size)
    data = bytearray(rng.choices(b"\nabc", k=size))
    for border in range(NEWLINE_SCAN_BYTES, size, NEWLINE_SCAN_BYTES):
        data[border - 1 : border + 1] = b"\n\n"
    corpus = open_corpus.open_tree(
        make_tree({"a": "x", "b": bytes(data), "c": "y"}).folder, cache=cache
    )
    lines = bytes(data).removesuffix(b"\n").split(b"\n")
    assert corpus.line_count("b") == len(lines)
    assert corpus.line_bytes("b", 1, len(lines)) == lines
    assert corpus.line_bytes("c", 1, 9) == [b"y"]


def test_importing_the_room_is_light() -> None:
    script = (
        "import sys; from rlm_mcp.corpus import code, search, store;"
        "from rlm_mcp.corpus.store import open_tree; from rlm_mcp.corpus.search import Query;"
        "print([m for m in ('numpy', 're2', 'hyperscan', 'watchfiles', 'pathspec')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"
