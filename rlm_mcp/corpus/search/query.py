"""What is looked for, and what is found: the values of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

HIT_CHARS = 300
"""Characters of a line that a hit shows."""
MAX_PAGE_LINES = 20_000
"""Lines, those around hits included, that one page of a search quotes at most."""
MAX_CONTEXT_LINES = 100
"""Lines of context that a hit may have on each side."""
SEARCH_LIMIT_S = 1.3
"""What a search may take; what was found by then is labelled as not exact."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for. `pattern` is RE2 syntax, ASCII classes unless `unicode`."""

    pattern: str
    limit: int = 30
    ignore_case: bool = False
    before: int = 0
    after: int = 0
    cursor: str = ""
    unicode: bool = False
    multiline: bool = False
    spread: bool = False
    """Whether to take the first hit of each document, then the second of each, and so on."""
    literal: bool = False
    totals: bool = True
    """False: stop as soon as `limit` hits are known; the total is then a lower bound."""
    seconds: float = SEARCH_LIMIT_S

    def fit_page(self) -> Query:
        """Return the query with a limit of one page; the cursor of its answer opens the next."""
        around = sum(min(max(0, count), MAX_CONTEXT_LINES) for count in (self.before, self.after))
        most = max(1, MAX_PAGE_LINES // (1 + around))
        return replace(self, limit=most) if self.limit > most else self


class GrepHit(NamedTuple):
    """A matching line. `text` is at most 300 characters of it, around the match."""

    path: str
    line: int
    text: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True)
class GrepPage:
    """The answer to a query. `total` counts the matching lines of the whole scope."""

    hits: tuple[GrepHit, ...]
    total: int
    documents: int
    cursor: str = ""
    exact: bool = True
    note: str = ""
    per_folder: Mapping[str, int] = field(default_factory=dict)
