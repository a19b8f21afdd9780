"""The agent's task list: its last state, and the calls that opened and closed each item."""

from __future__ import annotations

import json
import re
from typing import Any

from rlm_mcp.contexts.session import work
from rlm_mcp.contexts.session.view import View, rows_of

_TASK = re.compile(r"^Task #(\d+) created")


def tasks(view: View) -> list[dict[str, Any]]:
    """Return the last state of the task list, with the places that opened and closed each item."""
    items: dict[str, dict[str, Any]] = {}
    refused, numbers = work.unsuccessful(view), _numbers(view)
    for row in rows_of(view, "b.doc=1 AND t.live=1 AND b.type='call' AND b.kind='plan'"):
        if not row["data"] or row["call"] in refused:
            continue
        ref, listed = view.ref(row), json.loads(row["data"])
        single = row["name"].lower() in ("taskcreate", "taskupdate")
        now = {}
        for text, status, key in listed:
            key = key or numbers.get(row["call"], "")
            name = _known(items, text, key) if single else text
            before = items.get(name, {})
            opened = before.get("opened", ref)
            closed = ref if status == "done" and before.get("status") != "done" else ""
            now[name] = {
                "task": text or before.get("task", ""), "status": status or before.get("status"),
                "opened": opened, "closed": closed or before.get("closed", ""), "last": ref,
                "key": key or before.get("key") or str(len(items) + 1),
            }  # fmt: skip
        items = {**items, **now} if single else now
    return [
        {name: value for name, value in item.items() if name != "key"} for item in items.values()
    ]


def _numbers(view: View) -> dict[str, str]:
    """Return the number that each call which creates one task was told, by call."""
    found = {}
    for row in rows_of(view, "b.doc=1 AND b.type='result' AND b.kind='plan' AND b.len<2000"):
        if row["call"] and (match := _TASK.search(view.body(row))):
            found[row["call"]] = match[1]
    return found


def _known(items: dict[str, dict[str, Any]], text: str, key: str) -> str:
    """Return the name under which a task of the one-call-a-task tools is kept."""
    return next((name for name, item in items.items() if key and item["key"] == key), text)
