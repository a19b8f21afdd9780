"""What a regular expression is: a tree of sets of bytes, edges, counts, rows and choices.

Says what a pattern costs and what it can match, and writes it for an engine. All engines are
given the same sets: RE2's, ASCII only, and without the newline where matching is by line.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

ALL_BYTES = (1 << 256) - 1
NEWLINE_BYTE = 1 << 10
WORD_BYTES = sum(1 << ord(char) for char in string.ascii_letters + string.digits + "_")


class UnsupportedSyntax(Exception):
    """Syntax that this parser does not know; RE2 may."""


@dataclass(frozen=True, slots=True)
class ByteClass:
    """One byte out of a set."""

    bits: int


@dataclass(frozen=True, slots=True)
class Assertion:
    """A place between bytes: ^ $ \\b \\B \\A \\z."""

    name: str


@dataclass(frozen=True, slots=True)
class Repetition:
    """A node from `low` to `high` times; `high` -1 is without limit."""

    node: RegexNode
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Concatenation:
    """Nodes one after the other."""

    nodes: tuple[RegexNode, ...]


@dataclass(frozen=True, slots=True)
class Alternation:
    """One of several nodes."""

    nodes: tuple[RegexNode, ...]


RegexNode = ByteClass | Assertion | Repetition | Concatenation | Alternation


@dataclass(frozen=True, slots=True)
class ParsedRegex:
    """What was read. `loose`: lookaround was dropped, so it matches more than was written."""

    node: RegexNode
    loose: bool
    whole_text: bool
    """Whether \\A or \\z ask about the whole text, not about a line."""
    newline: bool
    """Whether a newline is written out in it."""


def literal_bytes(node: RegexNode) -> bytes | None:
    """Return the text that a node is, or None where it is not a plain one."""
    parts = node.nodes if isinstance(node, Concatenation) else (node,)
    out = bytearray()
    for part in parts:
        if not isinstance(part, ByteClass) or part.bits.bit_count() != 1:
            return None
        out.append(part.bits.bit_length() - 1)
    return bytes(out)


def assertion_names(node: RegexNode) -> set[str]:
    """Return the names of the edges in a node."""
    match node:
        case ByteClass():
            return set()
        case Assertion(name):
            return {name}
        case Repetition(inner, _, _):
            return assertion_names(inner)
        case Concatenation(nodes) | Alternation(nodes):
            return set().union(*map(assertion_names, nodes))


def has_choice_and_gap(node: RegexNode) -> bool:
    """Whether a node has both a choice and a part without a longest length."""
    return {"choice", "gap"} <= set(_part_kinds(node))


def expand_alternations(node: RegexNode, most: int) -> list[RegexNode]:
    """Return nodes without choices, of which one matches where this one does.

    Raises Unknown where these are more than `most`, or a choice is repeated.
    """
    match node:
        case Concatenation(nodes):
            rows: list[tuple[RegexNode, ...]] = [()]
            for inner in nodes:
                rows = [(*row, one) for row in rows for one in expand_alternations(inner, most)]
                if len(rows) > most:
                    raise UnsupportedSyntax("more ways than can be written out")
            return [Concatenation(row) for row in rows]
        case Alternation(nodes):
            ways = [one for inner in nodes for one in expand_alternations(inner, most)]
            if len(ways) > most:
                raise UnsupportedSyntax("more ways than can be written out")
            return ways
        case Repetition(inner, _, _) if "choice" in _part_kinds(inner):
            raise UnsupportedSyntax("a choice that is repeated")
    return [node]


def tail_from_gap(node: RegexNode) -> RegexNode | None:
    """Return the part of a row from its first part without a longest length on."""
    if isinstance(node, Concatenation):
        for place, inner in enumerate(node.nodes):
            if "gap" in _part_kinds(inner):
                return Concatenation(node.nodes[place:])
    return node if "gap" in _part_kinds(node) else None


def _part_kinds(node: RegexNode) -> Iterator[str]:
    match node:
        case Repetition(inner, _, high):
            if high < 0:
                yield "gap"
            yield from _part_kinds(inner)
        case Concatenation(nodes) | Alternation(nodes):
            if isinstance(node, Alternation):
                yield "choice"
            for inner in nodes:
                yield from _part_kinds(inner)


def matches_empty(node: RegexNode, holds: str = "") -> bool:
    """Whether a node matches the empty text where just the edges in `holds` are true."""
    match node:
        case ByteClass():
            return False
        case Assertion(name):
            return name in holds
        case Repetition(inner, low, _):
            return low == 0 or matches_empty(inner, holds)
        case Concatenation(nodes):
            return all(matches_empty(inner, holds) for inner in nodes)
        case Alternation(nodes):
            return any(matches_empty(inner, holds) for inner in nodes)


def count_positions(node: RegexNode) -> int:
    """Return about how many states the node needs when its counts are written out.

    Automata count single bytes without writing them out, so these weigh less.
    """
    match node:
        case ByteClass() | Assertion():
            return 1
        case Repetition(ByteClass(), low, high):
            return min(50, max(1, low, high))
        case Repetition(inner, low, high):
            return count_positions(inner) * max(1, low, high)
        case Concatenation(nodes) | Alternation(nodes):
            return 1 + sum(map(count_positions, nodes))


def to_line_end(node: RegexNode) -> RegexNode:
    """Return the node that matches from the same places on, up to and with the line's newline.

    It matches once a line, at its end, where the node would match many times. Raises Unknown
    for a `$` in the middle.
    """
    match node:
        case Assertion("$"):
            return ByteClass(NEWLINE_BYTE)
        case Alternation(nodes):
            return Alternation(tuple(map(to_line_end, nodes)))
        case Concatenation(nodes) if nodes and _has_line_end(nodes[-1]):
            if any(map(_has_line_end, nodes[:-1])):
                raise UnsupportedSyntax("a $ in the middle")
            return Concatenation((*nodes[:-1], to_line_end(nodes[-1])))
    if _has_line_end(node):
        raise UnsupportedSyntax("a $ in the middle")
    return Concatenation(
        (node, Repetition(ByteClass(ALL_BYTES & ~NEWLINE_BYTE), 0, -1), ByteClass(NEWLINE_BYTE))
    )


def trim_node(node: RegexNode) -> RegexNode:
    """Return a smaller node that is somewhere in just the same lines.

    What may be left out at either end is: `.*a\\w*` is in a line where `a` is. `\\b` is where a
    word is.
    """
    match node:
        case Assertion("\\b"):
            return ByteClass(WORD_BYTES)
        case Repetition(inner, low, _) if low > 0:
            return trim_node(inner) if low == 1 else Repetition(inner, low, low)
        case Alternation(nodes):
            return Alternation(tuple(map(trim_node, nodes)))
        case Concatenation(nodes):
            first, last = 0, len(nodes)
            while last > first and matches_empty(nodes[last - 1]):
                last -= 1
            while first < last and matches_empty(nodes[first]):
                first += 1
            parts = [*nodes[first:last]]
            if len(parts) == 1:
                return trim_node(parts[0])
            for place in {0, len(parts) - 1} if parts else ():
                parts[place] = _fewest_repeats(parts[place])
            return Concatenation(tuple(parts))
    return node


def _fewest_repeats(node: RegexNode) -> RegexNode:
    """Return what a node at the end of a row must have."""
    if isinstance(node, Repetition):
        return node.node if node.low == 1 else Repetition(node.node, node.low, node.low)
    return node


def without_end_assertions(node: RegexNode) -> RegexNode:
    """Return a node that matches wherever this one does in a document, in a text of many too.

    The end of a document is no edge there: what asks for one is left out.
    """
    match node:
        case Assertion(name) if name in ("$", "\\B"):
            return Concatenation(())
        case Repetition(inner, low, high):
            return Repetition(without_end_assertions(inner), low, high)
        case Concatenation(nodes):
            return Concatenation(tuple(map(without_end_assertions, nodes)))
        case Alternation(nodes):
            return Alternation(tuple(map(without_end_assertions, nodes)))
    return node


def nonempty_node(node: RegexNode) -> RegexNode | None:
    """Return the node that matches the same texts but the empty one; None where that is all.

    Raises Unknown where that cannot be told apart.
    """
    match node:
        case ByteClass():
            return node
        case Assertion():
            return None
        case Repetition(inner, low, high):
            part = nonempty_node(inner)
            if part is None or high == 0:
                return None
            if matches_empty(inner):
                return Repetition(part, 1, high)
            if matches_empty(inner, "^$\\b\\B"):
                raise UnsupportedSyntax("an edge that is counted")
            return Repetition(inner, max(1, low), high)
        case Alternation(nodes):
            parts = [part for part in map(nonempty_node, nodes) if part is not None]
            return Alternation(tuple(parts)) if parts else None
        case Concatenation(nodes):
            return _nonempty_concat(nodes)


def _nonempty_concat(nodes: tuple[RegexNode, ...]) -> RegexNode | None:
    """Let each node in turn be the first that is not empty."""
    ways: list[RegexNode] = []
    before: list[RegexNode] = []
    for place, node in enumerate(nodes):
        part = nonempty_node(node)
        if part is not None:
            ways.append(Concatenation((*before, part, *nodes[place + 1 :])))
        if not matches_empty(node, "^$\\b\\B"):
            break
        before.append(_empty_condition(node))
    return Alternation(tuple(ways)) if len(ways) > 1 else ways[0] if ways else None


def _empty_condition(node: RegexNode) -> RegexNode:
    """Return what must hold where a node matches the empty text."""
    match node:
        case Assertion():
            return node
        case _ if matches_empty(node):
            return Concatenation(())
        case Repetition(inner, _, _):
            return _empty_condition(inner)
        case Concatenation(nodes):
            return Concatenation(tuple(map(_empty_condition, nodes)))
        case Alternation(nodes):
            held = [inner for inner in nodes if matches_empty(inner, "^$\\b\\B")]
            return Alternation(tuple(map(_empty_condition, held)))
    raise UnsupportedSyntax("a byte is never empty")


def _has_line_end(node: RegexNode) -> bool:
    match node:
        case Assertion(name):
            return name == "$"
        case Repetition(inner, _, _):
            return _has_line_end(inner)
        case Concatenation(nodes) | Alternation(nodes):
            return any(map(_has_line_end, nodes))
    return False


def regex_source(node: RegexNode) -> bytes:
    """Write a node in the syntax that RE2, Hyperscan and Python share."""
    match node:
        case ByteClass(bits):
            return _class_source(bits)
        case Assertion(name):
            return name.encode()
        case Repetition(inner, low, high):
            return b"(?:" + regex_source(inner) + b")" + _repeat_source(low, high)
        case Concatenation(nodes):
            return b"".join(
                b"(?:%b)" % regex_source(n) if isinstance(n, Alternation) else regex_source(n)
                for n in nodes
            )
        case Alternation(nodes):
            return b"|".join(map(regex_source, nodes))


def _repeat_source(low: int, high: int) -> bytes:
    known = {(0, -1): b"*", (1, -1): b"+", (0, 1): b"?"}
    if (low, high) in known:
        return known[low, high]
    if high < 0:
        return b"{%d,}" % low
    return b"{%d}" % low if low == high else b"{%d,%d}" % (low, high)


@lru_cache(maxsize=1_000)
def _class_source(bits: int) -> bytes:
    if not bits:
        # No byte at all: a place that is inside a word and at its border.
        return rb"\b\B"
    if bits.bit_count() == 1:
        return _byte_source(bits.bit_length() - 1)
    out, code = b"", 0
    while code < 256:
        if bits >> code & 1:
            last = code
            while last < 255 and bits >> (last + 1) & 1:
                last += 1
            out += _byte_source(code) + (b"-" + _byte_source(last) if last > code else b"")
            code = last
        code += 1
    return b"[" + out + b"]"


def _byte_source(code: int) -> bytes:
    char = bytes([code])
    return char if char.isalnum() else b"\\x%02x" % code


@lru_cache(maxsize=1_000)
def fold_case(bits: int) -> int:
    """Return a set of bytes with both cases of each ASCII letter in it."""
    for upper, lower in zip(string.ascii_uppercase, string.ascii_lowercase, strict=True):
        pair = 1 << ord(upper) | 1 << ord(lower)
        if bits & pair:
            bits |= pair
    return bits
