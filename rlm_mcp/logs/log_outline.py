"""The shape of logs: an outline, parts on the borders of records, the lines that fit a question."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rlm_mcp.corpus.code import split_question
from rlm_mcp.corpus.search import compile_line_pattern, scan_file
from rlm_mcp.errors import BadRequest
from rlm_mcp.logs import log_time
from rlm_mcp.logs import templates as mining
from rlm_mcp.logs.log_formats import line_level
from rlm_mcp.logs.questions import (
    MAX_SLOTS,
    NAMED_STEPS_S,
    QUERY_LIMIT_S,
    SLOT_STEPS_S,
    LogQueries,
    literal_pattern,
    time_limit_note,
)
from rlm_mcp.refs import CharSpan, LineSpan, Ref
from rlm_mcp.tokens import bounded_parts, estimate_tokens, token_bytes
from rlm_mcp.variable import ContextChunk, ContextHit, Outline, OutlineItem

if TYPE_CHECKING:
    from rlm_mcp.logs.log_files import LogFile, OpenLogs

LARGE = 32 << 20
"""Bytes of logs above which an outline looks at a sample of them."""
NEAR = 4_096
"""Bytes before the end of a part in which a border is looked for first."""


class LogShape:
    """Structure over the open files of one variable."""

    def __init__(self, opened: OpenLogs, asked: LogQueries) -> None:
        self._opened, self._asked = opened, asked

    def outline(self, scope: Ref, limit: int) -> Outline:
        """Return the logs, their histogram, and the most frequent and the worst templates."""
        items: list[OutlineItem] = []
        chosen = self._opened.files_in_scope(scope)
        for file in chosen:
            first, last = file.time_span()
            span = (
                f"{file.show_time(first)} to {file.show_time(last)}, "
                if first is not None and last is not None
                else ""
            )
            kind = file.format.name
            ref = str(Ref(self._opened.name, file.name))
            items.append(
                OutlineItem(
                    ref, "log", file.name, 0, f"{span}{kind}, {file.line_file.size:,} bytes"
                )
            )
        large = sum(file.line_file.size for file in chosen) > LARGE
        items += self._time_items(scope.path, large)
        found, total, whole = self._asked.mine_templates("", "", scope.path, LARGE)
        worst = [item for item in found if item.level in ("warn", "error", "fatal")]
        order = {id(item): item for item in [*worst[:limit], *found]}
        for item in order.values():
            ref = self._asked.line_ref(self._opened.files[item.first[0]], item.first[1])
            items.append(
                OutlineItem(ref, item.level or "lines", item.text[:200], 1, f"x{item.count:,}")
            )
        of = f"a sample of {total:,} lines" if large else f"{total:,} lines"
        said = f"{len(found):,} forms in {of} (grouped approximately).{time_limit_note(whole)}"
        return Outline(tuple(items[:limit]), len(items), said)

    def _time_items(self, path: str, large: bool) -> list[OutlineItem]:
        """Return the time slots: records by level, or bytes where there is too much to read."""
        if not any(file.timed for file in self._opened.files):
            return []
        rows = self._asked.byte_slots(path) if large else self._asked.histogram(path=path)["slots"]
        assert isinstance(rows, list)
        items = []
        for row in rows[:MAX_SLOTS]:
            named = {name: count for name, count in row.items() if name not in ("time", "ref")}
            counts = ", ".join(f"{count:,} {name}" for name, count in named.items())
            items.append(OutlineItem(str(row["ref"]), "time", str(row["time"]), 1, counts))
        return items

    def chunk(self, scope: Ref, by: str, limit: int) -> Sequence[ContextChunk]:
        """Return parts on the borders of records, each line exactly once.

        By time, a part ends at the roundest time that fits (an hour before a minute); by second,
        minute, hour or day, at the end of each one too.
        """
        if by not in ("auto", "records", "lines", "tokens", "time", *NAMED_STEPS_S):
            known = ", ".join(("records", "lines", "time", *NAMED_STEPS_S))
            raise BadRequest(f"Logs are chunked by {known}, not by {by!r}.")
        if isinstance(scope.span, CharSpan):
            raise BadRequest(f"{scope}: logs are chunked whole, or some lines of one.")
        size = max(1, int(limit * token_bytes("logs")))
        return bounded_parts(self._cut_files(scope, by, size))

    def _cut_files(self, scope: Ref, by: str, size: int) -> Iterator[ContextChunk]:
        for file in self._opened.files_in_scope(scope):
            start, end = 0, file.line_file.size
            if isinstance(scope.span, LineSpan):
                start = file.line_file.line_start(scope.span.start)
                end = file.line_file.line_start(scope.span.end + 1)
            while start < end:
                stop = self._chunk_end(file, start, start + size, end, by)
                if by == "time" or by in NAMED_STEPS_S:
                    stop = _time_border(file, start, stop, end, NAMED_STEPS_S.get(by, 0))
                yield self._make_chunk(file, start, stop)
                start = stop

    def search(self, question: str, scope: Ref, limit: int) -> list[ContextHit]:
        """Return the lines that hold most of a question's words, worse levels first."""
        asked = split_question(question)
        if not asked:
            return []
        some = "|".join(literal_pattern(term.text) for term in asked)
        gated = compile_line_pattern(some, ignore_case=True)
        deadline = time.monotonic() + QUERY_LIMIT_S
        best: list[tuple[float, int, int]] = []
        files = self._opened.files_in_scope(scope)
        for number, file in enumerate(files):
            found = scan_file(file.line_file, gated, 0, file.line_file.size, 20_000, 0, deadline)
            for offset in found.starts:
                line = file.line_file.line_at(offset, 2_000)
                text = line.decode("utf-8", "replace").lower()
                fit = sum(2.0 if term.exact else 1.0 for term in asked if term.text.lower() in text)
                fit += {"warn": 0.5, "error": 1.0, "fatal": 1.2}.get(line_level(line), 0.0)
                entry = (fit, -number, -offset)
                if len(best) < limit * 20:
                    heapq.heappush(best, entry)
                elif entry > best[0]:
                    heapq.heapreplace(best, entry)
        chosen: list[ContextHit] = []
        forms: set[str] = set()
        for _, number, offset in sorted(best, reverse=True):
            hit = self._opened.line_hit(files[-number], -offset)
            form = mining.line_form(hit.text)
            if form not in forms and len(chosen) < limit:
                forms.add(form)
                chosen.append(hit)
        return chosen

    def _chunk_end(self, file: LogFile, start: int, wanted: int, end: int, by: str) -> int:
        """Return where a part ends: before the last record, else the last line, that may not fit.

        A line that is larger than a part is a part.
        """
        if wanted >= end:
            return end
        ends = (_line_before(file, low, wanted) for low in _offsets_before(start, wanted))
        line = next(filter(None, ends), 0)
        if not line:
            return min(end, file.line_file.next_line(wanted))
        if by in ("lines", "tokens") or not file.timed:
            return line
        behind = file.line_file.next_line(line + 1)
        for low in _offsets_before(start + 1, line):
            found = file.timed_lines(file.line_file.next_line(low), behind)
            if records := [at for at, _, _ in found if at <= line]:
                return records[-1]
        return line

    def _make_chunk(self, file: LogFile, start: int, stop: int) -> ContextChunk:
        first = file.line_file.line_number(start)
        last = file.line_file.line_number(stop - 1)
        ref = str(Ref(self._opened.name, file.name, "", LineSpan(first, last)))
        when = self._asked.line_time(file, start)
        title = f"{when} {file.name}".strip()
        return ContextChunk(ref, estimate_tokens(stop - start, "logs"), title)


