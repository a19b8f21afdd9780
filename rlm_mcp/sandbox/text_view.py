"""A context variable as a cell sees it: behaves like a str, is never copied, answers calls.

Not a str: an iteration gives lines, and what would need the whole text at once (`upper`, `+`)
is refused above a size with advice. Everything that is answered is answered as `str` would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, SupportsIndex

from rlm_mcp.errors import did_you_mean
from rlm_mcp.sandbox import guards
from rlm_mcp.sandbox.mapped import CharIndex, MappedBytes

COPY_LIMIT_BYTES = 96 << 20
"""Bytes up to which a view may be turned into one str."""

CallVariable = Callable[[str, str, list[Any], dict[str, Any]], Any]


class TextView:
    """The text of a context variable, and its methods."""

    __slots__ = ("_ask", "_describe", "_index", "_kind", "_mapped", "_methods", "_name")
    shown_as = str

    def __init__(
        self,
        name: str,
        kind: str,
        describe: str,
        mapped: MappedBytes | None,
        methods: Mapping[str, str],
        ask: CallVariable,
    ) -> None:
        self._name = name
        self._kind = kind
        self._describe = describe
        self._mapped = mapped
        self._index = CharIndex(mapped) if mapped is not None else None
        self._methods = dict(methods)
        self._ask = ask

    # What it is

    @property
    def ref(self) -> str:
        """The ref of the whole: its name."""
        return self._name

    def __len__(self) -> int:
        return self._need_index().char_count()

    def __bool__(self) -> bool:
        return self._mapped is None or self._mapped.size > 0

    def __repr__(self) -> str:
        return f"<{self._kind} {self._name}: {self._describe}>"

    def __str__(self) -> str:
        return self._copy_text("str()")

    def __format__(self, spec: str) -> str:
        return format(self._copy_text("a formatted copy"), spec)

    def __deepcopy__(self, memo: object) -> TextView:
        return self

    def __copy__(self) -> TextView:
        return self

    def __hash__(self) -> int:
        return hash(self._copy_text("hash()"))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TextView):
            return other is self or (len(other) == len(self) and str(other) == str(self))
        if not isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and self._copy_text("==") == other

    def __getattr__(self, name: str) -> Any:
        if name in self._methods:
            return ViewMethod(self, name)
        if self._mapped is not None and hasattr(str, name) and not name.startswith("_"):
            return getattr(self._copy_text(f"{name}()"), name)
        known = [*self._methods, *(word for word in dir(str) if not word.startswith("_"))]
        raise AttributeError(
            f"{self._name} has no attribute {name!r}.{did_you_mean(name, known)} It has "
            f"{', '.join(self._methods)} and what a str has; help() lists functions that take it."
        )

    def __dir__(self) -> list[str]:
        return sorted({*self._methods, *(word for word in dir(str) if not word.startswith("_"))})

    # Reading

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        index = self._need_index()
        if isinstance(key, slice):
            if _is_forward(key):
                return index.text_slice(key.start or 0, key.stop)[:: key.step]
            start, stop, step = key.indices(index.char_count())
            if step == 1:
                return index.text_slice(start, max(start, stop))
            if step > 0:
                return index.text_slice(start, max(start, stop))[::step]
            return index.text_slice(stop + 1, start + 1)[::step]
        at = key.__index__()
        at = at + index.char_count() if at < 0 else at
        char = index.text_slice(at, at + 1) if at >= 0 else ""
        if not char:
            raise IndexError("string index out of range")
        return char

    def __iter__(self) -> Iterator[str]:
        mapped = self._need_bytes()
        for _, data in mapped.lines_from(0, 1 << 18):
            lines = data.decode("utf-8", "replace").split("\n")
            if not lines[-1]:
                lines.pop()
            for line in lines:
                yield line[:-1] if line.endswith("\r") else line

    def lines(self) -> Iterator[str]:
        """Iterate over the lines, without their ends."""
        return iter(self)

    def __contains__(self, word: str) -> bool:
        if not isinstance(word, str):
            kind = type(word).__name__
            raise TypeError(f"'in <string>' requires string as left operand, not {kind}")
        return self._find_byte(word, None, None)[0] >= 0

    def find(self, word: str, start: int | None = None, end: int | None = None) -> int:
        """Return where `word` first begins, or -1."""
        at, _ = self._find_byte(word, start, end)
        return self._need_index().char_of(at) if at >= 0 else -1

    def rfind(self, word: str, start: int | None = None, end: int | None = None) -> int:
        """Return where `word` last begins, or -1."""
        at, _ = self._find_byte(word, start, end, last=True)
        return self._need_index().char_of(at) if at >= 0 else -1

    def index(self, word: str, start: int | None = None, end: int | None = None) -> int:
        """Return where `word` first begins; ValueError if it does not occur."""
        at = self.find(word, start, end)
        if at < 0:
            raise ValueError("substring not found")
        return at

    def rindex(self, word: str, start: int | None = None, end: int | None = None) -> int:
        """Return where `word` last begins; ValueError if it does not occur."""
        at = self.rfind(word, start, end)
        if at < 0:
            raise ValueError("substring not found")
        return at

    def count(self, word: str, start: int | None = None, end: int | None = None) -> int:
        """Return how often `word` occurs without overlapping."""
        begin, stop = self._byte_range(start, end)
        if not word or "\ufffd" in word:
            return self._copy_text("count()").count(word, start, end)
        data = _encode_word(word)
        return self._need_bytes().count_bytes(data, begin, stop) if data is not None else 0

    def startswith(self, words: str | tuple[str, ...], start: int = 0, *end: int) -> bool:
        """Answer as `str.startswith`."""
        size = max(map(len, words), default=0) if isinstance(words, tuple) else len(words)
        if end or start < 0:
            return self[slice(start, end[0] if end else None)].startswith(words)
        if start > 0 and start > len(self):
            return False
        return self[start : start + size].startswith(words)

    def endswith(self, words: str | tuple[str, ...], *where: int) -> bool:
        """Answer as `str.endswith`."""
        if where:
            return self[slice(*where, *([None] if len(where) == 1 else []))].endswith(words)
        size = max(map(len, words), default=0) if isinstance(words, tuple) else len(words)
        return self[max(0, len(self) - size) :].endswith(words)

    def split(self, sep: str | None = None, maxsplit: int = -1) -> list[str]:
        """Answer as `str.split`."""
        if maxsplit >= 0:
            return self._copy_text("split() with maxsplit").split(sep, maxsplit)
        if sep == "":
            raise ValueError("empty separator")
        parts: list[str] = []
        rest = ""
        for _, data in self._need_bytes().lines_from(0):
            text = data.decode("utf-8", "replace")
            if sep is None:
                parts.extend(text.split())
            else:
                parts.extend((rest + text).split(sep))
                rest = parts.pop()
        return parts if sep is None else [*parts, rest]

    def splitlines(self, keepends: bool = False) -> list[str]:
        """Answer as `str.splitlines`."""
        parts: list[str] = []
        for _, data in self._need_bytes().lines_from(0):
            parts.extend(data.decode("utf-8", "replace").splitlines(keepends))
        return parts

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Answer as `str.encode`."""
        return self._copy_text("encode()").encode(encoding, errors)

    # Making new text

    def __add__(self, other: object) -> str:
        return self._copy_text("+") + (str(other) if isinstance(other, TextView) else other)  # type: ignore[operator]

    def __radd__(self, other: str) -> str:
        return other + self._copy_text("+")

    def __mul__(self, times: int) -> str:
        return self._copy_text("*") * times

    def __mod__(self, values: object) -> str:
        return self._copy_text("%") % values

    def __lt__(self, other: str) -> bool:
        return self._copy_text("<") < str(other)

    def __gt__(self, other: str) -> bool:
        return self._copy_text(">") > str(other)

    # Parts

    def _need_index(self) -> CharIndex:
        if self._index is None:
            self._raise_textless()
        return self._index

    def _need_bytes(self) -> MappedBytes:
        if self._mapped is None:
            self._raise_textless()
        return self._mapped

    def _raise_textless(self) -> NoReturn:
        names = ", ".join(self._methods) or "none"
        raise TypeError(f"{self._name} has no text of its own; its methods: {names}")

    def _copy_text(self, what: str) -> str:
        mapped = self._need_bytes()
        if mapped.size > COPY_LIMIT_BYTES:
            raise MemoryError(
                f"{what} would copy all {mapped.size:,} bytes of {self._name}; "
                "slice it, iterate over its lines, or use grep"
            )
        return mapped.read_bytes(0, mapped.size).decode("utf-8", "replace")

    def _byte_range(self, start: int | None, end: int | None) -> tuple[int, int]:
        size = self._need_bytes().size
        index = self._need_index()
        if start is None and end is None:
            return 0, size
        if (start is None or start >= 0) and end is None:
            return index.byte_of(start or 0), size
        begin, stop, _ = slice(start, end).indices(index.char_count())
        return index.byte_of(begin), index.byte_of(max(begin, stop))

    def _find_byte(
        self, word: str, start: int | None, end: int | None, *, last: bool = False
    ) -> tuple[int, int]:
        if not isinstance(word, str):
            raise TypeError(f"must be str, not {type(word).__name__}")
        begin, stop = self._byte_range(start, end)
        if not word:
            first, final, _ = slice(start, end).indices(len(self))
            if (start or 0) > len(self) or first > final:
                return -1, stop
            return self._need_index().byte_of(final if last else first), stop
        if "\ufffd" in word:
            text = self._copy_text("a search for U+FFFD")
            at = (text.rfind if last else text.find)(word, start, end)
            return (self._need_index().byte_of(at) if at >= 0 else -1), stop
        data = _encode_word(word)
        if data is None:
            return -1, stop
        search = self._need_bytes().rfind_bytes if last else self._need_bytes().find_bytes
        return search(data, begin, stop), stop


class ViewMethod:
    """A call on a context variable that the host answers."""

    __slots__ = ("_name", "_view")

    def __init__(self, view: TextView, name: str) -> None:
        self._view = view
        self._name = name

    def __call__(self, *positional: Any, **named: Any) -> Any:
        view = self._view
        return view._ask(view._name, self._name, list(positional), named)

    def __repr__(self) -> str:
        return f"<{self._view._name}.{self._view._methods[self._name]}>"

    @property
    def shown(self) -> str:
        """What `help` says."""
        return f"{self._view._name}.{self._view._methods[self._name]}"


def _encode_word(word: str) -> bytes | None:
    try:
        return str.__str__(word).encode("utf-8")
    except UnicodeEncodeError:
        return None  # a lone surrogate: decoded text holds none


def _is_forward(key: slice) -> bool:
    """Whether a slice can be answered without knowing the length."""
    return (
        (key.start is None or (type(key.start) is int and key.start >= 0))
        and type(key.stop) is int
        and key.stop >= 0
        and (key.step is None or (type(key.step) is int and key.step > 0))
    )


guards.keep_internal(TextView, ViewMethod)
guards.text_views.add(TextView)
