"""Calls that a script of Codex CLI made: the program notes each of them when it is done.

Where the model calls a tool by itself, its call and output are response items, and the note
repeats them. Where it wrote a script (the tool `exec`), the notes are all there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rlm_mcp.contexts.session import calls
from rlm_mcp.contexts.session.turns import Block, FileOp, Status

_STATES: Mapping[str, Status] = {
    "completed": "ok", "failed": "error", "declined": "denied", "interrupted": "cancelled",
}  # fmt: skip


def script(payload: Mapping[str, Any], call_id: str) -> Block:
    """Return the call of a script; what it says is no shell command, whatever it holds."""
    source = str(payload.get("input") or "")
    first = source.partition("\n")[0][:200]
    return Block("call", source, name="exec", kind="other", call=call_id, arg=first)


def done(item: Mapping[str, Any]) -> list[Block]:
    """Return the call and the result of a command or a change of files, nothing for others."""
    if item.get("type") == "CommandExecution":
        return _command(item)
    if item.get("type") == "FileChange":
        return _change(item)
    return []


def _command(item: Mapping[str, Any]) -> list[Block]:
    name = str(item.get("id") or "")
    where = str(item.get("cwd") or "").removeprefix("file://")
    line = calls.command({"command": item.get("command")})
    call = calls.call("exec_command", {"cmd": line, "workdir": where}, name)
    result = Block("result", str(item.get("aggregated_output") or ""), call=name)
    code = item.get("exit_code")
    result.exit_code = code if isinstance(code, int) and not isinstance(code, bool) else None
    result.status = "error" if result.exit_code else _STATES.get(str(item.get("status")), "")
    return [call, result]


def _change(item: Mapping[str, Any]) -> list[Block]:
    name, changes = str(item.get("id") or ""), item.get("changes")
    ops: list[FileOp] = []
    texts = []
    for path, change in changes.items() if isinstance(changes, dict) else ():
        if isinstance(change, dict):
            ops += _ops(str(path), change)
            body = change.get("unified_diff") or change.get("content") or ""
            texts.append(f"{change.get('type')} {path}\n{body}")
    call = Block("call", "\n".join(texts), name="apply_patch", kind="edit", call=name)
    call.ops, call.arg = tuple(ops), " ".join(op.path for op in ops)
    said = "\n".join(str(item[key]) for key in ("stdout", "stderr") if item.get(key))
    status = _STATES.get(str(item.get("status")), "")
    return [call, Block("result", said, call=name, status=status)]


def _ops(path: str, change: Mapping[str, Any]) -> Iterator[FileOp]:
    kind = change.get("type")
    if kind == "add":
        yield FileOp(path, "create", new=str(change.get("content") or ""))
    elif kind == "delete":
        yield FileOp(path, "delete")
    else:
        yield FileOp(path, "edit", patch=str(change.get("unified_diff") or ""))
        if move := change.get("move_path"):
            yield FileOp(str(move), "rename", old=path)
