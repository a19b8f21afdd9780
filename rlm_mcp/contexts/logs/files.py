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
from typing import IO, Any

from rlm_mcp.confine import Confine
from rlm_mcp.contexts.logs import times
from rlm_mcp.corpus.big import Big
from rlm_mcp.corpus.files import TOLD_BY, utf16
from rlm_mcp.errors import Unavailable

MAX_PLAIN = 2 << 30
"""Bytes that one packed file may unpack to; the rest is left out, and said."""
MAX_SPILLED = 8 << 30
"""Bytes of unpacked files that the cache keeps; the least lately used go first."""
SAMPLE = 64 << 10
NEAR = 4 << 10
"""Bytes within which a time is looked for line by line."""
_PACKED = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst"}
_ROTATED = re.compile(r"(?P<base>.*?)(?:[.-](?P<number>\d{1,3})|[.-](?P<date>\d{8}(?:[-.T]?\d+)?))?"
                      r"(?P<end>\.(?:gz|bz2|xz|zst))?\Z")  # fmt: skip


@dataclass(slots=True)
class LogFile:
    """One open log; `name` is its path in refs."""

    name: str
    path: Path
    big: Big
    format: times.Format | None
    share: float
    """The share of sampled lines that have a time in this format."""
    year: int
    identity: tuple[int, int]
    spilled: bool
    notes: tuple[str, ...] = ()
    _ends: tuple[float | None, float | None] | None = field(default=None)
    _rising: bool | None = field(default=None)

    def moment(self, line: bytes) -> float | None:
        """Return the time of a line of this file."""
        return times.moment(self.format, line, self.year)

    def span(self) -> tuple[float | None, float | None]:
        """Return the times of the first and the last line that have one."""
        if self._ends is None:
            first = next(self.stamped(0, min(self.big.size, 1 << 20), SAMPLE), None)
            last = None
            start = self.big.next_line(max(0, self.big.size - SAMPLE))
            for _, when, _ in self.stamped(start, self.big.size, SAMPLE):
                last = when
            self._ends = (first[1] if first else None, last)
        return self._ends

    def in_order(self) -> bool:
        """Say whether times rise through the file, as far as 64 probes show."""
        if self._rising is None:
            step = max(1, self.big.size // 64)
            probes = range(0, self.big.size, step)
            moments = []
            for probe in probes:
                start = self.big.next_line(probe)
                found = next(self.stamped(start, min(self.big.size, start + SAMPLE), NEAR), None)
                if found is not None:
                    moments.append(found[1])
            self._rising = all(a <= b + 1.0 for a, b in pairwise(moments))
        return self._rising

    def stamped(
        self, start: int, end: int, step: int = 1 << 20
    ) -> Iterator[tuple[int, float, bytes]]:
        """Give (offset, time, start of the line) of the lines with a time in a span."""
        for offset, data in self.big.blocks(start, end, step):
            at = 0
            for line in data.split(b"\n"):
                head = line[: times.HEAD]
                when = self.moment(head)
                if when is not None:
                    yield offset + at, when, head
                at += len(line) + 1

    def seek(self, when: float) -> int:
        """Return where the first line at `when` or later starts, by bisection."""
        low, high = 0, self.big.size
        while high - low > NEAR:
            middle = (low + high) // 2
            start = self.big.next_line(middle)
            found = next(self.stamped(start, min(high, start + SAMPLE), NEAR), None)
            if found is None or found[1] >= when:
                high = middle
            else:
                low = found[0]
        for offset, found_at, _ in self.stamped(low, self.big.size, SAMPLE):
            if found_at >= when:
                return offset
        return self.big.size

    def refresh(self) -> bool:
        """Take over what was appended; raises Unavailable where the file is another one now."""
        if self.spilled:
            return False
        try:
            now = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False  # rotated away: what is open stays readable
        if (now.st_dev, now.st_ino) != self.identity or now.st_size < self.big.size:
            raise Unavailable(f"{self.name} was rotated or cut; opening it again.")
        if now.st_size == self.big.size:
            return False
        self.big.grow(now.st_size)
        self._ends = None
        return True

    def close(self) -> None:
        os.close(self.big.fd)


def open_file(path: Path, name: str, confine: Confine, cache: Path) -> LogFile:
    """Open one log file. Raises Denied, BadRequest, Unavailable."""
    fd = confine.open(path)
    try:
        info = os.fstat(fd)
        head = os.pread(fd, TOLD_BY, 0)
        notes: tuple[str, ...] = ()
        packed = next((kind for mark, kind in _PACKED.items() if head.startswith(mark)), "")
        encoding = utf16(head)
        if packed or encoding:
            plain, notes = _spill(fd, info, name, packed, encoding, cache)
            os.close(fd)
            fd = plain
    except BaseException:
        os.close(fd)
        raise
    big = Big(fd, os.fstat(fd).st_size)
    lines = _sample(big)
    known, share = times.detect(lines)
    year = datetime.fromtimestamp(info.st_mtime, UTC).year
    spilled = bool(packed or encoding)
    return LogFile(name, path, big, known, share, year, (info.st_dev, info.st_ino), spilled, notes)


def ordered(paths: Sequence[Path]) -> list[Path]:
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


def _sample(big: Big) -> list[bytes]:
    """Return some lines from the start, the middle and the end."""
    lines: list[bytes] = []
    for start in (0, big.size // 2, max(0, big.size - SAMPLE)):
        data = big.read(big.next_line(start), start + SAMPLE)
        lines += [line for line in data.split(b"\n")[:70] if line.strip()]
    return lines


def _spill(
    fd: int, info: os.stat_result, name: str, packed: str, encoding: str, cache: Path
) -> tuple[int, tuple[str, ...]]:
    """Write a packed file's plain bytes into the cache, once; return it opened."""
    key = f"{info.st_dev} {info.st_ino} {info.st_size} {info.st_mtime_ns} {packed} {encoding}"
    folder = cache / "unpacked"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / (hashlib.sha256(key.encode()).hexdigest()[:32] + ".log")
    notes: tuple[str, ...] = ()
    if not target.exists():
        part = target.with_suffix(f".{os.getpid()}")
        try:
            whole = _unpack(fd, part, name, packed, encoding)
            if whole:
                os.replace(part, target)
                _evict(folder, target)
            else:
                notes = (f"Only the first {MAX_PLAIN:,} bytes of {name} were unpacked.",)
            return os.open(target if whole else part, os.O_RDONLY), notes
        finally:
            part.unlink(missing_ok=True)
    os.utime(target)
    return os.open(target, os.O_RDONLY), notes


def _unpack(fd: int, part: Path, name: str, packed: str, encoding: str) -> bool:
    """Write plain bytes up to the limit; say whether that was everything."""
    written = 0
    decoder = codecs.getincrementaldecoder(encoding)("replace") if encoding else None
    with os.fdopen(os.dup(fd), "rb") as raw, open(part, "wb") as out:
        raw.seek(0)
        try:
            source = _reader(raw, packed, name)
            while block := source.read(1 << 20):
                if decoder is not None:
                    block = decoder.decode(block).lstrip("\ufeff").encode()
                if written + len(block) > MAX_PLAIN:
                    out.write(block[: MAX_PLAIN - written])
                    return False
                out.write(block)
                written += len(block)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            if not written:
                raise Unavailable(f"{name} cannot be unpacked: {error}.") from None
            out.write(f"\n[{name} is broken here: {error}]\n".encode())
    return True


def _reader(raw: IO[bytes], packed: str, name: str) -> Any:
    if packed == "gz":
        return gzip.GzipFile(fileobj=raw)
    if packed == "bz2":
        return bz2.BZ2File(raw)
    if packed == "xz":
        return lzma.LZMAFile(raw)
    return _zstd(raw, name) if packed == "zst" else raw


def _zstd(raw: IO[bytes], name: str) -> Any:
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


def _evict(folder: Path, keep: Path) -> None:
    """Delete the least lately used unpacked files above the limit; open ones stay readable."""
    try:
        found = sorted((entry.stat().st_mtime, entry.stat().st_size, entry.path)
                       for entry in os.scandir(folder))  # fmt: skip
        total = sum(size for _, size, _ in found)
        for _, size, path in found:
            if total <= MAX_SPILLED or path == os.fspath(keep):
                continue
            os.unlink(path)
            total -= size
    except OSError:
        return  # another process is clearing up as well
