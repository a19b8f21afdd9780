"""What a tool or a cell may use: typed values, and calls that the host answers.

This module is loaded into the sandbox worker by trusted code, which sets `host`. Tools import
from it (`from rlm_mcp.sdk import Hits, scan`); nothing else of this package is visible to them.
A value shows itself to an agent through `shown`; in a cell it is an ordinary Python value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rlm_mcp.sdk.values import (
    Answers,
    Chunk,
    Chunks,
    Failure,
    Hit,
    Hits,
    Item,
    Items,
    Passage,
    Reply,
    Text,
    only,
)

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


Ref = Any
"""A ref, or what has one: a context variable, a hit, a chunk, an item, a passage.

An empty one means what a run is about, or the repository."""


def _no_host(name: str, arguments: dict[str, Any]) -> Any:
    raise RuntimeError(f"{name} is answered by the host; this process has none.")


host: Callable[[str, dict[str, Any]], Any] = _no_host
"""Set by the worker: sends one call to the host and returns its JSON answer."""


def describe(name: str = "") -> Text:
    """Return what is open (or one variable), as text."""
    return Text(host("describe", {"name": name}))


def open_source(source: str, name: str = "") -> Text:
    """Open a source as a context variable and return its description."""
    return Text(host("open_source", {"source": source, "name": name}))


def read(ref: Ref, limit: int = 80) -> Passage:
    """Return a verbatim window of at most `limit` lines from the start of `ref`."""
    got = host("read", {"ref": _ref_text(ref), "limit": limit})
    passage = Passage(got["text"])
    passage.ref, passage.next_ref = got["ref"], got["next_ref"]
    passage.first_line, passage.total, passage.note = got["first_line"], got["total"], got["note"]
    return passage


def scan(
    pattern: str,
    ref: Ref = "",
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
            "ref": _ref_text(ref),
            "limit": limit,
            "ignore_case": ignore_case,
            "before": before,
            "after": after,
            "cursor": cursor,
        },
    )
    hits = Hits(_make_hit(hit) for hit in got["hits"])
    hits.total, hits.documents = got["total"], got["documents"]
    hits.cursor, hits.exact, hits.note = got["cursor"], got["exact"], got["note"]
    hits.per_folder = got["per_folder"]
    return hits


def rank(question: str, ref: Ref = "", limit: int = 10) -> Hits:
    """Return the passages under `ref` that best fit a question, best first."""
    found = host("rank", {"question": question, "ref": _ref_text(ref), "limit": limit})
    hits = Hits(_make_hit(hit) for hit in found)
    hits.total, hits.documents = len(hits), len({hit.path for hit in hits})
    hits.per_folder = {}
    return hits


def outline_of(ref: Ref = "", limit: int = 60) -> Items:
    """Return the structure of `ref`: symbols, headings, templates or a session's brief."""
    got = host("outline", {"ref": _ref_text(ref), "limit": limit})
    items = Items(Item(**item) for item in got["items"])
    items.total, items.note = got["total"], got["note"]
    return items


def split(ref: Ref, by: str = "auto", tokens: int = 4000) -> Chunks:
    """Return the parts of `ref` on natural borders, and a handle for all of them."""
    got = host("split", {"ref": _ref_text(ref), "by": by, "tokens": tokens})
    chunks = Chunks(Chunk(**chunk) for chunk in got["chunks"])
    chunks.handle = got["handle"]
    return chunks


def run_cell(code: str, repl: str = "main", timeout_s: float = 30.0) -> Text:
    """Run a cell in a lasting environment and return what it printed and its last value."""
    return Text(host("run_cell", {"code": code, "repl": repl, "timeout_s": timeout_s}))


def ask(
    prompts: str | Iterable[str],
    model: str = "",
    refs: Ref | Iterable[Ref] = "",
    schema: str = "",
) -> Answers:
    """Ask sub-models, concurrently. With `refs`, one call per part, the prompt going to each."""
    got = host(
        "ask",
        {
            "prompts": _text_list(prompts),
            "model": model,
            "refs": _ref_list(refs),
            "schema": schema,
        },
    )
    return _make_answers(got)


def run(
    prompts: str | Iterable[str],
    model: str = "",
    refs: Ref | Iterable[Ref] = "",
    mode: str = "auto",
    contexts: str | Iterable[Any] | None = None,
    schema: str = "",
    max_usd: float | None = None,
    max_calls: int | None = None,
    max_seconds: float | None = None,
    max_depth: int | None = None,
) -> Answers:
    """Start child runs, each with an environment of its own, and return their answers."""
    got = host(
        "run",
        {
            "prompts": _text_list(prompts),
            "model": model,
            "refs": _ref_list(refs),
            "mode": mode,
            "contexts": None if contexts is None else _text_list(contexts),
            "schema": schema,
            "max_usd": max_usd,
            "max_calls": max_calls,
            "max_seconds": max_seconds,
            "max_depth": max_depth,
        },
    )
    return _make_answers(got)


def wait_for(run: str, seconds: float = 60.0, cancel: bool = False) -> Text:
    """Return a run's result, or its progress after `seconds`; or stop it."""
    return Text(host("wait", {"run": run, "seconds": seconds, "cancel": cancel}))


def _make_hit(values: dict[str, Any]) -> Hit:
    lines = {"before": tuple(values["before"]), "after": tuple(values["after"])}
    return Hit(**{**values, **lines})


def _ref_text(value: Ref) -> str:
    ref = getattr(value, "ref", None)
    return ref if isinstance(ref, str) else str(value)


def _ref_list(refs: Ref | Iterable[Ref]) -> list[str]:
    if hasattr(refs, "ref"):
        return [_ref_text(refs)]
    if isinstance(refs, str):
        return [part for part in refs.replace(",", " ").split() if part]
    return [_ref_text(ref) for ref in refs]


def _text_list(texts: str | Iterable[Any]) -> list[str]:
    """Return texts as a list; a context variable is one text, though it gives lines when read."""
    if isinstance(texts, str) or getattr(type(texts), "shown_as", None) is str:
        return [str(texts)]
    return [str(text) for text in texts]


def _make_answers(got: dict[str, Any]) -> Answers:
    answers = Answers(got["answers"])
    for place, reason, kind in got["failures"]:  # by place: an answer may be any JSON value
        answers[place] = Failure(reason, kind)
    answers.asked, answers.done = got["asked"], got["done"]
    answers.failed, answers.handle, answers.spent = got["failed"], got["handle"], got["spent"]
    return answers
