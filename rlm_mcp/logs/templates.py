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
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rlm_mcp.logs.log_formats import line_level
from rlm_mcp.logs.log_levels import text_level

MAX_SHAPES = 20_000
"""Distinct shapes that are kept; further ones are counted together."""
MAX_LINE_BYTES = 2_000
MIN_ALIKE = 0.6
"""The share of equal words from which on two shapes are one template."""
OTHER_SHAPES = "<other shapes>"

_DIGITS = bytes.maketrans(b"0123456789", b"0000000000")
_RUNS = re.compile(rb"0+")
_HEX_RUN = re.compile(rb"\b(?=[a-fA-F]*0)[0a-fA-F]{8,}\b")
"""Ids in hexadecimal, which would else be a shape each."""
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
_JSON_MESSAGE = re.compile(r'"(?:msg|message|MESSAGE|short_message|event)" ?: ?"([^"]*)')
"""The message of a line in JSON: two messages are two templates."""
_MASKS = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"), "<*>"),
    (re.compile(r"\b(?=[a-fA-F]*0)[0a-fA-F]{6,}\b"), "<*>"),
    (re.compile(r"\b0x[0a-fA-F]+\b"), "<*>"),
    (re.compile(r"\b0(?:[.:]0){2,}(?::0)?\b"), "<*>"),
    (re.compile(r"(?<![\w.])-?0(?:\.0)?(?=[a-zA-Z%]{0,3}\b)"), "<*>"),
    (re.compile(r"[\w-]*<\*>[\w.-]*(?:<\*>[\w.-]*)*"), "<*>"),
    (re.compile(r"\b\w*0\w*(?:[-_.:]\w*0?\w*)*\b"), "<*>"),
    (re.compile(r"[\w-]*<\*>[\w.-]*(?:<\*>[\w.-]*)*"), "<*>"),
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
    after: int = 0
    """Lines of the later side of a comparison."""
    words: list[str] = field(default_factory=list)


LogBlock = tuple[int, int, bytes, int]
"""Number of the file, offset, whole lines, and the side of a comparison that they are on."""
_Facts = list[int]
"""Count, the file and byte of the first and the last line, and the lines of side 1."""


def mine_templates(
    parts: Iterable[LogBlock], deadline: float
) -> tuple[list[LogTemplate], Counter[int], bool]:
    """Return the templates of blocks, the most frequent first.

    With them come the number of lines of each side, and whether time sufficed for all of them.
    """
    shapes: dict[bytes, _Facts] = {}
    masked: dict[str, tuple[str, _Facts]] = {}
    total: Counter[int] = Counter()
    whole = True
    for number, offset, data, side in parts:
        if time.monotonic() > deadline:
            whole = False
            break
        at = offset
        kept = _keep_levels(data)
        lines = data.split(b"\n") if kept is not data else []
        for count, line in enumerate(kept.translate(_DIGITS).split(b"\n")):
            length = len(lines[count] if lines else line) + 1
            if line and not line.isspace():
                total[side] += 1
                shape = line[:MAX_LINE_BYTES]
                known = shapes.get(shape)
                if known is None:
                    shapes[shape] = [1, number, at, number, at, side]
                else:
                    known[0] += 1
                    known[3] = number
                    known[4] = at
                    known[5] += side
            at += length
        if len(shapes) > MAX_SHAPES * 10:
            _collapse_shapes(shapes, masked)
            shapes.clear()
            _bound_shapes(masked)
    _collapse_shapes(shapes, masked)
    found = _join_shapes(masked)
    return sorted(found, key=lambda item: (-item.count, item.first)), total, whole


def _bound_shapes(masked: dict[str, tuple[str, _Facts]]) -> None:
    """Join the rarest shapes of each level into one where there are too many."""
    if len(masked) <= MAX_SHAPES * 10:
        return
    ordered = sorted(masked, key=lambda text: -masked[text][1][0])
    for text in ordered[MAX_SHAPES:]:
        level, facts = masked.pop(text)
        _add_masked(masked, f"{OTHER_SHAPES} {level}".strip(), level, facts)


