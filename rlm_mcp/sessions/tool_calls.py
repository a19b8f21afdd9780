"""Tool calls of all agents in one vocabulary: what kind of call, on what, with what outcome.

Names are matched by their own words, so that a new spelling of a known tool (`run_command`,
`exec_command`) is still a shell call; what fits nothing is "other", never dropped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from rlm_mcp.sessions.schema import FileOp, PlanItem, Status, ToolKind, TurnBlock

_NAMES: Mapping[ToolKind, str] = {
    "shell": (
        "bash shell exec exec_command shell_command local_shell local_shell_call "
        "run_shell_command run_terminal_command run_terminal_cmd run_in_terminal "
        "execute_command runinterminal terminal run_command powershell run_terminal_command_v2 "
        "container.exec run_commands"
    ),
    "read": (
        "read read_file readfile view open_file view_image notebookread read_many_files "
        "cat list_code_definition_names read_file_v2 copilot_readfile read_files"
    ),
    "write": (
        "write write_file create_file createfile create write_to_file new_file "
        "copilot_createfile"
    ),
    "edit": (
        "edit multiedit str_replace str_replace_editor str_replace_based_edit_tool "
        "replace replace_in_file apply_patch apply_diff edit_file notebookedit search_replace "
        "insert_edit_into_file replace_string_in_file edit_file_v2 insert_content patch "
        "search_and_replace copilot_replacestring multi_replace_string_in_file editor"
    ),
    "search": (
        "grep glob ls list list_dir list_directory search_files grep_search "
        "file_search codebase_search search_file_content find list_files ripgrep semantic_search "
        "ripgrep_raw_search glob_file_search copilot_findtextinfiles toolsearch search_codebase"
    ),
    "web": (
        "webfetch websearch web_search web_fetch google_web_search fetch browser_action "
        "web_search_call fetch_webpage"
    ),
    "task": "task agent spawn_agent subtask new_task runsubagent use_subagents delegate_to_agent",
    "plan": (
        "todowrite todo_write todoread update_plan write_todos update_todo_list update_todo "
        "manage_todo_list taskcreate taskupdate tasklist todo exitplanmode focus_chain"
    ),
}  # fmt: skip
_KINDS: dict[str, ToolKind] = {
    name: kind for kind, names in _NAMES.items() for name in names.split()
}

_VERSION = re.compile(r"_v\d+\Z")

_PATHS = (
    "file_path", "filePath", "path", "target_file", "absolute_path", "notebook_path", "filename",
    "relative_workspace_path", "targetFile", "uri", "effectiveUri",
)  # fmt: skip
_COMMANDS = ("command", "cmd", "CommandLine", "script", "commandLine")
_OLD = ("old_string", "oldString", "old_str", "old_text")
_NEW = ("new_string", "newString", "new_str", "new_text", "content", "contents", "file_text")
_STATES = {
    "completed": "done", "complete": "done", "done": "done", "in_progress": "active",
    "in-progress": "active", "active": "active", "cancelled": "dropped", "deleted": "dropped",
}  # fmt: skip
_PATCH_FILE = re.compile(r"^\*\*\* (Add|Update|Delete) File: (.+)$", re.MULTILINE)
_MOVE = re.compile(r"^\*\*\* Move to: (.+)$", re.MULTILINE)
_CHECK = re.compile(r"^\s*(?:[-*]|\d+[.)])\s+\[([ xX~/-])\]\s+(.*\S)", re.MULTILINE)


@lru_cache(maxsize=1_000)
def tool_kind(name: str) -> ToolKind:
    """Return what kind of call a tool's own name means."""
    if name.startswith(("mcp__", "mcp_")):
        return "mcp"
    plain = _VERSION.sub("", name.lower().rpartition("functions.")[2])
    return _KINDS.get(plain, "other")


