"""Read Gemini CLI's chats: ~/.gemini/tmp/<project>/chats/session-*.json (one object) or .jsonl.

In the JSON-lines form a record with a known id updates that message, `$rewindTo` drops a message
and what followed, and `$set` with messages replaces all of them. Where these say something new it
was a compression: the agent forgets what came before, this reader does not. A chat that starts or
goes on lists what is known.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlm_mcp.contexts.session import calls
from rlm_mcp.contexts.session.readers import parts, places
from rlm_mcp.contexts.session.readers.reader import Reader, first_records, json_lines, json_list
from rlm_mcp.contexts.session.turns import (
    Block,
    Event,
    Found,
    Meta,
    Odd,
    Origin,
    Piece,
    Rewind,
    Source,
    Status,
)

_STATES = {"success": False, "error": True}
_REMEMBERED = 500
_LISTED = 5_000
"""Messages that are remembered, to tell a compression from a list of what is known."""
_SETTING = "<session_context>"
"""How begins what the program says of itself in a person's place."""
_COMPRESSED = re.compile(r"compress|summari[sz]ed", re.IGNORECASE)


def folders() -> list[Path]:
    home = Path(os.environ.get("GEMINI_CLI_HOME") or Path.home())
    return [home / ".gemini" / "tmp"]


def detect(path: Path, head: bytes) -> bool:
    marks = (b'"projectHash"', b'"sessionId"')
    return path.suffix in (".json", ".jsonl") and all(mark in head for mark in marks)


def native(path: Path) -> str:
    for record in first_records(path) if path.suffix == ".jsonl" else ():
        return str(record.get("sessionId") or path.stem)
    value = places.load(path) if path.suffix == ".json" else None
    return str(value.get("sessionId") or path.stem) if isinstance(value, dict) else path.stem


def find(roots: Sequence[Path]) -> Iterator[Found]:
    for folder in folders():
        projects = _projects(folder.parent)
        for path in sorted(folder.glob("*/chats/session-*.json*")):
            where = projects.get(path.parent.parent.name, "")
            yield Found("gemini", native(path), str(path), "", where, **_facts(path))


def _facts(path: Path) -> dict[str, Any]:
    """Return when a chat began, and its first prompt."""
    if path.suffix == ".jsonl":
        records = list(first_records(path))
    else:
        value = places.load(path)
        whole = value if isinstance(value, dict) else {}
        listed = whole.get("messages")
        records = [whole, *(listed if isinstance(listed, list) else [])]
    facts = {"started": str(records[0].get("startTime") or "") if records else ""}
    for record in records:
        blocks = parts.prompt(record.get("content")) if _is_prompt(record) else []
        if blocks and not blocks[0].text.lstrip().startswith(_SETTING):
            return {**facts, "title": blocks[0].text[:200]}
    return facts


def _is_prompt(record: Any) -> bool:
    return isinstance(record, dict) and record.get("type") == "user"


def _projects(home: Path) -> dict[str, str]:
    """Return the folder of each project, by its short name and by the hash of its path."""
    values = places.load(home / "projects.json")
    listed = values.get("projects") if isinstance(values, dict) else None
    found = {}
    for folder, name in listed.items() if isinstance(listed, dict) else ():
        found[str(name)] = folder
        found[hashlib.sha256(folder.encode()).hexdigest()] = folder
    return found


def events(source: Source, start: int) -> Iterator[Event]:
    path = Path(source.path)
    if start == 0:
        where = _projects(path.parents[3]).get(path.parents[1].name, "") if _nested(path) else ""
        source.state["cwd"] = where
    state = source.state

    def read(record: dict[str, Any]) -> Iterator[Event]:
        for event in _record(record, state):
            if isinstance(event, Piece):
                event.cwd = str(state.get("cwd") or "")
            yield event

    if path.suffix == ".json":
        value = places.load(path)
        messages = value.get("messages") if isinstance(value, dict) else None
        if not isinstance(messages, list):
            yield Odd("broken")
            return
        yield from json_list(messages, "/messages", read)
    else:
        yield from json_lines(source, start, read)


def _nested(path: Path) -> bool:
    return len(path.parents) > 3 and path.parent.name == "chats"


def _record(record: dict[str, Any], state: dict[str, Any]) -> Iterator[Event]:
    if "$rewindTo" in record:
        yield Rewind(native=str(record["$rewindTo"]), inclusive=True)
    elif "$set" in record:
        change = record["$set"]
        messages = change.get("messages") if isinstance(change, dict) else None
        if isinstance(messages, list):
            yield from _listed(messages, state)
        else:
            yield Odd("noise", "$set")
    elif "type" in record:
        yield from _message(record, state)
    elif "sessionId" in record:
        yield Meta("kind", str(record.get("kind") or ""))
    else:
        yield Odd("unknown", ",".join(sorted(record))[:60])


def _listed(messages: list[Any], state: dict[str, Any]) -> Iterator[Event]:
    """Yield the first messages of a chat, or the boundary of a compression with its summary."""
    listed = [item for item in messages if isinstance(item, dict)]
    if not state.get("known"):
        yield from json_list(listed, "/$set/messages", lambda item: _message(item, state))
        return
    new = [
        item for item in listed if parts.said(item.get("content")) and not _is_known(item, state)
    ]
    _remember(listed, state)
    yield from json_list(messages, "/$set/messages", lambda item: _summary(item, new))
    if not new:
        yield Odd("noise", "$set messages")


