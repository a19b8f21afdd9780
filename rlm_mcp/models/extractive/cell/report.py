"""What an answer is made of: facts that end in refs, and windows, each line of them quoted once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rlm_mcp.sdk import Item, outline, peek

WINDOWS = 12
"""Windows that an answer quotes at most."""
failures: list[str] = []
"""What went wrong on the way; an answer ends with it."""


class Report:
    """The facts and windows that were found."""

    def __init__(self) -> None:
        self.facts: list[str] = []
        self.parts: list[str] = []
        self.shown: dict[str, list[tuple[int, int]]] = {}
        self.ends: dict[str, int] = {}
        """The last line of a document, where a window went beyond it."""
        self.outlines: dict[str, list[tuple[tuple[str, int, int], Item]]] = {}

    def fact(self, text: str) -> None:
        """Add a fact, once."""
        if text not in self.facts:
            self.facts.append(text)

    def more(self, count: int, noun: str, where: str = "") -> None:
        """Say how much was found and is not listed."""
        if count > 0:
            number, _, said = some(count, noun).partition(" ")
            self.fact(f"{number} more {said} {where}".rstrip())

    def items(self, head: str) -> list[tuple[tuple[str, int, int], Item]]:
        """Return the outline of a document, made once."""
        if head not in self.outlines:
            self.outlines[head] = [(span(item.ref), item) for item in attempt(outline, head, 400)]
        return self.outlines[head]

    def quote(self, title: str, head: str, first: int, last: int) -> None:
        """Quote lines of a document, without those that are quoted already."""
        for begin, end in self.shown.get(head, []):
            if begin <= first <= end:
                first = end + 1
            if begin <= last <= end:
                last = begin - 1
            if first < begin <= end < last:
                last = begin - 1
        last = min(last, self.ends.get(head, last))
        if last < first or len(self.parts) >= WINDOWS:
            return
        try:
            rows = str(peek(f"{head}#L{first}-L{last}", last - first + 1)).split("\n")
        except Exception as error:
            failures.append(f"{head}: {str(error)[:160]}")
            return
        if len(rows) <= last - first:
            self.ends[head] = first + len(rows) - 1
        while rows and not rows[0].strip():
            rows, first = rows[1:], first + 1
        while rows and not rows[-1].strip():
            rows = rows[:-1]
        if rows:
            last = first + len(rows) - 1
            self.shown.setdefault(head, []).append((first, last))
            body = "\n".join("> " + row for row in rows)
            ref = f"{head}#L{first}" + f"-L{last}" * (last > first)
            self.parts.append(f"{title} {ref}\n{body}")

    def text(self) -> str:
        """Return all of it."""
        facts = ["\n".join("- " + fact for fact in self.facts)] * bool(self.facts)
        wrong = list(dict.fromkeys(failures))
        told = f"{some(len(wrong), 'part')} of the search failed: {'; '.join(wrong[:3])}"
        return "\n\n".join([*facts, *self.parts, *[told] * bool(wrong)])


def attempt(call: Callable[..., Any], *args: Any, **options: Any) -> list[Any]:
    """Return a list of what a call found; nothing where it is refused, which is then told."""
    try:
        found = call(*args, **options)
        return found if isinstance(found, list) else list(found)
    except Exception as error:
        failures.append(f"{type(error).__name__}: {str(error)[:160]}")
        return []


def stage(work: Callable[..., Any], *args: Any) -> Any:
    """Do one part of the search; what was found before an error stays, and the error is told."""
    try:
        return work(*args)
    except Exception as error:
        failures.append(f"{type(error).__name__}: {str(error)[:160]}")
        return None


def some(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: "1 line", "2,000 lines"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def does(count: int, verb: str) -> str:
    """Return a verb as it stands after a number of things: "calls" after one, else "call"."""
    return verb + "s" * (count == 1)


def span(ref: str) -> tuple[str, int, int]:
    """Return the address of a document, and the first and last line of a ref."""
    head, _, tail = ref.partition("#L")
    numbers = [int(n) for n in re.findall(r"[0-9]+", tail)]
    return head, numbers[0] if numbers else 0, numbers[-1] if numbers else 0


def length(ref: str) -> int:
    """Return the lines of a ref."""
    return span(ref)[2] - span(ref)[1] + 1


def address(place: str, path: str) -> str:
    """Return the ref of a document."""
    odd = "[%#@\x00-\x1f\x7f\udc80-\udcff]"
    return place + ":" + re.sub(odd, lambda found: f"%{ord(found[0]) & 0xFF:02X}", path)


def code_of(text: str, length: int = 160) -> str:
    """Return a line as it stands in a fact: between backticks, as far as it has none doubled."""
    shown = max(text.strip()[:length].split("``"), key=len).strip()
    padded = f" {shown} " if shown[:1] == "`" or shown[-1:] == "`" else shown
    return f"``{padded}``"


def built(ref: str) -> bool:
    """Say whether a ref is of what a build or an installer put there."""
    return bool(
        re.search(
            r"[:/](dist|build|out|target|vendor|third_party|node_modules|bower_components|_build"
            r"|site-packages|\.next|coverage|generated)/|[.-]min\.|\.map\b|_pb2\b",
            ref,
        )
    )


def tested(ref: str) -> bool:
    """Say whether a ref is of a test."""
    return bool(
        re.search(r"[:/](tests?|spec|__tests__)/|[:/_.-](test|tests|spec)[_.]|Tests?\.\w+", ref)
    )


def aside(ref: str) -> bool:
    """Say whether a ref is of documentation, of an example or of a test."""
    return tested(ref) or bool(
        re.search(
            r"[:/](docs?|documentation|examples?|samples?|demos?|bench(marks?)?)/"
            r"|\.(md|rst|adoc|txt|po|pot|html)(?=#|$)",
            ref,
        )
    )


def has(word: str, name: str) -> bool:
    """Say whether a part of a name begins with a word (decode: yes in iter_decoded)."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)
    return name.lower() == word or any(part.lower().startswith(word) for part in parts)
