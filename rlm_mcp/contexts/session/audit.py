"""What a compaction's summary lost, and what it states against the evidence.

Lost is what stood in the turns before it and is not found in the summary by its anchors (paths,
names, numbers) or, where it has none, by most of its words. Its claims are weighed in claims.py.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from rlm_mcp.contexts.session import claims, ledger, todo, work
from rlm_mcp.contexts.session.sentences import holds, kept, words
from rlm_mcp.contexts.session.view import View
from rlm_mcp.errors import BadRequest

_NUMBER = re.compile(r"\b[\w./-]+\s?[=:]\s?(\d[\d.,]*\s?(?:ms|us|s|MB|GB|KB|%|x))\b")
_SHOWN = 40


def compactions(view: View) -> list[dict[str, Any]]:
    """Return the compactions of the live branch, numbered from 1, with their summaries' refs."""
    found: list[dict[str, Any]] = []
    for row in _rows(view):
        if not found or row["segment"] != found[-1]["segment"]:
            found.append(
                {"number": len(found) + 1, "segment": row["segment"], "turn": row["n"],
                 "at": row["ts"], "ref": "", "summary_bytes": 0, "note": "", "refs": []}
            )  # fmt: skip
        entry = found[-1]
        if row["name"] == "boundary":
            entry["note"] = " ".join(view.body(row).split())[:200]
        else:
            entry["refs"].append(view.ref(row))
            entry["summary_bytes"] += row["len"]
            entry["note"] = entry["note"] or row["note"]
        entry["ref"] = entry["refs"][0] if entry["refs"] else view.ref(row)
    return found


def audit(view: View, number: int = 0) -> dict[str, Any]:
    """Return what the summary of a compaction (0: the last) lost and got wrong, with refs."""
    chosen, text = _summary(view, number)
    turn = chosen["turn"]
    report: dict[str, Any] = {
        "compaction": chosen["number"],
        "turn": turn,
        "summary": chosen["ref"],
    }
    if not text.strip():
        return {**report, "note": "The summary is not readable (encrypted or empty)."}
    report |= _rules_lost(view, text, turn)
    report |= _facts_lost(view, text, turn)
    return {**report, "contradicted": list(claims.contradicted(view, text, turn))}


def contradicted(view: View) -> list[dict[str, str]]:
    """Return what the last summary states against the evidence."""
    chosen, text = _summary(view, 0)
    return list(claims.contradicted(view, text, chosen["turn"])) if text.strip() else []


def _summary(view: View, number: int) -> tuple[dict[str, Any], str]:
    """Return a compaction (0: the last) and its summary's text. Raises BadRequest for none."""
    every = compactions(view)
    if not every:
        raise BadRequest("This session was not compacted; there is no summary to audit.")
    if not 0 <= number <= len(every):
        raise BadRequest(f"There are compactions 1 to {len(every)}, not {number}.")
    chosen = every[number - 1] if number else every[-1]
    rows = (row for row in _rows(view) if row["segment"] == chosen["segment"])
    return chosen, "\n".join(view.body(row) for row in rows if row["name"] != "boundary")


def _rows(view: View) -> list[sqlite3.Row]:
    """Return the blocks of the compactions on the live branch."""
    return view.kept.of("compactions", "t.origin='compaction'", lambda row: (row,))


def _rules_lost(view: View, text: str, turn: int) -> dict[str, Any]:
    asked = [fact for fact in ledger.facts(view, turn) if fact.status == "active"]
    lost: dict[str, list[dict[str, str]]] = {"rules": [], "preferences": [], "decisions": []}
    names = {"rule": "rules", "correction": "rules", "preference": "preferences",
             "decision": "decisions", "rejected": "decisions"}  # fmt: skip
    for fact in asked:
        if len(words(fact.quote)) < 1 or kept(fact.quote, text):
            continue
        entry = {"quote": fact.quote, "ref": fact.ref, "kind": fact.kind}
        if entry["quote"] not in {item["quote"] for items in lost.values() for item in items}:
            lost[names[fact.kind]].append(entry)
    return {f"lost_{name}": items for name, items in lost.items()}


def _facts_lost(view: View, text: str, turn: int) -> dict[str, Any]:
    paths = [
        {"path": file.path, "ref": file.ops[-1][1]}
        for file in work.files(view)
        if file.ops[0][2] < turn and not holds(text, file.path)
    ]
    runs = [run for run in work.runs(view) if run.turn < turn]
    lost_commands = list(
        dict.fromkeys(run.command for run in runs if run.status == "ok" and run.command not in text)
    )
    numbers = {
        match[1]: run.result
        for run in runs
        for match in _NUMBER.finditer(run.text)
        if match[1] not in text and len(run.text) < 4_000
    }
    open_tasks = [
        {"task": task["task"], "ref": task["last"]}
        for task in todo.tasks(view)
        if task["status"] in ("open", "active") and not kept(task["task"], text)
    ]
    return {
        "lost_paths": paths[:_SHOWN],
        "lost_commands": lost_commands[:_SHOWN],
        "lost_numbers": [{"number": k, "ref": v} for k, v in list(numbers.items())[:_SHOWN]],
        "lost_tasks": open_tasks,
        "counts": {
            "paths": len(paths), "commands": len(lost_commands), "numbers": len(numbers),
        },
    }  # fmt: skip
