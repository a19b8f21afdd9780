"""What people ask of logs: by time, by level, by template, before and after.

Every answer counts all it is about, gives refs, and says where a time limit cut it short.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping

from rlm_mcp.contexts.logs import templates as mining
from rlm_mcp.contexts.logs import times
from rlm_mcp.contexts.logs.files import LogFile
from rlm_mcp.contexts.logs.opened import Opened
from rlm_mcp.contexts.logs.records import records
from rlm_mcp.contexts.variable import Method
from rlm_mcp.corpus import sift
from rlm_mcp.errors import BadRequest
from rlm_mcp.refs import Lines, Ref

WORK_S = 20.0
"""Seconds that one question may take."""
TEXT = 2_000
"""Characters of a record that a row shows."""
BUCKETS = 30
PIECE = 1 << 20
"""Bytes of one piece of a sample."""
STEPS = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 86400, 7 * 86400)
NAMED = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}

Row = dict[str, object]


class Asked:
    """The questions, over the open files of one variable."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    @property
    def methods(self) -> Mapping[str, Method]:
        return {
            "files": self.files,
            "at": self.at,
            "select": self.select,
            "histogram": self.histogram,
            "templates": self.templates,
            "compare": self.compare,
            "follow": self.follow,
            "first_error": self.first_error,
        }

    def files(self) -> list[Row]:
        """files() -> each log with its format, span, bytes"""
        rows: list[Row] = []
        for file in self._opened.files:
            first, last = file.span()
            rows.append(
                {
                    "ref": str(Ref(self._opened.name, file.name)),
                    "format": file.format.name if file.format else "plain",
                    "timed_share": round(file.share, 3),
                    "from": times.show(first) if first is not None else "",
                    "to": times.show(last) if last is not None else "",
                    "bytes": file.big.size,
                }
            )
        return rows

    def at(self, time: str, path: str = "") -> list[Row]:
        """at("2026-03-14T09:30") -> the first line at that time or later, in each log"""
        when = times.wish(time, self._last())
        rows = []
        for file in self._timed(path):
            offset = file.seek(when)
            if offset < file.big.size:
                rows.append(self._row(file, offset))
        return sorted(rows, key=lambda row: str(row["time"]))

    def select(
        self, level: str = "", since: str = "", until: str = "", pattern: str = "",
        path: str = "", limit: int = 50,
    ) -> Row:  # fmt: skip
        """select(level="", since="", until="", pattern="", path="", limit=50) -> records"""
        wanted = times.at_least(level) if level else frozenset()
        gated = sift.compiled(pattern) if pattern else None
        total = 0
        levelled = False
        kept: list[tuple[LogFile, int, bytes]] = []
        deadline = time.monotonic() + WORK_S
        whole = True
        for file, start, end in self._ranges(since, until, path):
            for offset, record in records(file, start, end):
                if total % 256 == 0 and time.monotonic() > deadline:
                    whole = False
                    break
                if wanted:
                    level_of = times.level(record)
                    levelled = levelled or bool(level_of)
                    if level_of not in wanted:
                        continue
                if gated is not None and gated.regex.search(record) is None:
                    continue
                total += 1
                if len(kept) < limit:
                    kept.append((file, offset, record))
        rows = [self._row(*found) for found in kept]
        said = self._left_out(since or until, path) + _no_level(bool(wanted) and not levelled)
        return {"total": total, "records": rows, "note": (said + note(whole)).strip()}

    def histogram(
        self, by: str = "auto", since: str = "", until: str = "", level: str = "", path: str = ""
    ) -> Row:
        """histogram(by="auto", since="", until="", level="", path="") -> records per time slot"""
        wanted = times.at_least(level) if level else frozenset()
        step = self._step(by, since, until)
        slots: dict[int, Counter[str]] = {}
        firsts: dict[int, tuple[LogFile, int]] = {}
        deadline = time.monotonic() + WORK_S
        whole, levelled = True, False
        for file, start, end in self._ranges(since, until, path):
            for count, (offset, when, head) in enumerate(file.stamped(start, end)):
                if count % 4096 == 0 and time.monotonic() > deadline:
                    whole = False
                    break
                kind = times.level(head)
                levelled = levelled or bool(kind)
                if not wanted or kind in wanted:
                    place = int(when // step)
                    slot = slots.setdefault(place, Counter())
                    firsts.setdefault(place, (file, offset))
                    slot["records"] += 1
                    slot[kind or "no level"] += 1
        rows = [
            {"time": times.show(slot * step), "ref": self.ref(*firsts[slot]), **dict(counts)}
            for slot, counts in sorted(slots.items())
        ]
        total = sum(counts["records"] for counts in slots.values())
        said = self._left_out("always", path) + _no_level(bool(wanted) and not levelled)
        return {
            "total": total,
            "step_seconds": step,
            "slots": rows,
            "note": (said + note(whole)).strip(),
        }

    def templates(
        self, level: str = "", since: str = "", until: str = "", top: int = 20, rare: bool = False,
        path: str = "",
    ) -> Row:  # fmt: skip
        """templates(level="", since="", until="", top=20, rare=False, path="") -> forms of lines"""
        found, total, whole = self.mine(since, until, path)
        wanted = times.at_least(level) if level else frozenset()
        chosen = [item for item in found if not wanted or item.level in wanted]
        shown = sorted(chosen, key=lambda item: (item.count, item.first)) if rare else chosen
        rows = [self._template(item) for item in shown[: max(0, top)]]
        lines = sum(item.count for item in chosen)
        return {
            "total": len(chosen),
            "lines": lines,
            "of_lines": total,
            "templates": rows,
            "note": "Grouped approximately, parameters as <*>." + note(whole),
        }

    def compare(
        self, before: str = "", after: str = "", at: str = "", window: str = "", top: int = 20
    ) -> Row:
        """compare(at="09:30", window="15m") or compare(before="run_a.log", after="run_b.log")"""
        if at:
            when = times.wish(at, self._last())
            size = self._last() - times.wish(window, self._last()) if window else 0.0
            start = times.show(when - size) if size else ""
            end = times.show(when + size) if size else ""
            old, old_lines, one = self.mine(start, times.show(when), "")
            new, new_lines, two = self.mine(times.show(when), end, "")
        elif before and after:
            old, old_lines, one = self.mine("", "", before)
            new, new_lines, two = self.mine("", "", after)
        else:
            raise BadRequest("compare: give at=<time>, or before=<log> and after=<log>.")
        rows = []
        known = {item.text: item for item in [*old, *new]}
        for text, was, now in mining.changes(old, new):
            expected = (was + 0.5) / max(1, old_lines) * max(1, new_lines)
            ratio = (now + 0.5) / max(expected, 1e-9)
            state = "new" if not was else "gone" if not now else "rate"
            row = {"state": state, "before": was, "after": now, "ratio": round(ratio, 2)}
            rows.append({**row, **self._template(known[text])})
        rows.sort(key=lambda row: _surprise(row, old_lines, new_lines), reverse=True)
        return {
            "lines_before": old_lines,
            "lines_after": new_lines,
            "total": len(rows),
            "changes": rows[: max(0, top)],
            "note": "Grouped approximately, parameters as <*>." + note(one and two),
        }

    def follow(self, id: str, limit: int = 100) -> Row:
        """follow("req-123", limit=100) -> every line with an id over all logs, by time"""
        gated = sift.compiled(id, literal=True)
        deadline = time.monotonic() + WORK_S
        found: list[tuple[float, int, LogFile, int]] = []
        total = 0
        whole = True
        for number, file in enumerate(self._opened.files):
            scanned = sift.scan(file.big, gated, 0, file.big.size, 10_000, 0, deadline)
            total += scanned.total
            whole = whole and scanned.whole
            for offset in scanned.starts:
                when = file.moment(file.big.line_at(offset, times.HEAD))
                found.append((float("inf") if when is None else when, number, file, offset))
        found.sort(key=lambda item: (item[0], item[1], item[3]))
        rows = [self._row(file, offset) for _, _, file, offset in found[: max(0, limit)]]
        return {"total": total, "records": rows, "note": note(whole)}

    def first_error(self, since: str = "", path: str = "", before: int = 20) -> Row:
        """first_error(since="", path="", before=20) -> the first error, and what led to it"""
        best: tuple[float, LogFile, int, bytes] | None = None
        levelled = False
        for file, start, end in self._ranges(since, "", path):
            for offset, record in records(file, start, end):
                level = times.level(record)
                levelled = levelled or bool(level)
                if level in ("error", "fatal"):
                    when = file.moment(record)
                    key = float("inf") if when is None else when
                    if best is None or key < best[0]:
                        best = (key, file, offset, record)
                    break
        said = (self._left_out(since, path) + _no_level(not levelled)).strip()
        if best is None:
            return {"total": 0, "record": None, "before": "", "note": said}
        _, file, offset, record = best
        line = file.big.line_of(offset)
        first = max(1, line - max(0, before))
        led = file.big.line_bytes(first, line - 1) if line > first else []
        text = "\n".join(raw.decode("utf-8", "replace")[:300] for raw in led)
        row = self._row(file, offset, record)
        return {"total": 1, "record": row, "before": text, "note": said}

    def _timed(self, path: str) -> list[LogFile]:
        chosen = self._opened.chosen(Ref(self._opened.name, path))
        return [file for file in chosen if file.format is not None]

    def _last(self) -> float:
        known = [last for file in self._opened.files if (last := file.span()[1]) is not None]
        return max(known, default=time.time())

    def _ranges(self, since: str, until: str, path: str) -> Iterator[tuple[LogFile, int, int]]:
        """Give the span of bytes of each log that lies between two times."""
        if not since and not until:
            for file in self._opened.chosen(Ref(self._opened.name, path)):
                yield file, 0, file.big.size
            return
        first = times.wish(since, self._last()) if since else None
        last = times.wish(until, self._last()) if until else None
        for file in self._timed(path):
            start = 0 if first is None else file.seek(first)
            end = file.big.size if last is None else file.seek(last)
            if start < end:
                yield file, start, end

    def _step(self, by: str, since: str, until: str) -> int:
        if by in NAMED:
            return NAMED[by]
        if by != "auto":
            raise BadRequest(f"histogram: by is auto, {', '.join(NAMED)}, not {by!r}.")
        known = [moment for file in self._opened.files for moment in file.span() if moment]
        if not known:
            return 60
        first = times.wish(since, max(known)) if since else min(known)
        last = times.wish(until, max(known)) if until else max(known)
        return next((step for step in STEPS if (last - first) / step <= BUCKETS), STEPS[-1])

    def mine(
        self, since: str, until: str, path: str, most: int = 0
    ) -> tuple[list[mining.Template], int, bool]:
        """Return the templates of the lines between two times, all lines, and if time sufficed.

        With `most`, of at most about so many bytes, taken evenly from everywhere.
        """
        numbers = {id(file): number for number, file in enumerate(self._opened.files)}
        ranges = list(self._ranges(since, until, path))
        size = sum(end - start for _, start, end in ranges)
        part = most / size if most and size > most else 1.0

        def parts() -> Iterator[tuple[int, int, bytes]]:
            for file, start, end in ranges:
                for first, last in _evenly(start, end, part):
                    first, last = file.big.next_line(first), file.big.next_line(last)
                    for offset, data in file.big.blocks(first, min(end, last)):
                        yield numbers[id(file)], offset, data

        return mining.mine(parts(), time.monotonic() + WORK_S)

    def slots(self, path: str) -> list[Row]:
        """Return the bytes of each time slot, found by bisection without reading the logs."""
        step = self._step("auto", "", "")
        slots: dict[int, list[tuple[LogFile, int, int]]] = {}
        for file in self._timed(path):
            first, last = file.span()
            if first is None or last is None:
                continue
            start = 0
            for slot in range(int(first // step), int(last // step) + 1)[: BUCKETS + 1]:
                end = file.seek((slot + 1) * step)
                slots.setdefault(slot, []).append((file, start, end))
                start = end
        return [
            {
                "time": times.show(slot * step),
                "ref": self.ref(parts[0][0], parts[0][1]),
                "bytes": sum(end - start for _, start, end in parts),
            }
            for slot, parts in sorted(slots.items())
        ]

    def _template(self, item: mining.Template) -> Row:
        first, last = self._opened.files[item.first[0]], self._opened.files[item.last[0]]
        return {
            "template": item.text,
            "level": item.level,
            "count": item.count,
            "first": self.ref(first, item.first[1]),
            "last": self.ref(last, item.last[1]),
            "first_time": self.time(first, item.first[1]),
            "last_time": self.time(last, item.last[1]),
        }

    def _row(self, file: LogFile, offset: int, record: bytes = b"") -> Row:
        """Return a record with its ref; without its text, the line that begins at a byte."""
        record = (record or file.big.line_at(offset, 4 * TEXT)).rstrip(b"\r\n")
        text = record.decode("utf-8", "replace")
        first = file.big.line_of(offset)
        last = first + record.count(b"\n")
        return {
            "ref": str(Ref(self._opened.name, file.name, "", Lines(first, last))),
            "time": self.time(file, offset),
            "level": times.level(record),
            "text": text[:TEXT],
            "cut": len(text) > TEXT,
        }

    def _left_out(self, timed: str, path: str) -> str:
        """Return what to say of logs that a question about times leaves out."""
        chosen = self._opened.chosen(Ref(self._opened.name, path)) if timed else []
        names = [file.name for file in chosen if file.format is None]
        if not names:
            return ""
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f" No time that is known is in {', '.join(names[:3])}{more}: left out."

    def time(self, file: LogFile, offset: int) -> str:
        """Return the time of the line that starts at a byte, or an empty string."""
        when = file.moment(file.big.line_at(offset, times.HEAD))
        return "" if when is None else times.show(when)

    def ref(self, file: LogFile, offset: int) -> str:
        """Return the ref of the line that starts at a byte."""
        line = file.big.line_of(offset)
        return str(Ref(self._opened.name, file.name, "", Lines(line, line)))


def _evenly(start: int, end: int, part: float) -> Iterator[tuple[int, int]]:
    """Give spans of PIECE bytes that make up a part of a span, at even distances."""
    if part >= 1.0:
        yield start, end
        return
    distance = int(PIECE / part)
    for place in range(start, end, distance):
        yield place, min(end, place + PIECE)


def _surprise(row: Row, old_lines: int, new_lines: int) -> float:
    """Return how much a change says: worse levels, newness, and how far counts are off."""
    was, now = float(str(row["before"])), float(str(row["after"]))
    expected = was / max(1, old_lines) * max(1, new_lines)
    off = abs(now - expected) / math.sqrt(now + expected + 1)
    weight = {"error": 3.0, "fatal": 4.0, "warn": 2.0}.get(str(row["level"]), 1.0)
    return off * weight * (2.0 if row["state"] == "new" else 1.0)


def _no_level(so: bool) -> str:
    """Return what to say where a level was asked for and no record has one."""
    return " No record has a level that is known; ask by pattern, or grep." if so else ""


def note(whole: bool) -> str:
    """Return what to say of an answer that time cut short."""
    return "" if whole else f" Stopped after {WORK_S:.0f} s; the counts are of what was read."
