"""A session over time: what happened since a mark, a timeline, a file's changes, git beside it."""

from __future__ import annotations

import difflib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm_mcp.errors import BadRequest, Denied, did_you_mean
from rlm_mcp.methods import to_wire
from rlm_mcp.refs import TurnSpan as BlockSpan
from rlm_mcp.refs import parse_ref
from rlm_mcp.sessions import activity, audit, facts
from rlm_mcp.sessions.schema import FileOp, TurnBlock
from rlm_mcp.sessions.view import TranscriptView, block_turn_rows

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.git import GitRepository


_HUNK = re.compile(r"^@@.*$", re.MULTILINE)
_ASIDE = ("*** ", "\\ No newline")
_HEAD = (*_ASIDE, "--- ", "+++ ", "diff --git ", "index ")
"""Lines that belong to no hunk, and those that stand before the first."""


def apply_patch(text: str, patch: str) -> str | None:
    """Return the text with every hunk in it, in order; None where one of them does not fit."""
    lines, at = text.split("\n"), 0
    for number, hunk in enumerate(_HUNK.split(patch)):
        aside = _ASIDE if number else _HEAD
        rows = [row for row in hunk.strip("\n").split("\n") if not row.startswith(aside)]
        old = [row[1:] for row in rows if row[:1] != "+"]
        new = [row[1:] for row in rows if row[:1] != "-"]
        if not any(rows):
            continue
        place = _find_lines(lines, old, at) if old or lines == [""] else None
        if place is None:
            return None
        lines[place : place + len(old)] = new
        at = place + len(new)
    return "\n".join(lines)


def _find_lines(lines: list[str], wanted: list[str], start: int) -> int | None:
    """Return where lines stand, from a line on."""
    last = len(lines) - len(wanted)
    return next(
        (at for at in range(start, last + 1) if lines[at : at + len(wanted)] == wanted), None
    )


_NUMBERED = re.compile(r"^ *\d+(?:\t|→|\|) ?", re.MULTILINE)
_MAX_ENTRIES = 500


def timeline(view: TranscriptView, start: int = 1, end: int = 0) -> list[dict[str, Any]]:
    """Return prompts, compactions, failures, commits and plan changes in order."""
    found: list[tuple[int, dict[str, Any]]] = []
    for row in block_turn_rows(
        view,
        "b.doc=1 AND t.live=1 AND ((t.origin='human' AND b.type='text') OR b.type='compaction' "
        "OR (b.type='call' AND b.kind IN ('plan', 'task')) OR b.status='error')",
    ):
        kind = {"text": "prompt", "call": row["kind"]}.get(row["type"], row["type"])
        if row["status"] == "error":
            kind = "error"
        text = (
            activity.error_signature(view.block_text(row))
            if kind == "error"
            else view.block_text(row)
        )
        entry = {"at": row["ts"], "kind": kind, "ref": view.block_ref(row)}
        found.append((row["n"], {**entry, "text": " ".join(text.split())[:200]}))
    for commit in activity.recorded_commits(view):
        entry = {"at": commit["at"], "kind": "commit", "ref": commit["ref"]}
        found.append((commit["turn"], {**entry, "text": f"{commit['commit']} {commit['subject']}"}))
    chosen = sorted(found, key=lambda item: item[0])
    return [
        {"turn": turn, **entry} for turn, entry in chosen if turn >= start and not 0 < end < turn
    ][:_MAX_ENTRIES]


def since(view: TranscriptView, mark: str | int) -> dict[str, Any]:
    """Return what is new after a mark: a turn, a ref, or a time."""
    turn = _mark_turn(view, mark)
    newer = [fact for fact in facts.extract_facts(view) if fact.turn > turn]
    last = view.index.query_rows("SELECT max(n) FROM turns WHERE doc=1 AND live=1")[0][0] or 0
    return {
        "after": turn,
        "mark": last,
        "facts": to_wire(newer),
        "files": sorted({f.path for f in activity.touched_files(view) if f.ops[-1][2] > turn}),
        "commands": list(
            dict.fromkeys(r.command for r in activity.shell_commands(view) if r.turn > turn)
        ),
        "failed": [
            {
                "command": run.command,
                "error": activity.error_signature(run.output_text),
                "ref": run.result_ref,
            }
            for run in activity.shell_commands(view)
            if run.turn > turn and run.status == "error"
        ],
        "commits": [commit for commit in activity.recorded_commits(view) if commit["turn"] > turn],
        "compactions": [c for c in audit.compactions(view) if c["turn"] > turn],
        "timeline": timeline(view, turn + 1),
    }


