"""Cut a verbatim window out of one document, and say how to get what follows.

Windows are lines; a line too long to show is opened by characters instead. Every window's ref
gives the same text when it is opened again. Secrets are taken out of the document before it is
cut, so none shows a part of itself; lines and characters are counted as the document has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rlm_mcp.errors import BadRequest, Unavailable
from rlm_mcp.plurals import count_noun
from rlm_mcp.redact import REACH
from rlm_mcp.redact import window as redacted
from rlm_mcp.refs import CharSpan, LineSpan, Ref
from rlm_mcp.variable import ContextPassage

if TYPE_CHECKING:
    from rlm_mcp.corpus.store import Corpus

LONG_LINE_BYTES = 2_000
"""Bytes of a line from which on it is shown by characters."""
WINDOW_CHARS = 6_000
"""Characters of one window that has no lines."""
MAX_WINDOW_BYTES = 256 << 10
"""Bytes of one window, however many lines were asked for."""


class WindowDocument(Protocol):
    """One document's bytes, by lines counted from 1."""

    def line_count(self) -> int: ...
    def line_bytes(self, start: int, end: int) -> list[bytes]: ...
    def full_bytes(self) -> bytes: ...


class BytesDocument:
    """A document that is wholly in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._lines: list[bytes] | None = None

    def _split_lines(self) -> list[bytes]:
        if self._lines is None:
            self._lines = self._data.split(b"\n")
            if self._lines[-1] == b"":
                self._lines.pop()
        return self._lines

    def line_count(self) -> int:
        return len(self._split_lines())

    def line_bytes(self, start: int, end: int) -> list[bytes]:
        return self._split_lines()[start - 1 : end]

    def full_bytes(self) -> bytes:
        return self._data


class PackedDocument:
    """One document of a corpus."""

    def __init__(self, corpus: Corpus, path: str) -> None:
        self._corpus, self._path = corpus, path

    def line_count(self) -> int:
        return self._corpus.line_count(self._path)

    def line_bytes(self, start: int, end: int) -> list[bytes]:
        return self._corpus.line_bytes(self._path, start, end)

    def full_bytes(self) -> bytes:
        return self._corpus.document_bytes(self._path)


def packed_document(corpus: Corpus, path: str) -> PackedDocument | None:
    """Return a document of a corpus by its path, if there is one."""
    return PackedDocument(corpus, path) if corpus.find_document(path) is not None else None


def decode_utf8(data: bytes) -> str:
    """Return the text; bytes that are not UTF-8 become U+FFFD."""
    return data.decode("utf-8", "replace")


def shown_text(data: bytes) -> str:
    """Return a whole text without its secrets."""
    text = decode_utf8(data)
    return redacted(text, 0, len(text))


def cut_window(ref: Ref, document: WindowDocument, limit: int) -> ContextPassage:
    """Return at most `limit` lines from the start of `ref`; raises BadRequest past the end."""
    span = ref.span
    if isinstance(span, CharSpan):
        return _char_window(
            ref, decode_utf8(document.full_bytes()), span.start, span.end, document.line_count()
        )
    start, end = _line_bounds(ref, document.line_count())
    total = document.line_count()
    if total == 0:
        return ContextPassage(str(ref), "", None, 0, note="The document is empty.")
    stop = min(end, start + max(1, limit) - 1)
    taken: list[bytes] = []
    size = 0
    lines = document.line_bytes(start, stop)
    if not lines:
        raise Unavailable(f"{ref} was cut while it was read; ask again.")
    for line in lines:
        if len(line) > LONG_LINE_BYTES or size + len(line) > MAX_WINDOW_BYTES:
            break
        taken.append(line)
        size += len(line) + 1
    if not taken:
        return _long_line(ref, document, start, lines[0], total)
    last = start + len(taken) - 1
    return ContextPassage(
        ref=str(ref.with_span(LineSpan(start, last))),
        text=_without_secrets(document, start, last, decode_utf8(b"\n".join(taken))),
        first_line=start,
        total=total,
        next_ref=_next_ref(ref, last, end, total, limit),
        note=_bad_bytes(taken),
    )


def ref_text(ref: Ref, document: WindowDocument) -> str:
    """Return the whole text of `ref`, verbatim but for secrets."""
    if ref.span is None:
        return shown_text(document.full_bytes())
    if isinstance(ref.span, CharSpan):
        text = decode_utf8(document.full_bytes())
        _check_chars(ref, ref.span.start, len(text))
        return redacted(text, ref.span.start, ref.span.end)
    start, end = _line_bounds(ref, document.line_count())
    text = decode_utf8(b"\n".join(document.line_bytes(start, end)))
    return _without_secrets(document, start, end, text)


def _line_bounds(ref: Ref, total: int) -> tuple[int, int]:
    if ref.span is None:
        return 1, max(1, total)
    if not isinstance(ref.span, LineSpan):
        raise BadRequest(f"{ref}: a document is opened by lines (#L10-L42) or characters.")
    if ref.span.start > max(1, total):
        raise BadRequest(f"{ref}: the document has {count_noun(total, 'line')}.")
    return ref.span.start, max(1, min(ref.span.end, total))


def _without_secrets(
    document: WindowDocument, start: int, last: int, text: str, end: int | None = None
) -> str:
    """Return the text of lines `start` to `last`, or the first `end` characters of it."""
    before, after = _beside(document, start - 1, -1), _beside(document, last + 1, 1)
    before = f"{before}\n" if start > 1 else ""
    end = len(text) if end is None else end
    return redacted(f"{before}{text}\n{after}", len(before), len(before) + end)


def _beside(document: WindowDocument, line: int, step: int) -> str:
    """Return the lines from `line` on, upwards or downwards, as far as a secret reaches."""
    total = document.line_count()
    found: list[bytes] = []
    size, many = 0, 8
    while 1 <= line <= total and size < REACH:
        first, last = (line - many + 1, line) if step < 0 else (line, line + many - 1)
        lines = document.line_bytes(max(1, first), min(last, total))
        found = [*lines, *found] if step < 0 else [*found, *lines]
        size += sum(map(len, lines)) + len(lines)
        line += step * many
        many *= 2
    joined = b"\n".join(found)
    return decode_utf8(joined[-REACH:] if step < 0 else joined[:REACH])


def _next_ref(ref: Ref, last: int, end: int, total: int, limit: int) -> str:
    if last < end:
        return str(ref.with_span(LineSpan(last + 1, end)))
    if last < total:
        return str(ref.with_span(LineSpan(last + 1, min(total, last + max(1, limit)))))
    return ""


def _long_line(
    ref: Ref, document: WindowDocument, line: int, raw: bytes, total: int
) -> ContextPassage:
    """Return the start of a line that is too long to be shown whole, by characters."""
    before = sum(len(decode_utf8(part)) + 1 for part in document.line_bytes(1, line - 1))
    text = decode_utf8(raw)
    end = min(WINDOW_CHARS, len(text))
    follows = ""
    if end < len(text):
        follows = str(
            ref.with_span(CharSpan(before + end, before + min(len(text), end + WINDOW_CHARS)))
        )
    elif line < total:
        follows = str(ref.with_span(LineSpan(line + 1, total)))
    note = f"Line {line} has {len(text):,} characters and is shown in parts."
    if line < total:
        note += f" The next line: {ref.with_span(LineSpan(line + 1, line + 1))}"
    return ContextPassage(
        ref=str(ref.with_span(CharSpan(before, before + end))),
        text=_without_secrets(document, line, line, text, end),
        first_line=None,
        total=total,
        next_ref=follows,
        note=f"{note} {_bad_bytes([raw])}".strip(),
    )


def _char_window(ref: Ref, text: str, start: int, end: int, total: int) -> ContextPassage:
    _check_chars(ref, start, len(text))
    end = min(end, len(text))
    stop = min(end, start + WINDOW_CHARS)
    follows = ""
    if stop < end:
        follows = str(ref.with_span(CharSpan(stop, end)))
    elif stop < len(text):
        follows = str(ref.with_span(CharSpan(stop, min(len(text), stop + WINDOW_CHARS))))
    return ContextPassage(
        ref=str(ref.with_span(CharSpan(start, stop))),
        text=redacted(text, start, stop),
        first_line=None,
        total=total,
        next_ref=follows,
    )


def _check_chars(ref: Ref, start: int, length: int) -> None:
    if start > length:
        raise BadRequest(f"{ref}: the document has {count_noun(length, 'character')}.")


def _bad_bytes(lines: list[bytes]) -> str:
    bad = sum(decode_utf8(line).count("\ufffd") - line.count(b"\xef\xbf\xbd") for line in lines)
    return f"{bad} bytes are not UTF-8 and are shown as U+FFFD." if bad else ""
