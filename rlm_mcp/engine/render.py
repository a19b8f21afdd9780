"""What a root model (or an agent) is shown of a cell: bounded, with counts of what was left out.

Nothing here depends on the clock or on chance, so that the same run asks the same again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rlm_mcp.plurals import count_noun

if TYPE_CHECKING:
    from rlm_mcp.sandbox import SandboxOutcome
    from rlm_mcp.variable import Description

SHOWN_CHARS = 8_000
"""Characters of a cell's output that a root model sees."""
MAX_LISTED = 16
"""Variables that are listed after a cell."""

_FENCE = re.compile(
    r"^[ \t]*(`{3,}|~{3,})[ \t]*(repl|python|py|python3)?[ \t]*\r?\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_FINAL = re.compile(r"^\s*FINAL(_VAR)?\((.*)\)\s*\Z", re.DOTALL | re.MULTILINE)
_PLAIN_NAME = re.compile(r"[\"']?([A-Za-z_]\w*)[\"']?\Z")


class ReplyCells:
    """The code of a reply: the first cell, and how many more there were."""

    def __init__(self, reply: str) -> None:
        fences = [(match[2], match[3]) for match in _FENCE.finditer(reply)]
        marked = [code for language, code in fences if language]
        found = marked or [code for language, code in fences if not language][:1]
        self.code = found[0].rstrip() if found else ""
        self.more = max(0, len(marked) - 1)


def final_cell(reply: str) -> str | None:
    """Return the cell that means the same as a FINAL(...) written as plain text, if it is one."""
    found = _FINAL.search(reply)
    if found is None:
        return None
    inner = found[2].strip()
    name = _PLAIN_NAME.match(inner)
    if found[1]:
        return f"FINAL_VAR({name[1]!r})" if name else None
    if len(inner) > 1 and inner[0] == inner[-1] and inner[0] in "\"'":
        inner = inner[1:-1]
    return f"FINAL({inner!r})"


def truncate_middle(text: str, limit: int, whole: int = 0, handle: str = "") -> str:
    """Return head and tail of a text with the count of what is left out between them."""
    length = max(len(text), whole)
    if length <= limit:
        return text
    head, tail = limit * 5 // 8, limit * 3 // 8
    where = f"; whole: {handle}" if handle else ""
    return (
        f"{text[:head]}\n[... {length - head - tail:,} of {length:,} characters left out"
        f"{where} ...]\n{text[-tail:]}"
    )


def outcome_text(outcome: SandboxOutcome, limit: int = SHOWN_CHARS, handle: str = "") -> str:
    """Return what a cell printed, its last value and its error."""
    parts = []
    if outcome.stdout:
        parts.append(
            truncate_middle(outcome.stdout.rstrip("\n"), limit, outcome.stdout_chars, handle)
        )
    if outcome.value_repr is not None and outcome.value_repr != "None":
        parts.append(f"=> {truncate_middle(outcome.value_repr, limit // 2)}")
    if outcome.error:
        parts.append(truncate_middle(outcome.error, limit // 2))
    if outcome.lost:
        parts.append(
            "The environment had to be restarted; these variables could not be kept: "
            + ", ".join(outcome.lost)
        )
    return "\n".join(parts) or "(no output)"


def list_variables(names: Iterable[Mapping[str, Any]], hidden: frozenset[str]) -> str:
    """Return one line that lists a cell's variables with type and size."""
    items = [item for item in names if item["name"] not in hidden]
    shown = [f"{item['name']} {_type_label(item)}" for item in items[-MAX_LISTED:]]
    more = f", and {len(items) - MAX_LISTED} more (SHOW_VARS())" if len(items) > MAX_LISTED else ""
    return f"variables: {', '.join(shown)}{more}" if shown else ""


def _type_label(item: Mapping[str, Any]) -> str:
    size = item.get("size")
    return f"{item['type']}[{size:,}]" if isinstance(size, int) else str(item["type"])


def describe_line(d: Description) -> str:
    """Return one line about a variable."""
    lines = f", {count_noun(d.lines, 'line')}" if d.lines is not None else ""
    return (
        f"- {d.name} ({d.kind}): {d.source}; {size_text(d.size_bytes)}, "
        f"~{count_noun(d.tokens, 'token')}, {count_noun(d.documents, 'document')}{lines}; "
        f"{d.freshness}; refs look like {d.ref_example}"
    )


def describe_brief(d: Description) -> str:
    """Return one line about a variable, and what its reader must know."""
    return "\n".join([describe_line(d), *(f"  note: {note}" for note in d.notes)])


def describe_text(d: Description) -> str:
    """Return everything that is known about a variable, a fact a line."""
    parts = [describe_line(d)]
    parts += [f"  {name}: {value}" for name, value in d.facts.items()]
    if d.skipped:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in d.skipped.items())
        parts.append(f"  not loaded: {counts}")
    parts += [f"  note: {note}" for note in d.notes]
    parts += [f"  {d.name}.{method}" for method in d.methods]
    return "\n".join(parts)


def size_text(size: int) -> str:
    """Return a number of bytes for people."""
    value = float(size)
    for unit in ("bytes", "KB", "MB", "GB"):
        if value < 1024 or unit == "GB":
            return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def spent_text(calls: int, cached: int, cost_usd: float | None) -> str:
    """Return what something cost, for the one who asked for it."""
    price = "price unknown" if cost_usd is None else f"${cost_usd:.4f}"
    stored = f", {cached:,} answered from the cache" if cached else ""
    return f"({count_noun(calls, 'model call')}{stored}, {price})"


def first_lines(texts: Sequence[str], limit: int) -> list[str]:
    """Return the first line of each text, cut."""
    return [text.strip().partition("\n")[0][:limit] for text in texts]