def subagents(view: TranscriptView) -> list[dict[str, Any]]:
    """Return the subagents: errand, call, turns, tokens, and the report that came back."""
    states = view.index.thread_states()
    found = []
    for thread in view.list_threads()[1:]:
        rows = view.index.query_rows(
            "SELECT * FROM blocks WHERE type='call' AND (call=? AND call!='' OR note=? OR call IN "
            "(SELECT call FROM blocks WHERE type='result' AND arg=? AND call!=''))",
            (thread.call, thread.raw, thread.raw),
        )
        where = "b.doc=? AND t.live=1 AND t.origin='agent' AND b.type='text'"
        said = list(block_turn_rows(view, where, (thread.doc,)))
        used = view.index.query_rows(
            "SELECT sum(input+cache_read+cache_write+output) FROM turns WHERE doc=?", (thread.doc,)
        )
        state = states.get(thread.raw)
        found.append(
            {
                "name": thread.name, "ref": f"{view.name}:{thread.name}",
                "errand": rows[0]["arg"] if rows else "",
                "call": view.block_ref(rows[0]) if rows else "",
                "turns": state.turns if state else 0, "tokens": used[0][0] or 0,
                "facts": state.facts if state else {},
                "report": view.block_text(said[-1])[:2_000] if said else "",
                "report_ref": view.block_ref(said[-1]) if said else "",
            }
        )  # fmt: skip
    return found


def diff(view: TranscriptView, path: str) -> list[dict[str, Any]]:
    """Return each change of a file as a unified diff, with its ref."""
    found = []
    for row, op in _recorded_ops(view, path):
        if op.op == "read":
            continue
        if op.patch:
            text = op.patch
        else:
            old, new = op.old.splitlines(), op.new.splitlines()
            text = "\n".join(difflib.unified_diff(old, new, "before", "after", lineterm=""))
        found.append({"op": op.op, "ref": view.block_ref(row), "turn": row["n"], "diff": text})
    return found


def file_at(view: TranscriptView, path: str, turn: int = 0) -> dict[str, Any]:
    """Return a file as it was after a turn (0: at the end), where the record allows it.

    It starts from a whole write or an unbounded read and applies the recorded edits; where one
    does not fit, the text is not known from there on, and the reply says so.
    """
    text: str | None = None
    sources: list[str] = []
    missed = ""
    for row, op in _recorded_ops(view, path):
        if turn and row["n"] > turn:
            break
        ref = view.block_ref(row)
        if op.op == "create":
            text, sources, missed = op.new, [ref], ""
        elif op.op == "read":
            seen = _read_text(view, row)
            if seen is not None and text is None:
                text, sources, missed = seen, [ref], ""
        elif op.op == "delete":
            text, sources, missed = None, [], f"deleted at {ref}"
        elif (changed := _edited_text(text, op)) is not None:
            text = changed
            sources.append(ref)
        else:
            text, missed = None, f"the change at {ref} cannot be applied to what is recorded"
    known = text is not None
    return {
        "path": path, "known": known, "text": text or "", "built_from": sources if known else [],
        "note": "" if known else missed or "never recorded whole",
    }  # fmt: skip


def _edited_text(text: str | None, op: FileOp) -> str | None:
    """Return a text after an edit, None where the edit does not fit."""
    if text is not None and op.old and op.old in text:
        return text.replace(op.old, op.new, -1 if op.everywhere else 1)
    return apply_patch(text, op.patch) if text is not None and op.patch else None