def _time_border(file: LogFile, start: int, stop: int, end: int, step: int) -> int:
    """Return where a part of at most (start, stop) ends by time; `stop` where there is none.

    `step` is the window in seconds, 0 for the roundest time that there is.
    """
    begin = file.line_time(file.line_file.line_at(start, log_time.HEAD_BYTES))
    if begin is None:
        return stop
    if step:
        border = (begin // step + 1) * step
    elif (
        stop >= end
        or (until := file.line_time(file.line_file.line_at(stop, log_time.HEAD_BYTES))) is None
    ):
        return stop
    else:
        round_times = (until // step * step for step in reversed(SLOT_STEPS_S))
        border = next((when for when in round_times if when > begin), 0)
    cut = file.seek_time(border) if border else stop
    return cut if start < cut < stop else stop


def _offsets_before(start: int, end: int) -> Iterator[int]:
    """Give places ever farther before `end`, the last one `start`."""
    reach = NEAR
    while end - reach > start:
        yield end - reach
        reach *= 16
    yield start


def _line_before(file: LogFile, low: int, wanted: int) -> int:
    """Return where the last line that starts in (low, wanted] does, or 0."""
    return (
        low + 1 + place if (place := file.line_file.read_span(low, wanted).rfind(b"\n")) >= 0 else 0
    )
