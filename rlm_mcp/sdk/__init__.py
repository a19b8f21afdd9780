"""What a tool or a cell may use: typed values, and calls that the host answers.

Each function bears the name of its tool and sends one call of that name to the host of the current
context: in a sandbox worker that is the line to the parent, in the server the engine itself.
Tools import from it (`from rlm_mcp.sdk import Hits, grep`); nothing else of this package is visible
to them. A value shows itself to an agent through `shown`; in a cell it is an ordinary Python value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
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
    QueryFailed,
    Reply,
    Text,
)
from rlm_mcp.sdk.values import current_host as current_host  # for hosts, not for cells

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
    "QueryFailed",
    "Reply",
    "Text",
    "chunk",
    "cite",
    "contexts",
    "execute",
    "grep",
    "llm_query",
    "llm_query_batched",
    "open_context",
    "outline",
    "peek",
    "rlm_query",
    "rlm_query_batched",
    "search",
    "wait",
]


Ref = Any
"""A ref, or what has one: a context variable, a hit, a chunk, an item, a passage.

An empty one means what a run is about, or the repository."""


Schema = str | Mapping[str, Any]
"""A JSON Schema, as a mapping or as its text."""


def _call_host(name: str, /, **arguments: Any) -> Any:
    return current_host.get()(name, arguments)


def contexts(name: str = "") -> Text:
    """Return what is open (or one variable), as text."""
    return Text(_call_host("contexts", name=name))


def open_context(source: str, name: str = "") -> Text:
    """Open a source as a context variable and return its description."""
    return Text(_call_host("open_context", source=source, name=name))


def peek(ref: Ref, limit: int = 80) -> Passage:
    """Return a verbatim window of at most `limit` lines from the start of `ref`."""
    got = _call_host("peek", ref=_ref_text(ref), limit=limit)
    passage = Passage(got["text"])
    passage.ref, passage.next_ref = got["ref"], got["next_ref"]
    passage.first_line, passage.total, passage.note = got["first_line"], got["total"], got["note"]
    return passage


def grep(
    pattern: str,
    ref: Ref = "",
    limit: int = 30,
    ignore_case: bool = False,
    before: int = 0,
    after: int = 0,
    cursor: str = "",
) -> Hits:
    """Return the lines under `ref` that match an RE2 pattern, with the exact total.

    A question in plain words gets the passages that fit it best, as hits of several lines;
    `related` lists the definitions that they name and who calls those.
    """
    got = _call_host(
        "grep",
        pattern=pattern,
        ref=_ref_text(ref),
        limit=limit,
        ignore_case=ignore_case,
        before=before,
        after=after,
        cursor=cursor,
    )
    hits = Hits(_make_hit(hit) for hit in got["hits"])
    hits.total, hits.documents = got["total"], got["documents"]
    hits.cursor, hits.exact, hits.note = got["cursor"], got["exact"], got["note"]
    hits.per_folder = got["per_folder"]
    hits.ranked, hits.related = got["ranked"], got["related"]
    return hits


def search(question: str, ref: Ref = "", limit: int = 10) -> Hits:
    """Return the passages under `ref` that best fit a question, best first."""
    found = _call_host("search", question=question, ref=_ref_text(ref), limit=limit)
    hits = Hits(_make_hit(hit) for hit in found)
    hits.total, hits.documents = len(hits), len({hit.path for hit in hits})
    hits.per_folder, hits.ranked, hits.related = {}, True, []
    return hits


def outline(ref: Ref = "", limit: int = 60) -> Items:
    """Return the structure of `ref`: symbols, headings, templates or a session's brief."""
    got = _call_host("outline", ref=_ref_text(ref), limit=limit)
    items = Items(Item(**item) for item in got["items"])
    items.total, items.note = got["total"], got["note"]
    return items


def chunk(ref: Ref, by: str = "auto", tokens: int = 4000) -> Chunks:
    """Return the parts of `ref` on natural borders, and a handle for all of them."""
    got = _call_host("chunk", ref=_ref_text(ref), by=by, tokens=tokens)
    chunks = Chunks(Chunk(**chunk) for chunk in got["chunks"])
    chunks.handle = got["handle"]
    return chunks


