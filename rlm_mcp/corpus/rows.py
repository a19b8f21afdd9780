"""What makes a line match, for patterns of a fixed length: a choice of rows of sets of bytes.

A row says which bytes may stand at some offsets from a place. Edges are such bytes too: a line
starts behind a newline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from rlm_mcp.corpus import pattern as patterns
from rlm_mcp.corpus.pattern import BYTES, NEWLINE, WORD, Node, Unknown

Needs = tuple[tuple[int, int], ...]
"""(offset, set of bytes as bits) of a row; offset -1 is the byte before the match."""
Item = int | str
"""A set of bytes, or the name of an edge."""

MOST_ROWS = 16
LONGEST = 24
"""Bytes that a row may have."""
MARGIN = 64
"""Bytes that must be there before and behind a text in which rows are looked for."""
_BORDERS = {
    "^": ((NEWLINE, BYTES),),
    "$": ((BYTES, NEWLINE),),
    "\\b": ((WORD, BYTES & ~WORD), (BYTES & ~WORD, WORD)),
    "\\B": ((WORD, WORD), (BYTES & ~WORD, BYTES & ~WORD)),
}
"""What may stand before and behind each edge."""


def rows_of(node: Node) -> tuple[Needs, ...]:
    """Return the rows that a node is a choice of; none where its length is not fixed or large."""
    try:
        ways = _ways(node)
    except Unknown:
        return ()
    found = {needs: None for way in ways for needs in _needs(way)}
    return tuple(found) if len(found) <= MOST_ROWS else ()


def _ways(node: Node) -> list[tuple[Item, ...]]:
    """Write a node out as a choice of rows of sets and edges. Raises Unknown for too many."""
    match node:
        case patterns.One(bits):
            return [(bits,)]
        case patterns.Edge(name) if name in _BORDERS:
            return [(name,)]
        case patterns.Many(inner, low, high) if low <= high <= LONGEST:
            parts = _ways(inner)
            ways = [way for count in range(low, high + 1) for way in _joined([parts] * count)]
        case patterns.Row(nodes):
            ways = _joined([_ways(inner) for inner in nodes])
        case patterns.Either(nodes):
            ways = [way for inner in nodes for way in _ways(inner)]
        case _:
            raise Unknown("no fixed length")
    if len(ways) > MOST_ROWS or any(len(way) > LONGEST for way in ways):
        raise Unknown("too many rows")
    return ways


def _joined(parts: Sequence[list[tuple[Item, ...]]]) -> list[tuple[Item, ...]]:
    count = 1
    for part in parts:
        count *= len(part)
        if count > MOST_ROWS:
            raise Unknown("too many rows")
    return [tuple(item for way in ways for item in way) for ways in product(*parts)]


def _needs(way: tuple[Item, ...]) -> Iterable[Needs]:
    """Turn edges into sets of bytes beside them; an edge that cannot hold leaves nothing."""
    sets: dict[int, int] = {}
    edges: list[tuple[int, str]] = []
    for item in way:
        if isinstance(item, str):
            edges.append((len(sets), item))
        else:
            sets[len(sets)] = item
    for borders in product(*(_BORDERS[name] for _, name in edges)):
        needs = dict(sets)
        for (place, _), (before, behind) in zip(edges, borders, strict=True):
            needs[place - 1] = needs.get(place - 1, BYTES) & before
            needs[place] = needs.get(place, BYTES) & behind
        if all(needs.values()):
            yield tuple(sorted((at, bits) for at, bits in needs.items() if bits != BYTES))
