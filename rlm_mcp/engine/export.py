"""Runs for use elsewhere: training trajectories (JSONL of chat messages), and an HTML page.

In JSONL, child runs are lines of their own; a run that failed or was stopped is left out unless
asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rlm_mcp.engine.run_tree import RunNode, walk_runs
from rlm_mcp.viewer import draw_page

_ROOT = ("purpose", "model", "seconds", "cached", "cost_usd", "usage")


def chat_messages(node: RunNode) -> list[dict[str, str]]:
    """Return a run as the conversation that its root model had."""
    found = []
    if node.prompt.get("system"):
        found.append({"role": "system", "content": str(node.prompt["system"])})
    first = node.prompt.get("first") or node.start.get("question", "")
    found.append({"role": "user", "content": str(first)})
    for turn in node.turns:
        found.append({"role": "assistant", "content": turn.reply})
        if turn.shown and turn is not node.turns[-1]:
            left = f"\n\n[{turn.left}]" if turn.left else ""
            found.append({"role": "user", "content": turn.shown + left})
    if not node.turns and node.end.get("answer"):
        found.append({"role": "assistant", "content": str(node.end["answer"])})
    return found


def jsonl_lines(node: RunNode, *, unfinished: bool = False) -> Iterator[str]:
    """Yield a line for the run and for each of its child runs."""
    for each in walk_runs(node):
        status = each.status
        if not unfinished and status not in ("complete", "partial"):
            continue
        yield json.dumps(
            {
                "messages": chat_messages(each),
                "run": each.id,
                "depth": each.depth,
                "status": status,
                "mode": each.end.get("mode", each.start.get("mode", "")),
                "model": each.start.get("model", ""),
                "answer": each.end.get("answer", ""),
                "cost_usd": each.cost_usd(),
                "sub_calls": [_sub_call(call) for call in each.all_calls() if _is_sub(call)],
            },
            ensure_ascii=False,
        )


def _is_sub(call: dict[str, Any]) -> bool:
    return call.get("purpose") == "sub"


def _sub_call(call: dict[str, Any]) -> dict[str, Any]:
    names = ("part", "prompt", "reply", "failure", "cached")
    return {name: call[name] for name in names if name in call}


def run_page(node: RunNode) -> str:
    """Return the run as one HTML page that needs no network."""
    return draw_page(tree_json(node))


def tree_json(node: RunNode) -> dict[str, Any]:
    """Return a run tree as JSON types."""
    return {
        "id": node.id,
        "depth": node.depth,
        "status": node.status,
        "start": node.start,
        "end": node.end,
        "began": node.began,
        "latest": node.latest,
        "cost_usd": node.cost_usd(),
        "calls": node.calls,
        "turns": [
            {
                "number": turn.number,
                "t": turn.t,
                "reply": turn.reply,
                "code": turn.code,
                "shown": turn.shown,
                "left": turn.left,
                "root": {name: turn.root[name] for name in _ROOT if name in turn.root},
                "calls": turn.calls,
                "children": [child.id for child in turn.children],
            }
            for turn in node.turns
        ],
        "children": [tree_json(child) for child in node.children],
    }
