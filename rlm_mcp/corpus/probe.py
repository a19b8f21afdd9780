"""Try an automaton on texts that must match, before it is trusted.

Vectorscan 5.4.12, which Hyperscan's wheels from 0.7.29 to 0.9.1 hold, skips over some matches of
some patterns (a word, a gap, one of several words: VectorCamp/vectorscan#358, #382): where a long
run of other bytes is skipped quickly, and where the text ends. The same automaton does so again
and again, so a pattern is tried on a few hundred of its own matches with long runs between their
parts. An automaton that misses one is not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from rlm_mcp.corpus import pattern as patterns
from rlm_mcp.corpus.pattern import Node

BODIES, EACH = 48, 8
"""Matches that are made up, and how often each is tried, with other runs around it."""
LONGEST, MOST = 2_000, 128 << 10
"""Bytes of a match, and of all of them, at most."""
RUN = 140
"""Bytes of a run, at most: more than two of the processor's widest registers."""
_DULL = b"q~Z#- .\t9_"
"""What runs are made of, where it is no part of the pattern."""


def holds(database: Any, node: Node, regex: Any) -> bool:
    """Whether a database of Hyperscan reports each of some matches of a node.

    `regex` is the same pattern as RE2 knows it; it decides what is a match.
    """
    text = bytearray(b"\n")
    spans = []
    for sample in filter(regex.search, _Samples(node).lines()):
        spans.append((len(text), len(text) + len(sample) + 1))
        text += sample + b"\n"
        if len(text) > MOST:
            break
    text += b"\n"
    reports: list[int] = []

    def report(_id: int, _from: int, to: int, _flags: int, _context: object) -> None:
        reports.append(to)

    database.scan(text, report)
    found = iter(sorted(reports))
    to = next(found, 0)
    for start, end in spans:
        while to <= start:
            if not (to := next(found, 0)):
                return False
        if to > end:
            return False
    return True


class _Samples:
    """Texts that a node matches, mostly; the same ones each time."""

    def __init__(self, node: Node) -> None:
        self._node, self._random = node, Random(0)
        told = _told(node)
        self._dull = bytes(byte for byte in _DULL if not told >> byte & 1) or b"\x80"

    def lines(self) -> Iterator[bytes]:
        """Yield matches with and without runs before and behind them."""
        for _ in range(BODIES):
            body = self._some(self._node)[:LONGEST]
            for _ in range(EACH):
                yield self._run() + body + self._run()

    def _run(self) -> bytes:
        size = int(self._random.random() * 2 * RUN) - RUN // 2
        return self._dull[size % len(self._dull) :][:1] * size

    def _some(self, node: Node) -> bytes:
        choose = self._random
        match node:
            case patterns.One(bits):
                return self._byte(bits)
            case patterns.Edge():
                return b""
            case patterns.Row(nodes):
                return b"".join(map(self._some, nodes))
            case patterns.Either(nodes):
                return self._some(choose.choice(nodes))
            case patterns.Many(patterns.One(bits), low, high):
                most = high if high >= 0 else low + RUN
                few = choose.randint(low, min(low + 2, most))
                count = few if choose.random() < 0.4 else choose.randint(low, most)
                return self._byte(bits) * min(count, low + RUN)
            case patterns.Many(inner, low, high):
                most = low + 2 if high < 0 else min(high, low + 2)
                times = choose.randint(low, most)
                return b"".join(self._some(inner) for _ in range(times))

    def _byte(self, bits: int) -> bytes:
        """Return a byte of a set, a dull one where there is one."""
        dull = [byte for byte in self._dull if bits >> byte & 1]
        if dull:
            return bytes([self._random.choice(dull)])
        members = [byte for byte in range(256) if bits >> byte & 1]
        return bytes([self._random.choice(members)]) if members else b""


def _told(node: Node) -> int:
    """Return the bytes that a node names: those of its small sets."""
    match node:
        case patterns.One(bits):
            return bits if bits.bit_count() <= 4 else 0
        case patterns.Edge():
            return 0
        case patterns.Many(inner, _, _):
            return _told(inner)
        case patterns.Row(nodes) | patterns.Either(nodes):
            told = 0
            for inner in nodes:
                told |= _told(inner)
            return told
