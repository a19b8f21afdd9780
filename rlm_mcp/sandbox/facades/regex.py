"""`re` for cells: the library's own engine, and the same functions over views without a copy.

Over a view a search is exact or refused. ASCII text in one piece is searched where it lies, by the
pattern as bytes. Otherwise a pattern that cannot match a line end is tried a block of lines at a
time; one that can needs a copy, which is refused above a size. It runs in a worker that is killed
when it takes too long: nothing here guards against slow patterns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from rlm_mcp.sandbox import guards
from rlm_mcp.sandbox.facades import copying, crossing
from rlm_mcp.sandbox.text_view import TextView


class Pattern:
    """A compiled pattern that takes a str or a view."""

    __slots__ = ("_crosses", "_data", "_real")
    shown_as: Any = None

    def __init__(self, pattern: re.Pattern[Any]) -> None:
        if type(pattern) is not re.Pattern:
            raise TypeError("re.compile() makes a pattern")
        self._real = pattern
        self._data: re.Pattern[bytes] | bool | None = False  # not yet known
        self._crosses: bool | None = None

    @property
    def pattern(self) -> Any:
        return self._real.pattern

    @property
    def flags(self) -> int:
        return self._real.flags

    @property
    def groups(self) -> int:
        return self._real.groups

    @property
    def groupindex(self) -> dict[str, int]:
        return dict(self._real.groupindex)

    def __repr__(self) -> str:
        return repr(self._real)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self._real == other._real

    def __hash__(self) -> int:
        return hash(self._real)

    def search(self, text: Any, *where: int) -> Any:
        """Return the first match, or None."""
        if type(text) is TextView and not where:
            return next(self._view_matches(text), None)
        return self._real.search(_copied_text(text), *where)

    def match(self, text: Any, *where: int) -> Any:
        """Return a match at the start, or None."""
        return self._real.match(_copied_text(text), *where)

    def fullmatch(self, text: Any, *where: int) -> Any:
        """Return a match of the whole text, or None."""
        return self._real.fullmatch(_copied_text(text), *where)

    def finditer(self, text: Any, *where: int) -> Iterator[Any]:
        """Yield the matches."""
        if type(text) is TextView and not where:
            return self._view_matches(text)
        return self._real.finditer(_copied_text(text), *where)

    def findall(self, text: Any, *where: int) -> list[Any]:
        """Return the matches as strings, or as tuples of groups."""
        if type(text) is TextView and not where:
            return [_plain_match(found) for found in self._view_matches(text)]
        return self._real.findall(_copied_text(text), *where)

    def split(self, text: Any, maxsplit: int = 0) -> list[Any]:
        """Split by the matches."""
        return self._real.split(_copied_text(text), maxsplit)

    def sub(self, new: Any, text: Any, count: int = 0) -> Any:
        """Replace the matches."""
        return self._real.sub(new, _copied_text(text), count)

    def subn(self, new: Any, text: Any, count: int = 0) -> Any:
        """Replace the matches and count them."""
        return self._real.subn(new, _copied_text(text), count)

    def _view_matches(self, view: TextView) -> Iterator[Any]:
        if not isinstance(self._real.pattern, str):
            raise TypeError("cannot use a bytes pattern on a string-like object")
        whole = view._need_bytes().whole_buffer
        if (
            whole is not None
            and view._need_index().is_ascii
            and (data := self._bytes_form()) is not None
        ):
            return (ViewMatch(self, view, found, 0) for found in data.finditer(whole))
        if self._crosses is None:
            self._crosses = crossing.can_match_newline(self._real.pattern, self._real.flags)
        if self._crosses:
            return self._real.finditer(
                view._copy_text("this pattern, which may match across lines,")
            )
        return self._matches_by_lines(view)

    def _matches_by_lines(self, view: TextView) -> Iterator[Any]:
        before = 0
        mapped = view._need_bytes()
        if not mapped.size:
            yield from self._real.finditer("")
        for start, data in mapped.lines_from(0):
            text = data.decode("utf-8", "replace")
            size = len(text)
            follows = mapped.read_bytes(start + len(data), start + len(data) + 4).decode(
                "utf-8", "replace"
            )
            lead = "\n" if start else ""  # `^`, `\A` and lookbehind see what is really before
            block = lead + text + follows[:1]
            for found in self._real.finditer(block, len(lead)):
                if found.start() - len(lead) >= size and follows:
                    break
                yield ViewMatch(self, view, found, before - len(lead))
            before += size

    def _bytes_form(self) -> re.Pattern[bytes] | None:
        if self._data is False:
            self._data = None
            source = crossing.bytes_pattern(self._real.pattern)
            if source is not None:
                try:
                    self._data = re.compile(source, self._real.flags & ~re.UNICODE)
                except (re.error, ValueError):
                    self._data = None
        assert not isinstance(self._data, bool)
        return self._data


class ViewMatch:
    """A match in a view: offsets are characters of the view."""

    __slots__ = ("_found", "_pattern", "_shift", "_view")
    shown_as = re.Match

    def __init__(self, pattern: Pattern, view: TextView, found: re.Match[Any], shift: int) -> None:
        self._pattern = pattern
        self._view = view
        self._found = found
        self._shift = shift

    @property
    def re(self) -> Pattern:
        return self._pattern

    @property
    def string(self) -> TextView:
        return self._view

    @property
    def pos(self) -> int:
        return 0

    @property
    def endpos(self) -> int:
        return len(self._view)

    @property
    def lastindex(self) -> int | None:
        return self._found.lastindex

    @property
    def lastgroup(self) -> str | None:
        return self._found.lastgroup

    def group(self, *groups: Any) -> Any:
        """Return one or several groups."""
        return _group_text(self._found.group(*groups))

    def __getitem__(self, group: Any) -> Any:
        return _group_text(self._found[group])

    def groups(self, default: Any = None) -> tuple[Any, ...]:
        """Return all groups."""
        return tuple(
            default if item is None else _group_text(item) for item in self._found.groups()
        )

    def groupdict(self, default: Any = None) -> dict[str, Any]:
        """Return the named groups."""
        found = self._found.groupdict()
        return {
            name: default if item is None else _group_text(item) for name, item in found.items()
        }

    def start(self, group: Any = 0) -> int:
        """Return where a group begins."""
        at = self._found.start(group)
        return at + self._shift if at >= 0 else at

    def end(self, group: Any = 0) -> int:
        """Return where a group ends."""
        at = self._found.end(group)
        return at + self._shift if at >= 0 else at

    def span(self, group: Any = 0) -> tuple[int, int]:
        """Return where a group begins and ends."""
        return self.start(group), self.end(group)

    def expand(self, template: str) -> str:
        """Fill a replacement template."""
        if isinstance(self._found.re.pattern, str):
            return self._found.expand(template)
        return self._found.expand(template.encode()).decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"<re.Match object; span={self.span()}, match={self.group()!r}>"


def _group_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("ascii")
    return tuple(map(_group_text, value)) if isinstance(value, tuple) else value


def _copied_text(text: Any) -> Any:
    return text._copy_text("this call") if type(text) is TextView else text


def _plain_match(found: Any) -> Any:
    groups = found.groups(default="")
    if not groups:
        return found.group()
    return groups[0] if len(groups) == 1 else groups


def compile(pattern: Any, flags: int = 0) -> Pattern:
    """Answer `re.compile`."""
    if type(pattern) is Pattern:
        if flags:
            raise ValueError("cannot process flags argument with a compiled pattern")
        return pattern
    return _cached_pattern(type(pattern), pattern, int(flags))


_cache: dict[tuple[type, Any, int], Pattern] = {}


def _cached_pattern(kind: type, source: Any, flags: int) -> Pattern:
    if kind not in (str, bytes):
        return Pattern(re.compile(source, flags))
    found = _cache.get((kind, source, flags))
    if found is None:
        found = Pattern(re.compile(source, flags))
        if len(_cache) >= 256:
            _cache.clear()
        _cache[kind, source, flags] = found
    return found


def _module_function(name: str) -> Callable[..., Any]:
    def call_method(pattern: Any, *positional: Any, flags: int = 0, **named: Any) -> Any:
        wanted = _ARGUMENTS.get(name, 1)
        if len(positional) > wanted:  # re.sub(pattern, repl, string, count, flags)
            positional, (flags,) = positional[:wanted], positional[wanted:]
        if "string" in named:
            named["text"] = named.pop("string")
        if "repl" in named:
            named["new"] = named.pop("repl")
        return getattr(compile(pattern, flags), name)(*positional, **named)

    call_method.__name__ = call_method.__qualname__ = name
    call_method.__doc__ = getattr(re, name).__doc__
    return call_method


_ARGUMENTS = {"sub": 3, "subn": 3, "split": 2}
_FLAGS = "A ASCII I IGNORECASE M MULTILINE S DOTALL X VERBOSE U UNICODE NOFLAG"


def regex_exports() -> dict[str, Any]:
    """Return `re` for cells."""
    words = "search match fullmatch finditer findall split sub subn"
    made: dict[str, Any] = {name: _module_function(name) for name in words.split()}
    made.update({name: getattr(re, name) for name in _FLAGS.split()})
    made.update(compile=compile, escape=re.escape, error=re.error, purge=_cache.clear)
    made.update(Pattern=Pattern, Match=re.Match)
    if hasattr(re, "PatternError"):
        made["PatternError"] = re.PatternError
    return made


guards.keep_internal(ViewMatch)
copying.never_copied(Pattern, ViewMatch)
