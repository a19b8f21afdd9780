"""Log files as plain bytes on disk: opened safely, unpacked once, rotated sets in order.

A compressed file (gz, bz2, xz, zst) and one in UTF-16 is written as plain UTF-8 into the cache
folder, up to a limit that is said when it is met; a plain file is read where it is.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import hashlib
import importlib
import lzma
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rlm_mcp.confine import Confine
from rlm_mcp.corpus.search import select_paths
from rlm_mcp.corpus.store import LineFile
from rlm_mcp.documents import decode_utf8
from rlm_mcp.encodings import UTF16_SNIFF_BYTES, utf16_encoding
from rlm_mcp.errors import BadRequest, RlmError, Unavailable, did_you_mean
from rlm_mcp.files import private_folder
from rlm_mcp.logs import log_time
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
_ROTATED = re.compile(r"(?P<base>.*?)(?:[.-](?P<number>\d{1,3})|[.-](?P<date>\d{8}(?:[-.T]?\d+)?))?"
                      r"(?P<end>\.(?:gz|bz2|xz|zst))?\Z")  # fmt: skip


@dataclass(slots=True)
class LogFile:
    """One open log; `name` is its path in refs."""

    name: str
    path: Path
    line_file: LineFile
    format: log_time.LogTimeFormat | None
    share: float
    """The share of sampled lines that have a time in this format."""
    year: int
    identity: tuple[int, int]
    unpacked: bool
    notes: tuple[str, ...] = ()
    _ends: tuple[float | None, float | None] | None = field(default=None)
    _rising: bool | None = field(default=None)

    def line_time(self, line: bytes) -> float | None:
        """Return the time of a line of this file."""
        return log_time.parse_time(self.format, line, self.year)

    def time_span(self) -> tuple[float | None, float | None]:
        """Return the times of the first and the last line that have one."""
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
                head = line[: log_time.HEAD_BYTES]
                when = self.line_time(head)
                if when is not None:
                    yield offset + at, when, head
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
        if self.unpacked:
            return False
        try:
            now = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False  # rotated away: what is open stays readable
        if (now.st_dev, now.st_ino) != self.identity or now.st_size < self.line_file.size:
            raise Unavailable(f"{self.name} was rotated or cut; opening it again.")
        if now.st_size == self.line_file.size:
            return False
        self.line_file.grow_to(now.st_size)
        self._ends = None
        return True

    def close(self) -> None:
        os.close(self.line_file.fd)


def open_file(path: Path, name: str, confine: Confine, cache: Path) -> LogFile:
    """Open one log file. Raises Denied, BadRequest, Unavailable."""
    fd = confine.open_file(path)
    try:
        info = os.fstat(fd)
        head = os.pread(fd, UTF16_SNIFF_BYTES, 0)
        notes: tuple[str, ...] = ()
        packed = next((kind for mark, kind in _PACKED.items() if head.startswith(mark)), "")
        encoding = utf16_encoding(head)
        if packed or encoding:
            plain, notes = _unpack_to_cache(fd, info, name, packed, encoding, cache)
            os.close(fd)
            fd = plain
    except BaseException:
        os.close(fd)
        raise
    big = LineFile(fd, os.fstat(fd).st_size)
    lines = _sample_lines(big)
    known, share = log_time.detect_format(lines)
    year = datetime.fromtimestamp(info.st_mtime, UTC).year
    spilled = bool(packed or encoding)
    return LogFile(name, path, big, known, share, year, (info.st_dev, info.st_ino), spilled, notes)


def rotation_order(paths: Sequence[Path]) -> list[Path]:
    """Return log files with each rotated set together, oldest first."""

    def key(path: Path) -> tuple[str, int, str, int]:
        match = _ROTATED.match(path.name)
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
    lines: list[bytes] = []
    for start in (0, big.size // 2, max(0, big.size - SAMPLE_BYTES)):
        data = big.read_span(big.next_line(start), start + SAMPLE_BYTES)
        lines += [line for line in data.split(b"\n")[:70] if line.strip()]
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
            whole = _write_unpacked(fd, part, name, packed, encoding)
            if whole:
                os.replace(part, target)
                _evict_unpacked(folder, target)
            else:
                notes = (f"Only the first {MAX_UNPACKED_BYTES:,} bytes of {name} were unpacked.",)
            return os.open(target if whole else part, os.O_RDONLY), notes
        finally:
            part.unlink(missing_ok=True)
    os.utime(target)
    return os.open(target, os.O_RDONLY), notes


def _write_unpacked(fd: int, part: Path, name: str, packed: str, encoding: str) -> bool:
    """Write plain bytes up to the limit; say whether that was everything."""
    written = 0
    decoder = codecs.getincrementaldecoder(encoding)("replace") if encoding else None
    with os.fdopen(os.dup(fd), "rb") as raw, open(part, "wb") as out:
        raw.seek(0)
        try:
            source = _open_packed(raw, packed, name)
            while block := source.read(1 << 20):
                if decoder is not None:
                    block = decoder.decode(block).lstrip("\ufeff").encode()
                if written + len(block) > MAX_UNPACKED_BYTES:
                    out.write(block[: MAX_UNPACKED_BYTES - written])
                    return False
                out.write(block)
                written += len(block)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            if not written:
                raise Unavailable(f"{name} cannot be unpacked: {error}.") from None
            out.write(f"\n[{name} is broken here: {error}]\n".encode())
    return True


def _open_packed(raw: IO[bytes], packed: str, name: str) -> Any:
    if packed == "gz":
        return gzip.GzipFile(fileobj=raw)
    if packed == "bz2":
        return bz2.BZ2File(raw)
    if packed == "xz":
        return lzma.LZMAFile(raw)
    return _open_zstd(raw, name) if packed == "zst" else raw


def _open_zstd(raw: IO[bytes], name: str) -> Any:
    try:
        return importlib.import_module("compression.zstd").ZstdFile(raw)  # Python 3.14
    except ImportError:
        pass
    try:
        import zstandard  # an extra: pip install rlm-mcp[zstd]
    except ImportError:
        raise Unavailable(
            f"{name} is packed with zstd; install rlm-mcp[zstd], or unpack it first."
        ) from None
    return zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)


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


class OpenLogs:
    """Log files, oldest first. The caller sees to it that one thread at a time refreshes them."""

    def __init__(self, paths: Sequence[Path], name: str, settings: Settings, cache: Path) -> None:
        self.name = name
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
        try:
            return sum(file.refresh() for file in self.files) > 0
        except Unavailable:
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
                files.append(open_file(path, name, self._confine, self._cache))
            except RlmError as error:
                failed.append(error)
        if not files:
            raise failed[0]
        self.files = files
        self.open_errors = tuple(str(error) for error in failed)
