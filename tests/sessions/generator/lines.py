"""Layouts of one JSON record a line."""

from __future__ import annotations

import hashlib
import json
import random
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.sessions.generator.story import Call, Step, Story

CLAUDE = {"shell": "Bash", "read": "Read", "write": "Write", "edit": "Edit", "search": "Grep",
          "task": "Task", "plan": "TodoWrite"}  # fmt: skip
COPILOT = {"shell": "bash", "read": "view", "write": "create", "edit": "edit", "search": "grep",
           "task": "task", "plan": "update_todo"}  # fmt: skip
VSCODE = {"shell": "run_in_terminal", "read": "read_file", "write": "create_file",
          "edit": "replace_string_in_file", "search": "grep_search", "task": "runSubagent",
          "plan": "manage_todo_list"}  # fmt: skip
GEMINI = {"shell": "run_shell_command", "read": "read_file", "write": "write_file",
          "edit": "replace", "search": "search_file_content", "task": "delegate_to_agent",
          "plan": "write_todos"}  # fmt: skip


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def millis(at: datetime) -> int:
    return int(at.timestamp() * 1000)


class Ids:
    """Ids of a kind, the same for the same story."""

    def __init__(self, story: Story, salt: str) -> None:
        self._rng = random.Random(f"{story.seed}/{salt}")

    def uuid(self) -> str:
        return str(UUID(int=self._rng.getrandbits(128), version=4))


def arguments(call: Call, story: Story, *, absolute: bool = True) -> dict[str, Any]:
    """Return a call's arguments as Claude's tools name them."""
    args = call.args
    path = f"{story.folder}/{args['path']}" if absolute and "path" in args else args.get("path", "")
    if call.tool == "shell":
        return {"command": args["command"], "description": "Run it"}
    if call.tool == "read":
        return {"file_path": path}
    if call.tool == "write":
        return {"file_path": path, "content": args["content"]}
    if call.tool == "edit":
        return {"file_path": path, "old_string": args["old"], "new_string": args["new"]}
    if call.tool == "search":
        return {"pattern": args["pattern"], "path": f"{story.folder}/src"}
    if call.tool == "task":
        return {"description": "Find callers", "prompt": args["errand"], "subagent_type": "Explore"}
    return {
        "todos": [
            {"content": text, "status": status, "activeForm": text} for text, status in call.plan
        ]
    }


def write_lines(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) + "\n" for r in records)
    path.write_text(text, "utf-8")
    return path


def claude(story: Story, root: Path) -> Path:
    slug = "".join(c if c.isascii() and (c.isalnum() or c == "-") else "-" for c in story.folder)
    folder = root / ".claude" / "projects" / slug
    writer = _Claude(story, folder)
    for step in story.steps:
        writer.step(step)
    writer.records.append({"type": "summary", "summary": story.title, "leafUuid": writer.parent})
    path = write_lines(folder / f"{story.sid}.jsonl", writer.records)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"type":"assistant","uuid":"cut')  # the agent is writing this line now
    return path


