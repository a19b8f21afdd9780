"""Find where any of many patterns begins in bytes, without regard to case, in one linear pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


def finder(patterns: Iterable[str]) -> Callable[[bytes], Iterator[int]]:
    """Return a function that yields the places at which one of the patterns matches, in order.

    Places inside a match that was found already are not told.
    """
    # RE2 takes 15 ms to import.
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = False
    regex = re2.compile("|".join(f"(?:{one})" for one in sorted(patterns)).encode(), options)

    def find(data: bytes) -> Iterator[int]:
        return (match.start() for match in regex.finditer(data))

    return find
