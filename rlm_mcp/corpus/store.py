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
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from rlm_mcp.corpus import journal
from rlm_mcp.corpus import table as tables
from rlm_mcp.corpus.table import Table
from rlm_mcp.corpus.text import Writer, truncate, write
from rlm_mcp.errors import Unavailable

LIMIT_BYTES = 8 << 30
"""What all packed corpora of a user may take; the least lately used ones go first."""
WAIT_S = 60.0


class Store:
    """The folder of one corpus."""

    def __init__(self, cache: Path, key: str) -> None:
        self.folder = cache / "packed" / key

    @classmethod
    def lasting(cls, cache: Path, *key: str | Path | int) -> Store:
        """Return the folder of a source; the same key finds it again."""
        text = "\0".join(map(str, key)).encode("utf-8", "surrogateescape")
        return cls(cache, blake2b(text, digest_size=12).hexdigest())

    @classmethod
    def passing(cls, cache: Path) -> Store:
        """Return a folder of this process alone."""
        return cls(cache, f"texts-{os.getpid()}-{secrets.token_hex(6)}")

    def text_path(self, text_id: str) -> Path:
        """Return the path of a text file."""
        return self.folder / f"{text_id}.text"

    def ends_path(self, text_id: str) -> Path:
        """Return the path of the line ends of a text file."""
        return self.folder / f"{text_id}.ends"

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock of this folder, across processes. Raises Unavailable after a minute."""
        for folder in (self.folder.parent, self.folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self.folder / "lock", "ab", opener=_private) as lock:
            deadline = time.monotonic() + WAIT_S
            while not _take(lock):
                if time.monotonic() > deadline:
                    raise Unavailable(
                        "Another server has been loading this context for a minute; try again."
                    )
                time.sleep(0.005)
            try:
                yield
            finally:
                _give(lock)

    def stamp(self) -> tuple[int, ...] | None:
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

    def read(self) -> Table | None:
        """Return the table in force, or None where there is none to believe."""
        try:
            table = tables.parse((self.folder / "table").read_bytes())
        except OSError:
            return None
        if table is None or table.facts.get("boot") != boot_id():
            return None
        table = journal.apply(self.folder / "journal", table)
        try:
            whole = (
                self.text_path(table.text_id).stat().st_size >= table.text_bytes
                and self.ends_path(table.text_id).stat().st_size >= table.ends_count * 4
            )
        except OSError:
            return None
        return table if whole else None

    def create(self) -> tuple[str, Writer]:
        """Begin new files. The caller holds the lock."""
        text_id = f"{int(time.time() * 1000):x}{secrets.token_hex(4)}"
        text = open(self.text_path(text_id), "xb", buffering=0, opener=_private)  # noqa: SIM115
        ends = open(self.ends_path(text_id), "xb", buffering=0, opener=_private)  # noqa: SIM115
        return text_id, Writer(text, ends, 0, 0)

    def extend(self, table: Table) -> Writer:
        """Go on behind what `table` names. The caller holds the lock."""
        text = truncate(self.text_path(table.text_id), table.text_bytes)
        ends = truncate(self.ends_path(table.text_id), table.ends_count * 4)
        return Writer(text, ends, table.text_bytes, table.ends_count)

    def commit(self, table: Table, places: Sequence[int] | None = None) -> Table:
        """Put a table in force and remove what it does not name. The caller holds the lock.

        Where only the rows at `places` differ from the table in force, they may be all that is
        written.
        """
        table.facts["boot"] = boot_id()
        if places is not None and journal.fits(table, places):
            return journal.append(self.folder / "journal", table, places)
        table = replace(table, id=secrets.token_hex(8), journal_bytes=0)
        fresh = self.folder / f"table.{secrets.token_hex(4)}.new"
        try:
            with open(fresh, "xb", buffering=0, opener=_private) as file:
                write(file, memoryview(tables.dump(table)))
            os.replace(fresh, self.folder / "table")
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        for other in os.scandir(self.folder):
            stale = other.name.endswith((".text", ".ends", ".new")) or other.name == "journal"
            if stale and not other.name.startswith(table.text_id):
                with contextlib.suppress(OSError):
                    os.unlink(other.path)
        return table

    def discard(self, text_id: str) -> None:
        """Delete files that no table names."""
        for path in (self.text_path(text_id), self.ends_path(text_id)):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def touch(self) -> None:
        """Note that this corpus was used now."""
        with contextlib.suppress(OSError):
            os.utime(self.folder)


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner may read, whatever the umask is."""
    return os.open(path, flags, 0o600)


def boot_id() -> str:
    """Return an id of this boot of the machine, or an empty string where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def evict(packed: Path, keep: Path, limit_bytes: int = LIMIT_BYTES) -> list[Path]:
    """Delete the least lately used corpora until the rest is within the limit; never `keep`.

    Texts of processes that are gone are deleted first. A server that has a deleted corpus open
    goes on with its files, and packs anew at the next change.
    """
    known: list[tuple[bool, float, int, Path]] = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(packed):
            with contextlib.suppress(OSError):
                size = sum(file.stat().st_size for file in os.scandir(entry.path))
                orphan = not _owned(entry.name)
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


def _owned(name: str) -> bool:
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


def _take(lock: BinaryIO) -> bool:
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


def _give(lock: BinaryIO) -> None:
    if os.name == "nt":
        import msvcrt

        lock.seek(0)
        msvcrt.locking(lock.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]
