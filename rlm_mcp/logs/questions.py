"""What people ask of logs: by time, by level, by template, before and after.

Every answer counts all it is about, gives refs, and says where a time limit cut it short.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from rlm_mcp.corpus.search import compile_line_pattern, scan_file
from rlm_mcp.errors import BadRequest
from rlm_mcp.logs import log_time
from rlm_mcp.logs import templates as mining
from rlm_mcp.logs.detect import ROTATED
from rlm_mcp.logs.log_fields import Trace, duration_ms, field_conditions, read_trace
from rlm_mcp.logs.log_files import (
    MAX_RECORD_BYTES,
    NEAR_BYTES,
    SAMPLE_BYTES,
    LogRecord,
    iter_records,
)
from rlm_mcp.logs.log_formats import MATCH, clean_line
from rlm_mcp.logs.log_levels import failure_kind, levels_from
from rlm_mcp.refs import LineSpan, Ref

if TYPE_CHECKING:
    from rlm_mcp.logs.log_files import LogFile, OpenLogs
    from rlm_mcp.methods import Method


def literal_pattern(text: str) -> str:
    """Return a pattern that matches a text as it is."""
    return "".join(char if char.isalnum() else f"\\x{{{ord(char):x}}}" for char in text)


MAX_FAMILIES = 30
"""Kinds of errors that first_error lists."""
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
            "slowest": self.slowest,
            "traces": self.traces,
        }

    def files(self) -> list[LogRow]:
        """files() -> each log with its format, span, bytes"""
        rows: list[LogRow] = []
        for file in self._opened.files:
            first, last = file.time_span()
            rows.append(
                {
                    "ref": str(Ref(self._opened.name, file.name)),
                    "format": file.format.name,
                    "timed_share": round(file.detected.share, 3),
                    "zone": _zone_words(file),
                    "from": file.show_time(first),
                    "to": file.show_time(last),
                    "bytes": file.line_file.size,
                    **self._record_counts(file),
                    "note": " ".join(file.notes),
                }
            )
        return rows

    def _record_counts(self, file: LogFile) -> LogRow:
        """Return the lines and records of a log, and which of them are late or have no time."""
        index = file.time_index()
        if index is None:
            return {"records": "not counted: larger than 64 MB"}
        return {
            "lines": file.line_file.line_count(),
            "records": index.records,
            "untimed": index.untimed,
            "lines_in_no_record": index.headers,
            "late": index.late,
        }

    def at(self, time: str, path: str = "") -> list[LogRow]:
        """at("2026-03-14T09:30") -> the first line at that time or later, in each log"""
        when = log_time.parse_user_time(time, self._last_time())
        rows = []
        for file, start, end in self._byte_ranges(time, "", path):
            records = _records_between(file, start, end, when, None)
            found = next(records, None)
            if found is not None:
                rows.append(self._line_row(file, found))
        return sorted(rows, key=lambda row: str(row["time"]))

    def select(
        self, level: str = "", since: str = "", until: str = "", pattern: str = "",
        path: str = "", limit: int = 50, failure: bool = False,
        where: str = "",
    ) -> LogRow:  # fmt: skip
        """select(level="", since="", until="", pattern="", path="", limit=50, where="status>=500")

        Gives the records that fit; failure=True those that failed by their words (oom, panic,
        crash, test, exit, exception), whatever their level.
        """
        wanted = levels_from(level) if level else frozenset()
        gated = compile_line_pattern(pattern) if pattern else None
        holds = field_conditions(where) if where else None
        total = 0
        levelled = False
        kept: list[tuple[LogFile, LogRecord]] = []
        reading = _Reading(time.monotonic() + QUERY_LIMIT_S)
        for file, record in self._records(since, until, path, reading):
            if wanted:
                levelled = levelled or bool(record.level)
                if record.level not in wanted:
                    continue
            if gated is not None and gated.regex.search(record.text) is None:
                continue
            if failure and not failure_kind(record.text):
                continue
            if holds is not None and not holds(_record_fields(file, record)):
                continue
            total += 1
            if len(kept) < limit:
                kept.append((file, record))
        rows = [self._record_row(*found) for found in kept]
        said = self._untimed_note(since or until, path) + _no_level_note(
            bool(wanted) and not levelled
        )
        return {"total": total, "records": rows, "note": (said + reading.note()).strip()}

    def histogram(
        self, by: str = "auto", since: str = "", until: str = "", level: str = "", path: str = ""
    ) -> LogRow:
        """histogram(by="auto", since="", until="", level="", path="") -> records per time slot"""
        wanted = levels_from(level) if level else frozenset()
        step = self._slot_seconds(by, since, until)
        slots: dict[int, Counter[str]] = {}
        firsts: dict[int, tuple[LogFile, int]] = {}
        reading = _Reading(time.monotonic() + QUERY_LIMIT_S)
        levelled = False
        untimed = 0
        for file, record in self._records(since, until, path, reading):
            if record.time is None:
                untimed += file.timed
                continue
            levelled = levelled or bool(record.level)
            if not wanted or record.level in wanted:
                place = int(record.time // step)
                slot = slots.setdefault(place, Counter())
                firsts.setdefault(place, (file, record.start))
                slot["records"] += 1
                slot[record.level or "no level"] += 1
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
            "note": (said + _untimed_records_note(untimed) + reading.note()).strip(),
        }

    def templates(
        self, level: str = "", since: str = "", until: str = "", top: int = 20, rare: bool = False,
        path: str = "",
    ) -> LogRow:  # fmt: skip
        """templates(level="", since="", until="", top=20, rare=False, path="") -> forms of lines"""
        found, total, whole = self.mine_templates(since, until, path)
        wanted = levels_from(level) if level else frozenset()
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
        self, before: str = "", after: str = "", at: str = "", window: str = "", top: int = 20,
        path: str = "",
    ) -> LogRow:  # fmt: skip
        """compare(at="09:30", window="15m", path="") or compare(before="a.log", after="b.log")"""
        if at:
            when = log_time.parse_user_time(at, self._last_time())
            size = (
                self._last_time() - log_time.parse_user_time(window, self._last_time())
                if window
                else 0.0
            )
            start = log_time.format_time(when - size) if size else ""
            end = log_time.format_time(when + size) if size else ""
            middle = log_time.format_time(when)
            sides = [(start, middle, path), (middle, end, path)]
        elif before and after:
            sides = [("", "", before), ("", "", after)]
        else:
            raise BadRequest("compare: give at=<time>, or before=<log> and after=<log>.")
        counts: Counter[tuple[int, str]] = Counter()
        blocks = self._record_blocks(sides, counts)
        found, of_lines, whole = mining.mine_templates(blocks, time.monotonic() + QUERY_LIMIT_S)
        old_lines, new_lines = of_lines[0], of_lines[1]
        rows = []
        for item in found:
            was, now = item.count - item.after, item.after
            rotated = _set_name(self._opened.files[item.first[0]])
            of_old, of_new = counts[0, rotated], counts[1, rotated]
            if not of_old or not of_new:  # sides are logs of their own
                of_old, of_new = old_lines, new_lines
            expected = (was or 0.5) / max(1, of_old) * max(1, of_new)
            ratio = (now or 0.5) / max(expected, 1e-9)
            state = "new" if not was else "gone" if not now else "rate"
            row = {"state": state, "before": was, "after": now, "ratio": round(ratio, 2),
                   "of_before": of_old, "of_after": of_new}  # fmt: skip
            rows.append({**row, **self._template_row(item)})
        rows.sort(key=lambda row: _change_weight(row, old_lines, new_lines), reverse=True)
        return {
            "records_before": old_lines,
            "records_after": new_lines,
            "lines_before": old_lines,
            "lines_after": new_lines,
            "total": len(rows),
            "changes": rows[: max(0, top)],
            "note": "Grouped approximately, parameters as <*>." + time_limit_note(whole),
        }

    def follow(self, id: str, limit: int = 100) -> LogRow:
        """follow("req-123", limit=100) -> each record with an id over all logs, by time"""
        gated = compile_line_pattern(id, literal=True)
        deadline = time.monotonic() + QUERY_LIMIT_S
        found: list[tuple[float, int, LogFile, LogRecord]] = []
        seen: set[tuple[int, int]] = set()
        total = 0
        whole = True
        for number, file in enumerate(self._opened.files):
            scanned = scan_file(file.line_file, gated, 0, file.line_file.size, 10_000, 0, deadline)
            total += scanned.total
            whole = whole and scanned.whole
            for offset in scanned.starts:
                record = record_around(file, offset)
                if (number, record.start) not in seen:
                    seen.add((number, record.start))
                    found.append((_time_key(record), number, file, record))
        found.sort(key=lambda item: (item[0], item[1], item[3].start))
        rows = [self._record_row(file, record) for _, _, file, record in found[: max(0, limit)]]
        return {"total": total, "records": rows, "note": time_limit_note(whole)}

    def first_error(self, since: str = "", path: str = "", before: int = 20) -> LogRow:
        """first_error(since="", path="", before=20) -> the first error, and what led to it

        `families` has the first record of each kind of error and failure in each log, by time.
        """
        families: dict[tuple[int, str], list[Any]] = {}
        reading = _Reading(time.monotonic() + QUERY_LIMIT_S)
        levelled = False
        for file, record in self._records(since, "", path, reading):
            levelled = levelled or bool(record.level)
            kind = failure_kind(record.text)
            if record.level not in ("error", "fatal") and not kind:
                continue
            form = mining.family_form(file.format.read_fields(clean_line(record.text)), record.text)
            known = families.get((id(file), form))
            if known is None:
                families[(id(file), form)] = [_time_key(record), file, record, 1, form]
            else:
                known[3] += 1
                if _time_key(record) < known[0]:
                    known[:3] = [_time_key(record), file, record]
        found = sorted(families.values(), key=lambda family: family[0])
        said = self._untimed_note(since, path)
        if not found:
            said += _no_level_note(not levelled)
            note = (said + reading.note()).strip()
            return {"total": 0, "record": None, "before": "", "families": [], "note": note}
        _, file, record, _, _ = found[0]
        line = file.line_file.line_number(record.start)
        first = max(1, line - max(0, before))
        led = file.line_file.line_bytes(first, line - 1) if line > first else []
        text = "\n".join(raw.decode("utf-8", "replace")[:300] for raw in led)
        rows = [
            {**self._record_row(family[1], family[2]), "count": family[3], "family": family[4]}
            for family in found[:MAX_FAMILIES]
        ]
        more = len(found) - len(rows)
        said += f" {more} more families came later." if more > 0 else ""
        return {
            "total": len(found),
            "record": self._record_row(file, record),
            "before": text,
            "families": rows,
            "note": (said + reading.note()).strip(),
        }

    def slowest(
        self, limit: int = 20, over_ms: float = 0.0, since: str = "", until: str = "",
        path: str = "",
    ) -> LogRow:  # fmt: skip
        """slowest(limit=20, over_ms=0, since="", until="", path="") -> what took longest, in ms"""
        reading = _Reading(time.monotonic() + QUERY_LIMIT_S)
        best: list[tuple[float, int, str, LogFile, LogRecord]] = []
        values: list[float] = []
        for count, (file, record) in enumerate(self._records(since, until, path, reading)):
            found = duration_ms(_record_fields(file, record))
            if found is None:
                continue
            values.append(found[0])
            entry = (found[0], -count, found[1], file, record)
            if len(best) < limit:
                heapq.heappush(best, entry)
            elif best and entry[:2] > best[0][:2]:
                heapq.heapreplace(best, entry)
        values.sort()
        rows = [
            {**self._record_row(file, record), "value_ms": round(value, 3), "field": name}
            for value, _, name, file, record in sorted(best, key=lambda e: e[:2], reverse=True)
        ]
        return {
            "measured": len(values),
            "over": sum(value > over_ms for value in values),
            **{f"p{part}_ms": _percentile(values, part) for part in (50, 95, 99)},
            "records": rows,
            "note": reading.note().strip(),
        }

    def traces(self, since: str = "", until: str = "", path: str = "", top: int = 20) -> LogRow:
        """traces(since="", until="", path="", top=20) -> stack traces by exception and own frame"""
        reading = _Reading(time.monotonic() + QUERY_LIMIT_S)
        groups: dict[tuple[str, str], tuple[LogFile, LogRecord, Trace]] = {}
        counts: Counter[tuple[str, str]] = Counter()
        for file, record in self._records(since, until, path, reading):
            if b"\n" not in record.text:
                continue
            trace = read_trace(record.text.decode("utf-8", "replace"))
            if trace is not None:
                groups.setdefault((trace.exception, trace.frame), (file, record, trace))
                counts[trace.exception, trace.frame] += 1
        rows = [
            {
                "exception": key[0],
                "frame": key[1],
                "chain": list(groups[key][2].chain),
                "count": count,
                **self._record_row(groups[key][0], groups[key][1]),
            }
            for key, count in counts.most_common(max(0, top))
        ]
        return {
            "total": len(groups),
            "of_records": counts.total(),
            "traces": rows,
            "note": reading.note().strip(),
        }

    def _timed_files(self, path: str) -> list[LogFile]:
        chosen = self._opened.files_in_scope(Ref(self._opened.name, path))
        return [file for file in chosen if file.timed]

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
            if (index := file.time_index()) is not None:
                near = [
                    (low, high)
                    for low, high, least, greatest in index.blocks
                    if (first is None or greatest >= first) and (last is None or least < last)
                ]
                if near:
                    yield file, near[0][0], near[-1][1]
                continue
            start = 0 if first is None else file.seek_time(first)
            end = file.line_file.size if last is None else file.seek_time(last)
            if start < end:
                yield file, start, end

    def _records(
        self, since: str, until: str, path: str, reading: _Reading
    ) -> Iterator[tuple[LogFile, LogRecord]]:
        """Give the records of some logs between two times, as far as time suffices."""
        first = log_time.parse_user_time(since, self._last_time()) if since else None
        last = log_time.parse_user_time(until, self._last_time()) if until else None
        ranges = list(self._byte_ranges(since, until, path))
        reading.of_bytes = sum(end - start for _, start, end in ranges)
        for file, start, end in ranges:
            if reading.stopped:
                reading.missed.append(file.name)
                continue
            done = reading.read_bytes
            for count, record in enumerate(_records_between(file, start, end, first, last)):
                if count % 256 == 0 and time.monotonic() > reading.deadline:
                    reading.stopped = True
                    break
                reading.read_bytes = done + record.end - start
                yield file, record

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
        found, lines, whole = self.mine_sides([(since, until, path)], most)
        return found, sum(lines), whole

    def _record_blocks(
        self, sides: Sequence[tuple[str, str, str]], counts: Counter[tuple[int, str]]
    ) -> Iterator[mining.LogBlock]:
        """Give the first line of each record of each side, and count them by side and
        rotated set."""
        numbers = {id(file): number for number, file in enumerate(self._opened.files)}
        for side, (since, until, path) in enumerate(sides):
            for file, record in self._records(since, until, path, _Reading(math.inf)):
                number = numbers[id(file)]
                counts[side, _set_name(file)] += 1
                yield number, record.start, clean_line(record.text.partition(b"\n")[0]), side

    def mine_sides(
        self, sides: Sequence[tuple[str, str, str]], most: int = 0
    ) -> tuple[list[mining.LogTemplate], list[int], bool]:
        """Return the templates of several (since, until, path) as one set, and each one's lines."""
        numbers = {id(file): number for number, file in enumerate(self._opened.files)}

        def sampled_blocks(side: int) -> Iterator[mining.LogBlock]:
            since, until, path = sides[side]
            ranges = list(self._byte_ranges(since, until, path))
            size = sum(end - start for _, start, end in ranges)
            part = most / size if most and size > most else 1.0
            first = log_time.parse_user_time(since, self._last_time()) if since else None
            last = log_time.parse_user_time(until, self._last_time()) if until else None
            for file, start, end in ranges:
                number = numbers[id(file)]
                if (first is not None or last is not None) and file.time_index() is not None:
                    for low, high in _spans_between(file, start, end, first, last):
                        yield number, low, file.line_file.read_span(low, high), side
                    continue
                for low, high in _sample_spans(start, end, part):
                    low, high = file.line_file.next_line(low), file.line_file.next_line(high)
                    for offset, data in file.line_file.line_blocks(low, min(end, high)):
                        yield number, offset, data, side

        blocks = chain.from_iterable(sampled_blocks(side) for side in range(len(sides)))
        found, lines, whole = mining.mine_templates(blocks, time.monotonic() + QUERY_LIMIT_S)
        return found, [lines[side] for side in range(len(sides))], whole

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

    def _record_row(self, file: LogFile, record: LogRecord) -> LogRow:
        """Return a record with its ref, which holds its lines up to the last that is not blank."""
        lines = record.text.rstrip().split(b"\n")
        text = "\n".join(clean_line(line).decode("utf-8", "replace") for line in lines)
        first = file.line_file.line_number(record.start)
        last = first + len(lines) - 1
        if record.parts > 1 or len(record.text) >= MAX_RECORD_BYTES:
            last = file.line_file.line_number(record.end - 1)
        kind = failure_kind(record.text)
        row: LogRow = {
            "ref": str(Ref(self._opened.name, file.name, "", LineSpan(first, last))),
            "time": file.show_time(record.time),
            "level": record.level,
            "text": text[:RECORD_CHARS],
            "cut": len(text) > RECORD_CHARS,
        }
        service = file.format.read_fields(clean_line(lines[0])).get("service")
        return row | ({"failure": kind} if kind else {}) | ({"service": service} if service else {})

    def _line_row(self, file: LogFile, record: LogRecord) -> LogRow:
        """Return the first line of a record as a row."""
        return self._record_row(
            file, record._replace(text=record.text.partition(b"\n")[0], parts=1)
        )

    def _untimed_note(self, timed: str, path: str) -> str:
        """Return what to say of logs that a question about times leaves out."""
        chosen = self._opened.files_in_scope(Ref(self._opened.name, path)) if timed else []
        names = [file.name for file in chosen if not file.timed]
        if not names:
            return ""
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f" No time that is known is in {', '.join(names[:3])}{more}: left out."

    def line_time(self, file: LogFile, offset: int) -> str:
        """Return the time of the line that starts at a byte, or an empty string."""
        return file.show_time(record_around(file, offset).time)

    def line_ref(self, file: LogFile, offset: int) -> str:
        """Return the ref of the line that starts at a byte."""
        line = file.line_file.line_number(offset)
        return str(Ref(self._opened.name, file.name, "", LineSpan(line, line)))


