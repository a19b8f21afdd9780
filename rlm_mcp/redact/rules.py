"""What a rule is: where a secret may begin, how it goes on, and how rules are looked for.

Time is linear: one pass of RE2 finds all beginnings, and a form, whose length is bounded, is tried
only at them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

Check = Callable[[str, re.Match[str]], bool]
"""Says of a value, and of the form that it was found by, whether it is a secret."""

_LONGEST = 500
"""Characters of the longest secret that is searched for in the rest of a line."""
_HEAD = 32
"""Characters that the longest beginning may have."""
_FEW, _SPARSE = 64, 128
"""Up to 64 beginnings, and one more for 128 characters, are looked at one by one."""

_CONTINUED = (
    r"\n[^A-Za-z0-9\n]{0,8}[A-Za-z0-9][A-Za-z0-9+/=]{8,}(?:\\n|[\\\"', +\r])*\n",
    r"\n[ \t]*[bru@]?[\\]*[\"'`][^\s\"'`]{6,}[\"'`]?[\\)\]},; \r]*\n",
    r"\n[ \t]*password[ \t]",
)
"""Lines that a secret's beginning may stand above: nothing but base64, as the lines of a key, or
but a text in quotes; the password of a netrc file."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret stands in a text."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where the facts about a form (prefix, length, alphabet) come from."""

    name: str
    licence: str
    date: str


@dataclass(frozen=True, eq=False)
class Rule:
    """A form of secrets.

    `begins` are the plain texts that every such secret has (in lower case with `any_case`), `back`
    characters behind the place where `form` is matched. The last group of `form` that matched is
    the secret; without groups, all of it is. `check` may refuse it. `inside`: it may begin inside
    a word (fooAKIA...), for forms that no word has by chance. With `rest`, what stands behind a
    beginning on a line: the form is searched for in its group, and no part of it is looked at
    twice, however often the beginning occurs there.

    `sign` is a pattern for RE2 that matches, without regard to case, wherever `begins` do at a
    secret: the narrower it is, the fewer places are looked at.
    """

    kind: str
    maker: str
    begins: tuple[str, ...]
    form: str
    source: Source
    shape: str = ""
    """The form as a reader is told it; empty: the form itself."""
    check: Check | None = None
    inside: bool = False
    any_case: bool = False
    back: int = 0
    sign: str = ""
    rest: str = ""

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self.form, re.IGNORECASE if self.any_case else 0)

    @functools.cached_property
    def rest_pattern(self) -> re.Pattern[str]:
        return re.compile(self.rest, re.IGNORECASE if self.any_case else 0)

    @property
    def signs(self) -> str:
        """Return what RE2 looks for."""
        return self.sign or "|".join(map(re.escape, self.begins))

    def spans(self, text: str, place: int, done: dict[Rule, int]) -> Sequence[tuple[int, int]]:
        """Return the secrets of a beginning; `done` holds how far the rest of a line was seen."""
        start = place - self.back
        if start < 0:
            return ()
        if start and not self.inside and ((before := text[start - 1]).isalnum() or before in "_-"):
            return ()
        if not self.rest:
            match = self.pattern.match(text, start)
            return () if match is None else self._judged(match)
        if start < done.get(self, 0) or (rest := self.rest_pattern.match(text, start)) is None:
            return ()
        at, end = rest.start("rest"), rest.end()
        found: list[tuple[int, int]] = []
        while match := self.pattern.search(text, at, end + _LONGEST):
            if match.start() >= end:
                break
            found += self._judged(match)
            at = max(match.end(), match.start() + 1)
        done[self] = max(end, at)
        return found

    def _judged(self, match: re.Match[str]) -> Sequence[tuple[int, int]]:
        group = match.lastindex or 0
        if self.check is None or self.check(match[group], match):
            return (match.span(group),)
        return ()


_Found = tuple[int, int, int]
"""Where a secret begins, its end below zero, and the number of its rule: in this order, the first
of those that overlap gives the kind."""


class Rules:
    """Rules by how they begin."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.all = tuple(rules)
        self._heads: dict[str, list[tuple[int, Rule]]] = {}
        for rank, rule in enumerate(self.all):
            for head in dict.fromkeys(begin[:2].lower() for begin in rule.begins):
                self._heads.setdefault(head, []).append((rank, rule))

    @functools.cached_property
    def places(self) -> Callable[[bytes], Iterator[int]]:
        """Return a function that gives the places of bytes at which a secret may begin."""
        from rlm_mcp.corpus.search import compile_finder

        return compile_finder({rule.signs for rule in self.all})

    @functools.cached_property
    def places_of_parts(self) -> Callable[[bytes], Iterator[int]]:
        """Return the same function for lines: it also gives the newline before a line that may be
        a part of a secret from above.
        """
        from rlm_mcp.corpus.search import compile_finder

        return compile_finder({*(rule.signs for rule in self.all), *_CONTINUED})

    def secrets(self, text: str) -> list[Secret]:
        """Return the secrets in a text, in order, none overlapping another.

        Of two that are the same text the first rule gives the kind; of two that overlap, the
        first to begin, and the secret ends with the last to end.
        """
        return self._kept(*_plain(text), self.places)[0]

    def secrets_and_parts(self, text: str) -> tuple[list[Secret], list[int]]:
        """Return the secrets in a text of lines, and the places of the newlines before lines that
        may be a part of a secret from above.
        """
        plain, data = _plain(text)
        secrets, places = self._kept(plain, data, self.places_of_parts)
        every = self.places_of_parts(data) if places is None else places
        return secrets, [place for place in every if data[place] == 10]

    def _kept(
        self, plain: str, data: bytes, finder: Callable[[bytes], Iterator[int]]
    ) -> tuple[list[Secret], Sequence[int] | None]:
        """Return the secrets, and all beginnings where they are few."""
        most = _FEW + len(data) // _SPARSE
        places = [*islice(finder(data), most + 1)]
        few = len(places) <= most
        found = self.at_places(plain, places) if few else self.everywhere(plain)
        kept: list[Secret] = []
        for start, stop, number in sorted(found):
            if not kept or start >= kept[-1].end:
                kept.append(Secret(start, -stop, self.all[number].kind))
            elif -stop > kept[-1].end:
                kept[-1] = Secret(kept[-1].start, -stop, kept[-1].kind)
        return kept, places if few else None

    def at_places(self, text: str, places: Iterable[int]) -> Iterator[_Found]:
        """Yield what the rules find at some places of an ASCII text."""
        done: dict[Rule, int] = {}
        for place in places:
            head = text[place : place + _HEAD]
            lowered = head.lower()
            for number, rule in self._heads.get(lowered[:2], ()):
                if (lowered if rule.any_case else head).startswith(rule.begins):
                    for start, end in rule.spans(text, place, done):
                        yield start, -end, number

    def everywhere(self, text: str) -> Iterator[_Found]:
        """Yield what the rules find in an ASCII text, at all their beginnings.

        It takes a pass for each beginning, and much less for each place than RE2.
        """
        lowered = text.lower()
        done: dict[Rule, int] = {}
        for number, rule in enumerate(self.all):
            searched = lowered if rule.any_case else text
            for begin in rule.begins:
                place = searched.find(begin)
                while place >= 0:
                    for start, end in rule.spans(text, place, done):
                        yield start, -end, number
                    place = searched.find(begin, place + 1)


def _plain(text: str) -> tuple[str, bytes]:
    """Return a text in which other characters than those of ASCII are one `?` each."""
    data = text.encode("ascii", "replace")
    return (text if text.isascii() else data.decode()), data