def _summary(item: Mapping[str, Any], new: Sequence[Mapping[str, Any]]) -> Iterator[Piece]:
    """Yield a new message of a compression, with the address that it has as a message, too."""
    if any(item is one for one in new):
        block = Block("text", parts.said(item.get("content")))
        group = f"$set {new[0].get('id')}"
        piece = Piece("user", "compaction", [block], group=group)
        piece.ts = str(item.get("timestamp") or "")
        if item.get("type") == "gemini":
            piece.pointer = f"{item.get('id')} {_mark(block)}"
        block.type = "compaction"
        yield piece


def _is_known(item: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
    """Say whether a message was there before; in a list it may have another id."""
    name = str(item.get("id") or "").removesuffix("_response")
    return name in state["known"] or _digest(parts.said(item.get("content"))) in state["known"]


def _remember(items: Sequence[Mapping[str, Any]], state: dict[str, Any]) -> None:
    known: dict[str, None] = dict.fromkeys(state.get("known") or ())
    for item in items:
        said = parts.said(item.get("content"))
        known |= dict.fromkeys(filter(None, (str(item.get("id") or ""), said and _digest(said))))
    state["known"] = list(known)[-_LISTED:]


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode("utf-8", "replace")).hexdigest()[:12]


def _message(record: Mapping[str, Any], state: dict[str, Any]) -> Iterator[Event]:
    kind, name = str(record.get("type")), str(record.get("id") or "")
    ts = str(record.get("timestamp") or "")
    _remember([record], state)
    if kind == "user":
        state["last"] = ""
        blocks = parts.prompt(record.get("content"))
        if not blocks and record.get("content"):
            yield Odd("noise", "functionResponse")  # the call's own record has it
            return
        setting = blocks and blocks[0].text.lstrip().startswith(_SETTING)
        origin: Origin = "harness" if setting else "human"
        piece = Piece("user", origin, blocks, native=name)
    elif kind == "gemini":
        yield from _reply(record, name, ts, state)
        return
    elif kind in ("info", "error", "warning"):
        text = parts.said(record.get("content"))
        status: Status = "error" if kind == "error" else ""
        block = Block("notice", text, name=kind, status=status)
        piece = Piece("system", "harness", [block], native=name)
        if kind == "info" and _COMPRESSED.search(text[:80]):
            piece.origin, piece.boundary = "compaction", True
            block.type, block.name = "compaction", "boundary"
    else:
        yield Odd("unknown", kind)
        return
    piece.ts = ts
    yield piece


def _reply(record: Mapping[str, Any], name: str, ts: str, state: dict[str, Any]) -> Iterator[Event]:
    """Yield the blocks that no earlier record of the same id had, each found again by its mark."""
    seen: dict[str, list[str]] = state.setdefault("seen", {})
    known = seen.pop(name, [])
    seen[name] = known
    if len(seen) > _REMEMBERED:
        del seen[next(iter(seen))]
    for block in _blocks(record):
        mark = _mark(block)
        if mark in known:
            continue
        piece = Piece("assistant", "agent", [block], group=name, ts=ts, pointer=f"{name} {mark}")
        piece.native = f"{name}~{len(known)}" if known else name
        piece.model = str(record.get("model") or "")
        known.append(mark)
        state["last"] = name
        yield piece
    if state.get("last") == name and (used := parts.usage(record.get("tokens"))):
        yield Piece("assistant", "agent", [], group=name, usage=used, usage_key=name)


def _mark(block: Block) -> str:
    what = block.call if block.type in ("call", "result") else block.text
    return f"{block.type} {_digest(what)}"


def _blocks(record: Mapping[str, Any]) -> Iterator[Block]:
    for thought in record.get("thoughts") or []:
        if isinstance(thought, dict):
            yield Block("thinking", str(thought.get("description") or ""))
    if text := parts.said(record.get("content")):
        yield Block("text", text)
    results = []
    for number, call in enumerate(record.get("toolCalls") or []):
        if not isinstance(call, dict):
            continue
        call_id = str(call.get("id") or f"{record.get('id')}.{number}")
        yield calls.call(str(call.get("name") or ""), call.get("args") or {}, call_id)
        if call.get("result") is not None or call.get("status") in ("error", "cancelled"):
            results.append(_result(call, call_id))
    yield from results


def _result(call: Mapping[str, Any], call_id: str) -> Block:
    text = parts.response(call.get("result"))
    if not text and isinstance(call.get("resultDisplay"), str):
        text = call["resultDisplay"]
    state = call.get("status")
    status, code = calls.outcome(text, _STATES.get(str(state)))
    if state == "cancelled":
        status = "cancelled"
    return Block("result", text, call=call_id, status=status, exit_code=code)


READER = Reader(
    agent="gemini",
    layout="Gemini CLI chat",
    version=3,
    detect=detect,
    events=events,
    folders=folders,
    find=find,
    native=native,
    limits=("the agent keeps at most 50 KB of a tool's output",),
)
