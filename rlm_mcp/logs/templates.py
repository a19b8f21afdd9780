"""Group log lines that differ only in their parameters.

Digits are collapsed over whole blocks first, so that only the few distinct shapes are looked at
closely: there, ids, addresses, quoted texts and paths become `<*>`, and shapes of equal length
that agree in most words are joined (the idea of Drain, He and others, ICWS 2017). Numbers that
are a level (a status of HTTP, "level":50, PRIORITY=3) are kept. It is an approximation, and is
called one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rlm_mcp.logs import log_time

MAX_SHAPES = 20_000
"""Distinct shapes that are kept; further ones are counted together."""
MAX_LINE_BYTES = 2_000
MIN_ALIKE = 0.6
"""The share of equal words from which on two shapes are one template."""
OTHER_SHAPES = "<other shapes>"

_DIGITS = bytes.maketrans(b"0123456789", b"0000000000")
_RUNS = re.compile(rb"0+")
_WIDE = {digit: chr(0xFF10 + digit) for digit in range(8)}
"""Digits that are kept, as full-width ones until the others are masked."""
_NARROW = str.maketrans({wide: str(digit) for digit, wide in _WIDE.items()})
_KEPT = (
    (re.compile(rb'" [1-5]\d\d '), rb'" %d\d\d ', '" {}xx ', range(1, 6)),
    (
        re.compile(rb'"level" ?: ?[1-6]0\b'), rb'("level" ?: ?)%d0\b', "\\1{}\uff10", range(1, 7)
    ),
    (re.compile(rb"\nPRIORITY=[0-7]\n"), rb"\nPRIORITY=%d\n", "\nPRIORITY={}\n", range(8)),
)  # fmt: skip
"""A level that is a number: how to know that there are some, and how each is kept."""
_NUMBERS = [
    (known, [(re.compile(form % d), text.format(_WIDE[d]).encode()) for d in digits])
    for known, form, text, digits in _KEPT
]
_KLOG = re.compile(r"^([IWEFD])0 (?=0:0:0)")
"""The level and the day of a line of Kubernetes, digits masked."""
_MASKS = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"), "<*>"),
    (re.compile(r"\b(?=[a-fA-F]*0)[0a-fA-F]{6,}\b"), "<*>"),
    (re.compile(r"\b0x[0a-fA-F]+\b"), "<*>"),
    (re.compile(r"\b0(?:[.:]0){2,}(?::0)?\b"), "<*>"),
    (re.compile(r"(?<![\w.])-?0(?:\.0)?(?=[a-zA-Z%]{0,3}\b)"), "<*>"),
    (re.compile(r"[\w-]*<\*>[\w.-]*(?:<\*>[\w.-]*)*"), "<*>"),
    (re.compile(r"\b\w*0\w*(?:[-_.:]\w*0?\w*)*\b"), "<*>"),
)  # fmt: skip
_HEADER = re.compile(
    r"^(?:\ufeff)?[\[(]?(?:[IWEFD]0 |<0>)?(?:0[-/]0[-/]0[T ])?(?:[A-Z][a-z]{2} {1,2}0 )?"
    r"0:0:0(?:[.,]0)?(?:Z| ?[+-]0:?0?| UTC| GMT)?[\])]?\s*"
)


@dataclass(slots=True)
class LogTemplate:
    """Lines of one form: how many, and where the first and the last of them start."""

    text: str
    level: str
    count: int
    first: tuple[int, int]
    """Number of the file, and the byte at which the line starts."""
    last: tuple[int, int]
    words: list[str] = field(default_factory=list)


def mine_templates(
    parts: Iterable[tuple[int, int, bytes]], deadline: float
) -> tuple[list[LogTemplate], int, bool]:
    """Return the templates of (file, offset, whole lines) blocks, the most frequent first.

    With them come the number of lines, and whether time sufficed for all of them.
    """
    shapes: dict[bytes, list[int]] = {}
    total = 0
    whole = True
    rest = [0, 0, 0, 0, 0]
    for number, offset, data in parts:
        if time.monotonic() > deadline:
            whole = False
            break
        at = offset
        kept = _keep_levels(data)
        lines = data.split(b"\n") if kept is not data else []
        for count, line in enumerate(kept.translate(_DIGITS).split(b"\n")):
            length = len(lines[count] if lines else line) + 1
            if line and not line.isspace():
                total += 1
                shape = line[:MAX_LINE_BYTES]
                known = shapes.get(shape)
                if known is None:
                    if len(shapes) < MAX_SHAPES * 10:
                        shapes[shape] = [1, number, at, number, at]
                    else:
                        rest[0] += 1
                        rest[3:] = [number, at]
                else:
                    known[0] += 1
                    known[3] = number
                    known[4] = at
            at += length
    found = _join_shapes(_collapse_shapes(shapes))
    if rest[0]:
        found.append(LogTemplate(OTHER_SHAPES, "", rest[0], (rest[1], rest[2]), (rest[3], rest[4])))
    return sorted(found, key=lambda item: (-item.count, item.first)), total, whole


def _keep_levels(data: bytes) -> bytes:
    """Write the digits that are levels as wide ones; the same object where there are none."""
    for known, forms in _NUMBERS:
        if known.search(data):
            for pattern, text in forms:
                data = pattern.sub(text, data)
    return data


def _collapse_shapes(shapes: dict[bytes, list[int]]) -> dict[str, tuple[str, list[int]]]:
    """Join shapes that are equal once runs of digits and parameters are masked."""
    by_runs: dict[bytes, list[int]] = {}
    for shape, facts in shapes.items():
        _add_shape(by_runs, _RUNS.sub(b"0", shape), facts)
    found: dict[str, tuple[str, list[int]]] = {}
    for shape, facts in by_runs.items():
        text = shape.decode("utf-8", "replace")
        letter = _KLOG.match(text)  # the level is nowhere else on the line
        masked = (f"{letter[1]} " if letter else "") + _mask_parameters(text)
        known = found.get(masked)
        if known is None:
            plain = text.translate(_NARROW).replace("xx ", "00 ")
            plain = _KLOG.sub(r"\g<1>0000 ", plain)
            found[masked] = (log_time.line_level(plain.encode()), facts)
        else:
            _merge_counts(known[1], facts)
    return found


def line_form(line: str) -> str:
    """Return one line's own form, its parameters masked."""
    digits = line.encode("utf-8", "replace").translate(_DIGITS)
    return _mask_parameters(_RUNS.sub(b"0", digits).decode("utf-8", "replace"))


