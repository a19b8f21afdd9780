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

from rlm_mcp.documents.window import WindowDocument, decode_utf8
from rlm_mcp.errors import BadRequest, RlmError
from rlm_mcp.methods import Method
from rlm_mcp.refs import LineSpan, Ref, parse_ref
from rlm_mcp.variable import ContextHit, ContextPassage, HitPage, Outline

MAX_REFS = 50_000
"""Refs that are remembered."""
MAX_REFS_PER_ANSWER = 1_000
"""Refs of one answer that are."""
MAX_REF_LINES = 2_000
"""Lines of a ref above which it is not remembered."""
MAX_SEARCHED_LINES = 200_000
"""Lines of a document above which what moved is not looked for."""
_FIRST_LINE_CHARS = 400
"""Characters of a first line that are kept, to find it again."""

_T = TypeVar("_T")
_LineDigest = tuple[int, str]
"""The digest of some lines, and the first of them."""


class IssuedRefs:
    """The refs that one variable has given out. Safe from several threads."""

    def __init__(
        self, open_document: Callable[[str], WindowDocument | None], *, fixed: bool = False
    ) -> None:
        """`open_document` returns a living document by its path; of `fixed` ones none is kept."""
        self._open = open_document
        self._fixed = fixed
        self._known: OrderedDict[str, _LineDigest] = OrderedDict()
        self._lock = threading.Lock()

    def remember_refs(self, answer: _T) -> _T:
        """Remember what stands at the refs of an answer, and return it."""
        if self._fixed:
            return answer
        found: dict[str, _LineDigest] = {}
        for item in islice(_answer_items(answer), MAX_REFS_PER_ANSWER):
            if (
                isinstance(item, ContextHit)
                and not item.cut
                and item.ref.endswith(f"#L{item.line}")
            ):
                found[item.ref] = _line_digest([item.text])
            elif ref := _item_ref(item):
                with suppress(RlmError):  # it changed again at this moment
                    lines = self._ref_lines(parse_ref(ref))
                    found |= {ref: _line_digest(lines)} if lines else {}
        with self._lock:
            for text, mark in found.items():
                self._known[text] = mark
                self._known.move_to_end(text)
            while len(self._known) > MAX_REFS:
                self._known.popitem(last=False)
        return answer

    def wrap_methods(self, methods: Mapping[str, Method]) -> dict[str, Method]:
        """Return methods whose answers are remembered."""
        return {name: self._wrap_method(method) for name, method in methods.items()}

    def peek_checked(self, ref: Ref, work: Callable[[], ContextPassage]) -> ContextPassage:
        """Return a window of `ref`, with a sentence where it was given for other lines."""
        changed = self.stale_note(ref)
        try:
            passage = work()
        except BadRequest as error:
            raise BadRequest(f"{error} {changed}") if changed else error from None
        return self.remember_refs(replace(passage, note=f"{changed} {passage.note}".strip()))

    def stale_note(self, ref: Ref) -> str:
        """Return what has become of the lines that `ref` was given for; nothing if they stand."""
        with self._lock:
            known = self._known.get(str(ref))
        if known is None or not isinstance(ref.span, LineSpan):
            return ""
        lines = self._ref_lines(ref)
        if lines and known == _line_digest(lines):
            return ""
        said = f"{ref.path} changed after this ref was given"
        document = self._open(ref.path)
        if document is None or document.line_count() > MAX_SEARCHED_LINES:
            return f"{said}."
        more = ref.span.end - ref.span.start
        lines = [*map(decode_utf8, document.line_bytes(1, document.line_count()))]
        place = _moved_lines(lines, ref.span.start - 1, more, known)
        return f"{said}; what stood there is {f'now {ref.with_span(place)}' if place else 'gone'}."

    def _wrap_method(self, method: Method) -> Method:
        @wraps(method)
        def call_remembered(*args: Any, **kwargs: Any) -> Any:
            return self.remember_refs(method(*args, **kwargs))

        return call_remembered

    def _ref_lines(self, ref: Ref) -> list[str]:
        """Return the lines of a ref; none where it is not to lines of a living document."""
        span = ref.span
        if ref.rev or not isinstance(span, LineSpan) or span.end - span.start >= MAX_REF_LINES:
            return []
        document = self._open(ref.path)
        raw = [] if document is None else document.line_bytes(span.start, span.end)
        return [*map(decode_utf8, raw)]


def _line_digest(lines: list[str]) -> _LineDigest:
    return hash("\n".join(lines)), lines[0][:_FIRST_LINE_CHARS]


def _moved_lines(lines: list[str], was: int, more: int, known: _LineDigest) -> LineSpan | None:
    """Return where lines stand now: the place nearest to index `was`, where they stood."""
    starts = [number for number, line in enumerate(lines) if line[:_FIRST_LINE_CHARS] == known[1]]
    for start in sorted(starts, key=lambda start: abs(start - was))[:MAX_REFS_PER_ANSWER]:
        if _line_digest(lines[start : start + more + 1]) == known:
            return LineSpan(start + 1, start + more + 1)
    return None


def _answer_items(answer: Any) -> Iterator[Any]:
    """Give the records of an answer, whatever shape it has."""
    if isinstance(answer, HitPage):
        answer = answer.hits
    elif isinstance(answer, Outline):
        answer = answer.items
    several = isinstance(answer, Sequence) and not isinstance(answer, (str, bytes))
    yield from answer if several else [answer]


def _item_ref(item: Any) -> str:
    ref = item.get("ref") if isinstance(item, Mapping) else getattr(item, "ref", None)
    return ref if isinstance(ref, str) else ""
