"""The values that tools and cells work with: ordinary Python values that can show themselves.

`shown` is what an agent reads: counts first, then the lines with their refs, then how to get the
rest. In a cell a passage is a str, and hits, chunks, items and answers are lists.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from rlm_mcp.marks import mark_label, mark_quoted
from rlm_mcp.plurals import count_noun

MAX_CHUNK_LINES = 100_000
NOTHING = "NOTHING"
"""What a sub-model replies where its part holds nothing that was asked for (prompts/sub.md)."""
WINDOW_CHARS = 5_400
"""Characters of a window that are shown: a reply with its refs stays within 6,000."""


HostCall = Callable[[str, dict[str, Any]], Any]
"""Sends one call to a host and returns its JSON answer."""

current_host: ContextVar[HostCall] = ContextVar("current_host")
"""Answers the calls of this context. It travels with a call: two at once have a host each."""


class Text(str):
    """A plain text whose shown form is itself (descriptions, results of cells)."""

    __slots__ = ()

    @property
    def shown(self) -> str:
        return str(self)


class Passage(str):
    """Verbatim text of a window. `ref` addresses it, `next_ref` what follows."""

    ref: str
    next_ref: str
    first_line: int | None
    total: int
    note: str

    @property
    def shown(self) -> str:
        """Return the text under its ref, with line numbers where it has lines.

        Of a long window only the first lines are shown; its `next` opens the others.
        """
        ref, body, next_ref = self.ref, str(self), self.next_ref
        if self.first_line is not None:
            lines = body.split("\n")
            last = self.first_line + len(lines) - 1
            width = len(str(last))
            numbered = [f"{n:>{width}} {line}" for n, line in enumerate(lines, self.first_line)]
            fit = _fitting_count(numbered)
            if 0 < fit < len(numbered):
                base = ref.partition("#")[0]
                ref = f"{base}#L{self.first_line}-L{self.first_line + fit - 1}"
                next_ref = f"{base}#L{self.first_line + fit}-L{last}"
                numbered = numbered[:fit]
            body = "\n".join(numbered)
        else:
            body = mark_quoted(body)
        parts = [f"{mark_label(ref)} (of {self.total})", body]
        if self.note:
            parts.append(mark_label(self.note))
        if next_ref:
            parts.append(f"next: {mark_label(next_ref)}")
        return "\n".join(parts)


def _fitting_count(lines: list[str]) -> int:
    room = WINDOW_CHARS
    for count, line in enumerate(lines):
        room -= len(line) + 1
        if room < 0:
            return count
    return len(lines)


@dataclass(frozen=True)
class Hit:
    """A matching line: `ref`, `path`, `line`, `text` (verbatim, long lines cut)."""

    ref: str
    path: str
    line: int
    text: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    cut: bool = False
    note: str = ""
    """What limits the answer that the hit is a part of."""

    def __str__(self) -> str:
        first, end, rest = self.text.partition("\n")
        note = f"  [{mark_label(self.note)}]" if self.note else ""
        return f"{mark_label(self.ref)}: {first}{end}{mark_quoted(rest)}{note}"

    def numbered_context(self) -> tuple[list[str], list[str]]:
        """Return the lines before and after, with their numbers where these are known."""
        below = self.line + self.text.count("\n") + 1
        if not self.ref.endswith(f"#L{self.line}") or ("\n" in self.text and self.cut):
            return [f"    {line}" for line in self.before], [f"    {line}" for line in self.after]
        first, width = self.line - len(self.before), len(str(below + len(self.after)))
        return (
            [f"    {n:>{width}} {line}" for n, line in enumerate(self.before, first)],
            [f"    {n:>{width}} {line}" for n, line in enumerate(self.after, below)],
        )


class Hits(list[Hit]):
    """Matching lines. `total` counts all of them, `cursor` opens those that follow."""

    total: int = 0
    documents: int = 0
    cursor: str = ""
    exact: bool = True
    note: str = ""
    per_folder: dict[str, int]
    ranked: bool = False
    """Whether these are the passages that fit a question best."""
    related: list[str]

    @property
    def shown(self) -> str:
        """Return counts first, then a line a hit, then how to get the rest."""
        if self.ranked:
            return self._shown_passages()
        total = count_noun(self.total, "matching line")
        total = total if self.exact else f"at least {total}"
        head = f"{total} in {count_noun(self.documents, 'document')}; {len(self)} shown."
        parts = [head]
        if self.note:
            parts.append(mark_label(self.note))
        if self.per_folder and self.cursor:
            top = sorted(self.per_folder.items(), key=lambda item: -item[1])[:8]
            parts.append(
                "by folder: " + ", ".join(f"{mark_label(name)} {count:,}" for name, count in top)
            )
        for hit in self:
            before, after = hit.numbered_context()
            parts += [*before, str(hit), *after]
        if self.cursor:
            parts.append(f"more: the same call with cursor={self.cursor!r}")
        return "\n".join(parts)

    def _shown_passages(self) -> str:
        """Return the passages with their line numbers, then what relates to them."""
        parts = [mark_label(self.note)] if self.note else []
        if self and "\n" in "".join(hit.text for hit in self):
            parts.insert(
                0, f"{count_noun(len(self), 'passage')}, best first (ranked, not counted)."
            )
        for hit in self:
            title = f"  {mark_label(hit.note)}" if hit.note else ""
            lines = hit.text.split("\n")
            if len(lines) == 1:
                parts.append(f"{mark_label(hit.ref)}{title}: {mark_quoted(hit.text)}")
                continue
            parts.append(f"{mark_label(hit.ref)}{title}")
            width = len(str(hit.line + len(lines) - 1))
            parts += [
                f"{number:>{width}} {line}" if hit.line else mark_quoted(line)
                for number, line in enumerate(lines, hit.line)
            ]
        return "\n".join([*parts, *map(mark_quoted, self.related)]) or "Nothing fits."


@dataclass(frozen=True)
class Chunk:
    """A part on natural borders: `ref`, estimated `tokens`, `title`; `text` opens it."""

    ref: str
    tokens: int
    title: str

    @property
    def text(self) -> str:
        """Return the whole text."""
        got = current_host.get()("peek", {"ref": self.ref, "limit": MAX_CHUNK_LINES})
        return str(got["text"])

    def __str__(self) -> str:
        return mark_label(f"{self.ref}  ~{self.tokens} tokens  {self.title}")


class Chunks(list[Chunk]):
    """The parts of a scope, in order, each line exactly once. `handle` names them all."""

    handle: str = ""

    @property
    def shown(self) -> str:
        """Return a table of the parts, without their text."""
        total = sum(chunk.tokens for chunk in self)
        head = f"{self.handle}: {count_noun(len(self), 'chunk')}, ~{total:,} tokens in all."
        use = f'Read one with peek(ref), ask all with llm_query(prompt, refs="{self.handle}").'
        return "\n".join([head, use, *(str(chunk) for chunk in self)])


@dataclass(frozen=True)
class Item:
    """A line of an outline: `ref`, `kind`, `name`, `depth`, `detail`."""

    ref: str
    kind: str
    name: str
    depth: int = 0
    detail: str = ""

    def __str__(self) -> str:
        detail = f"  {self.detail}" if self.detail else ""
        return mark_label(f"{'  ' * self.depth}{self.kind} {self.name}{detail}  {self.ref}")


class Items(list[Item]):
    """An outline. `total` counts the items of the whole scope."""

    total: int = 0
    note: str = ""

    @property
    def shown(self) -> str:
        """Return a line an item."""
        parts = [f"{count_noun(self.total, 'item')}; {len(self)} shown."]
        if self.note:
            parts.append(mark_label(self.note))
        return "\n".join([*parts, *map(str, self)])


@dataclass(frozen=True)
class Failure:
    """A call that got no answer, in the place where its answer would be.

    It is no string and false in a condition: code that takes it for an answer fails loudly. An
    answer may be false too (`[]`, 0): `isinstance(x, Failure)` tells. `partial` is the text of a
    reply that was cut.
    """

    reason: str
    kind: str
    partial: str = ""

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"<NO ANSWER: {self.reason}>"

    @property
    def shown(self) -> str:
        return self.reason


class QueryFailed(RuntimeError):
    """The one reply that was asked for did not come; says why."""


class Answers(list[Any]):
    """Replies of sub-models, in the order of what was asked; a failed one is a `Failure`.

    `done` of `asked` came back; `failed` lists the refs (or numbers) without an answer. `ok` and
    `failures` are (index, answer) pairs, `nothing` the indexes where a model found nothing.
    """

    asked: int = 0
    done: int = 0
    failed: list[str]
    handle: str = ""
    spent: str = ""
    statuses: tuple[str, ...] = ()
    """Of child runs: complete, partial, forced or failed, each in the place of its answer."""
    for_tool: bool = False
    """Whether an agent's tool asked, which shows text, and not a cell."""

    @property
    def ok(self) -> list[tuple[int, Any]]:
        return [pair for pair in enumerate(self) if not isinstance(pair[1], Failure)]

    @property
    def failures(self) -> list[tuple[int, Failure]]:
        return [pair for pair in enumerate(self) if isinstance(pair[1], Failure)]

    @property
    def nothing(self) -> list[int]:
        """Return the indexes of answers that are the one word for "nothing found"."""
        return [
            index
            for index, answer in enumerate(self)
            if isinstance(answer, str) and answer.strip(" \n.`\"'*").upper() == NOTHING
        ]

    def retry(self) -> Answers:
        """Ask what failed once more, put the answers in their places, and return this list."""
        if self.failures:
            if not self.handle:
                raise QueryFailed("These answers cannot be asked again; repeat the call.")
            self.take_answers(current_host.get()("llm_query", {"retry": self.handle}))
        return self

    def take_answers(self, got: dict[str, Any]) -> None:
        """Hold what a host answered."""
        self[:] = got["answers"]
        for place, reason, kind, partial in got["failures"]:  # an answer may be any JSON value
            self[place] = Failure(reason, kind, partial)
        self.asked, self.done, self.failed = got["asked"], got["done"], got["failed"]
        self.statuses = tuple(got.get("statuses", ()))
        self.handle, self.spent, self.for_tool = got["handle"], got["spent"], got["for_tool"]

    @property
    def shown(self) -> str:
        """Return coverage first, then a preview of each reply."""
        parts = [f"{self.done} of {self.asked} answered. {self.spent}".rstrip()]
        if self.failed:
            parts.append("not answered: " + ", ".join(map(mark_label, self.failed)))
        cap = max(200, 4_000 // max(1, len(self)))
        for number, answer in enumerate(self, 1):
            text = str(answer)
            cut = f" … ({len(text):,} characters)" if len(text) > cap else ""
            parts.append(f"[{number}] {mark_quoted(text[:cap])}{cut}")
        if self.handle:
            parts.append(f"whole: {self.handle}")
        return "\n".join(parts)

    def only_reply(self) -> Any:
        """Return the reply to a single prompt: a Reply, or the value that a schema asked for.

        Raises QueryFailed if there is none.
        """
        answer = self[0] if self else Failure("nothing was asked", "empty")
        if isinstance(answer, Failure):
            raise QueryFailed(answer.reason)
        if not isinstance(answer, str):
            if not self.for_tool:
                return answer
            answer = json.dumps(answer, ensure_ascii=False)
        reply = Reply(answer)
        reply.spent, reply.handle = self.spent, self.handle
        return reply


class Reply(str):
    """The one reply that was asked for: an ordinary str, with `spent` and a `handle` beside it."""

    spent: str = ""
    handle: str = ""

    @property
    def shown(self) -> str:
        """Return the text, then what it cost."""
        text = mark_quoted(str(self)) if self.spent else str(self)  # a run marks its own
        return "\n\n".join(part for part in (text, self.spent) if part)