def _add_masked(
    masked: dict[str, tuple[str, _Facts]], text: str, level: str, facts: _Facts
) -> None:
    known = masked.get(text)
    if known is None:
        masked[text] = (level, facts)
    else:
        _merge_counts(known[1], facts)


def _keep_levels(data: bytes) -> bytes:
    """Write the digits that are levels as wide ones; the same object where there are none."""
    for known, forms in _NUMBERS:
        if known.search(data):
            for pattern, text in forms:
                data = pattern.sub(text, data)
    return data


def _collapse_shapes(shapes: dict[bytes, _Facts], found: dict[str, tuple[str, _Facts]]) -> None:
    """Join shapes that are equal once runs of digits and parameters are masked."""
    by_runs: dict[bytes, _Facts] = {}
    for shape, facts in shapes.items():
        _add_shape(by_runs, _HEX_RUN.sub(b"0a", _RUNS.sub(b"0", shape)), facts)
    for shape, facts in by_runs.items():
        text = shape.decode("utf-8", "replace")
        letter = _KLOG.match(text)  # the level is nowhere else on the line
        masked = (f"{letter[1]} " if letter else "") + _mask_parameters(text)
        plain = text.translate(_NARROW).replace("xx ", "00 ")
        plain = _KLOG.sub(r"\g<1>0000 ", plain)
        level = shape_level(plain.encode())
        _add_masked(found, f"{level}\0{masked}", level, facts)


def shape_level(line: bytes) -> str:
    """Return the level of a line whose digits are masked."""
    if header := _HEADER.match(line.decode("utf-8", "replace")):
        return text_level(line, len(header[0].rstrip().encode())) or line_level(line)
    return line_level(line)


def family_form(fields: Mapping[str, object], text: bytes) -> str:
    """Return what errors of one kind have in common: the message, its parameters masked."""
    message = str(fields.get("message") or text[:400].decode("utf-8", "replace"))
    return line_form(message.partition("\n")[0][:300])


def line_form(line: str) -> str:
    """Return one line's own form, its parameters masked."""
    digits = line.encode("utf-8", "replace").translate(_DIGITS)
    return _mask_parameters(_RUNS.sub(b"0", digits).decode("utf-8", "replace"))


def _mask_parameters(text: str) -> str:
    text = _HEADER.sub("", text, count=1)
    if text[:2] == '{"':
        text = text.replace('","', '", "').replace(',"', ', "').replace('":', '": ')
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


def _add_shape(table: dict[bytes, _Facts], key: bytes, facts: _Facts) -> None:
    known = table.get(key)
    if known is None:
        table[key] = list(facts)
    else:
        _merge_counts(known, facts)


def _merge_counts(known: _Facts, facts: _Facts) -> None:
    known[0] += facts[0]
    known[5] += facts[5]
    if facts[1:3] < known[1:3]:
        known[1:3] = facts[1:3]
    if facts[3:5] > known[3:5]:
        known[3:5] = facts[3:5]


def _join_shapes(shapes: dict[str, tuple[str, _Facts]]) -> list[LogTemplate]:
    """Join shapes of one length and level that agree in most of their words."""
    groups: dict[tuple[int, str, str], list[LogTemplate]] = {}
    ordered = sorted(shapes.items(), key=lambda item: -item[1][1][0])
    for keyed, (level, facts) in ordered:
        text = keyed.rpartition("\0")[2]
        words = text.split(" ")
        message = _JSON_MESSAGE.search(text)
        begun = message[1] if message else words[0]
        group = groups.setdefault((len(words), level, begun), [])
        for known in group[:50]:
            if _are_alike(known.words, words):
                known.words = [
                    a if a == b else "<*>" for a, b in zip(known.words, words, strict=True)
                ]
                known.count += facts[0]
                known.after += facts[5]
                known.first = min(known.first, (facts[1], facts[2]))
                known.last = max(known.last, (facts[3], facts[4]))
                break
        else:
            first, last = (facts[1], facts[2]), (facts[3], facts[4])
            group.append(LogTemplate(text, level, facts[0], first, last, facts[5], words))
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
