"""What a tool or a cell may use: typed values, and calls that the host answers.

This module is loaded into the sandbox worker by trusted code, which sets `host`. Tools import
from it (`from rlm_mcp.sdk import Hits, scan`); nothing else of this package is visible to them.
A value shows itself to an agent through `shown`; in a cell it is an ordinary Python value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Answers",
    "Chunk",
    "Chunks",
    "Failure",
    "Hit",
    "Hits",
    "Item",
    "Items",
    "Passage",
    "Reply",
    "Text",
    "ask",
    "describe",
    "only",
    "open_source",
    "outline_of",
    "rank",
    "read",
    "run",
    "run_cell",
    "scan",
    "split",
    "wait_for",
]


def _unbound(name: str, arguments: dict[str, Any]) -> Any:
    raise RuntimeError(f"{name} is answered by the host; this process has none.")


host: Callable[[str, dict[str, Any]], Any] = _unbound
"""Set by the worker: sends one call to the host and returns its JSON answer."""


WINDOW_CHARS = 5_400
"""Characters of a window that are shown: a reply with its refs stays within 6,000."""


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
            fit = _fitting(numbered)
            if 0 < fit < len(numbered):
                base = ref.partition("#")[0]
                ref = f"{base}#L{self.first_line}-L{self.first_line + fit - 1}"
                next_ref = f"{base}#L{self.first_line + fit}-L{last}"
                numbered = numbered[:fit]
            body = "\n".join(numbered)
        parts = [f"{ref} (of {self.total})", body]
        if self.note:
            parts.append(self.note)
        if next_ref:
            parts.append(f"next: {next_ref}")
        return "\n".join(parts)


def _fitting(lines: list[str]) -> int:
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

    def __str__(self) -> str:
        return f"{self.ref}: {self.text}"


class Hits(list[Hit]):
    """Matching lines. `total` counts all of them, `cursor` opens those that follow."""

    total: int = 0
    documents: int = 0
    cursor: str = ""
    exact: bool = True
    note: str = ""
    per_folder: dict[str, int]

    @property
    def shown(self) -> str:
        """Return counts first, then a line a hit, then how to get the rest."""
        count = f"{self.total:,}" if self.exact else f"at least {self.total:,}"
        head = f"{count} matching lines in {self.documents:,} documents; {len(self)} shown."
        parts = [head]
        if self.note:
            parts.append(self.note)
        if self.per_folder and self.cursor:
            top = sorted(self.per_folder.items(), key=lambda item: -item[1])[:8]
            parts.append("by folder: " + ", ".join(f"{name} {count:,}" for name, count in top))
        for hit in self:
            parts.extend(f"    {line}" for line in hit.before)
            parts.append(str(hit))
            parts.extend(f"    {line}" for line in hit.after)
        if self.cursor:
            parts.append(f"more: the same call with cursor={self.cursor!r}")
        return "\n".join(parts)


@dataclass(frozen=True)
class Chunk:
    """A part on natural borders: `ref`, estimated `tokens`, `title`."""

    ref: str
    tokens: int
    title: str

    def __str__(self) -> str:
        return f"{self.ref}  ~{self.tokens} tokens  {self.title}"


class Chunks(list[Chunk]):
    """The parts of a scope, in order, each line exactly once. `handle` names them all."""

    handle: str = ""

    @property
    def shown(self) -> str:
        """Return a table of the parts, without their text."""
        total = sum(chunk.tokens for chunk in self)
        head = f"{self.handle}: {len(self)} chunks, ~{total:,} tokens in all."
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
        return f"{'  ' * self.depth}{self.kind} {self.name}{detail}  {self.ref}"


class Items(list[Item]):
    """An outline. `total` counts the items of the whole scope."""

    total: int = 0
    note: str = ""

    @property
    def shown(self) -> str:
        """Return a line an item."""
        parts = [f"{self.total:,} items; {len(self)} shown."]
        if self.note:
            parts.append(self.note)
        return "\n".join([*parts, *map(str, self)])


@dataclass(frozen=True)
class Failure:
    """A call that got no answer, in the place where its answer would be.

    It is no string and false in a condition: code that takes it for an answer fails loudly.
    """

    reason: str
    kind: str

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"<NO ANSWER: {self.reason}>"

    @property
    def shown(self) -> str:
        return self.reason


class Answers(list[Any]):
    """Replies of sub-models, in the order of what was asked; a failed one is a `Failure`.

    `done` of `asked` came back; `failed` lists the refs (or numbers) without an answer.
    """

    asked: int = 0
    done: int = 0
    failed: list[str]
    handle: str = ""
    spent: str = ""

    @property
    def shown(self) -> str:
        """Return coverage first, then a preview of each reply."""
        parts = [f"{self.done} of {self.asked} answered. {self.spent}".rstrip()]
        if self.failed:
            parts.append("not answered: " + ", ".join(self.failed))
        cap = max(200, 4_000 // max(1, len(self)))
        for number, answer in enumerate(self, 1):
            text = str(answer)
            cut = f" … ({len(text):,} characters)" if len(text) > cap else ""
            parts.append(f"[{number}] {text[:cap]}{cut}")
        if self.handle:
            parts.append(f"whole: {self.handle}")
        return "\n".join(parts)


class Reply(str):
    """The one reply that was asked for: an ordinary str, with `spent` and a `handle` beside it."""

    spent: str = ""
    handle: str = ""

    @property
    def shown(self) -> str:
        """Return the text, then what it cost."""
        return "\n\n".join(part for part in (str(self), self.spent) if part)


def only(answers: Answers) -> Reply:
    """Return the reply to a single prompt. Raises RuntimeError if there is none."""
    answer = answers[0] if answers else Failure("nothing was asked", "empty")
    if isinstance(answer, Failure):
        raise RuntimeError(answer.reason)
    reply = Reply(answer)
    reply.spent, reply.handle = answers.spent, answers.handle
    return reply


def describe(name: str = "") -> Text:
    """Return what is open (or one variable), as text."""
    return Text(host("describe", {"name": name}))


def open_source(source: str, name: str = "") -> Text:
    """Open a source as a context variable and return its description."""
    return Text(host("open_source", {"source": source, "name": name}))


def read(ref: str, limit: int = 80) -> Passage:
    """Return a verbatim window of at most `limit` lines from the start of `ref`."""
    got = host("read", {"ref": ref, "limit": limit})
    passage = Passage(got["text"])
    passage.ref, passage.next_ref = got["ref"], got["next_ref"]
    passage.first_line, passage.total, passage.note = got["first_line"], got["total"], got["note"]
    return passage


def scan(
    pattern: str,
    ref: str = "repo",
    limit: int = 30,
    ignore_case: bool = False,
    before: int = 0,
    after: int = 0,
    cursor: str = "",
) -> Hits:
    """Return the lines under `ref` that match an RE2 pattern, with the exact total."""
    got = host(
        "scan",
        {
            "pattern": pattern,
            "ref": ref,
            "limit": limit,
            "ignore_case": ignore_case,
            "before": before,
            "after": after,
            "cursor": cursor,
        },
    )
    hits = Hits(_hit(hit) for hit in got["hits"])
    hits.total, hits.documents = got["total"], got["documents"]
    hits.cursor, hits.exact, hits.note = got["cursor"], got["exact"], got["note"]
    hits.per_folder = got["per_folder"]
    return hits


def rank(question: str, ref: str = "repo", limit: int = 10) -> Hits:
    """Return the passages under `ref` that best fit a question, best first."""
    found = host("rank", {"question": question, "ref": ref, "limit": limit})
    hits = Hits(_hit(hit) for hit in found)
    hits.total, hits.documents = len(hits), len({hit.path for hit in hits})
    hits.per_folder = {}
    return hits


def outline_of(ref: str = "repo", limit: int = 60) -> Items:
    """Return the structure of `ref`: symbols, headings, templates or a session's brief."""
    got = host("outline", {"ref": ref, "limit": limit})
    items = Items(Item(**item) for item in got["items"])
    items.total, items.note = got["total"], got["note"]
    return items