class _Claude:
    def __init__(self, story: Story, folder: Path) -> None:
        self.story, self.folder = story, folder
        self.ids = Ids(story, "claude")
        self.records: list[dict[str, Any]] = [
            {"type": "file-history-snapshot", "messageId": self.ids.uuid(), "snapshot": {}}
        ]
        self.parent: str | None = None
        self.before_dead: str | None = None
        self.calls = 0

    def add(self, kind: str, at: datetime, **more: Any) -> dict[str, Any]:
        record = {
            "parentUuid": self.parent, "isSidechain": False, "userType": "external",
            "cwd": self.story.folder, "sessionId": self.story.sid, "version": "2.1.90",
            "gitBranch": self.story.branch, "type": kind, "uuid": self.ids.uuid(),
            "timestamp": iso(at), **more,
        }  # fmt: skip
        self.records.append(record)
        self.parent = record["uuid"]
        return record

    def step(self, step: Step) -> None:
        if step.dead and self.before_dead is None:
            self.before_dead = self.parent
        elif not step.dead and self.before_dead is not None:
            self.parent, self.before_dead = self.before_dead, None
        if step.kind == "human":
            content: Any = step.text
            if step.image:
                source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
                content = [{"type": "text", "text": step.text}, {"type": "image", "source": source}]
            self.add("user", step.at, message={"role": "user", "content": content})
        elif step.kind == "reply":
            self.reply(step)
        elif step.kind == "error":
            self.add("system", step.at, subtype="api_error", content=step.text, level="error")
            note = "[Request interrupted by user]"
            self.add("user", step.at, isMeta=True, message={"role": "user", "content": note})
        else:
            logical, self.parent = self.parent, None
            self.add(
                "system", step.at, subtype="compact_boundary", content="Conversation compacted",
                logicalParentUuid=logical, compactMetadata={"trigger": "auto", "preTokens": 167233},
            )  # fmt: skip
            self.add(
                "user", step.at, isCompactSummary=True, isVisibleInTranscriptOnly=True,
                message={"role": "user", "content": step.text},
            )  # fmt: skip

    def reply(self, step: Step) -> None:
        message_id = f"msg_{self.ids.uuid()[:8]}"
        usage = {"input_tokens": 7, "cache_creation_input_tokens": 11,
                 "cache_read_input_tokens": 100, "output_tokens": 13}  # fmt: skip
        blocks: list[dict[str, Any]] = []
        if step.thought:
            blocks.append({"type": "thinking", "thinking": step.thought, "signature": "x"})
        if step.text:
            blocks.append({"type": "text", "text": step.text})
        made = []
        for call in step.calls:
            self.calls += 1
            name = f"toolu_{self.calls:05}"
            blocks.append({"type": "tool_use", "id": name, "name": CLAUDE[call.tool],
                           "input": arguments(call, self.story)})  # fmt: skip
            made.append((name, call))
        parents = {}
        for block in blocks:
            message = {"id": message_id, "type": "message", "role": "assistant",
                       "model": "claude-opus-4-6", "content": [block], "usage": usage}  # fmt: skip
            record = self.add("assistant", step.at, message=message, requestId="req")
            parents[block.get("id", "")] = record["uuid"]
        for name, call in made:
            self.parent = parents[name]  # parallel calls hang their results off their own record
            self.result(name, call, step)

    def result(self, name: str, call: Call, step: Step) -> None:
        rich: dict[str, Any] = {"stdout": call.output, "stderr": "", "interrupted": False}
        shown = call.output
        folder = self.folder / self.story.sid
        if call.saved:
            file = folder / "tool-results" / f"{name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(call.output, "utf-8")
            shown = call.output[:2_000] + "\n... [output saved to file]"
            rich = {"persistedOutputPath": f"tool-results/{name}.txt"}
        if call.tool == "task":
            self.subagent(folder, name, call, step)
            rich = {"agentId": self.story.agent, "totalTokens": 240}
        block = {"type": "tool_result", "tool_use_id": name, "content": shown,
                 "is_error": call.failed}  # fmt: skip
        self.add("user", step.at, toolUseResult=rich,
                 message={"role": "user", "content": [block]})  # fmt: skip

    def subagent(self, folder: Path, name: str, call: Call, step: Step) -> None:
        meta = {"agentType": "Explore", "description": "Find callers", "toolUseId": name}
        common = {"isSidechain": True, "sessionId": self.story.sid, "agentId": self.story.agent,
                  "cwd": self.story.folder, "timestamp": iso(step.at)}  # fmt: skip
        first, second = self.ids.uuid(), self.ids.uuid()
        records = [
            {**common, "type": "user", "uuid": first, "parentUuid": None,
             "message": {"role": "user", "content": call.args["errand"]}},
            {**common, "type": "assistant", "uuid": second, "parentUuid": first,
             "message": {"id": "msg_s", "role": "assistant", "model": "claude-haiku-4-5",
                         "content": [{"type": "text", "text": call.output}],
                         "usage": {"input_tokens": 90, "output_tokens": 30}}},
        ]  # fmt: skip
        path = folder / "subagents" / f"agent-{self.story.agent}.jsonl"
        write_lines(path, records)
        path.with_suffix("").with_suffix(".meta.json").write_text(json.dumps(meta), "utf-8")


