"""Refs that were given out, and what stood there: one whose lines have changed since says so.

A ref to a living document has no revision in it, so what it meant is remembered here, as a digest
of its lines. Only the refs of this process are known, the newest ones.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from itertools import islice
from typing import Any, TypeVar

from rlm_mcp.contexts.variable import Found, Hit, Method, Outline, Passage
from rlm_mcp.contexts.window import Document, decode
from rlm_mcp.errors import BadRequest, RlmError
from rlm_mcp.refs import Lines, Ref, parse

MOST = 50_000
"""Refs that are remembered."""
AT_ONCE = 1_000
"""Refs of one answer that are."""
LINES = 2_000
"""Lines of a ref above which it is not remembered."""
SEARCHED = 200_000
"""Lines of a document above which what moved is not looked for."""
_FIRST = 400
"""Characters of a first line that are kept, to find it again."""

_T = TypeVar("_T")
_Mark = tuple[int, str]
"""The digest of some lines, and the first of them."""


class Cited:
    """The refs that one variable has given out. Safe from several threads."""

    def __init__(
        self, open_document: Callable[[str], Document | None], *, fixed: bool = False
    ) -> None:
        """`open_document` returns a living document by its path; of `fixed` ones none is kept."""
        self._open = open_document
        self._fixed = fixed
        self._known: OrderedDict[str, _Mark] = OrderedDict()
        self._lock = threading.Lock()

    def give(self, answer: _T) -> _T:
        """Remember what stands at the refs of an answer, and return it."""
        if self._fixed:
            return answer
        found: dict[str, _Mark] = {}
        for item in islice(_items(answer), AT_ONCE):
            if isinstance(item, Hit) and not item.cut and item.ref.endswith(f"#L{item.line}"):
                found[item.ref] = _mark([item.text])
            elif ref := _ref(item):
                with suppress(RlmError):  # it changed again at this moment
                    lines = self._lines(parse(ref))
                    found |= {ref: _mark(lines)} if lines else {}
        with self._lock:
            for text, mark in found.items():
                self._known[text] = mark
                self._known.move_to_end(text)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        return answer

    def giving(self, methods: Mapping[str, Method]) -> dict[str, Method]:
        """Return methods whose answers are remembered."""
        return {name: self._giving(method) for name, method in methods.items()}

    def read(self, ref: Ref, work: Callable[[], Passage]) -> Passage:
        """Return a window of `ref`, with a sentence where it was given for other lines."""
        changed = self.stale(ref)
        try:
            passage = work()
        except BadRequest as error:
            raise BadRequest(f"{error} {changed}") if changed else error from None
        return self.give(replace(passage, note=f"{changed} {passage.note}".strip()))

    def stale(self, ref: Ref) -> str:
        """Return what has become of the lines that `ref` was given for; nothing if they stand."""
        with self._lock:
            known = self._known.get(str(ref))
        if known is None or not isinstance(ref.span, Lines):
            return ""
        lines = self._lines(ref)
        if lines and known == _mark(lines):
            return ""
        said = f"{ref.path} changed after this ref was given"
        document = self._open(ref.path)
        if document is None or document.line_count() > SEARCHED:
            return f"{said}."
        more = ref.span.end - ref.span.start
        lines = [*map(decode, document.line_bytes(1, document.line_count()))]
        place = _place(lines, ref.span.start - 1, more, known)
        return f"{said}; what stood there is {f'now {ref.at(place)}' if place else 'gone'}."

    def _giving(self, method: Method) -> Method:
        @wraps(method)
        def given(*args: Any, **kwargs: Any) -> Any:
            return self.give(method(*args, **kwargs))

        return given

    def _lines(self, ref: Ref) -> list[str]:
        """Return the lines of a ref; none where it is not to lines of a living document."""
        span = ref.span
        if ref.rev or not isinstance(span, Lines) or span.end - span.start >= LINES:
            return []
        document = self._open(ref.path)
        raw = [] if document is None else document.line_bytes(span.start, span.end)
        return [*map(decode, raw)]


def _mark(lines: list[str]) -> _Mark:
    return hash("\n".join(lines)), lines[0][:_FIRST]


def _place(lines: list[str], was: int, more: int, known: _Mark) -> Lines | None:
    """Return where lines stand now: the place nearest to index `was`, where they stood."""
    starts = [number for number, line in enumerate(lines) if line[:_FIRST] == known[1]]
    for start in sorted(starts, key=lambda start: abs(start - was))[:AT_ONCE]:
        if _mark(lines[start : start + more + 1]) == known:
            return Lines(start + 1, start + more + 1)
    return None


def _items(answer: Any) -> Iterator[Any]:
    """Give the records of an answer, whatever shape it has."""
    if isinstance(answer, Found):
        answer = answer.hits
    elif isinstance(answer, Outline):
        answer = answer.items
    several = isinstance(answer, Sequence) and not isinstance(answer, (str, bytes))
    yield from answer if several else [answer]


def _ref(item: Any) -> str:
    ref = item.get("ref") if isinstance(item, Mapping) else getattr(item, "ref", None)
    return ref if isinstance(ref, str) else ""