def commits(view: TranscriptView, settings: Settings) -> list[dict[str, Any]]:
    """Return the session's commits beside git: whether each exists, and its files changed since."""
    found = activity.recorded_commits(view)
    repository = _session_repository(view, settings)
    for commit in found:
        commit |= {"in_repository": None, "files": [], "changed_since": []}
        if repository is None:
            continue
        git = repository.git
        full = git.text_or_empty(
            "rev-parse", "--verify", "--quiet", f"{commit['commit']}^{{commit}}"
        )
        commit["in_repository"] = bool(full)
        if full:
            names = git.text_or_empty("diff", "--name-only", "--no-ext-diff", full, "HEAD")
            own = git.text_or_empty("show", "--name-only", "--format=", "--no-ext-diff", full)
            later = set(names.splitlines())
            commit["files"] = own.splitlines()
            commit["changed_since"] = [name for name in own.splitlines() if name in later]
    return found


def _session_repository(view: TranscriptView, settings: Settings) -> GitRepository | None:
    """Return the repository of the session's folder where it lies under a root."""
    from rlm_mcp.confine import Confine
    from rlm_mcp.git import find_repository

    cwds = view.index.thread_states()[""].cwds
    confine = Confine(settings.roots)
    for cwd in reversed(cwds):
        folder = Path(cwd)
        if folder.is_dir() and confine.is_within(folder.resolve()):
            try:
                return find_repository(folder.resolve(), confine)
            except Denied:
                return None
    return None


def _mark_turn(view: TranscriptView, mark: str | int) -> int:
    if isinstance(mark, int) or mark.isdigit():
        return int(mark)
    if "#" in mark:
        span = parse_ref(mark).span
        if isinstance(span, BlockSpan):
            return span.turn
    row = view.index.query_rows(
        "SELECT max(n) FROM turns WHERE doc=1 AND ts!='' AND ts<=?", (mark,)
    )
    if not re.match(r"\d{4}-\d\d", mark):
        raise BadRequest(f"{mark!r} is no mark: give a turn, a ref, or a time like 2026-03-14T09.")
    return row[0][0] or 0


def _recorded_ops(view: TranscriptView, path: str) -> Iterator[tuple[sqlite3.Row, FileOp]]:
    """Yield the calls on a file with what they did, read again from the transcript itself."""
    known = {file.path: file for file in activity.touched_files(view, reads=True)}
    named = path if path in known else next((p for p in known if p.endswith(f"/{path}")), "")
    if not named:
        raise BadRequest(f"The session never touched {path!r}.{did_you_mean(path, known)}")
    wanted = {ref for _, ref, _ in known[named].ops}
    for row in block_turn_rows(view, "b.doc=1 AND t.live=1 AND b.type='call' AND b.data!=''"):
        if (
            view.block_ref(row) in wanted
            and (block := view.index.read_source_block(row)) is not None
        ):
            for op in block.ops:
                if activity.display_path(view, op.path, row["cwd"]) == named:
                    yield row, _redact_op(op)


def _redact_op(op: FileOp) -> FileOp:
    from rlm_mcp.redact import redact

    old, new, patch = redact(op.old), redact(op.new), redact(op.patch)
    return FileOp(op.path, op.op, old, new, patch, op.everywhere)


def _read_text(view: TranscriptView, row: sqlite3.Row) -> str | None:
    """Return the text that a read call brought back, its line numbers taken off."""
    block: TurnBlock | None = view.index.read_source_block(row)
    text = view.block_text(row) if block is None else block.text
    if re.search(r"^(?:offset|limit|start_line|end_line|view_range):", text, re.MULTILINE):
        return None
    result = view.index.query_rows(
        "SELECT * FROM blocks WHERE doc=? AND call=? AND type='result' AND status!='error'",
        (row["doc"], row["call"]),
    )
    if not result or not row["call"]:
        return None
    body = view.block_text(result[0])
    lines = body.split("\n")
    numbered = sum(_NUMBERED.match(line) is not None for line in lines) * 2 > len(lines)
    return _NUMBERED.sub("", body) if numbered else body