def codex(story: Story, root: Path) -> Path:
    ids = Ids(story, "codex")
    sid = ids.uuid()
    at = story.steps[0].at
    meta = {"id": sid, "cwd": story.folder, "originator": "codex_cli_rs", "cli_version": "0.142.5",
            "source": "cli", "git": {"branch": story.branch, "commit_hash": "0" * 40}}  # fmt: skip
    out: list[dict[str, Any]] = []
    total = 0
    number = 0

    def add(kind: str, payload: dict[str, Any], when: datetime) -> None:
        out.append({"timestamp": iso(when), "type": kind, "payload": payload})

    add("session_meta", meta, at)
    rolled = False
    for step in story.steps:
        if not step.dead and rolled:
            add("event_msg", {"type": "thread_rolled_back", "num_turns": 1}, step.at)
        rolled = step.dead
        if step.kind == "human":
            add("turn_context", {"cwd": story.folder, "model": "gpt-5.2-codex"}, step.at)
            content = [{"type": "input_text", "text": step.text}]
            add("response_item", {"type": "message", "role": "user", "content": content}, step.at)
            add("event_msg", {"type": "user_message", "message": step.text}, step.at)
        elif step.kind == "compaction":
            add("compacted", {"message": step.text, "replacement_history": []}, step.at)
            add("event_msg", {"type": "context_compacted"}, step.at)
        elif step.kind == "error":
            add("event_msg", {"type": "error", "message": step.text}, step.at)
            add("event_msg", {"type": "turn_aborted", "reason": "interrupted"}, step.at)
        else:
            number = _codex_reply(story, step, add, number)
            total += 120
            used = {"input_tokens": 100, "cached_input_tokens": 60, "output_tokens": 20}
            info = {"total_token_usage": {"total_tokens": total}, "last_token_usage": used}
            for _ in range(2):  # nearly half of these events are repeats
                add("event_msg", {"type": "token_count", "info": info}, step.at)
    folder = root / ".codex" / "sessions" / at.strftime("%Y/%m/%d")
    stamp = at.strftime("%Y-%m-%dT%H-%M-%S")
    _codex_subagent(story, folder, stamp, sid, ids)
    return write_lines(folder / f"rollout-{stamp}-{sid}.jsonl", out)


def _codex_reply(story: Story, step: Step, add: Any, number: int) -> int:
    item = "response_item"
    if step.thought:
        summary = [{"type": "summary_text", "text": step.thought}]
        add(item, {"type": "reasoning", "summary": summary, "encrypted_content": "eA=="}, step.at)
        add("event_msg", {"type": "agent_reasoning", "text": step.thought}, step.at)
    if step.text:
        content = [{"type": "output_text", "text": step.text}]
        add(item, {"type": "message", "role": "assistant", "content": content}, step.at)
        add("event_msg", {"type": "agent_message", "message": step.text}, step.at)
    for call in step.calls:
        number += 1
        name = f"call_{number:05}"
        if call.tool in ("write", "edit"):
            add(item, {"type": "custom_tool_call", "call_id": name, "name": "apply_patch",
                       "input": _patch(call)}, step.at)  # fmt: skip
            output = json.dumps({"output": call.output, "metadata": {"exit_code": 0}})
            add(
                item,
                {"type": "custom_tool_call_output", "call_id": name, "output": output},
                step.at,
            )
            continue
        tool, args = _codex_call(story, call)
        add(item, {"type": "function_call", "name": tool, "arguments": json.dumps(args),
                   "call_id": name}, step.at)  # fmt: skip
        text = f"Process exited with code {int(call.failed)}\nOutput:\n{call.output}"
        output = call.output if call.tool in ("task", "plan") else text
        add(item, {"type": "function_call_output", "call_id": name, "output": output}, step.at)
    return number


def _codex_call(story: Story, call: Call) -> tuple[str, dict[str, Any]]:
    if call.tool == "task":
        return "spawn_agent", {"agent_type": "explorer", "message": call.args["errand"]}
    if call.tool == "plan":
        return "update_plan", {"plan": [{"step": text, "status": s} for text, s in call.plan]}
    command = {
        "shell": call.args.get("command", ""),
        "read": f"nl -ba {call.args.get('path')}",
        "search": f"rg -n {call.args.get('pattern')} src",
    }[call.tool]
    return "exec_command", {"cmd": command, "workdir": story.folder}


