"""What a cell prints and what it shows of its last value, cut before it is built."""

from __future__ import annotations

from collections import deque
from typing import Any

KEPT_CHARS = 8_000_000
"""Characters of output that stay readable in the environment as `_stdout`."""
_TAIL_CHARS = 100_000


class CellOutput:
    """Collects text; counts all of it, keeps the head and the tail of too much."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.start_cell()

    def start_cell(self) -> None:
        """Begin a new cell."""
        self.chars = 0
        self._head: list[str] = []
        self._head_chars = 0
        self._tail: deque[str] = deque()
        self._tail_chars = 0

    def write(self, text: str) -> int:
        """Take text; a str subclass is copied by value."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        text = str.__str__(text)
        size = len(text)
        self.chars += size
        room = KEPT_CHARS - self._head_chars
        if room > 0:
            self._head.append(text[:room])
            self._head_chars += min(size, room)
            text = text[room:]
        if text:
            self._tail.append(text[-_TAIL_CHARS:])
            self._tail_chars += len(self._tail[-1])
            while self._tail_chars - len(self._tail[0]) >= _TAIL_CHARS:
                self._tail_chars -= len(self._tail.popleft())
        return size

    def kept_text(self) -> str:
        """Return everything that was kept."""
        head, tail = "".join(self._head), "".join(self._tail)
        if self.chars > self._head_chars:
            left = self.chars - len(head) - len(tail)
            return f"{head}\n… {left:,} characters not kept …\n{tail}"
        return head

    def shown_text(self) -> str:
        """Return what goes to the model: head and tail, with counts between them."""
        whole = self.kept_text()
        if self.chars <= self.limit:
            return whole
        head = self.limit * 2 // 3
        tail = self.limit - head
        left = self.chars - head - tail
        return (
            f"{whole[:head]}\n… {left:,} of {self.chars:,} characters left out; "
            f"the whole output is in _stdout …\n{whole[len(whole) - tail :]}"
        )


def short_repr(value: object, limit: int) -> str:
    """Return `repr(value)`, cut to about `limit` characters before it is built."""
    return _BoundedRepr(limit).repr_value(value)


class _BoundedRepr:
    def __init__(self, limit: int) -> None:
        self.left = limit
        self.inside: set[int] = set()

    def repr_value(self, value: Any) -> str:
        if self.left <= 0:
            return "…"
        cls = type(value)
        if cls is str or cls is bytes:
            return self.repr_text(value)
        if cls in (list, tuple, set, frozenset, dict) and value:
            return self.repr_container(value, cls)
        text = repr(value)
        return self.spend_chars(text)

    def repr_text(self, value: Any) -> str:
        if len(value) <= self.left:
            return self.spend_chars(repr(value))
        cut = repr(value[: self.left])
        self.left = 0
        return f"{cut}… ({len(value):,} {'characters' if isinstance(value, str) else 'bytes'})"

    def spend_chars(self, text: str) -> str:
        if len(text) > self.left:
            text = f"{text[: self.left]}… ({len(text):,} characters)"
        self.left -= len(text)
        return text

    def repr_container(self, value: Any, cls: type) -> str:
        opening, closing = _BRACKETS[cls]
        if id(value) in self.inside:
            return f"{opening}...{closing}"
        self.inside.add(id(value))
        parts = []
        for count, item in enumerate(list(value.items()) if cls is dict else list(value)):
            if self.left <= 0:
                parts.append(f"… {len(value) - count:,} more")
                break
            self.left -= 2
            if cls is dict:
                parts.append(f"{self.repr_value(item[0])}: {self.repr_value(item[1])}")
            else:
                parts.append(self.repr_value(item))
        self.inside.discard(id(value))
        body = ", ".join(parts)
        if cls is tuple and len(value) == 1:
            body += ","
        return f"{opening}{body}{closing}"


_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    dict: ("{", "}"),
}
