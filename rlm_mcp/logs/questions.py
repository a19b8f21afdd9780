"""What people ask of logs: by time, by level, by template, before and after.

Every answer counts all it is about, gives refs, and says where a time limit cut it short.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rlm_mcp.corpus.search import compile_line_pattern, scan_file
from rlm_mcp.errors import BadRequest
from rlm_mcp.logs import log_time
from rlm_mcp.logs import templates as mining
from rlm_mcp.logs.log_time import HEAD_BYTES
from rlm_mcp.refs import LineSpan, Ref

if TYPE_CHECKING:
    from rlm_mcp.logs.log_files import LogFile, OpenLogs
    from rlm_mcp.methods import Method


MAX_RECORD_BYTES = 65_536
"""Bytes of one record that are looked at."""


def iter_records(file: LogFile, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Give (offset, text) of each record, at most MAX_RECORD bytes of it.

    In a file without times every line is a record. Lines before the first time belong to none.
    """
    timed = file.format is not None
    offset, parts, size = -1, [b""], 0
    for block, data in file.line_file.line_blocks(start, end, 1 << 20):
        at = block
        for line in data.split(b"\n"):
            if (not timed and line) or (timed and file.line_time(line[:HEAD_BYTES]) is not None):
                if offset >= 0:
                    yield offset, b"\n".join(parts)
                offset, parts, size = at, [line[:MAX_RECORD_BYTES]], len(line)
            elif timed and line and size < MAX_RECORD_BYTES:
                parts.append(line[: MAX_RECORD_BYTES - size])
                size += len(line)
            at += len(line) + 1
    if offset >= 0:
        yield offset, b"\n".join(parts)


def literal_pattern(text: str) -> str:
    """Return a pattern that matches a text as it is."""
    return "".join(char if char.isalnum() else f"\\x{{{ord(char):x}}}" for char in text)


QUERY_LIMIT_S = 20.0
"""Seconds that one question may take."""
RECORD_CHARS = 2_000
"""Characters of a record that a row shows."""
MAX_SLOTS = 30
SAMPLE_PIECE_BYTES = 1 << 20
"""Bytes of one piece of a sample."""
SLOT_STEPS_S = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 86400, 7 * 86400)
NAMED_STEPS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}

LogRow = dict[str, object]


