"""Log files as plain bytes on disk: opened safely, unpacked once, rotated sets in order.

A compressed file (gz, bz2, xz, zst) and one in UTF-16 is written as plain UTF-8 into the cache
folder, up to a limit that is said when it is met; a plain file is read where it is.
"""

from __future__ import annotations

import bz2
import codecs
import hashlib
import lzma
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import tzinfo
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import zstandard

from rlm_mcp.confine import Confine
from rlm_mcp.corpus.search import select_paths
from rlm_mcp.corpus.store import LineFile
from rlm_mcp.documents import decode_utf8
from rlm_mcp.encodings import UTF16_SNIFF_BYTES, utf16_encoding
from rlm_mcp.errors import BadRequest, RlmError, Unavailable, did_you_mean
from rlm_mcp.files import private_folder
from rlm_mcp.logs import log_time
from rlm_mcp.logs.detect import ROTATED
from rlm_mcp.logs.log_formats import (
    BLANK,
    BRACE,
    MATCH,
    PLAIN,
    Detected,
    LineHead,
    LogFormat,
    ReadHead,
    Unwrap,
    clean_line,
    detect_format,
)
from rlm_mcp.logs.log_time import Clock
from rlm_mcp.refs import LineSpan, Ref
from rlm_mcp.variable import ContextHit

if TYPE_CHECKING:
    from rlm_mcp.config import Settings


MAX_UNPACKED_BYTES = 2 << 30
"""Bytes that one packed file may unpack to; the rest is left out, and said."""
MAX_CACHED_BYTES = 8 << 30
"""Bytes of unpacked files that the cache keeps; the least lately used go first."""
SAMPLE_BYTES = 64 << 10
NEAR_BYTES = 4 << 10
"""Bytes within which a time is looked for line by line."""
_PACKED = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst"}


MAX_INDEXED_BYTES = 64 << 20
"""Bytes of a log up to which all its times are read before a question about times."""
MARK_BYTES = 256
"""Last bytes of a file that are compared before it is taken to have grown."""


MAX_RECORD_BYTES = 65_536
"""Bytes of one record that are looked at."""
INDEX_BLOCK_BYTES = 256 << 10
"""Bytes of a block whose least and greatest time are kept."""


class LogRecord(NamedTuple):
    """One record: its lines are those between two bytes, blank ones too."""

    start: int
    end: int
    time: float | None
    level: str
    text: bytes
    """Its lines without the last newline, at most MAX_RECORD_BYTES of them; joined where a
    container's output was cut in parts."""
    parts: int = 1
    """Lines of a container that were joined."""
    is_header: bool = False
    """Whether it is no record but a line about the log, as W3C writes them."""
    stamp: bytes = b""
    """The time of a container's line as it is written, to the nanosecond."""


def iter_records(file: LogFile, start: int, end: int) -> Iterator[LogRecord]:
    """Give the records of a span; each line belongs to exactly one of them.

    Lines before the first record are one without a time. In a file without times a record is a
    line and what continues it.
    """
    found = _iter_lines(file, start, end)
    unwrap = file.format.unwrap
    return found if unwrap is None else _join_parts(found, unwrap)


def _iter_lines(file: LogFile, start: int, end: int) -> Iterator[LogRecord]:
    mode = file.format.starts
    first, size = start, 0
    parts: list[bytes] = []
    head = LineHead(None, "")
    blank = False
    at = start
    readers, clock = [known.read_head for known in file.detected.formats], file.clock
    for block, data in file.line_file.line_blocks(start, end, 1 << 20):
        at = block
        lines = data.split(b"\n")
        if data[-1:] == b"\n":
            lines.pop()
        marked = b"\x1b" in data or b"\r" in data or block == 0
        for line in lines:
            if mode == BLANK:
                found = LineHead(None, "") if blank and line.strip() else None
                blank = not line.strip()
            elif mode == BRACE:
                found = LineHead(None, "") if line[:1] == b"{" else None
            else:
                found = file.read_head(line) if marked else _first_head(readers, line, clock)
                if found is None and line[:1] == b"#" and file.format.name == "w3c":
                    found = LineHead(None, "")
            if found is not None:
                if at > first:
                    yield _make_record(file, first, at, head, parts)
                first, parts, size, head = at, [], 0, found
            if size < MAX_RECORD_BYTES:
                parts.append(line[: MAX_RECORD_BYTES - size])
                size += len(line) + 1
            at += len(line) + 1
    at = min(at, file.line_file.size, end)
    if at > first:
        yield _make_record(file, first, at, head, parts)


