"""The further calls that a cell may make on a session, with their help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rlm_mcp.contexts import manual
from rlm_mcp.contexts.session import (
    across,
    audit,
    beside,
    brief,
    filters,
    ledger,
    mirror,
    rollup,
    search,
    shell,
    story,
    todo,
    work,
)
from rlm_mcp.contexts.session.find import is_behind, sessions, short
from rlm_mcp.contexts.session.readers.database import BEHIND
from rlm_mcp.contexts.session.turns import BRANCHES
from rlm_mcp.contexts.session.view import Place, View, rows_of
from rlm_mcp.contexts.variable import Listed, Method, Query, wire
from rlm_mcp.errors import BadRequest
from rlm_mcp.redact import redact
from rlm_mcp.refs import parse

if TYPE_CHECKING:
    import sqlite3

    from rlm_mcp.config import Settings


class Methods:
    """Calls by name. Each takes and gives plain JSON."""

    def __init__(self, view: View, settings: Settings) -> None:
        self._view, self._settings = view, settings

    def table(self) -> dict[str, Method]:
        """Return the calls by name."""
        return {
            name: getattr(self, name)
            for name in vars(type(self))
            if not name.startswith("_") and name not in ("table", "help")
        }

    def help(self) -> Iterator[str]:
        """Yield how each call is made, and its purpose."""
        yield from manual.entries(self.table()).values()

    def sessions(
        self, project: str = "", agent: str = "", since: str = "", q: str = "", limit: int = 50
    ) -> Listed[dict[str, Any]]:
        """List this project's sessions of every agent, newest first (project="*": everywhere):
        {id, open, agent, project, title, started, bytes, path}, `open` for open_context.
        """
        found = sessions(self._settings, project, agent, since, q)
        rows = [
            {
                "id": item.native, "open": f"session:{short(item.native)}", "agent": item.agent,
                "project": item.project, "title": redact(item.title), "started": item.started,
                "bytes": item.size, "path": item.path,
                **({"note": BEHIND} if is_behind(item) else {}),
            }
            for item in found[: max(0, limit)]
        ]  # fmt: skip
        return Listed(rows, len(found))

    def turns(self, start: int = 1, end: int = 0, branch: str = "live") -> list[dict[str, Any]]:
        """List turns `start` to `end`: {turn, role, origin, branch, segment, at, blocks}, each
        block {ref, type, bytes} and, where it has them, name, kind, status, arg, note.
        """
        rows = rows_of(
            self._view,
            f"b.doc=1 AND b.n>=? AND b.n<=? AND t.live IN ({filters.branches(branch)})",
            (start, end or 1 << 40),
        )
        found: dict[int, dict[str, Any]] = {}
        for row in rows:
            turn = found.setdefault(
                row["n"],
                {
                    "turn": row["n"], "role": row["role"], "origin": row["origin"],
                    "branch": BRANCHES[row["live"]], "segment": row["segment"], "at": row["ts"],
                    "blocks": [],
                },
            )  # fmt: skip
            turn["blocks"].append(self._block(row))
        return list(found.values())

    def get(self, ref: str, limit: int = 400) -> dict[str, Any]:
        """Open a ref of this session: {ref, text, first_line, total, next_ref, note}, the text
        verbatim.
        """
        passage: dict[str, Any] = wire(self._view.read(parse(ref), limit))
        return passage

    def grep(
        self,
        pattern: str,
        role: str = "",
        kind: str = "",
        branch: str = "live",
        file: str = "",
        limit: int = 30,
        ignore_case: bool = False,
        cursor: str = "",
    ) -> dict[str, Any]:
        """Search lines: {hits, total, documents, cursor, exact, note, per_folder}, each hit {ref,
        path, line, text, before, after, cut, note}. `role` is user (the person alone), assistant,
        system or an origin such as compaction; `kind` a block's type (call, result, thinking), a
        tool's kind (shell, edit) or a tool's own name; `file` a path that the call names.
        """
        view = self._view
        filters.branches(branch)
        filters.check(view, role, kind)

        def keep(row: sqlite3.Row) -> bool:
            if kind and kind not in (row["type"], row["kind"], row["name"]):
                return False
            if file and file not in f"{row['arg']}\n{row['data']}":
                return False
            return not role or filters.is_by(view, row, role)

        query = Query(pattern, limit=limit, ignore_case=ignore_case, cursor=cursor)
        found = search.grep(
            view,
            query,
            [Place(thread) for thread in view.threads()],
            branches=filters.BRANCH[branch],
            keep=keep if role or kind or file else None,
        )
        result: dict[str, Any] = wire(found)
        return result

    def search_all(
        self, question: str, project: str = "", agent: str = "", limit: int = 10
    ) -> dict[str, Any]:
        """Search all sessions of this project (project="*": of all) for a question: {hits,
        sessions, not_searched, failed}, each hit {session, agent, ref, text, at}.
        """
        return across.find(self._settings, question, project, agent, limit)

    def mirror(self) -> dict[str, Any]:
        """Keep a redacted copy of all turns that outlives the agent's file; only when called:
        {added, blocks, path}.
        """
        return mirror.keep(self._view)

    def mirrored(self, text: str, limit: int = 30) -> Listed[dict[str, Any]]:
        """Find a text in the mirror, also in turns that the agent has rewritten or deleted:
        {ref, sha, type, name, status, role, origin, branch, at, text}.
        """
        return mirror.find(self._view, text, limit)

    def search(self, question: str, limit: int = 10) -> list[dict[str, Any]]:
        """Return the passages of this session that best fit a question: {ref, path, line, text,
        before, after, cut, note}.
        """
        places = [Place(thread) for thread in self._view.threads()]
        hits: list[dict[str, Any]] = wire(search.rank(self._view, question, places, limit))
        return hits

    def prompts(self) -> list[dict[str, Any]]:
        """List what the person typed, verbatim, nothing of the harness or a summary: {ref, at,
        text}.
        """
        where = (
            "b.doc=1 AND t.live=1 AND t.role='user' AND t.origin='human' AND b.type='text' "
            "AND b.len>0"
        )
        return [
            {"ref": self._view.ref(row), "at": row["ts"], "text": self._view.body(row)}
            for row in rows_of(self._view, where)
        ]

    def files(self, path: str = "", reads: bool = False) -> dict[str, Any]:
        """Tell the files that calls changed, {files, abandoned, by_shell} (abandoned: on dead
        branches), each a list of {path, changes, ops, first, last}.
        """
        view = self._view
        every = {
            "files": work.files(view, live=True, reads=reads),
            "abandoned": work.files(view, live=False, reads=reads),
            "by_shell": shell.files(view),
        }
        return {
            name: [_touched(file) for file in listed if path in file.path]
            for name, listed in every.items()
        }

    def file_at(self, path: str, turn: int = 0) -> dict[str, Any]:
        """Rebuild a file as it was after a turn (0: the last), where the record allows it: {path,
        known, text, built_from, note}.
        """
        return story.file_at(self._view, path, turn)

    def diff(self, path: str) -> list[dict[str, Any]]:
        """Show each change that the session made to a file: {op, ref, turn, diff}."""
        return story.diff(self._view, path)

    def errors(self) -> list[dict[str, Any]]:
        """List failures: {error, command, first, count, tests, tries, fixed_by, fixed_at}; a try
        or fix is {file, op, ref}.
        """
        return work.errors(self._view)

    def commands(self, pattern: str = "") -> list[dict[str, Any]]:
        """List distinct commands: {command, count, ok, failed, exit_codes, first, last,
        last_status, last_good}, the last four of them refs and a status.
        """
        return [entry for entry in work.commands(self._view) if pattern in entry["command"]]

    def tasks(self) -> list[dict[str, Any]]:
        """Give the last state of the agent's task list: {task, status, opened, closed, last},
        status open, active, done or dropped, the rest refs.
        """
        return todo.tasks(self._view)

    def decisions(self, status: str = "") -> list[dict[str, Any]]:
        """List decisions and what was given up: {kind, quote, ref, turn, by, status,
        superseded_by}, kind decision or rejected, status active, superseded or past.
        """
        return self._facts(("decision", "rejected"), status)

    def corrections(self) -> list[dict[str, Any]]:
        """List where the person corrected the agent, verbatim: {kind, quote, ref, turn, by,
        status, superseded_by}.
        """
        return self._facts(("correction",), "")

    def preferences(self) -> list[dict[str, Any]]:
        """List the person's standing rules and preferences, verbatim: {kind, quote, ref, turn, by,
        status, superseded_by}, kind rule or preference, status active, superseded, or past (of an
        earlier conversation in the same file).
        """
        return self._facts(("rule", "preference"), "")

    def compactions(self) -> list[dict[str, Any]]:
        """List the compactions: {number, segment, turn, at, ref, summary_bytes, note, refs}."""
        return audit.compactions(self._view)

    def audit(self, number: int = 0) -> dict[str, Any]:
        """Say what a compaction's summary (0: the last) lost and got wrong: {compaction, turn,
        summary, lost_rules, lost_preferences, lost_decisions, lost_paths, lost_commands,
        lost_numbers, lost_tasks, counts, contradicted}, a contradiction {claim, evidence, ref,
        kind}.
        """
        return audit.audit(self._view, number)

    def brief(self, tokens: int = 1500) -> str:
        """Give a page on the session: goal, rules, decisions, tasks, state; every line cited."""
        return brief.brief(self._view, tokens)

    def handoff(self, tokens: int = 900, form: str = "md") -> str:
        """Give the same for another agent, as Markdown ("md") or "yaml"."""
        if form not in ("md", "yaml"):
            raise BadRequest(f"A handoff is written as md or yaml, not {form!r}.")
        return brief.handoff(self._view, tokens, form)

    def rollup_parts(self, tokens: int = 8000, level: int = 1) -> list[dict[str, Any]]:
        """Cut the session for notes: {key, ref, tokens, title, note, prompt}; ask the prompt with
        refs=[part["ref"]] where `note` is empty.
        """
        return rollup.parts(self._view, tokens, level)

    def rollup_save(self, notes: dict[str, str]) -> int:
        """Keep notes by part key, session.rollup_save({part["key"]: answer}): how many."""
        return rollup.save(self._view, notes)

    def rollup(self, tokens: int = 8000) -> str:
        """Give the notes of the highest complete level."""
        return rollup.text(self._view, tokens)

    def since(self, mark: str | int) -> dict[str, Any]:
        """Say what is new after a turn, a ref or a time: {after, mark, facts, files, commands,
        failed, commits, compactions, timeline}; go on from `mark` the next time.
        """
        return story.since(self._view, mark)

    def timeline(self, start: int = 1, end: int = 0) -> list[dict[str, Any]]:
        """List prompts, errors, commits, plans and compactions in order: {turn, at, kind, ref,
        text}.
        """
        return story.timeline(self._view, start, end)

    def usage(self) -> dict[str, Any]:
        """Sum tokens, each reply once: {input, cache_read, cache_write, output, models}, by model
        the same with replies.
        """
        return work.usage(self._view)

    def subagents(self) -> list[dict[str, Any]]:
        """List subagents: {name, ref, errand, call, turns, tokens, facts, report, report_ref}."""
        return story.subagents(self._view)

    def workflows(self) -> list[dict[str, Any]]:
        """List scripts that ran agents: {name, title, status, started, script, result, error,
        agents, tokens, calls}; the agents themselves are subagents.
        """
        return beside.workflows(self._view)

    def memory(self, text: str = "") -> list[dict[str, Any]]:
        """List what the agent noted for itself in this project, its words and no rule of the
        person's: {name, by, bytes, changed, text, note, path}; those that hold `text`.
        """
        return beside.memory(self._view, text)

    def commits(self) -> list[dict[str, Any]]:
        """List commits that the session made: {commit, branch, subject, turn, ref, at,
        in_repository, files, changed_since}, the last three beside git.
        """
        return story.commits(self._view, self._settings)

    def verify(self, ref: str) -> dict[str, Any]:
        """Say whether the transcript still holds what a ref cites: {ref, stale, digest}."""
        place = self._view.places(parse(ref))[0]
        rows = self._view.blocks(place) if place.turn is not None else []
        if not rows:
            raise BadRequest(f"{ref!r} names no block; write one like {self._view.name}#12.3.")
        return {
            "ref": ref,
            "stale": any(self._view.index.stale(row) for row in rows),
            "digest": [row["sha"] for row in rows],
        }

    def _facts(self, kinds: Sequence[str], status: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = wire(
            [
                fact
                for fact in ledger.facts(self._view)
                if fact.kind in kinds and status in ("", fact.status)
            ]
        )
        return found

    def _block(self, row: sqlite3.Row) -> dict[str, Any]:
        entry = {"ref": self._view.ref(row), "type": row["type"], "bytes": row["len"]}
        for key in ("name", "kind", "status", "arg", "note"):
            if row[key]:
                entry[key] = row[key]
        return entry


def _touched(file: work.Touched) -> dict[str, Any]:
    return {
        "path": file.path,
        "changes": len(file.ops),
        "ops": sorted({op for op, _, _ in file.ops}),
        "first": file.ops[0][1],
        "last": file.ops[-1][1],
    }
