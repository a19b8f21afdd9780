"""Where a packed corpus is kept: a folder of the cache, safe to share and to delete.

    lock          held while a process writes
    table         which text file counts, how much of it, and every row; replaced by rename
    journal       small changes since the table was written
    <id>.text     the bytes of the documents, only ever appended to
    <id>.ends     the positions of the newlines in it

A table names what it needs of the text files. After these are written, it is renamed into place
or its journal gets another record: a writer that is killed leaves the old state, with at most
some unnamed bytes behind it that the next writer cuts off. Nothing is synced to the disk, so a
table from before a crash of the whole machine is not believed: it carries the machine's boot id.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.store import file_table as tables
from rlm_mcp.corpus.store.file_table import ROW_DTYPE, FileTable, TableRows
from rlm_mcp.corpus.store.packed_text import TextWriter, open_truncated, write_all
from rlm_mcp.errors import Unavailable
from rlm_mcp.files import private_folder, replace_file

MAX_JOURNAL_BYTES = 1 << 20
"""Bytes of a journal from which on the table is written anew."""
MAX_CHANGED_ROWS = 512
"""Rows of one change that is still a small one."""
_RECORD_HEAD = struct.Struct("<IIII")


def fits_journal(table: FileTable, places: Sequence[int]) -> bool:
    """Whether a change of some rows of the table may go into its journal."""
    return (
        bool(table.id)
        and len(places) <= MAX_CHANGED_ROWS
        and table.journal_bytes < MAX_JOURNAL_BYTES
    )


def append_record(path: Path, table: FileTable, places: Sequence[int]) -> FileTable:
    """Write the change that led to `table` behind the records that it knows; return the table.

    The caller holds the lock of the folder, and has read all whole records.
    """
    head = json.dumps(
        {
            "text_bytes": table.text_bytes,
            "ends_count": table.ends_count,
            "generation": table.generation,
            "facts": table.facts,
        }
    ).encode()
    which = np.array(places, "<u4")
    rows = table.rows[which]
    body = head + which.tobytes() + rows.tobytes()
    sizes = struct.pack("<III", len(body), len(head), len(which))
    record = sizes + struct.pack("<I", zlib.crc32(body, zlib.crc32(sizes))) + body
    name = table.id.encode()
    start = table.journal_bytes or len(name)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    with open(handle, "r+b", buffering=0) as file:
        if not table.journal_bytes:
            file.truncate(0)
            record = name + record
        else:
            file.truncate(start)
            file.seek(start)
        write_all(file, memoryview(record))
        return replace(table, journal_bytes=file.tell())


def apply_journal(path: Path, table: FileTable) -> FileTable:
    """Return the table as the whole records of its journal leave it."""
    try:
        data = path.read_bytes()
    except OSError:
        return table
    name = table.id.encode()
    if not name or not data.startswith(name):
        return table
    at, rows = len(name), None
    while (record := _parse_record(data, at, len(table.rows))) is not None:
        head, which, changed, at = record
        rows = table.rows.copy() if rows is None else rows
        rows[which] = changed
        table = replace(table, **head, rows=rows, journal_bytes=at)
    return table


def _parse_record(
    data: bytes, at: int, count: int
) -> tuple[dict[str, Any], npt.NDArray[np.uint32], TableRows, int] | None:
    """Return what a record says (head, places, rows) and where it ends; None if it is not whole."""
    if at + _RECORD_HEAD.size > len(data):
        return None
    size, head_size, places, checksum = _RECORD_HEAD.unpack_from(data, at)
    start = at + _RECORD_HEAD.size
    body = memoryview(data)[start : start + size]
    if len(body) != size or size != head_size + places * (4 + ROW_DTYPE.itemsize):
        return None
    if zlib.crc32(body, zlib.crc32(data[at : at + 12])) != checksum:
        return None
    which = np.frombuffer(body, "<u4", places, head_size)
    if places and int(which.max()) >= count:
        return None
    rows = np.frombuffer(body, ROW_DTYPE, places, head_size + 4 * places)
    return json.loads(bytes(body[:head_size])), which, rows, start + size


CACHE_LIMIT_BYTES = 8 << 30
"""What all packed corpora of a user may take; the least lately used ones go first."""
WRITE_LOCK_S = 60.0


class CorpusStore:
    """The folder of one corpus."""

    def __init__(self, cache: Path, key: str) -> None:
        self.folder = cache / "packed" / key

    @classmethod
    def for_source(cls, cache: Path, *key: str | Path | int) -> CorpusStore:
        """Return the folder of a source; the same key finds it again."""
        text = "\0".join(map(str, key)).encode("utf-8", "surrogateescape")
        return cls(cache, blake2b(text, digest_size=12).hexdigest())

    @classmethod
    def for_process(cls, cache: Path) -> CorpusStore:
        """Return a folder of this process alone."""
        return cls(cache, f"texts-{os.getpid()}-{secrets.token_hex(6)}")

    def text_path(self, text_id: str) -> Path:
        """Return the path of a text file."""
        return self.folder / f"{text_id}.text"

    def ends_path(self, text_id: str) -> Path:
        """Return the path of the line ends of a text file."""
        return self.folder / f"{text_id}.ends"

    @contextlib.contextmanager
    def write_lock(self) -> Iterator[None]:
        """Hold the lock of this folder, across processes. Raises Unavailable after a minute."""
        for folder in (self.folder.parent, self.folder):
            private_folder(folder)
        with open(self.folder / "lock", "ab", opener=_open_private) as lock:
            deadline = time.monotonic() + WRITE_LOCK_S
            while not _lock_file(lock):
                if time.monotonic() > deadline:
                    raise Unavailable(
                        "Another server has been loading this context for a minute; try again."
                    )
                time.sleep(0.005)
            try:
                yield
            finally:
                _unlock_file(lock)

    def table_stamp(self) -> tuple[int, ...] | None:
        """Return what tells one table on disk from another, or None where there is none."""
        found: list[int] = []
        for name in ("table", "journal"):
            try:
                status = os.stat(self.folder / name)
            except OSError:
                if not found:
                    return None
            else:
                found += (status.st_ino, status.st_mtime_ns, status.st_size)
        return tuple(found)

    def read_table(self) -> FileTable | None:
        """Return the table in force, or None where there is none to believe."""
        try:
            table = tables.parse_table((self.folder / "table").read_bytes())
        except OSError:
            return None
        if table is None or table.facts.get("boot") != boot_id():
            return None
        table = apply_journal(self.folder / "journal", table)
        try:
            whole = (
                self.text_path(table.text_id).stat().st_size >= table.text_bytes
                and self.ends_path(table.text_id).stat().st_size >= table.ends_count * 4
            )
        except OSError:
            return None
        return table if whole else None

    def create_text(self) -> tuple[str, TextWriter]:
        """Begin new files. The caller holds the lock."""
        text_id = f"{int(time.time() * 1000):x}{secrets.token_hex(4)}"
        text = open(self.text_path(text_id), "xb", buffering=0, opener=_open_private)  # noqa: SIM115
        ends = open(self.ends_path(text_id), "xb", buffering=0, opener=_open_private)  # noqa: SIM115
        return text_id, TextWriter(text, ends, 0, 0)

    def extend_text(self, table: FileTable) -> TextWriter:
        """Go on behind what `table` names. The caller holds the lock."""
        text = open_truncated(self.text_path(table.text_id), table.text_bytes)
        ends = open_truncated(self.ends_path(table.text_id), table.ends_count * 4)
        return TextWriter(text, ends, table.text_bytes, table.ends_count)

    def commit_table(self, table: FileTable, places: Sequence[int] | None = None) -> FileTable:
        """Put a table in force and remove what it does not name. The caller holds the lock.

        Where only the rows at `places` differ from the table in force, they may be all that is
        written.
        """
        table.facts["boot"] = boot_id()
        if places is not None and fits_journal(table, places):
            return append_record(self.folder / "journal", table, places)
        table = replace(table, id=secrets.token_hex(8), journal_bytes=0)
        replace_file(self.folder / "table", tables.dump_table(table))
        for other in os.scandir(self.folder):
            stale = other.name.endswith((".text", ".ends", ".new")) or other.name == "journal"
            if stale and not other.name.startswith(table.text_id):
                with contextlib.suppress(OSError):
                    os.unlink(other.path)
        return table

    def discard_text(self, text_id: str) -> None:
        """Delete files that no table names."""
        for path in (self.text_path(text_id), self.ends_path(text_id)):
            path.unlink(missing_ok=True)

    def remove_folder(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def touch_folder(self) -> None:
        """Note that this corpus was used now."""
        with contextlib.suppress(OSError):
            os.utime(self.folder)


def _open_private(path: str, flags: int) -> int:
    """Open a file that only its owner may read, whatever the umask is."""
    return os.open(path, flags, 0o600)


def boot_id() -> str:
    """Return an id of this boot of the machine, or an empty string where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def evict_corpora(packed: Path, keep: Path, limit_bytes: int = CACHE_LIMIT_BYTES) -> list[Path]:
    """Delete the least lately used corpora until the rest is within the limit; never `keep`.

    Texts of processes that are gone are deleted first. A server that has a deleted corpus open
    goes on with its files, and packs anew at the next change.
    """
    known: list[tuple[bool, float, int, Path]] = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(packed):
            with contextlib.suppress(OSError):
                size = sum(file.stat().st_size for file in os.scandir(entry.path))
                orphan = not _is_owned(entry.name)
                known.append((not orphan, entry.stat().st_mtime, size, Path(entry.path)))
    total = sum(size for _, _, size, _ in known)
    gone = []
    for lasting, _, size, folder in sorted(known):
        if lasting and total <= limit_bytes:
            break
        if folder != keep:
            shutil.rmtree(folder, ignore_errors=True)
            total -= size
            gone.append(folder)
    return gone


def _is_owned(name: str) -> bool:
    """Whether the process that a folder's name tells is alive (or it tells none)."""
    kind, _, rest = name.partition("-")
    pid = rest.partition("-")[0]
    if kind != "texts" or not pid.isdecimal() or os.name == "nt":
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _lock_file(lock: BinaryIO) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _unlock_file(lock: BinaryIO) -> None:
    if os.name == "nt":
        import msvcrt

        lock.seek(0)
        msvcrt.locking(lock.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]
