"""What a regular expression is: a tree of sets of bytes, edges, counts, rows and choices.

Says what a pattern costs and what it can match, and writes it for an engine. All engines are
given the same sets: RE2's, ASCII only, and without the newline where matching is by line.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

BYTES = (1 << 256) - 1
NEWLINE = 1 << 10
WORD = sum(1 << ord(char) for char in string.ascii_letters + string.digits + "_")


class Unknown(Exception):
    """Syntax that this parser does not know; RE2 may."""


@dataclass(frozen=True, slots=True)
class One:
    """One byte out of a set."""

    bits: int


@dataclass(frozen=True, slots=True)
class Edge:
    """A place between bytes: ^ $ \\b \\B \\A \\z."""

    name: str


@dataclass(frozen=True, slots=True)
class Many:
    """A node from `low` to `high` times; `high` -1 is without limit."""

    node: Node
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Row:
    """Nodes one after the other."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of several nodes."""

    nodes: tuple[Node, ...]


Node = One | Edge | Many | Row | Either


@dataclass(frozen=True, slots=True)
class Pattern:
    """What was read. `loose`: lookaround was dropped, so it matches more than was written."""

    node: Node
    loose: bool
    whole_text: bool
    """Whether \\A or \\z ask about the whole text, not about a line."""
    newline: bool
    """Whether a newline is written out in it."""


def literal(node: Node) -> bytes | None:
    """Return the text that a node is, or None where it is not a plain one."""
    parts = node.nodes if isinstance(node, Row) else (node,)
    out = bytearray()
    for part in parts:
        if not isinstance(part, One) or part.bits.bit_count() != 1:
            return None
        out.append(part.bits.bit_length() - 1)
    return bytes(out)


def edges(node: Node) -> set[str]:
    """Return the names of the edges in a node."""
    match node:
        case One():
            return set()
        case Edge(name):
            return {name}
        case Many(inner, _, _):
            return edges(inner)
        case Row(nodes) | Either(nodes):
            return set().union(*map(edges, nodes))


def chooses_over_gaps(node: Node) -> bool:
    """Whether a node has both a choice and a part without a longest length."""
    return {"choice", "gap"} <= set(_kinds(node))


def written_out(node: Node, most: int) -> list[Node]:
    """Return nodes without choices, of which one matches where this one does.

    Raises Unknown where these are more than `most`, or a choice is repeated.
    """
    match node:
        case Row(nodes):
            rows: list[tuple[Node, ...]] = [()]
            for inner in nodes:
                rows = [(*row, one) for row in rows for one in written_out(inner, most)]
                if len(rows) > most:
                    raise Unknown("more ways than can be written out")
            return [Row(row) for row in rows]
        case Either(nodes):
            ways = [one for inner in nodes for one in written_out(inner, most)]
            if len(ways) > most:
                raise Unknown("more ways than can be written out")
            return ways
        case Many(inner, _, _) if "choice" in _kinds(inner):
            raise Unknown("a choice that is repeated")
    return [node]


def behind_gap(node: Node) -> Node | None:
    """Return the part of a row from its first part without a longest length on."""
    if isinstance(node, Row):
        for place, inner in enumerate(node.nodes):
            if "gap" in _kinds(inner):
                return Row(node.nodes[place:])
    return node if "gap" in _kinds(node) else None


def _kinds(node: Node) -> Iterator[str]:
    match node:
        case Many(inner, _, high):
            if high < 0:
                yield "gap"
            yield from _kinds(inner)
        case Row(nodes) | Either(nodes):
            if isinstance(node, Either):
                yield "choice"
            for inner in nodes:
                yield from _kinds(inner)


def nullable(node: Node, holds: str = "") -> bool:
    """Whether a node matches the empty text where just the edges in `holds` are true."""
    match node:
        case One():
            return False
        case Edge(name):
            return name in holds
        case Many(inner, low, _):
            return low == 0 or nullable(inner, holds)
        case Row(nodes):
            return all(nullable(inner, holds) for inner in nodes)
        case Either(nodes):
            return any(nullable(inner, holds) for inner in nodes)


def positions(node: Node) -> int:
    """Return about how many states the node needs when its counts are written out.

    Automata count single bytes without writing them out, so these weigh less.
    """
    match node:
        case One() | Edge():
            return 1
        case Many(One(), low, high):
            return min(50, max(1, low, high))
        case Many(inner, low, high):
            return positions(inner) * max(1, low, high)
        case Row(nodes) | Either(nodes):
            return 1 + sum(map(positions, nodes))


def to_line_end(node: Node) -> Node:
    """Return the node that matches from the same places on, up to and with the line's newline.

    It matches once a line, at its end, where the node would match many times. Raises Unknown
    for a `$` in the middle.
    """
    match node:
        case Edge("$"):
            return One(NEWLINE)
        case Either(nodes):
            return Either(tuple(map(to_line_end, nodes)))
        case Row(nodes) if nodes and _ends(nodes[-1]):
            if any(map(_ends, nodes[:-1])):
                raise Unknown("a $ in the middle")
            return Row((*nodes[:-1], to_line_end(nodes[-1])))
    if _ends(node):
        raise Unknown("a $ in the middle")
    return Row((node, Many(One(BYTES & ~NEWLINE), 0, -1), One(NEWLINE)))