def cite(ref: Ref, quote: str) -> Text:
    """Return a quote under its ref as answers hold it, checked at once, the ref narrowed to it."""
    return Text(_call_host("cite", ref=_ref_text(ref), quote=quote))


def execute(code: str, repl: str = "main", timeout_s: float = 30.0) -> Text:
    """Run a cell in a lasting environment and return what it printed and its last value."""
    return Text(_call_host("execute", code=code, repl=repl, timeout_s=timeout_s))


def llm_query(
    prompt: str | Iterable[str],
    model: str = "",
    refs: Ref | Iterable[Ref] = "",
    schema: Schema = "",
) -> Reply | Answers:
    """Ask a sub-model: a text gives its reply, several texts or `refs` a list of answers.

    With `refs`, there is one call per part, all at once. With `schema`, an answer is the JSON
    value that the schema describes. Raises QueryFailed where the one reply
    that was asked for did not come.
    """
    got = llm_query_batched(prompt, model, refs, schema)
    if refs or not _is_text(prompt):
        return got
    reply: Reply = got.only_reply()
    return reply


def llm_query_batched(
    prompts: str | Iterable[str],
    model: str | None = None,
    refs: Ref | Iterable[Ref] = "",
    schema: Schema = "",
) -> Answers:
    """Ask a sub-model each prompt, all at once; answers come in order, a failed one is falsy."""
    got = _call_host(
        "llm_query",
        prompts=_text_list(prompts),
        model=model or "",
        refs=_ref_list(refs),
        schema=_schema_text(schema),
    )
    return _make_answers(got)


def rlm_query(
    prompt: str | Iterable[str],
    model: str = "",
    refs: Ref | Iterable[Ref] = "",
    mode: str = "auto",
    contexts: str | Iterable[Any] | None = None,
    schema: Schema = "",
    max_usd: float | None = None,
    max_calls: int | None = None,
    max_seconds: float | None = None,
    max_depth: int | None = None,
) -> Reply | Answers | Failure:
    """Start a child run: a text gives its answer, several texts a list of answers, in order.

    A run that takes long goes on; its `Failure` of kind "running" names it. Raises QueryFailed
    where the one answer that was asked for did not come.
    """
    got = _call_host(
        "rlm_query",
        prompts=_text_list(prompt),
        model=model,
        refs=_ref_list(refs),
        mode=mode,
        contexts=None if contexts is None else _text_list(contexts),
        schema=_schema_text(schema),
        max_usd=max_usd,
        max_calls=max_calls,
        max_seconds=max_seconds,
        max_depth=max_depth,
    )
    answers = _make_answers(got)
    if not _is_text(prompt):
        return answers
    if answers and isinstance(answers[0], Failure) and answers[0].kind == "running":
        return answers[0]
    reply: Reply = answers.only_reply()
    return reply


def rlm_query_batched(
    prompts: Iterable[str],
    model: str | None = None,
    contexts: Iterable[Any] | None = None,
    refs: Ref | Iterable[Ref] = "",
    schema: Schema = "",
) -> Answers:
    """Start a child run for each prompt, all at once, each over a text of its own or over refs.

    As many refs as prompts are paired; else each run gets all of them.
    """
    got = rlm_query(_text_list(prompts), model or "", refs, contexts=contexts, schema=schema)
    assert isinstance(got, Answers)
    return got


def wait(run: str, seconds: float = 60.0, cancel: bool = False) -> Text:
    """Return a run's result, or its progress after `seconds`; or stop it."""
    return Text(_call_host("wait", run=run, seconds=seconds, cancel=cancel))


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
    return [str(texts)] if _is_text(texts) else [str(text) for text in texts]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or getattr(type(value), "shown_as", None) is str


def _make_answers(got: dict[str, Any]) -> Answers:
    answers = Answers()
    answers.take_answers(got)
    return answers


def _schema_text(schema: Schema) -> str:
    return schema if isinstance(schema, str) else json.dumps(dict(schema), ensure_ascii=False)
