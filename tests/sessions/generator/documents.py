"""Layouts of one JSON document a session."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.sessions.generator.lines import (
    VSCODE,
    Ids,
    arguments,
    gemini_folder,
    gemini_head,
    gemini_message,
    iso,
    millis,
)
from tests.sessions.generator.story import Call, Step, Story

CLINE = {"shell": "execute_command", "read": "read_file", "write": "write_to_file",
         "edit": "replace_in_file", "search": "search_files", "task": "new_task",
         "plan": "focus_chain"}  # fmt: skip


def _write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")
    return path


def workspace(story: Story, root: Path) -> Path:
    name = hashlib.md5(story.folder.encode(), usedforsecurity=False).hexdigest()
    folder = root / ".config" / "Code" / "User" / "workspaceStorage" / name
    _write(folder / "workspace.json", {"folder": f"file://{story.folder}"})
    return folder / "chatSessions"


def copilot_requests(story: Story, *, dead: bool) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield a request for each prompt with all replies up to the next one."""
    ids = Ids(story, "copilot")
    request: dict[str, Any] = {}
    is_dead = False
    number = 0
    for step in story.steps if dead else story.live():
        if step.kind == "human":
            if request:
                yield request, is_dead
            is_dead = step.dead
            request = {
                "requestId": f"request_{ids.uuid()}", "timestamp": millis(step.at),
                "message": {"text": step.text, "parts": []}, "variableData": {"variables": []},
                "response": [], "modelId": "copilot/claude-opus-4.6",
                "result": {"metadata": {"toolCallRounds": [], "toolCallResults": {}}},
            }  # fmt: skip
        elif step.kind == "reply":
            number = _copilot_reply(story, step, request, number)
    yield request, is_dead


def _copilot_reply(story: Story, step: Step, request: dict[str, Any], number: int) -> int:
    parts, meta = request["response"], request["result"]["metadata"]
    if step.thought:
        parts.append({"kind": "thinking", "value": step.thought, "id": "th"})
    if step.text:
        parts.append({"value": step.text, "supportThemeIcons": False})
    for call in step.calls:
        number += 1
        name = f"toolu_{number:05}__vscode-1"
        part: dict[str, Any] = {
            "kind": "toolInvocationSerialized", "toolId": VSCODE[call.tool], "toolCallId": name,
            "isComplete": True, "isConfirmed": True, "invocationMessage": {"value": "Using it"},
        }  # fmt: skip
        if call.tool == "shell":
            line = {"original": call.args["command"]}
            part["toolSpecificData"] = {"kind": "terminal", "language": "sh", "commandLine": line}
        parts.append(part)
        args = json.dumps(_vscode_arguments(story, call))
        made = [{"id": name, "name": VSCODE[call.tool], "arguments": args}]
        meta["toolCallRounds"].append({"id": name, "response": "", "toolCalls": made})
        meta["toolCallResults"][name] = {"$mid": 20, "content": [{"value": call.output}]}
    return number


def _vscode_arguments(story: Story, call: Call) -> dict[str, Any]:
    args = arguments(call, story)
    names = {"file_path": "filePath", "old_string": "oldString", "new_string": "newString",
             "todos": "todoList"}  # fmt: skip
    return {names.get(name, name): value for name, value in args.items()}


def copilot(story: Story, root: Path) -> Path:
    sid = Ids(story, "copilot-json").uuid()
    value = {
        "version": 3, "responderUsername": "GitHub Copilot", "requesterUsername": "dev",
        "sessionId": sid, "creationDate": millis(story.steps[0].at), "customTitle": story.title,
        "requests": [request for request, _ in copilot_requests(story, dead=False)],
    }  # fmt: skip
    return _write(workspace(story, root) / f"{sid}.json", value)


