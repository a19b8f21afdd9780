"""A session over time: what happened since a mark, a timeline, a file's changes, git beside it."""

from __future__ import annotations

import difflib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm_mcp.contexts.session import audit, ledger, patches, paths, work
from rlm_mcp.contexts.session.turns import Block, FileOp
from rlm_mcp.contexts.session.view import View, rows_of
from rlm_mcp.contexts.variable import wire
from rlm_mcp.errors import BadRequest, Denied, did_you_mean
from rlm_mcp.refs import Block as BlockSpan
from rlm_mcp.refs import parse

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.git import Repository

_NUMBERED = re.compile(r"^ *\d+(?:\t|→|\|) ?", re.MULTILINE)
_MOST = 500


def timeline(view: View, start: int = 1, end: int = 0) -> list[dict[str, Any]]:
    """Return prompts, compactions, failures, commits and plan changes in order."""
    found: list[tuple[int, dict[str, Any]]] = []
    for row in rows_of(
        view,
        "b.doc=1 AND t.live=1 AND ((t.origin='human' AND b.type='text') OR b.type='compaction' "
        "OR (b.type='call' AND b.kind IN ('plan', 'task')) OR b.status='error')",
    ):
        kind = {"text": "prompt", "call": row["kind"]}.get(row["type"], row["type"])
        if row["status"] == "error":
            kind = "error"
        text = work.signature(view.body(row)) if kind == "error" else view.body(row)
        entry = {"at": row["ts"], "kind": kind, "ref": view.ref(row)}
        found.append((row["n"], {**entry, "text": " ".join(text.split())[:200]}))
    for commit in work.commits(view):
        entry = {"at": commit["at"], "kind": "commit", "ref": commit["ref"]}
        found.append((commit["turn"], {**entry, "text": f"{commit['commit']} {commit['subject']}"}))
    chosen = sorted(found, key=lambda item: item[0])
    return [
        {"turn": turn, **entry} for turn, entry in chosen if turn >= start and not 0 < end < turn
    ][:_MOST]


def since(view: View, mark: str | int) -> dict[str, Any]:
    """Return what is new after a mark: a turn, a ref, or a time."""
    turn = _turn(view, mark)
    newer = [fact for fact in ledger.facts(view) if fact.turn > turn]
    last = view.index.rows("SELECT max(n) FROM turns WHERE doc=1 AND live=1")[0][0] or 0
    return {
        "after": turn,
        "mark": last,
        "facts": wire(newer),
        "files": sorted({f.path for f in work.files(view) if f.ops[-1][2] > turn}),
        "commands": list(dict.fromkeys(r.command for r in work.runs(view) if r.turn > turn)),
        "failed": [
            {"command": run.command, "error": work.signature(run.text), "ref": run.result}
            for run in work.runs(view)
            if run.turn > turn and run.status == "error"
        ],
        "commits": [commit for commit in work.commits(view) if commit["turn"] > turn],
        "compactions": [c for c in audit.compactions(view) if c["turn"] > turn],
        "timeline": timeline(view, turn + 1),
    }


def subagents(view: View) -> list[dict[str, Any]]:
    """Return the subagents: errand, call, turns, tokens, and the report that came back."""
    states = view.index.states()
    found = []
    for thread in view.threads()[1:]:
        rows = view.index.rows(
            "SELECT * FROM blocks WHERE type='call' AND (call=? AND call!='' OR note=? OR call IN "
            "(SELECT call FROM blocks WHERE type='result' AND arg=? AND call!=''))",
            (thread.call, thread.raw, thread.raw),
        )
        where = "b.doc=? AND t.live=1 AND t.origin='agent' AND b.type='text'"
        said = list(rows_of(view, where, (thread.doc,)))
        used = view.index.rows(
            "SELECT sum(input+cache_read+cache_write+output) FROM turns WHERE doc=?", (thread.doc,)
        )
        state = states.get(thread.raw)
        found.append(
            {
                "name": thread.name, "ref": f"{view.name}:{thread.name}",
                "errand": rows[0]["arg"] if rows else "",
                "call": view.ref(rows[0]) if rows else "",
                "turns": state.turns if state else 0, "tokens": used[0][0] or 0,
                "facts": state.facts if state else {},
                "report": view.body(said[-1])[:2_000] if said else "",
                "report_ref": view.ref(said[-1]) if said else "",
            }
        )  # fmt: skip
    return found


def diff(view: View, path: str) -> list[dict[str, Any]]:
    """Return each change of a file as a unified diff, with its ref."""
    found = []
    for row, op in _ops(view, path):
        if op.op == "read":
            continue
        if op.patch:
            text = op.patch
        else:
            old, new = op.old.splitlines(), op.new.splitlines()
            text = "\n".join(difflib.unified_diff(old, new, "before", "after", lineterm=""))
        found.append({"op": op.op, "ref": view.ref(row), "turn": row["n"], "diff": text})
    return found