def _patch(call: Call) -> str:
    path = call.args["path"]
    if call.tool == "write":
        body = "\n".join(f"+{line}" for line in call.args["content"].splitlines())
        return f"*** Begin Patch\n*** Add File: {path}\n{body}\n*** End Patch"
    old = "\n".join(f"-{line}" for line in call.args["old"].splitlines())
    new = "\n".join(f"+{line}" for line in call.args["new"].splitlines())
    return f"*** Begin Patch\n*** Update File: {path}\n@@\n{old}\n{new}\n*** End Patch"


def _codex_subagent(story: Story, folder: Path, stamp: str, parent: str, ids: Ids) -> None:
    sid = ids.uuid()
    spawn = {"parent_thread_id": parent, "depth": 1, "agent_role": "explorer"}
    meta = {"id": sid, "cwd": story.folder, "source": {"subagent": {"thread_spawn": spawn}}}
    at = iso(story.steps[0].at)
    asked = [{"type": "input_text", "text": story.errand}]
    said = [{"type": "output_text", "text": story.keys.report}]
    records = [
        {"timestamp": at, "type": "session_meta", "payload": meta},
        {"timestamp": at, "type": "response_item",
         "payload": {"type": "message", "role": "user", "content": asked}},
        {"timestamp": at, "type": "response_item",
         "payload": {"type": "message", "role": "assistant", "content": said}},
    ]  # fmt: skip
    write_lines(folder / f"rollout-{stamp}-{sid}.jsonl", records)


def cursor(story: Story, root: Path) -> Path:
    out: list[dict[str, Any]] = []
    for step in story.steps:
        content: list[dict[str, Any]] = []
        if step.kind == "human":
            content = [{"type": "text", "text": f"<user_query>\n{step.text}\n</user_query>"}]
            out.append({"role": "user", "message": {"content": content}})
        elif step.kind == "reply":
            for text in filter(None, (step.thought, step.text)):
                said = [{"type": "text", "text": text}]
                out.append({"role": "assistant", "message": {"content": said}})
            for call in step.calls:
                use = {"type": "tool_use", "name": CLAUDE[call.tool].replace("Bash", "Shell"),
                       "input": arguments(call, story)}  # fmt: skip
                out.append({"role": "assistant", "message": {"content": [use]}})
    slug = story.folder.strip("/").replace("/", "-")
    folder = root / ".cursor" / "projects" / slug / "agent-transcripts"
    return write_lines(folder / f"{Ids(story, 'cursor').uuid()}.jsonl", out)


def copilot_cli(story: Story, root: Path) -> Path:
    ids = Ids(story, "copilot-cli")
    sid = ids.uuid()
    out: list[dict[str, Any]] = []
    parent: str | None = None
    before: str | None = None
    number = 0

    def add(kind: str, data: dict[str, Any], at: datetime) -> None:
        nonlocal parent
        name = ids.uuid()
        out.append(
            {"id": name, "parentId": parent, "timestamp": iso(at), "type": kind, "data": data}
        )
        parent = name

    context = {"cwd": story.folder, "branch": story.branch}
    add("session.start", {"sessionId": sid, "copilotVersion": "0.0.420", "context": context},
        story.steps[0].at)  # fmt: skip
    for step in story.steps:
        if step.dead and before is None:
            before = parent
        elif not step.dead and before is not None:
            parent, before = before, None
        if step.kind == "human":
            add("user.message", {"content": step.text}, step.at)
        elif step.kind == "compaction":
            data = {"success": True, "preCompactionTokens": 167233, "summaryContent": step.text}
            add("session.compaction_complete", data, step.at)
        elif step.kind == "error":
            add("session.error", {"message": step.text}, step.at)
        else:
            requests = []
            for call in step.calls:
                number += 1
                requests.append({"toolCallId": f"toolu_{number:05}", "name": COPILOT[call.tool],
                                 "arguments": arguments(call, story)})  # fmt: skip
            data = {"messageId": ids.uuid(), "content": step.text, "reasoningText": step.thought,
                    "toolRequests": requests}  # fmt: skip
            add("assistant.message", data, step.at)
            for request, call in zip(requests, step.calls, strict=True):
                data = {"toolCallId": request["toolCallId"], "success": not call.failed,
                        "result": {"content": call.output}}  # fmt: skip
                add("tool.execution_complete", data, step.at)
    return write_lines(root / ".copilot" / "session-state" / sid / "events.jsonl", out)