def gemini(story: Story, root: Path) -> Path:
    ids = Ids(story, "gemini-json")
    messages, number = [], 0
    for step in story.live():
        record, number = gemini_message(story, step, ids.uuid(), number)
        messages.append(record)
    value = {**gemini_head(story), "messages": messages}
    return _write(gemini_folder(story, root) / "session-2026-03-14T08-02.json", value)


def _cline_messages(story: Story, *, data: bool = False) -> list[dict[str, Any]]:
    ids = Ids(story, "cline")
    out: list[dict[str, Any]] = []
    number = 0
    first = True
    details = f"<environment_details>\n# Current Working Directory ({story.folder}) Files\n</environment_details>"  # noqa: E501

    def add(role: str, content: list[dict[str, Any]], step: Step) -> dict[str, Any]:
        message: dict[str, Any] = {"role": role, "content": content, "ts": millis(step.at)}
        if data:
            message["id"] = ids.uuid()
        out.append(message)
        return message

    for step in story.live():
        if step.kind == "human":
            tag = "task" if first else "feedback"
            first = False
            typed = {"type": "text", "text": f"<{tag}>\n{step.text}\n</{tag}>"}
            add("user", [typed, {"type": "text", "text": details}], step)
        elif step.kind == "reply":
            content: list[dict[str, Any]] = []
            if step.thought:
                content.append({"type": "thinking", "thinking": step.thought, "signature": ""})
            if step.text:
                content.append({"type": "text", "text": step.text})
            results = []
            for call in step.calls:
                number += 1
                name = f"toolu_{number:05}"
                content.append({"type": "tool_use", "id": name, "name": CLINE[call.tool],
                                "input": arguments(call, story)})  # fmt: skip
                shown = [{"type": "text", "text": call.output}]
                results.append({"type": "tool_result", "tool_use_id": name, "content": shown,
                                "is_error": call.failed})  # fmt: skip
            message = add("assistant", content, step)
            if data:
                message["modelInfo"] = {"modelId": "claude-opus-4-6"}
                message["metrics"] = {"inputTokens": 7, "outputTokens": 13, "cacheReadTokens": 100}
            if results:
                add("user", results, step)
    return out


def cline(story: Story, root: Path) -> Path:
    folder = root / ".config" / "Code" / "User" / "globalStorage" / "saoudrizwan.claude-dev"
    task = str(millis(story.steps[0].at))
    first = story.steps[0].text
    _write(folder / "state" / "taskHistory.json",
           [{"id": task, "task": first, "cwdOnTaskInitialization": story.folder}])  # fmt: skip
    shown = [
        {"ts": millis(step.at), "type": "ask", "ask": "condense", "text": step.text}
        for step in story.live()
        if step.kind == "compaction"
    ]
    _write(folder / "tasks" / task / "ui_messages.json", shown)
    return _write(folder / "tasks" / task / "api_conversation_history.json", _cline_messages(story))


def roo(story: Story, root: Path) -> Path:
    folder = root / ".config" / "Code" / "User" / "globalStorage" / "rooveterinaryinc.roo-cline"
    task = folder / "tasks" / Ids(story, "roo").uuid()
    _write(task / "history_item.json", {"id": task.name, "task": story.steps[0].text,
                                        "workspace": story.folder})  # fmt: skip
    _write(task / "ui_messages.json", [])
    return _write(task / "api_conversation_history.json", _cline_messages(story))


def cline_data(story: Story, root: Path) -> Path:
    sid = f"{millis(story.steps[0].at)}_k3x9a"
    folder = root / ".cline" / "data" / "sessions" / sid
    about = {"version": 1, "session_id": sid, "cwd": story.folder, "started_at":
             iso(story.steps[0].at), "metadata": {"title": story.title}}  # fmt: skip
    _write(folder / f"{sid}.json", about)
    value = {"version": 1, "agent": "lead", "sessionId": sid, "system_prompt": "(system)",
             "messages": _cline_messages(story, data=True)}  # fmt: skip
    return _write(folder / f"{sid}.messages.json", value)