def _mask_parameters(text: str) -> str:
    text = _HEADER.sub("", text, count=1)
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


def _add_shape(table: dict[bytes, list[int]], key: bytes, facts: list[int]) -> None:
    known = table.get(key)
    if known is None:
        table[key] = list(facts)
    else:
        _merge_counts(known, facts)


def _merge_counts(known: list[int], facts: list[int]) -> None:
    known[0] += facts[0]
    if facts[1:3] < known[1:3]:
        known[1:3] = facts[1:3]
    if facts[3:5] > known[3:5]:
        known[3:5] = facts[3:5]


def _join_shapes(shapes: dict[str, tuple[str, list[int]]]) -> list[LogTemplate]:
    """Join shapes of one length and level that agree in most of their words."""
    groups: dict[tuple[int, str, str], list[LogTemplate]] = {}
    ordered = sorted(shapes.items(), key=lambda item: -item[1][1][0])
    for text, (level, facts) in ordered[:MAX_SHAPES]:
        words = text.split(" ")
        group = groups.setdefault((len(words), level, words[0]), [])
        for known in group[:50]:
            if _are_alike(known.words, words):
                known.words = [
                    a if a == b else "<*>" for a, b in zip(known.words, words, strict=True)
                ]
                known.count += facts[0]
                known.first = min(known.first, (facts[1], facts[2]))
                known.last = max(known.last, (facts[3], facts[4]))
                break
        else:
            first, last = (facts[1], facts[2]), (facts[3], facts[4])
            group.append(LogTemplate(text, level, facts[0], first, last, words))
    found = [item for group in groups.values() for item in group]
    for item in found:
        item.text = " ".join(item.words)[:400].translate(_NARROW)
    return found


def _are_alike(one: list[str], other: list[str]) -> bool:
    fixed = [(a, b) for a, b in zip(one, other, strict=True) if a != "<*>" or b != "<*>"]
    if not fixed:
        return True
    same = sum(a == b for a, b in fixed)
    return same >= max(1, len(fixed) * MIN_ALIKE) and len(fixed) - same <= 3


def count_changes(
    before: Iterable[LogTemplate], after: Iterable[LogTemplate]
) -> Iterator[tuple[str, int, int]]:
    """Give (template, count before, count after) for all templates of two sets."""
    old = {item.text: item for item in before}
    new = {item.text: item for item in after}
    for text in {**old, **new}:
        yield (
            text,
            old[text].count if text in old else 0,
            new[text].count if text in new else 0,
        )