class LogQueries:
    """The questions, over the open files of one variable."""

    def __init__(self, opened: OpenLogs) -> None:
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

    def files(self) -> list[LogRow]:
        """files() -> each log with its format, span, bytes"""
        rows: list[LogRow] = []
        for file in self._opened.files:
            first, last = file.time_span()
            rows.append(
                {
                    "ref": str(Ref(self._opened.name, file.name)),
                    "format": file.format.name if file.format else "plain",
                    "timed_share": round(file.share, 3),
                    "from": log_time.format_time(first) if first is not None else "",
                    "to": log_time.format_time(last) if last is not None else "",
                    "bytes": file.line_file.size,
                }
            )
        return rows

    def at(self, time: str, path: str = "") -> list[LogRow]:
        """at("2026-03-14T09:30") -> the first line at that time or later, in each log"""
        when = log_time.parse_user_time(time, self._last_time())
        rows = []
        for file in self._timed_files(path):
            offset = file.seek_time(when)
            if offset < file.line_file.size:
                rows.append(self._record_row(file, offset))
        return sorted(rows, key=lambda row: str(row["time"]))

    def select(
        self, level: str = "", since: str = "", until: str = "", pattern: str = "",
        path: str = "", limit: int = 50,
    ) -> LogRow:  # fmt: skip
        """select(level="", since="", until="", pattern="", path="", limit=50) -> records"""
        wanted = log_time.levels_from(level) if level else frozenset()
        gated = compile_line_pattern(pattern) if pattern else None
        total = 0
        levelled = False
        kept: list[tuple[LogFile, int, bytes]] = []
        deadline = time.monotonic() + QUERY_LIMIT_S
        whole = True
        for file, start, end in self._byte_ranges(since, until, path):
            for offset, record in iter_records(file, start, end):
                if total % 256 == 0 and time.monotonic() > deadline:
                    whole = False
                    break
                if wanted:
                    level_of = log_time.line_level(record)
                    levelled = levelled or bool(level_of)
                    if level_of not in wanted:
                        continue
                if gated is not None and gated.regex.search(record) is None:
                    continue
                total += 1
                if len(kept) < limit:
                    kept.append((file, offset, record))
        rows = [self._record_row(*found) for found in kept]
        said = self._untimed_note(since or until, path) + _no_level_note(
            bool(wanted) and not levelled
        )
        return {"total": total, "records": rows, "note": (said + time_limit_note(whole)).strip()}

    def histogram(
        self, by: str = "auto", since: str = "", until: str = "", level: str = "", path: str = ""
    ) -> LogRow:
        """histogram(by="auto", since="", until="", level="", path="") -> records per time slot"""
        wanted = log_time.levels_from(level) if level else frozenset()
        step = self._slot_seconds(by, since, until)
        slots: dict[int, Counter[str]] = {}
        firsts: dict[int, tuple[LogFile, int]] = {}
        deadline = time.monotonic() + QUERY_LIMIT_S
        whole, levelled = True, False
        for file, start, end in self._byte_ranges(since, until, path):
            for count, (offset, when, head) in enumerate(file.timed_lines(start, end)):
                if count % 4096 == 0 and time.monotonic() > deadline:
                    whole = False
                    break
                kind = log_time.line_level(head)
                levelled = levelled or bool(kind)
                if not wanted or kind in wanted:
                    place = int(when // step)
                    slot = slots.setdefault(place, Counter())
                    firsts.setdefault(place, (file, offset))
                    slot["records"] += 1
                    slot[kind or "no level"] += 1
        rows = [
            {
                "time": log_time.format_time(slot * step),
                "ref": self.line_ref(*firsts[slot]),
                **dict(counts),
            }
            for slot, counts in sorted(slots.items())
        ]
        total = sum(counts["records"] for counts in slots.values())
        said = self._untimed_note("always", path) + _no_level_note(bool(wanted) and not levelled)
        return {
            "total": total,
            "step_seconds": step,
            "slots": rows,
            "note": (said + time_limit_note(whole)).strip(),
        }

    def templates(
        self, level: str = "", since: str = "", until: str = "", top: int = 20, rare: bool = False,
        path: str = "",
    ) -> LogRow:  # fmt: skip
        """templates(level="", since="", until="", top=20, rare=False, path="") -> forms of lines"""
        found, total, whole = self.mine_templates(since, until, path)
        wanted = log_time.levels_from(level) if level else frozenset()
        chosen = [item for item in found if not wanted or item.level in wanted]
        shown = sorted(chosen, key=lambda item: (item.count, item.first)) if rare else chosen
        rows = [self._template_row(item) for item in shown[: max(0, top)]]
        lines = sum(item.count for item in chosen)
        return {
            "total": len(chosen),
            "lines": lines,
            "of_lines": total,
            "templates": rows,
            "note": "Grouped approximately, parameters as <*>." + time_limit_note(whole),
        }

    def compare(
        self, before: str = "", after: str = "", at: str = "", window: str = "", top: int = 20
    ) -> LogRow:
        """compare(at="09:30", window="15m") or compare(before="run_a.log", after="run_b.log")"""
        if at:
            when = log_time.parse_user_time(at, self._last_time())
            size = (
                self._last_time() - log_time.parse_user_time(window, self._last_time())
                if window
                else 0.0
            )
            start = log_time.format_time(when - size) if size else ""
            end = log_time.format_time(when + size) if size else ""
            old, old_lines, one = self.mine_templates(start, log_time.format_time(when), "")
            new, new_lines, two = self.mine_templates(log_time.format_time(when), end, "")
        elif before and after:
            old, old_lines, one = self.mine_templates("", "", before)
            new, new_lines, two = self.mine_templates("", "", after)
        else:
            raise BadRequest("compare: give at=<time>, or before=<log> and after=<log>.")
        rows = []
        known = {item.text: item for item in [*old, *new]}
        for text, was, now in mining.count_changes(old, new):
            expected = (was + 0.5) / max(1, old_lines) * max(1, new_lines)
            ratio = (now + 0.5) / max(expected, 1e-9)
            state = "new" if not was else "gone" if not now else "rate"
            row = {"state": state, "before": was, "after": now, "ratio": round(ratio, 2)}
            rows.append({**row, **self._template_row(known[text])})
        rows.sort(key=lambda row: _change_weight(row, old_lines, new_lines), reverse=True)
        return {
            "lines_before": old_lines,
            "lines_after": new_lines,
            "total": len(rows),
            "changes": rows[: max(0, top)],
            "note": "Grouped approximately, parameters as <*>." + time_limit_note(one and two),
        }

    def follow(self, id: str, limit: int = 100) -> LogRow:
        """follow("req-123", limit=100) -> every line with an id over all logs, by time"""
        gated = compile_line_pattern(id, literal=True)
        deadline = time.monotonic() + QUERY_LIMIT_S
        found: list[tuple[float, int, LogFile, int]] = []
        total = 0
        whole = True
        for number, file in enumerate(self._opened.files):
            scanned = scan_file(file.line_file, gated, 0, file.line_file.size, 10_000, 0, deadline)
            total += scanned.total
            whole = whole and scanned.whole
            for offset in scanned.starts:
                when = file.line_time(file.line_file.line_at(offset, log_time.HEAD_BYTES))
                found.append((float("inf") if when is None else when, number, file, offset))
        found.sort(key=lambda item: (item[0], item[1], item[3]))
        rows = [self._record_row(file, offset) for _, _, file, offset in found[: max(0, limit)]]
        return {"total": total, "records": rows, "note": time_limit_note(whole)}

    def first_error(self, since: str = "", path: str = "", before: int = 20) -> LogRow:
        """first_error(since="", path="", before=20) -> the first error, and what led to it"""
        best: tuple[float, LogFile, int, bytes] | None = None
        levelled = False
        for file, start, end in self._byte_ranges(since, "", path):
            for offset, record in iter_records(file, start, end):
                level = log_time.line_level(record)
                levelled = levelled or bool(level)
                if level in ("error", "fatal"):
                    when = file.line_time(record)
                    key = float("inf") if when is None else when
                    if best is None or key < best[0]:
                        best = (key, file, offset, record)
                    break
        said = (self._untimed_note(since, path) + _no_level_note(not levelled)).strip()
        if best is None:
            return {"total": 0, "record": None, "before": "", "note": said}
        _, file, offset, record = best
        line = file.line_file.line_number(offset)
        first = max(1, line - max(0, before))
        led = file.line_file.line_bytes(first, line - 1) if line > first else []
        text = "\n".join(raw.decode("utf-8", "replace")[:300] for raw in led)
        row = self._record_row(file, offset, record)
        return {"total": 1, "record": row, "before": text, "note": said}

    def _timed_files(self, path: str) -> list[LogFile]:
        chosen = self._opened.files_in_scope(Ref(self._opened.name, path))
        return [file for file in chosen if file.format is not None]

    def _last_time(self) -> float:
        known = [last for file in self._opened.files if (last := file.time_span()[1]) is not None]
        return max(known, default=time.time())

    def _byte_ranges(self, since: str, until: str, path: str) -> Iterator[tuple[LogFile, int, int]]:
        """Give the span of bytes of each log that lies between two times."""
        if not since and not until:
            for file in self._opened.files_in_scope(Ref(self._opened.name, path)):
                yield file, 0, file.line_file.size
            return
        first = log_time.parse_user_time(since, self._last_time()) if since else None
        last = log_time.parse_user_time(until, self._last_time()) if until else None
        for file in self._timed_files(path):
            start = 0 if first is None else file.seek_time(first)
            end = file.line_file.size if last is None else file.seek_time(last)
            if start < end:
                yield file, start, end

    def _slot_seconds(self, by: str, since: str, until: str) -> int:
        if by in NAMED_STEPS_S:
            return NAMED_STEPS_S[by]
        if by != "auto":
            raise BadRequest(f"histogram: by is auto, {', '.join(NAMED_STEPS_S)}, not {by!r}.")
        known = [moment for file in self._opened.files for moment in file.time_span() if moment]
        if not known:
            return 60
        first = log_time.parse_user_time(since, max(known)) if since else min(known)
        last = log_time.parse_user_time(until, max(known)) if until else max(known)
        return next(
            (step for step in SLOT_STEPS_S if (last - first) / step <= MAX_SLOTS), SLOT_STEPS_S[-1]
        )

    def mine_templates(
        self, since: str, until: str, path: str, most: int = 0
    ) -> tuple[list[mining.LogTemplate], int, bool]:
        """Return the templates of the lines between two times, all lines, and if time sufficed.

        With `most`, of at most about so many bytes, taken evenly from everywhere.
        """
        numbers = {id(file): number for number, file in enumerate(self._opened.files)}
        ranges = list(self._byte_ranges(since, until, path))
        size = sum(end - start for _, start, end in ranges)
        part = most / size if most and size > most else 1.0

        def sampled_blocks() -> Iterator[tuple[int, int, bytes]]:
            for file, start, end in ranges:
                for first, last in _sample_spans(start, end, part):
                    first, last = file.line_file.next_line(first), file.line_file.next_line(last)
                    for offset, data in file.line_file.line_blocks(first, min(end, last)):
                        yield numbers[id(file)], offset, data

        return mining.mine_templates(sampled_blocks(), time.monotonic() + QUERY_LIMIT_S)

    def byte_slots(self, path: str) -> list[LogRow]:
        """Return the bytes of each time slot, found by bisection without reading the logs."""
        step = self._slot_seconds("auto", "", "")
        slots: dict[int, list[tuple[LogFile, int, int]]] = {}
        for file in self._timed_files(path):
            first, last = file.time_span()
            if first is None or last is None:
                continue
            start = 0
            for slot in range(int(first // step), int(last // step) + 1)[: MAX_SLOTS + 1]:
                end = file.seek_time((slot + 1) * step)
                slots.setdefault(slot, []).append((file, start, end))
                start = end
        return [
            {
                "time": log_time.format_time(slot * step),
                "ref": self.line_ref(parts[0][0], parts[0][1]),
                "bytes": sum(end - start for _, start, end in parts),
            }
            for slot, parts in sorted(slots.items())
        ]

    def _template_row(self, item: mining.LogTemplate) -> LogRow:
        first, last = self._opened.files[item.first[0]], self._opened.files[item.last[0]]
        return {
            "template": item.text,
            "level": item.level,
            "count": item.count,
            "first": self.line_ref(first, item.first[1]),
            "last": self.line_ref(last, item.last[1]),
            "first_time": self.line_time(first, item.first[1]),
            "last_time": self.line_time(last, item.last[1]),
        }

    def _record_row(self, file: LogFile, offset: int, record: bytes = b"") -> LogRow:
        """Return a record with its ref; without its text, the line that begins at a byte."""
        record = (record or file.line_file.line_at(offset, 4 * RECORD_CHARS)).rstrip(b"\r\n")
        text = record.decode("utf-8", "replace")
        first = file.line_file.line_number(offset)
        last = first + record.count(b"\n")
        return {
            "ref": str(Ref(self._opened.name, file.name, "", LineSpan(first, last))),
            "time": self.line_time(file, offset),
            "level": log_time.line_level(record),
            "text": text[:RECORD_CHARS],
            "cut": len(text) > RECORD_CHARS,
        }

    def _untimed_note(self, timed: str, path: str) -> str:
        """Return what to say of logs that a question about times leaves out."""
        chosen = self._opened.files_in_scope(Ref(self._opened.name, path)) if timed else []
        names = [file.name for file in chosen if file.format is None]
        if not names:
            return ""
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f" No time that is known is in {', '.join(names[:3])}{more}: left out."

    def line_time(self, file: LogFile, offset: int) -> str:
        """Return the time of the line that starts at a byte, or an empty string."""
        when = file.line_time(file.line_file.line_at(offset, log_time.HEAD_BYTES))
        return "" if when is None else log_time.format_time(when)

    def line_ref(self, file: LogFile, offset: int) -> str:
        """Return the ref of the line that starts at a byte."""
        line = file.line_file.line_number(offset)
        return str(Ref(self._opened.name, file.name, "", LineSpan(line, line)))


def _sample_spans(start: int, end: int, part: float) -> Iterator[tuple[int, int]]:
    """Give spans of PIECE bytes that make up a part of a span, at even distances."""
    if part >= 1.0:
        yield start, end
        return
    distance = int(SAMPLE_PIECE_BYTES / part)
    for place in range(start, end, distance):
        yield place, min(end, place + SAMPLE_PIECE_BYTES)


def _change_weight(row: LogRow, old_lines: int, new_lines: int) -> float:
    """Return how much a change says: worse levels, newness, and how far counts are off."""
    was, now = float(str(row["before"])), float(str(row["after"]))
    expected = was / max(1, old_lines) * max(1, new_lines)
    off = abs(now - expected) / math.sqrt(now + expected + 1)
    weight = {"error": 3.0, "fatal": 4.0, "warn": 2.0}.get(str(row["level"]), 1.0)
    return off * weight * (2.0 if row["state"] == "new" else 1.0)


def _no_level_note(so: bool) -> str:
    """Return what to say where a level was asked for and no record has one."""
    return " No record has a level that is known; ask by pattern, or grep." if so else ""


def time_limit_note(whole: bool) -> str:
    """Return what to say of an answer that time cut short."""
    return (
        "" if whole else f" Stopped after {QUERY_LIMIT_S:.0f} s; the counts are of what was read."
    )
