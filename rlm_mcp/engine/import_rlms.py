"""Read logs of the official library (`rlms`, one JSON object a line) as trajectories, for viewing.

A `metadata` line opens a run, each `iteration` line is a turn: prompt, response, code_blocks with
their results and the calls made in them. What our events have and those logs lack (cache, parts,
budgets) stays empty; nothing is made up. Variables (`locals`) are left out: they hold the context.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from rlm_mcp import redact
from rlm_mcp.engine.trajectory import Event, text_digest
from rlm_mcp.errors import BadRequest
from rlm_mcp.files import private_folder


def is_official(path: Path) -> bool:
    """Say whether a file is a log of the official library."""
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            first = json.loads(lines.readline(1 << 20))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and first.get("type") in ("metadata", "iteration")


def store_log(path: Path, folder: Path) -> str:
    """Write a log among the runs of `folder` and return its id: always the same for the same log.

    Raises BadRequest as `read` does.
    """
    began = time.localtime(read_log(path)[0].t)
    digest = hashlib.blake2b(path.read_bytes(), digest_size=3).hexdigest()
    run = f"{time.strftime('%m%d-%H%M%S', began)}-{digest}"
    events = read_log(path, run)
    private_folder(folder)
    target = folder / f"{run}.jsonl"
    target.touch(mode=0o600)
    target.write_text("".join(f"{event.to_json_line()}\n" for event in events), "utf-8", "replace")
    os.utime(target, (events[-1].t, events[-1].t))  # lists are in the order of last changes
    return run


def read_log(path: Path, run: str = "") -> list[Event]:
    """Return the events of a log, as those of `run` (else of its file's name).

    Raises BadRequest with the line that is wrong.
    """
    events = _EventBuilder(run or path.stem)
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                events.add_entry(entry)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                if not line.endswith("\n"):
                    break  # a run that was killed leaves a torn line
                raise BadRequest(
                    f"{path.name}, line {number}: not a line of the official library's log "
                    "(JSON objects of the types metadata and iteration); is it another file?"
                ) from error
    if not events.found:
        raise BadRequest(f"{path.name} is empty.")
    events.add_end()
    return events.found


QUESTION_CHARS = 200
"""Characters of the first line of the first message that are shown as the question."""


class _EventBuilder:
    """Turns entries into events, in their order."""

    def __init__(self, run: str, question: str = "", above: _EventBuilder | None = None) -> None:
        self.run, self._question = run, question
        self.found: list[Event] = above.found if above else []
        self._depth: int = above._depth + 1 if above else 0
        self._turn, self._answer, self._t = 0, "", 0.0
        self._model = ""
        self._children = 0
        self._metadata: dict[str, Any] | None = None

    def add_entry(self, entry: dict[str, Any]) -> None:
        """Add what one line says."""
        self._t = datetime.fromisoformat(entry["timestamp"]).timestamp()
        if entry["type"] == "metadata":
            self._metadata = entry
        elif entry["type"] == "iteration":
            self._add_iteration(entry)

    def add_end(self) -> None:
        """Add the end of the run, as far as the log tells it."""
        if not self._turn and self._metadata is not None:
            self._add_start("")
        if self._answer:
            self._add_event("run.end", status="complete", answer=self._answer, reason="")

    def _add_start(self, question: str) -> None:
        entry = self._metadata or {}
        self._model = str(entry.get("root_model", ""))
        self._add_event(
            "run.start",
            question=question,
            model=self._model,
            sub_model=", ".join(map(str, entry.get("other_backends") or [])),
            mode="recursive",
            reason="a log of the official library",
            depth=self._depth,
        )

    def _add_iteration(self, entry: dict[str, Any]) -> None:
        if self._turn == 0:
            system, first = _prompt_texts(entry["prompt"])
            self._add_start(self._question or first.strip().partition("\n")[0][:QUESTION_CHARS])
            self._add_event("prompt", system=system, first=first)
        self._turn += 1
        self._add_event(
            "call",
            purpose="root",
            model=self._model,
            reply=str(entry["response"]),
            seconds=float(entry.get("iteration_time") or 0.0),
            cached=False,
            cost_usd=None,
        )
        shown = []
        for block in entry["code_blocks"]:
            result = block["result"]
            self._add_event("cell", turn=self._turn, code=str(block["code"]))
            for call in result.get("rlm_calls") or []:
                self._add_call(call)
            shown += [str(result.get(name) or "") for name in ("stdout", "stderr")]
        answer = entry.get("final_answer")
        self._answer = str(answer) if answer else self._answer
        text = "\n".join(part for part in shown if part)
        self._add_event("turn", turn=self._turn, shown=text, left="", ready=bool(answer))

    def _add_call(self, call: dict[str, Any]) -> None:
        prompt = call.get("prompt")
        text = prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)
        if call.get("metadata"):
            return self._add_child(text, call["metadata"])
        data: dict[str, Any] = {
            "purpose": "sub",
            "model": str(call.get("root_model", "")),
            "prompt": text_digest(redact.redact(text)),
            "seconds": float(call.get("execution_time") or 0.0),
            "cached": False,
            "cost_usd": (call.get("usage_summary") or {}).get("total_cost"),
        }
        if call.get("error"):
            data["failure"] = {"reason": str(call["error"]), "kind": "unknown"}
        else:
            data["reply"] = str(call.get("response", ""))
        self._add_event("call", **data)

    def _add_child(self, question: str, log: dict[str, Any]) -> None:
        """Add a child run: its whole log stands in the call that started it."""
        self._children += 1
        child = _EventBuilder(f"{self.run}.{self._children}", question, self)
        self._add_event("child", child=child.run, question=text_digest(redact.redact(question)))
        child._metadata = log["run_metadata"]
        for entry in log["iterations"]:
            child.add_entry(entry)
        child._t = child._t or self._t
        child.add_end()

    def _add_event(self, type: str, **data: Any) -> None:
        clean = {k: redact.redact(v) if isinstance(v, str) else v for k, v in data.items()}
        self.found.append(Event(self.run, len(self.found), self._t, type, clean))


def _prompt_texts(prompt: Any) -> tuple[str, str]:
    """Return system text and first message of a prompt (a text, or a list of messages)."""
    if isinstance(prompt, str):
        return "", prompt
    items = prompt if isinstance(prompt, list) else [prompt]
    texts: dict[str, list[str]] = {"system": [], "user": []}
    for item in _message_dicts(items):
        texts.setdefault(str(item.get("role", "user")), []).append(str(item.get("content", "")))
    return "\n".join(texts["system"]), "\n".join(texts["user"])


def _message_dicts(items: list[Any]) -> Iterator[dict[str, Any]]:
    for item in items:
        if isinstance(item, dict):
            yield item