def call_block(name: str, arguments: Any, call_id: str = "") -> TurnBlock:
    """Return the block of a tool call; `arguments` may be JSON text, a mapping or free text."""
    values = parse_arguments(arguments)
    what = tool_kind(name)
    text = show_arguments(values)
    block = TurnBlock("call", text, name=name, kind=what, call=call_id)
    if isinstance(values, dict):
        if what == "shell":
            block.arg = command_line(values)
        elif what in ("read", "write", "edit"):
            block.ops = tuple(file_ops(what, values))
            block.arg = " ".join(op.path for op in block.ops)
        elif what == "plan":
            block.plan = parse_plan(values) or _task_plan(name.lower(), values)
        block.arg = block.arg or _first_text(
            values, ("pattern", "query", "url", "description", "path")
        )
        if what == "task":
            block.arg = block.arg or _first_text(values, ("message", "prompt", "task"))
    elif isinstance(values, str):
        block.arg = values if what == "shell" else ""
    patch = text if "*** Begin Patch" in text else ""
    if patch:
        _take_patch(block, _patch_text(values))
    return block


def parse_arguments(arguments: Any) -> Any:
    """Return arguments as values: agents write them as JSON inside a string, or bare."""
    if isinstance(arguments, str):
        try:
            return json.loads(arguments)
        except (ValueError, RecursionError):
            return arguments
    return arguments


def show_arguments(values: Any) -> str:
    """Return arguments as lines `name: value`, strings verbatim."""
    if isinstance(values, dict):
        return "\n".join(
            f"{name}: {value if isinstance(value, str) else _dump_json(value)}"
            for name, value in values.items()
        )
    return values if isinstance(values, str) else _dump_json(values)


def command_line(values: Mapping[str, Any]) -> str:
    """Return the command line of a shell call."""
    for name in _COMMANDS:
        value = values.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            shell = value[0].rpartition("/")[2] in ("bash", "sh", "zsh")
            return value[-1] if shell and len(value) == 3 else " ".join(value)
    several = values.get("commands")
    if isinstance(several, list):
        parts = [command_line(part) if isinstance(part, Mapping) else part for part in several]
        return "\n".join(part for part in parts if isinstance(part, str))
    action = values.get("action")
    return command_line(action) if isinstance(action, Mapping) else ""


def file_ops(what: str, values: Mapping[str, Any]) -> Iterator[FileOp]:
    """Yield what a read, write or edit call does to files."""
    path = call_path(values)
    replacements = values.get("replacements")
    if isinstance(replacements, list) and not path:
        for part in replacements:
            if isinstance(part, Mapping):
                yield from file_ops(what, part)
        return
    if not path:
        return
    if what == "read":
        yield FileOp(path, "read")
        return
    if values.get("command") == "view":
        yield FileOp(path, "read")
        return
    creates = what == "write" or values.get("command") == "create"
    if values.keys() == {"path", "new_text"}:
        creates = True  # Cline's editor, which says nothing of a text that was there
    edits = values.get("edits")
    parts = [edit for edit in edits if isinstance(edit, Mapping)] if isinstance(edits, list) else []
    for part in parts or [values]:
        old, new = _first_text(part, _OLD), _first_text(part, _NEW)
        diff = _first_text(part, ("diff",))
        everywhere = part.get("replace_all", part.get("replaceAll")) is True
        yield FileOp(path, "create" if creates else "edit", old, new, diff, everywhere)


def call_path(values: Mapping[str, Any]) -> str:
    """Return the path that a call names."""
    for name in _PATHS:
        value = values.get(name)
        if isinstance(value, Mapping):
            value = value.get("fsPath") or value.get("path")
        if isinstance(value, str) and value:
            return value.removeprefix("file://")
    return ""