def _first_head(readers: Sequence[ReadHead], line: bytes, clock: Clock) -> LineHead | None:
    for read_head in readers:
        if (head := read_head(line, clock)) is not None:
            return head
    return None


def _make_record(
    file: LogFile, first: int, at: int, head: LineHead, parts: list[bytes]
) -> LogRecord:
    text = b"\n".join(parts)
    if file.format.starts != MATCH:
        head = file.format.read_head(clean_line(text), file.clock) or head
    header = file.format.name == "w3c" and head.time is None
    return LogRecord(first, at, head.time, head.level, text, 1, header)


def _join_parts(found: Iterator[LogRecord], unwrap: Unwrap) -> Iterator[LogRecord]:
    """Join the parts of a container's lines, by stream, or where they are of one moment."""
    waiting: dict[str, LogRecord] = {}
    for record in found:
        first, newline, rest = record.text.partition(b"\n")
        inner, stream, goes_on = unwrap(clean_line(first))
        stamp = first.partition(b" ")[0]
        key = stream
        if key not in waiting:
            same = (k for k, part in waiting.items() if part.stamp == stamp)
            key = next(same, stream)
        before = waiting.pop(key, None)
        record = record._replace(text=inner + newline + rest, stamp=stamp)
        if before is not None:
            record = LogRecord(
                before.start, record.end, before.time, before.level or record.level,
                (before.text + record.text)[:MAX_RECORD_BYTES], before.parts + 1, False,
                before.stamp,
            )  # fmt: skip
        if goes_on:
            waiting[key] = record
        else:
            yield record
    yield from waiting.values()


@dataclass(frozen=True, slots=True)
class TimeIndex:
    """All times of one log, in blocks."""

    size: int
    blocks: tuple[tuple[int, int, float, float], ...]
    """Start, end, least and greatest time of each block that has any."""
    records: int
    late: int
    """Records whose time is before that of one above them."""
    untimed: int
    headers: int
    """Lines that are about the log, and no records."""

    @property
    def first(self) -> float | None:
        return min((block[2] for block in self.blocks), default=None)

    @property
    def last(self) -> float | None:
        return max((block[3] for block in self.blocks), default=None)

    @classmethod
    def read_file(cls, file: LogFile) -> TimeIndex:
        """Read a whole log."""
        size = file.line_file.size
        blocks: list[tuple[int, int, float, float]] = []
        records = late = untimed = headers = 0
        greatest = -inf
        start, low, high, end = 0, inf, -inf, 0
        for record in iter_records(file, 0, size):
            headers += record.is_header
            records += not record.is_header
            end = record.end
            if record.is_header:
                continue
            if record.time is None:
                untimed += 1
            else:
                late += record.time < greatest
                greatest = max(greatest, record.time)
                low, high = min(low, record.time), max(high, record.time)
            if end - start >= INDEX_BLOCK_BYTES:
                if low <= high:
                    blocks.append((start, end, low, high))
                start, low, high = end, inf, -inf
        if low <= high:
            blocks.append((start, end, low, high))
        return cls(size, tuple(blocks), records, late, untimed, headers)