def lean(node: Node) -> Node:
    """Return a smaller node that is somewhere in just the same lines.

    What may be left out at either end is: `.*a\\w*` is in a line where `a` is. `\\b` is where a
    word is.
    """
    match node:
        case Edge("\\b"):
            return One(WORD)
        case Many(inner, low, _) if low > 0:
            return lean(inner) if low == 1 else Many(inner, low, low)
        case Either(nodes):
            return Either(tuple(map(lean, nodes)))
        case Row(nodes):
            first, last = 0, len(nodes)
            while last > first and nullable(nodes[last - 1]):
                last -= 1
            while first < last and nullable(nodes[first]):
                first += 1
            parts = [*nodes[first:last]]
            if len(parts) == 1:
                return lean(parts[0])
            for place in {0, len(parts) - 1} if parts else ():
                parts[place] = _fewest(parts[place])
            return Row(tuple(parts))
    return node


def _fewest(node: Node) -> Node:
    """Return what a node at the end of a row must have."""
    if isinstance(node, Many):
        return node.node if node.low == 1 else Many(node.node, node.low, node.low)
    return node


def loosened(node: Node) -> Node:
    """Return a node that matches wherever this one does in a document, in a text of many too.

    The end of a document is no edge there: what asks for one is left out.
    """
    match node:
        case Edge(name) if name in ("$", "\\B"):
            return Row(())
        case Many(inner, low, high):
            return Many(loosened(inner), low, high)
        case Row(nodes):
            return Row(tuple(map(loosened, nodes)))
        case Either(nodes):
            return Either(tuple(map(loosened, nodes)))
    return node


def some(node: Node) -> Node | None:
    """Return the node that matches the same texts but the empty one; None where that is all.

    Raises Unknown where that cannot be told apart.
    """
    match node:
        case One():
            return node
        case Edge():
            return None
        case Many(inner, low, high):
            part = some(inner)
            if part is None or high == 0:
                return None
            if nullable(inner):
                return Many(part, 1, high)
            if nullable(inner, "^$\\b\\B"):
                raise Unknown("an edge that is counted")
            return Many(inner, max(1, low), high)
        case Either(nodes):
            parts = [part for part in map(some, nodes) if part is not None]
            return Either(tuple(parts)) if parts else None
        case Row(nodes):
            return _some_row(nodes)


def _some_row(nodes: tuple[Node, ...]) -> Node | None:
    """Let each node in turn be the first that is not empty."""
    ways: list[Node] = []
    before: list[Node] = []
    for place, node in enumerate(nodes):
        part = some(node)
        if part is not None:
            ways.append(Row((*before, part, *nodes[place + 1 :])))
        if not nullable(node, "^$\\b\\B"):
            break
        before.append(_empty(node))
    return Either(tuple(ways)) if len(ways) > 1 else ways[0] if ways else None


def _empty(node: Node) -> Node:
    """Return what must hold where a node matches the empty text."""
    match node:
        case Edge():
            return node
        case _ if nullable(node):
            return Row(())
        case Many(inner, _, _):
            return _empty(inner)
        case Row(nodes):
            return Row(tuple(map(_empty, nodes)))
        case Either(nodes):
            held = [inner for inner in nodes if nullable(inner, "^$\\b\\B")]
            return Either(tuple(map(_empty, held)))
    raise Unknown("a byte is never empty")


def _ends(node: Node) -> bool:
    match node:
        case Edge(name):
            return name == "$"
        case Many(inner, _, _):
            return _ends(inner)
        case Row(nodes) | Either(nodes):
            return any(map(_ends, nodes))
    return False


def source(node: Node) -> bytes:
    """Write a node in the syntax that RE2, Hyperscan and Python share."""
    match node:
        case One(bits):
            return _one(bits)
        case Edge(name):
            return name.encode()
        case Many(inner, low, high):
            return b"(?:" + source(inner) + b")" + _count(low, high)
        case Row(nodes):
            return b"".join(
                b"(?:%b)" % source(n) if isinstance(n, Either) else source(n) for n in nodes
            )
        case Either(nodes):
            return b"|".join(map(source, nodes))


def _count(low: int, high: int) -> bytes:
    known = {(0, -1): b"*", (1, -1): b"+", (0, 1): b"?"}
    if (low, high) in known:
        return known[low, high]
    if high < 0:
        return b"{%d,}" % low
    return b"{%d}" % low if low == high else b"{%d,%d}" % (low, high)


@lru_cache(maxsize=1_000)
def _one(bits: int) -> bytes:
    if not bits:
        # No byte at all: a place that is inside a word and at its border.
        return rb"\b\B"
    if bits.bit_count() == 1:
        return _byte(bits.bit_length() - 1)
    out, code = b"", 0
    while code < 256:
        if bits >> code & 1:
            last = code
            while last < 255 and bits >> (last + 1) & 1:
                last += 1
            out += _byte(code) + (b"-" + _byte(last) if last > code else b"")
            code = last
        code += 1
    return b"[" + out + b"]"


def _byte(code: int) -> bytes:
    char = bytes([code])
    return char if char.isalnum() else b"\\x%02x" % code


@lru_cache(maxsize=1_000)
def folded(bits: int) -> int:
    """Return a set of bytes with both cases of each ASCII letter in it."""
    for upper, lower in zip(string.ascii_uppercase, string.ascii_lowercase, strict=True):
        pair = 1 << ord(upper) | 1 << ord(lower)
        if bits & pair:
            bits |= pair
    return bits