def patch_ops(patch: str) -> tuple[FileOp, ...]:
    """Return the file operations of an apply_patch text."""
    heads = list(_PATCH_FILE.finditer(patch))
    ops = []
    for head, after in zip(heads, [*heads[1:], None], strict=True):
        body = patch[head.end() : after.start() if after else len(patch)]
        body = body.partition("*** End Patch")[0].strip("\n")
        verb, path = head[1], head[2].strip()
        if verb == "Add":
            lines = [line[1:] for line in body.splitlines() if line.startswith("+")]
            ops.append(FileOp(path, "create", new="\n".join(lines) + "\n"))
        elif verb == "Delete":
            ops.append(FileOp(path, "delete"))
        else:
            ops.append(FileOp(path, "edit", patch=body))
            if move := _MOVE.search(body):
                ops.append(FileOp(move[1].strip(), "rename", old=path))
    return tuple(ops)


def parse_plan(values: Mapping[str, Any]) -> tuple[PlanItem, ...] | None:
    """Return the task list that a planning call states, or None."""
    for name in ("todos", "plan", "todoList", "items", "todo_list"):
        items = values.get(name)
        if isinstance(items, str):
            items = parse_arguments(items)
        if isinstance(items, str):
            return parse_checklist(items)
        if isinstance(items, list):
            return tuple(_plan_item(item) for item in items if isinstance(item, Mapping))
    return None


def _task_plan(name: str, values: Mapping[str, Any]) -> tuple[PlanItem, ...] | None:
    """Return the one task that TaskCreate or TaskUpdate states."""
    if name == "taskcreate":
        return (PlanItem(_first_text(values, ("subject", "content", "title")), "open"),)
    if name == "taskupdate":
        return (_plan_item({**values, "id": values.get("taskId", "")}),)
    return None


def parse_checklist(text: str) -> tuple[PlanItem, ...] | None:
    """Return the task list written as Markdown check boxes, or None."""
    found = _CHECK.findall(text)
    states: dict[str, Any] = {" ": "open", "x": "done", "~": "active", "/": "active", "-": "active"}
    return tuple(PlanItem(words, states[mark.lower()]) for mark, words in found) or None


def result_outcome(text: str, failed: bool | None) -> tuple[Status, int | None]:
    """Return the status and exit code that a result's text shows.

    `failed` is what the format itself says, None where it says nothing.
    """
    head = text[:400]
    if "doesn't want to proceed with this tool use" in head or "user denied" in head.lower():
        return "denied", None
    if head.startswith("[Request interrupted by user"):
        return "cancelled", None
    match = None
    if "xit" in head or "xit" in text[-200:]:
        match = _EXIT.search(head) or (_EXIT.search(text[-200:]) if len(text) > 200 else None)
    code = int(match[1]) if match else None
    if failed is None:
        return ("" if code is None else "error" if code else "ok"), code
    return ("error" if failed or code else "ok"), code


_EXIT = re.compile(
    r"(?:^|\n)\W{0,3}(?:Process exited with code|Exit code:?|Command failed with exit code|"
    r"exit_code:|Command exited with code|exited with code|Exit Code:)\s*(-?\d{1,6})\b"
)


def _plan_item(item: Mapping[str, Any]) -> PlanItem:
    text = _first_text(item, ("content", "step", "title", "text", "description", "subject"))
    status: Any = _STATES.get(str(item.get("status", "")).lower().replace(" ", "_"), "open")
    return PlanItem(text, status, str(item.get("id", "") or ""))


def _take_patch(block: TurnBlock, patch: str) -> None:
    ops = patch_ops(patch)
    if ops:
        block.kind, block.ops = "edit", ops
        block.arg = " ".join(op.path for op in ops)


def _patch_text(values: Any) -> str:
    if isinstance(values, dict):
        return next((v for v in values.values() if isinstance(v, str) and "*** Begin" in v), "")
    return values if isinstance(values, str) else ""


def _first_text(values: Mapping[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        if isinstance(value := values.get(name), str):
            return value
    return ""


_dump_json = json.JSONEncoder(ensure_ascii=False).encode
"""As `json.dumps`, which would make this encoder anew each time."""