def split(ref: str, by: str = "auto", tokens: int = 4000) -> Chunks:
    """Return the parts of `ref` on natural borders, and a handle for all of them."""
    got = host("split", {"ref": ref, "by": by, "tokens": tokens})
    chunks = Chunks(Chunk(**chunk) for chunk in got["chunks"])
    chunks.handle = got["handle"]
    return chunks


def run_cell(code: str, repl: str = "main", timeout_s: float = 30.0) -> Text:
    """Run a cell in a lasting environment and return what it printed and its last value."""
    return Text(host("run_cell", {"code": code, "repl": repl, "timeout_s": timeout_s}))


def ask(
    prompts: str | Iterable[str],
    model: str = "",
    refs: str | Iterable[Any] = "",
    schema: str = "",
) -> Answers:
    """Ask sub-models, concurrently. With `refs`, one call per part, the prompt going to each."""
    got = host(
        "ask",
        {
            "prompts": [prompts] if isinstance(prompts, str) else [str(p) for p in prompts],
            "model": model,
            "refs": _refs(refs),
            "schema": schema,
        },
    )
    return _answers(got)


def run(
    prompts: str | Iterable[str],
    model: str = "",
    refs: str | Iterable[Any] = "",
    mode: str = "auto",
    contexts: Iterable[Any] | None = None,
    max_usd: float | None = None,
    max_calls: int | None = None,
    max_seconds: float | None = None,
    max_depth: int | None = None,
) -> Answers:
    """Start child runs, each with an environment of its own, and return their answers."""
    got = host(
        "run",
        {
            "prompts": [prompts] if isinstance(prompts, str) else [str(p) for p in prompts],
            "model": model,
            "refs": _refs(refs),
            "mode": mode,
            "contexts": None if contexts is None else [str(text) for text in contexts],
            "max_usd": max_usd,
            "max_calls": max_calls,
            "max_seconds": max_seconds,
            "max_depth": max_depth,
        },
    )
    return _answers(got)


def wait_for(run: str, seconds: float = 60.0, cancel: bool = False) -> Text:
    """Return a run's result, or its progress after `seconds`; or stop it."""
    return Text(host("wait", {"run": run, "seconds": seconds, "cancel": cancel}))


def _hit(values: dict[str, Any]) -> Hit:
    lines = {"before": tuple(values["before"]), "after": tuple(values["after"])}
    return Hit(**{**values, **lines})


def _refs(refs: str | Iterable[Any]) -> list[str]:
    if isinstance(refs, str):
        return [part for part in refs.replace(",", " ").split() if part]
    return [ref.ref if isinstance(ref, (Chunk, Hit, Item, Passage)) else str(ref) for ref in refs]


def _answers(got: dict[str, Any]) -> Answers:
    answers = Answers()
    for answer in got["answers"]:
        if isinstance(answer, dict) and "failure" in answer:
            answers.append(Failure(answer["failure"], answer["kind"]))
        else:
            answers.append(answer)
    answers.asked, answers.done = got["asked"], got["done"]
    answers.failed, answers.handle, answers.spent = got["failed"], got["handle"], got["spent"]
    return answers