def gemini(story: Story, root: Path) -> Path:
    ids = Ids(story, "gemini")
    out: list[dict[str, Any]] = [gemini_head(story)]
    number = 0
    first_dead = ""
    for step in story.steps:
        if not step.dead and first_dead:
            out.append({"$rewindTo": first_dead})
            first_dead = ""
        record, number = gemini_message(story, step, ids.uuid(), number)
        if step.dead:
            first_dead = first_dead or record["id"]
        out.append(record)
        if step.kind == "compaction":
            kept = {**record, "id": record["id"] + "s", "type": "user",
                    "content": [{"text": step.text}]}  # fmt: skip
            out.append({"$set": {"messages": [kept]}})
    return write_lines(gemini_folder(story, root) / "session-2026-03-14T08-03.jsonl", out)


def gemini_head(story: Story) -> dict[str, Any]:
    digest = hashlib.sha256(story.folder.encode()).hexdigest()
    return {"sessionId": Ids(story, "gemini-id").uuid(), "projectHash": digest,
            "startTime": iso(story.steps[0].at), "kind": "main"}  # fmt: skip


def gemini_folder(story: Story, root: Path) -> Path:
    home = root / ".gemini"
    home.mkdir(parents=True, exist_ok=True)
    (home / "projects.json").write_text(
        json.dumps({"projects": {story.folder: story.project}}), "utf-8"
    )
    return home / "tmp" / hashlib.sha256(story.folder.encode()).hexdigest() / "chats"


def gemini_message(story: Story, step: Step, name: str, number: int) -> tuple[dict[str, Any], int]:
    base = {"id": name, "timestamp": iso(step.at)}
    if step.kind == "human":
        return {**base, "type": "user", "content": [{"text": step.text}]}, number
    if step.kind == "compaction":
        text = "Chat history compressed from 167233 to 4102 tokens."
        return {**base, "type": "info", "content": text}, number
    if step.kind == "error":
        return {**base, "type": "error", "content": step.text}, number
    made = []
    for call in step.calls:
        number += 1
        response = {"functionResponse": {"id": str(number), "name": GEMINI[call.tool],
                                         "response": {"output": call.output}}}  # fmt: skip
        made.append({"id": f"{GEMINI[call.tool]}-{number:05}", "name": GEMINI[call.tool],
                     "args": arguments(call, story), "result": [response],
                     "status": "error" if call.failed else "success"})  # fmt: skip
    thoughts = [{"subject": "Plan", "description": step.thought}] if step.thought else []
    tokens = {"input": 100, "output": 10, "cached": 60, "thoughts": 3, "tool": 0, "total": 113}
    return {**base, "type": "gemini", "content": step.text, "thoughts": thoughts,
            "toolCalls": made, "tokens": tokens, "model": "gemini-3-pro"}, number  # fmt: skip


def copilot(story: Story, root: Path) -> Path:
    """Write the operation log: a rewound request is cut away by the next push."""
    from tests.sessions.generator.documents import copilot_requests, workspace

    head = {"version": 3, "responderUsername": "GitHub Copilot", "requesterUsername": "dev",
            "sessionId": Ids(story, "oplog").uuid(), "requests": []}  # fmt: skip
    out: list[dict[str, Any]] = [{"kind": 0, "v": head}]
    count = 0
    dead = 0
    for request, is_dead in copilot_requests(story, dead=True):
        parts, result = request["response"], request["result"]
        push: dict[str, Any] = {"kind": 2, "k": ["requests"],
                                "v": [{**request, "response": [], "result": {}}]}  # fmt: skip
        if dead and not is_dead:
            count -= dead
            push["i"], dead = count, 0
        out.append(push)
        for part in parts:
            out.append({"kind": 2, "k": ["requests", count, "response"], "v": [part]})
        out.append({"kind": 1, "k": ["requests", count, "result"], "v": result})
        count += 1
        dead += is_dead
    out.append({"kind": 1, "k": ["customTitle"], "v": story.title})
    return write_lines(workspace(story, root) / f"{head['sessionId']}.jsonl", out)
