"""Layouts in SQLite, and the folders that came before them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.sessions.generator.lines import Ids, arguments, iso, millis
from tests.sessions.generator.story import Step, Story

CURSOR = {"shell": "run_terminal_command_v2", "read": "read_file_v2", "write": "edit_file_v2",
          "edit": "edit_file_v2", "search": "ripgrep_raw_search", "task": "task_v2",
          "plan": "todo_write"}  # fmt: skip
OPENCODE = {"shell": "bash", "read": "read", "write": "write", "edit": "edit", "search": "grep",
            "task": "task", "plan": "todowrite"}  # fmt: skip


def cursor(story: Story, root: Path) -> Path:
    user = root / ".config" / "Cursor" / "User"
    path = user / "globalStorage" / "state.vscdb"
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = Ids(story, "cursor-ide")
    composer = ids.uuid()
    bubbles = list(_bubbles(story, ids))
    head = {
        "_v": 10, "composerId": composer, "name": story.title,
        "createdAt": millis(story.steps[0].at), "lastUpdatedAt": millis(story.steps[-1].at),
        "fullConversationHeadersOnly": [
            {"bubbleId": item["bubbleId"], "type": item["type"]} for item in bubbles
        ],
    }  # fmt: skip
    rows = [(f"composerData:{composer}", json.dumps(head)), (f"composerData:{ids.uuid()}", None)]
    rows += [(f"bubbleId:{composer}:{item['bubbleId']}", json.dumps(item)) for item in bubbles]
    _table(path, "cursorDiskKV", rows)
    storage = user / "workspaceStorage" / "2dd30ae8"
    storage.mkdir(parents=True, exist_ok=True)
    (storage / "workspace.json").write_text(json.dumps({"folder": f"file://{story.folder}"}))
    known = json.dumps({"allComposers": [{"composerId": composer}]})
    _table(storage / "state.vscdb", "ItemTable", [("composer.composerData", known)])
    return path


def _table(path: Path, name: str, rows: list[tuple[str, str | None]]) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"CREATE TABLE {name}(key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
        db.executemany(f"INSERT INTO {name} VALUES (?,?)", rows)


def _bubbles(story: Story, ids: Ids) -> Iterator[dict[str, Any]]:
    number = 0
    for step in story.live():
        base = {"_v": 3, "createdAt": iso(step.at), "text": ""}
        if step.kind == "human":
            yield {**base, "bubbleId": ids.uuid(), "type": 1, "text": step.text,
                   "images": [{}] if step.image else []}  # fmt: skip
        elif step.kind == "compaction":
            yield {**base, "bubbleId": ids.uuid(), "type": 2, "capabilityType": 22,
                   "text": "Chat context summarized.",
                   "summarizedComposer": {"summary": step.text}}  # fmt: skip
        elif step.kind == "reply":
            if step.thought:
                yield {**base, "bubbleId": ids.uuid(), "type": 2, "capabilityType": 30,
                       "thinking": {"text": step.thought}}  # fmt: skip
            if step.text:
                yield {**base, "bubbleId": ids.uuid(), "type": 2, "text": step.text,
                       "modelInfo": {"modelName": "claude-4.6-opus"}}  # fmt: skip
            for call in step.calls:
                number += 1
                args = json.dumps(arguments(call, story))
                tool = {
                    "tool": 15, "name": CURSOR[call.tool], "toolCallId": f"toolu_{number:05}",
                    "status": "error" if call.failed else "completed", "rawArgs": args,
                    "params": args, "result": json.dumps({"output": call.output}),
                    "userDecision": "accepted",
                }  # fmt: skip
                yield {**base, "bubbleId": ids.uuid(), "type": 2, "capabilityType": 15,
                       "toolFormerData": tool}  # fmt: skip


Message = tuple[str, dict[str, Any], list[dict[str, Any]]]


def _messages(story: Story) -> Iterator[Message]:
    number = 0
    for place, step in enumerate(story.live()):
        name = f"msg_m{place:05}"
        time = {"created": millis(step.at)}
        if step.kind == "human":
            parts: list[dict[str, Any]] = [{"type": "text", "text": step.text}]
            if step.image:
                parts.append({"type": "file", "mime": "image/png", "filename": "panel.png"})
            yield name, {"role": "user", "time": time}, parts
        elif step.kind == "compaction":
            yield f"{name}a", {"role": "user", "time": time}, [{"type": "compaction", "auto": True}]
            summary = [{"type": "text", "text": step.text}]
            yield f"{name}b", {"role": "assistant", "summary": True, "time": time}, summary
        elif step.kind == "error":
            error = {"name": "APIError", "data": {"message": step.text}}
            yield name, {"role": "assistant", "time": time, "error": error}, []
        else:
            parts, number = _parts(story, step, number)
            tokens = {"input": 7, "output": 13, "reasoning": 0, "cache": {"read": 100, "write": 11}}
            data = {"role": "assistant", "time": time, "modelID": "claude-opus-4-6",
                    "tokens": tokens}  # fmt: skip
            yield name, data, parts


def _parts(story: Story, step: Step, number: int) -> tuple[list[dict[str, Any]], int]:
    parts: list[dict[str, Any]] = [{"type": "step-start"}]
    if step.thought:
        parts.append({"type": "reasoning", "text": step.thought})
    if step.text:
        parts.append({"type": "text", "text": step.text})
    for call in step.calls:
        number += 1
        state: dict[str, Any] = {"status": "error" if call.failed else "completed",
                                 "input": arguments(call, story), "metadata": {}}  # fmt: skip
        state["error" if call.failed else "output"] = call.output
        if call.tool == "task":
            state["metadata"] = {"sessionId": "ses_sub00001"}
        parts.append({"type": "tool", "callID": f"toolu_{number:05}", "tool": OPENCODE[call.tool],
                      "state": state})  # fmt: skip
    parts.append({"type": "step-finish", "reason": "stop"})
    return parts, number


def opencode(story: Story, root: Path) -> Path:
    path = root / ".local" / "share" / "opencode" / "opencode.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    first, last = millis(story.steps[0].at), millis(story.steps[-1].at)
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(
            "CREATE TABLE project(id TEXT PRIMARY KEY, worktree TEXT);"
            "CREATE TABLE session(id TEXT PRIMARY KEY, project_id TEXT, parent_id TEXT, "
            "directory TEXT, title TEXT, version TEXT, time_created INT, time_updated INT);"
            "CREATE TABLE message(id TEXT PRIMARY KEY, session_id TEXT, time_created INT, "
            "data TEXT);"
            "CREATE TABLE part(id TEXT PRIMARY KEY, message_id TEXT, session_id TEXT, data TEXT);"
        )
        session = "INSERT INTO session VALUES (?,?,?,?,?,?,?,?)"
        db.execute(
            session, ("ses_main", "p", None, story.folder, story.title, "1.3.0", first, last)
        )
        sub = ("ses_sub00001", "p", "ses_main", story.folder, "Find callers", "1.3.0", first, last)
        db.execute(session, sub)
        asked = ("msg_s1", {"role": "user", "time": {"created": first}},
                 [{"type": "text", "text": story.errand}])  # fmt: skip
        said = ("msg_s2", {"role": "assistant", "time": {"created": first + 1}},
                [{"type": "text", "text": story.keys.report}])  # fmt: skip
        _insert(db, "ses_main", _messages(story))
        _insert(db, "ses_sub00001", iter((asked, said)))
    return path


def _insert(db: sqlite3.Connection, session: str, messages: Iterator[Message]) -> None:
    for name, data, parts in messages:
        db.execute("INSERT INTO message VALUES (?,?,?,?)",
                   (name, session, data["time"]["created"], json.dumps(data)))  # fmt: skip
        for place, part in enumerate(parts):
            row = (f"prt_{name}_{place:03}", name, session, json.dumps(part))
            db.execute("INSERT INTO part VALUES (?,?,?,?)", row)


def opencode_storage(story: Story, root: Path) -> Path:
    storage = root / ".local" / "share" / "opencode" / "storage"
    path = storage / "session" / "prj_0001" / "ses_legacy.json"
    about = {"id": "ses_legacy", "projectID": "prj_0001", "directory": story.folder,
             "title": story.title, "version": "0.9.0"}  # fmt: skip
    files: dict[Path, Any] = {path: about}
    for name, data, parts in _messages(story):
        files[storage / "message" / "ses_legacy" / f"{name}.json"] = {"id": name, **data}
        for place, part in enumerate(parts):
            files[storage / "part" / name / f"prt_{place:03}.json"] = part
    for file, value in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value), "utf-8")
    return path
