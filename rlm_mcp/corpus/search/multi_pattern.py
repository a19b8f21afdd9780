"""Find where any of many patterns begins in bytes, without regard to case, in one linear pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


def compile_finder(patterns: Iterable[str]) -> Callable[[bytes], Iterator[int]]:
    """Return a function that yields every place at which one of the patterns matches, in order.

    It is linear where no match reaches over many beginnings of others.
    """
    # RE2 takes 15 ms to import.
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = False
    joined = "|".join(f"(?:{one})" for one in sorted(patterns)).encode()
    search = re2.compile(joined, options).search

    def find_starts(data: bytes) -> Iterator[int]:
        match = search(data)
        while match is not None:
            yield match.start()
            match = search(data, match.start() + 1)

    return find_starts