@dataclass(slots=True)
class LogFile:
    """One open log; `name` is its path in refs."""

    name: str
    path: Path
    line_file: LineFile
    detected: Detected
    clock: Clock
    identity: tuple[int, int]
    unpacked: bool
    notes: tuple[str, ...] = ()
    packed_state: tuple[int, int] = (0, 0)
    """Size and time of change of a file that was unpacked."""
    mark: tuple[int, bytes] = (0, b"")
    """The place of the last bytes that were seen, and what they were."""
    _ends: tuple[float | None, float | None] | None = field(default=None)
    _rising: bool | None = field(default=None)
    _times: TimeIndex | None = field(default=None)

    @property
    def format(self) -> LogFormat:
        """The format of most of its lines."""
        return self.detected.formats[0]

    @property
    def timed(self) -> bool:
        """Whether its records have times."""
        return self.format.name != PLAIN.name

    def read_head(self, line: bytes) -> LineHead | None:
        """Return what a line says that begins a record, or None for one that begins none."""
        line = clean_line(line)
        for known in self.detected.formats:
            if (head := known.read_head(line, self.clock)) is not None:
                return head
        return None

    def line_time(self, line: bytes) -> float | None:
        """Return the time of a line of this file."""
        head = self.read_head(line)
        return None if head is None else head.time

    def show_time(self, when: float | None) -> str:
        """Return a time as it is shown: seconds since boot where the log counts those."""
        if when is None:
            return ""
        relative = self.format.style == log_time.UPTIME
        return f"boot+{when:.3f}s" if relative else log_time.format_time(when)

    def time_index(self) -> TimeIndex | None:
        """Return the least and the greatest time of each block; None for a log too large."""
        if self.line_file.size > MAX_INDEXED_BYTES:
            return None
        if self._times is None or self._times.size != self.line_file.size:
            self._times = TimeIndex.read_file(self)
        return self._times

    def time_span(self) -> tuple[float | None, float | None]:
        """Return the least and the greatest time; of a large log those of its ends."""
        if (index := self.time_index()) is not None:
            return index.first, index.last
        if self._ends is None:
            first = next(self.timed_lines(0, min(self.line_file.size, 1 << 20), SAMPLE_BYTES), None)
            last = None
            start = self.line_file.next_line(max(0, self.line_file.size - SAMPLE_BYTES))
            for _, when, _ in self.timed_lines(start, self.line_file.size, SAMPLE_BYTES):
                last = when
            self._ends = (first[1] if first else None, last)
        return self._ends

    def in_order(self) -> bool:
        """Say whether times rise through the file, as far as 64 probes show."""
        if self._rising is None:
            step = max(1, self.line_file.size // 64)
            probes = range(0, self.line_file.size, step)
            moments = []
            for probe in probes:
                start = self.line_file.next_line(probe)
                found = next(
                    self.timed_lines(
                        start, min(self.line_file.size, start + SAMPLE_BYTES), NEAR_BYTES
                    ),
                    None,
                )
                if found is not None:
                    moments.append(found[1])
            self._rising = all(a <= b + 1.0 for a, b in pairwise(moments))
        return self._rising

    def timed_lines(
        self, start: int, end: int, step: int = 1 << 20
    ) -> Iterator[tuple[int, float, bytes]]:
        """Give (offset, time, start of the line) of the lines with a time in a span."""
        for offset, data in self.line_file.line_blocks(start, end, step):
            at = 0
            for line in data.split(b"\n"):
                when = self.line_time(line)
                if when is not None:
                    yield offset + at, when, line
                at += len(line) + 1

    def seek_time(self, when: float) -> int:
        """Return where the first line at `when` or later starts, by bisection."""
        low, high = 0, self.line_file.size
        while high - low > NEAR_BYTES:
            middle = (low + high) // 2
            start = self.line_file.next_line(middle)
            found = next(self.timed_lines(start, min(high, start + SAMPLE_BYTES), NEAR_BYTES), None)
            if found is None or found[1] >= when:
                high = middle
            else:
                low = found[0]
        for offset, found_at, _ in self.timed_lines(low, self.line_file.size, SAMPLE_BYTES):
            if found_at >= when:
                return offset
        return self.line_file.size

    def refresh(self) -> bool:
        """Take over what was appended; raises Unavailable where the file is another one now."""
        try:
            now = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False  # rotated away: what is open stays readable
        if self.unpacked:
            if (now.st_size, now.st_mtime_ns) != self.packed_state:
                raise Unavailable(f"{self.name} was written anew; opening it again.")
            return False
        place, tail = self.mark
        replaced = (now.st_dev, now.st_ino) != self.identity or now.st_size < self.line_file.size
        if replaced or os.pread(self.line_file.fd, len(tail), place) != tail:
            raise Unavailable(f"{self.name} was rotated or cut; opening it again.")
        if now.st_size == self.line_file.size:
            return False
        if self.line_file.size < SAMPLE_BYTES:
            raise Unavailable(f"{self.name} has more to tell its format by; opening it again.")
        self.line_file.grow_to(now.st_size)
        self.remember_tail()
        self._ends = self._rising = None
        return True

    def remember_tail(self) -> None:
        """Remember the last bytes, by which a file that was cut and outgrew itself is told."""
        place = max(0, self.line_file.size - MARK_BYTES)
        self.mark = (place, os.pread(self.line_file.fd, self.line_file.size - place, place))

    def close(self) -> None:
        os.close(self.line_file.fd)


def open_file(path: Path, name: str, confine: Confine, cache: Path, how: LogSource) -> LogFile:
    """Open one log file. Raises Denied, BadRequest, Unavailable."""
    fd = confine.open_file(path)
    try:
        info = os.fstat(fd)
        head = os.pread(fd, SAMPLE_BYTES, 0)
        notes: tuple[str, ...] = ()
        packed = next((kind for mark, kind in _PACKED.items() if head.startswith(mark)), "")
        encoding = "" if packed else _sniff_encoding(head)
        if packed or encoding:
            plain, notes = _unpack_to_cache(fd, info, name, packed, encoding, cache)
            os.close(fd)
            fd = plain
    except BaseException:
        os.close(fd)
        raise
    big = LineFile(fd, os.fstat(fd).st_size)
    lines = _sample_lines(big)
    clock = Clock(how.latest or info.st_mtime, how.zone)
    spilled = bool(packed or encoding)
    identity = (info.st_dev, info.st_ino)
    found = LogFile(name, path, big, detect_format(lines, clock), clock, identity, spilled, notes)
    if spilled:
        found.packed_state = (info.st_size, info.st_mtime_ns)
    else:
        found.remember_tail()
    return found


def _sniff_encoding(head: bytes) -> str:
    """Return the encoding of a log that begins so, where it is UTF-16 or Latin-1; else nothing."""
    if known := utf16_encoding(head[:UTF16_SNIFF_BYTES]):
        return known
    pairs = max(1, len(head) // 2)
    for nuls, chars, encoding in (
        (head[1::2].count(0), head[::2].count(0), "utf-16-le"),
        (head[::2].count(0), head[1::2].count(0), "utf-16-be"),
    ):
        if nuls > 0.7 * pairs and chars < 0.01 * pairs:
            return encoding
    high = [byte for byte in head if byte > 0x7F]
    if not high or min(high) < 0xA0 or b"\0" in head:
        return ""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "latin-1"
    return ""


def rotation_order(paths: Sequence[Path]) -> list[Path]:
    """Return log files with each rotated set together, oldest first."""

    def key(path: Path) -> tuple[str, int, str, int]:
        match = ROTATED.match(path.name)
        assert match is not None  # everything in the pattern is optional
        base = os.fspath(path.with_name(match["base"] or path.name))
        if match["number"]:
            return base, 1, "", -int(match["number"])
        if match["date"]:
            return base, 0, match["date"], 0
        return base, 2, "", 0

    return sorted(paths, key=key)


def _sample_lines(big: LineFile) -> list[bytes]:
    """Return some lines from the start, the middle and the end."""
    if big.size <= SAMPLE_BYTES:
        return big.read_span(0, big.size).split(b"\n")[:210]
    lines: list[bytes] = []
    for start in (0, big.size // 2, max(0, big.size - SAMPLE_BYTES)):
        data = big.read_span(big.next_line(start), start + SAMPLE_BYTES)
        lines += data.split(b"\n")[:70]
    return lines


def _unpack_to_cache(
    fd: int, info: os.stat_result, name: str, packed: str, encoding: str, cache: Path
) -> tuple[int, tuple[str, ...]]:
    """Write a packed file's plain bytes into the cache, once; return it opened."""
    key = f"{info.st_dev} {info.st_ino} {info.st_size} {info.st_mtime_ns} {packed} {encoding}"
    folder = cache / "unpacked"
    private_folder(folder)
    target = folder / (hashlib.sha256(key.encode()).hexdigest()[:32] + ".log")
    notes: tuple[str, ...] = ()
    if not target.exists():
        part = target.with_suffix(f".{os.getpid()}")
        try:
            lost = _write_unpacked(fd, part, name, packed, encoding)
            whole = not lost
            if whole:
                os.replace(part, target)
                _evict_unpacked(folder, target)
            else:
                notes = (lost,)
            return os.open(target if whole else part, os.O_RDONLY), notes
        finally:
            part.unlink(missing_ok=True)
    os.utime(target)
    return os.open(target, os.O_RDONLY), notes


_UNPACK_ERRORS = (
    OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError,
)  # fmt: skip


def _write_unpacked(fd: int, part: Path, name: str, packed: str, encoding: str) -> str:
    """Write plain bytes up to the limit; return what of them is lost, or nothing."""
    written = 0
    decoder = codecs.getincrementaldecoder(encoding)("replace") if encoding else None
    with os.fdopen(os.dup(fd), "rb") as raw, open(part, "wb") as out:
        raw.seek(0)
        try:
            for block in _unpacked_blocks(raw, packed):
                if decoder is not None:
                    block = decoder.decode(block).lstrip("\ufeff").encode()
                if written + len(block) > MAX_UNPACKED_BYTES:
                    out.write(block[: MAX_UNPACKED_BYTES - written])
                    return f"Only the first {MAX_UNPACKED_BYTES:,} bytes of {name} were unpacked."
                out.write(block)
                written += len(block)
        except (
            OSError,
            EOFError,
            ValueError,
            zlib.error,
            lzma.LZMAError,
            zstandard.ZstdError,
        ) as error:
            if not written:
                raise Unavailable(f"{name} cannot be unpacked: {error}.") from None
            size = os.fstat(fd).st_size
            return (
                f"{name} is broken: {written:,} bytes could be unpacked, and what the rest of its "
                f"{size:,} packed bytes held is lost ({error})."
            )
    return ""


def _unpacked_blocks(raw: IO[bytes], packed: str) -> Iterator[bytes]:
    """Give the plain bytes of a file, all that can be decoded before an error is raised."""
    if packed == "gz":
        yield from _gunzip_blocks(raw)
        return
    source: Any = raw
    if packed == "bz2":
        source = bz2.BZ2File(raw)
    elif packed == "xz":
        source = lzma.LZMAFile(raw)  # noqa: SIM115 -- the caller closes what it reads
    elif packed == "zst":
        source = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
    while block := source.read(1 << 16 if packed else 1 << 20):
        yield block


def _gunzip_blocks(raw: IO[bytes]) -> Iterator[bytes]:
    """Give the plain bytes of gzip members; before damage, each byte that can be decoded."""
    unpacker = zlib.decompressobj(31)
    begun = False
    while chunk := raw.read(1 << 16):
        while chunk:
            if unpacker.eof:
                chunk = chunk.lstrip(b"\0")  # padding between members
                unpacker, begun = zlib.decompressobj(31), False
                continue
            begun = True
            saved = unpacker.copy()
            try:
                yield unpacker.decompress(chunk, 1 << 20)
            except zlib.error:
                for place in range(len(chunk)):
                    yield saved.decompress(chunk[place : place + 1])
                raise
            chunk = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    if begun and not unpacker.eof:
        raise EOFError("it ends before its end is marked")


def _evict_unpacked(folder: Path, keep: Path) -> None:
    """Delete the least lately used unpacked files above the limit; open ones stay readable."""
    try:
        found = sorted((entry.stat().st_mtime, entry.stat().st_size, entry.path)
                       for entry in os.scandir(folder))  # fmt: skip
        total = sum(size for _, size, _ in found)
        for _, size, path in found:
            if total <= MAX_CACHED_BYTES or path == os.fspath(keep):
                continue
            os.unlink(path)
            total -= size
    except OSError:
        return  # another process is clearing up as well


HIT_CHARS = 300
"""Characters of a line that a hit shows."""


LOOK_AGAIN_S = 1.0
"""Seconds after which new logs are looked for; at once where one was rotated."""


@dataclass(frozen=True, slots=True)
class LogSource:
    """How some logs were asked for."""

    zone: tzinfo | None = None
    """The zone of times without one."""
    latest: float = 0.0
    """The end of the last year of times without one; 0 for the last change of each file."""
    find_paths: Callable[[], Sequence[Path]] | None = None
    """Names the logs again, so that new ones are found."""
    left_out: tuple[str, ...] = ()
    """Files that were not taken for logs, with the reason."""


class OpenLogs:
    """Log files, oldest first. The caller sees to it that one thread at a time refreshes them."""

    def __init__(
        self, paths: Sequence[Path], name: str, settings: Settings, cache: Path, how: LogSource
    ) -> None:
        self.name = name
        self.how = how
        self._looked = time.monotonic()
        self.paths = rotation_order(paths)
        self.files: Sequence[LogFile] = []
        self.open_errors: tuple[str, ...] = ()
        """Why some files could not be opened."""
        self._confine = Confine(settings.roots, secrets=settings.secrets)
        self._cache = cache
        self._old: list[LogFile] = []
        self._open_files()

    def refresh(self) -> bool:
        """Take note of what was appended or rotated; return whether anything was."""
        found: Sequence[Path] = []
        try:
            if self.how.find_paths is not None and time.monotonic() > self._looked + LOOK_AGAIN_S:
                self._looked = time.monotonic()
                found = self.how.find_paths()
            if found and set(found) != set(self.paths):
                raise Unavailable(f"{self.name} has other logs now; opening them.")
            return sum(file.refresh() for file in self.files) > 0
        except Unavailable:
            if self.how.find_paths is not None and not found:
                with suppress(RlmError):  # between the names of a rotation
                    found = self.how.find_paths()
            self.paths = rotation_order(found) if found else self.paths
            self._old += self.files  # readers may still be at them
            self._open_files()
            return True

    def close(self) -> None:
        """Close every file."""
        for file in [*self.files, *self._old]:
            file.close()
        self.files, self._old = [], []

    def files_in_scope(self, scope: Ref) -> list[LogFile]:
        """Return the files that a scope names; raises BadRequest where it names none."""
        files = list(self.files)
        if not scope.path or scope.path == "/":
            return files
        names = [file.name for file in files]
        wanted = {scope.path} if scope.path in names else set(select_paths(names, scope.path))
        if not wanted:
            hint = did_you_mean(scope.path, names)
            raise BadRequest(f"{self.name} has no log {scope.path!r}.{hint}")
        return [file for file in files if file.name in wanted]

    def line_hit(self, file: LogFile, at: int) -> ContextHit:
        """Return the line that starts at a byte of a file, with its ref."""
        text = decode_utf8(file.line_file.line_at(at, 4096)).rstrip("\r")
        line = file.line_file.line_number(at)
        ref = str(Ref(self.name, file.name, "", LineSpan(line, line)))
        return ContextHit(ref, file.name, line, text[:HIT_CHARS], cut=len(text) > HIT_CHARS)

    def _open_files(self) -> None:
        """Open every file of the set; one that cannot be had is named in `failed`."""
        base = Path(os.path.commonpath([path.parent for path in self.paths]))
        files: list[LogFile] = []
        failed: list[RlmError] = []
        for path in self.paths:
            name = path.relative_to(base).as_posix()
            try:
                files.append(open_file(path, name, self._confine, self._cache, self.how))
            except RlmError as error:
                failed.append(error)
        if not files:
            raise failed[0]
        self.files = files
        self.open_errors = tuple(str(error) for error in failed)