def file_at(view: View, path: str, turn: int = 0) -> dict[str, Any]:
    """Return a file as it was after a turn (0: at the end), where the record allows it.

    It starts from a whole write or an unbounded read and applies the recorded edits; where one
    does not fit, the text is not known from there on, and the reply says so.
    """
    text: str | None = None
    sources: list[str] = []
    missed = ""
    for row, op in _ops(view, path):
        if turn and row["n"] > turn:
            break
        ref = view.ref(row)
        if op.op == "create":
            text, sources, missed = op.new, [ref], ""
        elif op.op == "read":
            seen = _read(view, row)
            if seen is not None and text is None:
                text, sources, missed = seen, [ref], ""
        elif op.op == "delete":
            text, sources, missed = None, [], f"deleted at {ref}"
        elif (changed := _changed(text, op)) is not None:
            text = changed
            sources.append(ref)
        else:
            text, missed = None, f"the change at {ref} cannot be applied to what is recorded"
    known = text is not None
    return {
        "path": path, "known": known, "text": text or "", "built_from": sources if known else [],
        "note": "" if known else missed or "never recorded whole",
    }  # fmt: skip


def _changed(text: str | None, op: FileOp) -> str | None:
    """Return a text after an edit, None where the edit does not fit."""
    if text is not None and op.old and op.old in text:
        return text.replace(op.old, op.new, -1 if op.everywhere else 1)
    return patches.applied(text, op.patch) if text is not None and op.patch else None


def commits(view: View, settings: Settings) -> list[dict[str, Any]]:
    """Return the session's commits beside git: whether each exists, and its files changed since."""
    found = work.commits(view)
    repository = _repository(view, settings)
    for commit in found:
        commit |= {"in_repository": None, "files": [], "changed_since": []}
        if repository is None:
            continue
        git = repository.git
        full = git.probe("rev-parse", "--verify", "--quiet", f"{commit['commit']}^{{commit}}")
        commit["in_repository"] = bool(full)
        if full:
            names = git.probe("diff", "--name-only", "--no-ext-diff", full, "HEAD")
            own = git.probe("show", "--name-only", "--format=", "--no-ext-diff", full)
            later = set(names.splitlines())
            commit["files"] = own.splitlines()
            commit["changed_since"] = [name for name in own.splitlines() if name in later]
    return found


def _repository(view: View, settings: Settings) -> Repository | None:
    """Return the repository of the session's folder where it lies under a root."""
    from rlm_mcp.confine import Confine
    from rlm_mcp.git import find_repository

    cwds = view.index.states()[""].cwds
    confine = Confine(settings.roots)
    for cwd in reversed(cwds):
        folder = Path(cwd)
        if folder.is_dir() and confine.within(folder.resolve()):
            try:
                return find_repository(folder.resolve(), confine)
            except Denied:
                return None
    return None


def _turn(view: View, mark: str | int) -> int:
    if isinstance(mark, int) or mark.isdigit():
        return int(mark)
    if "#" in mark:
        span = parse(mark).span
        if isinstance(span, BlockSpan):
            return span.turn
    row = view.index.rows("SELECT max(n) FROM turns WHERE doc=1 AND ts!='' AND ts<=?", (mark,))
    if not re.match(r"\d{4}-\d\d", mark):
        raise BadRequest(f"{mark!r} is no mark: give a turn, a ref, or a time like 2026-03-14T09.")
    return row[0][0] or 0


def _ops(view: View, path: str) -> Iterator[tuple[sqlite3.Row, FileOp]]:
    """Yield the calls on a file with what they did, read again from the transcript itself."""
    known = {file.path: file for file in work.files(view, reads=True)}
    named = path if path in known else next((p for p in known if p.endswith(f"/{path}")), "")
    if not named:
        raise BadRequest(f"The session never touched {path!r}.{did_you_mean(path, known)}")
    wanted = {ref for _, ref, _ in known[named].ops}
    for row in rows_of(view, "b.doc=1 AND t.live=1 AND b.type='call' AND b.data!=''"):
        if view.ref(row) in wanted and (block := view.index.source_block(row)) is not None:
            for op in block.ops:
                if paths.shown(view, op.path, row["cwd"]) == named:
                    yield row, _clean(op)


def _clean(op: FileOp) -> FileOp:
    from rlm_mcp.redact import redact

    old, new, patch = redact(op.old), redact(op.new), redact(op.patch)
    return FileOp(op.path, op.op, old, new, patch, op.everywhere)


def _read(view: View, row: sqlite3.Row) -> str | None:
    """Return the text that a read call brought back, its line numbers taken off."""
    block: Block | None = view.index.source_block(row)
    text = view.body(row) if block is None else block.text
    if re.search(r"^(?:offset|limit|start_line|end_line|view_range):", text, re.MULTILINE):
        return None
    result = view.index.rows(
        "SELECT * FROM blocks WHERE doc=? AND call=? AND type='result' AND status!='error'",
        (row["doc"], row["call"]),
    )
    if not result or not row["call"]:
        return None
    body = view.body(result[0])
    lines = body.split("\n")
    numbered = sum(_NUMBERED.match(line) is not None for line in lines) * 2 > len(lines)
    return _NUMBERED.sub("", body) if numbered else body