@dataclass(slots=True)
class _Reading:
    """How much of the logs one answer has read."""

    deadline: float
    of_bytes: int = 0
    read_bytes: int = 0
    stopped: bool = False
    missed: list[str] = field(default_factory=list)

    def note(self) -> str:
        """Return what was read of how much, where that was not all."""
        if not self.stopped:
            return ""
        names = ", ".join(self.missed[:5]) + (" and others" if len(self.missed) > 5 else "")
        return (
            f" Stopped after {QUERY_LIMIT_S:.0f} s: {self.read_bytes:,} of {self.of_bytes:,} bytes "
            f"were read, and the counts are of these; narrow since, until or path."
            + (f" Not reached: {names}." if names else "")
        )


def record_around(file: LogFile, offset: int) -> LogRecord:
    """Return the record that holds the line which starts at a byte."""
    end = file.line_file.size
    for reach in (NEAR_BYTES, SAMPLE_BYTES, 1 << 20):
        start = max(0, offset - reach)
        start = file.line_file.next_line(start) if start else 0
        for count, record in enumerate(iter_records(file, start, end)):
            if record.end > offset:
                if count or start == 0 or record.time is not None:
                    return record
                break
    line = file.line_file.line_at(offset)
    head = file.read_head(line)
    stop = file.line_file.next_line(offset + 1)
    return LogRecord(offset, stop, head.time if head else None, head.level if head else "", line)


