"""The shape of logs: an outline, parts on the borders of records, the lines that fit a question."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Sequence

from rlm_mcp.contexts.logs import templates as mining
from rlm_mcp.contexts.logs import times
from rlm_mcp.contexts.logs.asked import BUCKETS, NAMED, STEPS, WORK_S, Asked, note
from rlm_mcp.contexts.logs.files import LogFile
from rlm_mcp.contexts.logs.opened import Opened
from rlm_mcp.contexts.logs.records import literal
from rlm_mcp.contexts.variable import Chunk, Hit, Item, Outline
from rlm_mcp.corpus import sift, tokens, words
from rlm_mcp.errors import BadRequest
from rlm_mcp.refs import Chars, Lines, Ref

LARGE = 32 << 20
"""Bytes of logs above which an outline looks at a sample of them."""
NEAR = 4_096
"""Bytes before the end of a part in which a border is looked for first."""


class Shape:
    """Structure over the open files of one variable."""

    def __init__(self, opened: Opened, asked: Asked) -> None:
        self._opened, self._asked = opened, asked

    def outline(self, scope: Ref, limit: int) -> Outline:
        """Return the logs, their histogram, and the most frequent and the worst templates."""
        items: list[Item] = []
        chosen = self._opened.chosen(scope)
        for file in chosen:
            first, last = file.span()
            span = f"{times.show(first)} to {times.show(last)}, " if first and last else ""
            kind = file.format.name if file.format else "plain"
            ref = str(Ref(self._opened.name, file.name))
            items.append(Item(ref, "log", file.name, 0, f"{span}{kind}, {file.big.size:,} bytes"))
        large = sum(file.big.size for file in chosen) > LARGE
        items += self._times(scope.path, large)
        found, total, whole = self._asked.mine("", "", scope.path, LARGE)
        worst = [item for item in found if item.level in ("warn", "error", "fatal")]
        order = {id(item): item for item in [*worst[:limit], *found]}
        for item in order.values():
            ref = self._asked.ref(self._opened.files[item.first[0]], item.first[1])
            items.append(Item(ref, item.level or "lines", item.text[:200], 1, f"x{item.count:,}"))
        of = f"a sample of {total:,} lines" if large else f"{total:,} lines"
        said = f"{len(found):,} forms in {of} (grouped approximately).{note(whole)}"
        return Outline(tuple(items[:limit]), len(items), said)

    def _times(self, path: str, large: bool) -> list[Item]:
        """Return the time slots: records by level, or bytes where there is too much to read."""
        if not any(file.format for file in self._opened.files):
            return []
        rows = self._asked.slots(path) if large else self._asked.histogram(path=path)["slots"]
        assert isinstance(rows, list)
        items = []
        for row in rows[:BUCKETS]:
            named = {name: count for name, count in row.items() if name not in ("time", "ref")}
            counts = ", ".join(f"{count:,} {name}" for name, count in named.items())
            items.append(Item(str(row["ref"]), "time", str(row["time"]), 1, counts))
        return items

    def chunk(self, scope: Ref, by: str, limit: int) -> Sequence[Chunk]:
        """Return parts on the borders of records, each line exactly once.

        By time, a part ends at the roundest time that fits (an hour before a minute); by second,
        minute, hour or day, at the end of each one too.
        """
        if by not in ("auto", "records", "lines", "tokens", "time", *NAMED):
            known = ", ".join(("records", "lines", "time", *NAMED))
            raise BadRequest(f"Logs are chunked by {known}, not by {by!r}.")
        if isinstance(scope.span, Chars):
            raise BadRequest(f"{scope}: logs are chunked whole, or some lines of one.")
        size = max(1, int(limit * tokens.ratio("logs")))
        parts: list[Chunk] = []
        for file in self._opened.chosen(scope):
            start, end = 0, file.big.size
            if isinstance(scope.span, Lines):
                start = file.big.start_of(scope.span.start)
                end = file.big.start_of(scope.span.end + 1)
            while start < end:
                stop = self._border(file, start, start + size, end, by)
                if by == "time" or by in NAMED:
                    stop = _timely(file, start, stop, end, NAMED.get(by, 0))
                parts.append(self._part(file, start, stop))
                start = stop
        return parts

    def rank(self, question: str, scope: Ref, limit: int) -> list[Hit]:
        """Return the lines that hold most of a question's words, worse levels first."""
        asked = words.terms(question)
        if not asked:
            return []
        some = "|".join(literal(term.text) for term in asked)
        gated = sift.compiled(some, ignore_case=True)
        deadline = time.monotonic() + WORK_S
        best: list[tuple[float, int, int]] = []
        files = self._opened.chosen(scope)
        for number, file in enumerate(files):
            found = sift.scan(file.big, gated, 0, file.big.size, 20_000, 0, deadline)
            for offset in found.starts:
                line = file.big.line_at(offset, 2_000)
                text = line.decode("utf-8", "replace").lower()
                fit = sum(2.0 if term.exact else 1.0 for term in asked if term.text.lower() in text)
                fit += {"warn": 0.5, "error": 1.0, "fatal": 1.2}.get(times.level(line), 0.0)
                entry = (fit, -number, -offset)
                if len(best) < limit * 20:
                    heapq.heappush(best, entry)
                elif entry > best[0]:
                    heapq.heapreplace(best, entry)
        chosen: list[Hit] = []
        forms: set[str] = set()
        for _, number, offset in sorted(best, reverse=True):
            hit = self._opened.line_hit(files[-number], -offset)
            form = mining.form(hit.text)
            if form not in forms and len(chosen) < limit:
                forms.add(form)
                chosen.append(hit)
        return chosen

    def _border(self, file: LogFile, start: int, wanted: int, end: int, by: str) -> int:
        """Return where a part ends: before the last record, else the last line, that may not fit.

        A line that is larger than a part is a part.
        """
        if wanted >= end:
            return end
        ends = (_line_before(file, low, wanted) for low in _back(start, wanted))
        line = next(filter(None, ends), 0)
        if not line:
            return min(end, file.big.next_line(wanted))
        if by in ("lines", "tokens") or file.format is None:
            return line
        behind = file.big.next_line(line + 1)
        for low in _back(start + 1, line):
            found = file.stamped(file.big.next_line(low), behind)
            if records := [at for at, _, _ in found if at <= line]:
                return records[-1]
        return line

    def _part(self, file: LogFile, start: int, stop: int) -> Chunk:
        first = file.big.line_of(start)
        last = file.big.line_of(stop - 1)
        ref = str(Ref(self._opened.name, file.name, "", Lines(first, last)))
        when = self._asked.time(file, start)
        title = f"{when} {file.name}".strip()
        return Chunk(ref, tokens.estimate(stop - start, "logs"), title)


def _timely(file: LogFile, start: int, stop: int, end: int, step: int) -> int:
    """Return where a part of at most (start, stop) ends by time; `stop` where there is none.

    `step` is the window in seconds, 0 for the roundest time that there is.
    """
    begin = file.moment(file.big.line_at(start, times.HEAD))
    if begin is None:
        return stop
    if step:
        border = (begin // step + 1) * step
    elif stop >= end or (until := file.moment(file.big.line_at(stop, times.HEAD))) is None:
        return stop
    else:
        round_times = (until // step * step for step in reversed(STEPS))
        border = next((when for when in round_times if when > begin), 0)
    cut = file.seek(border) if border else stop
    return cut if start < cut < stop else stop


def _back(start: int, end: int) -> Iterator[int]:
    """Give places ever farther before `end`, the last one `start`."""
    reach = NEAR
    while end - reach > start:
        yield end - reach
        reach *= 16
    yield start


def _line_before(file: LogFile, low: int, wanted: int) -> int:
    """Return where the last line that starts in (low, wanted] does, or 0."""
    return low + 1 + place if (place := file.big.read(low, wanted).rfind(b"\n")) >= 0 else 0
