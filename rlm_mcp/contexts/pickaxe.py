"""Find, in packed commits with their patches, those that add or remove a line that matches.

A patch marks such lines in its first column; that of a merge has a column for each parent, and
what only the merge brings is marked in all of them. The two lines that name a file in front of
its changes begin alike and are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rlm_mcp.corpus import search as searching
from rlm_mcp.corpus.pack import Corpus
from rlm_mcp.git import Commit

MAX_LINES = 200_000
"""Matching lines of one pack that are looked at."""


class Lines(NamedTuple):
    """The first changed line that matches, by the number of its commit; and what was not seen."""

    first: dict[int, str]
    notes: list[str]


def lines(corpus: Corpus, commits: Sequence[Commit], pattern: str) -> Lines:
    """Search documents that are named by the number of their commit."""
    by_parents: dict[int, list[str]] = {}
    for path, commit in zip(corpus.paths(), commits, strict=True):
        by_parents.setdefault(max(1, len(commit.parents)), []).append(path)
    first: dict[int, str] = {}
    notes: dict[str, None] = {}
    for columns, paths in by_parents.items():
        marks = rf"(?:\+{{{columns}}}|-{{{columns}}})"
        query = searching.Query(rf"^{marks}.*(?:{pattern})", limit=MAX_LINES)
        found = searching.search(corpus, query, paths)
        if not found.exact or found.total > len(found.hits):
            notes[found.note or "Some commits with very many lines were not looked at."] = None
        for hit in found.hits:
            if int(hit.path) not in first and not _names_a_file(corpus, hit):
                first[int(hit.path)] = hit.text
    return Lines(first, list(notes))


def _names_a_file(corpus: Corpus, hit: searching.Match) -> bool:
    """Say whether a line is one of the two before a file's changes."""
    if not hit.text.startswith(("--- ", "+++ ")):
        return False
    start = hit.line + (hit.text[0] == "-")
    after = corpus.line_bytes(hit.path, start, start + 1)
    return len(after) == 2 and after[0].startswith(b"+++ ") and after[1].startswith(b"@@")