def _records_between(
    file: LogFile, start: int, end: int, first: float | None, last: float | None
) -> Iterator[LogRecord]:
    """Give the records of a span whose time lies between two."""
    bounded = first is not None or last is not None
    for record in iter_records(file, start, end):
        if record.is_header:
            continue
        if bounded and (
            record.time is None
            or (first is not None and record.time < first)
            or (last is not None and record.time >= last)
        ):
            continue
        yield record


def _spans_between(
    file: LogFile, start: int, end: int, first: float | None, last: float | None
) -> Iterator[tuple[int, int]]:
    """Give the spans of bytes that hold just the records between two times."""
    low = high = -1
    for record in _records_between(file, start, end, first, last):
        if record.start != high:
            if low >= 0:
                yield low, high
            low = record.start
        high = record.end
    if low >= 0:
        yield low, high


def _record_fields(file: LogFile, record: LogRecord) -> dict[str, object]:
    """Return the fields of a record, by the format that reads its first line."""
    line = record.text if file.format.starts != MATCH else record.text.partition(b"\n")[0]
    line = clean_line(line)
    formats = file.detected.formats
    known = next((f for f in formats if f.read_head(line, file.clock) is not None), formats[0])
    return known.read_fields(line)


def _set_name(file: LogFile) -> str:
    """Return the name that the logs of one rotated set share."""
    match = ROTATED.match(file.name)
    return match["base"] if match else file.name


def _percentile(values: Sequence[float], part: int) -> float | None:
    """Return a percentile of sorted values, by the nearest rank; None of none."""
    return round(values[max(0, math.ceil(len(values) * part / 100) - 1)], 3) if values else None


def _time_key(record: LogRecord) -> float:
    return math.inf if record.time is None else record.time


def _zone_words(file: LogFile) -> str:
    """Return how the zone of a log's times is known."""
    if not file.timed:
        return ""
    if file.format.style == log_time.UPTIME:
        return "seconds since boot"
    if file.format.zone:
        return "written in the lines"
    return "as given" if file.clock.zone is not None else "unknown, taken as UTC"


def _untimed_records_note(count: int) -> str:
    return f" {count:,} records without a time were left out." if count else ""


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
