"""Find where any of many words stands in bytes, without regard to case, in one linear pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


def finder(words: Iterable[str]) -> Callable[[bytes], Iterator[int]]:
    """Return a function that yields the places at which one of the words starts, in order.

    Places inside a word that was found already are not told.
    """
    # RE2 takes 15 ms to import.
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = False
    pattern = b"|".join(re2.escape(word.encode()) for word in sorted(words))
    regex = re2.compile(pattern, options)

    def find(data: bytes) -> Iterator[int]:
        return (match.start() for match in regex.finditer(data))

    return find
