"""The further calls that a cell may make on a session, with their help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rlm_mcp.corpus.search import Query
from rlm_mcp.errors import BadRequest
from rlm_mcp.methods import Method, ResultList, help_entries, to_wire
from rlm_mcp.plurals import count_noun
from rlm_mcp.redact import redact
from rlm_mcp.refs import Ref, parse_ref
from rlm_mcp.sessions import (
    activity,
    audit,
    brief,
    facts,
    mirror,
    rollup,
    search,
    search_all,
    shell_changes,
    timeline,
)
from rlm_mcp.sessions import search as filters
from rlm_mcp.sessions.brief import chunk_session, outline_session
from rlm_mcp.sessions.build import count_skipped, interleaving_note
from rlm_mcp.sessions.index import TranscriptIndex
from rlm_mcp.sessions.locate import is_behind, list_sessions, locate_session, short_id
from rlm_mcp.sessions.readers.sqlite_file import LOG_SKIPPED_NOTE
from rlm_mcp.sessions.schema import BRANCHES
from rlm_mcp.sessions.view import TranscriptPlace, TranscriptView, block_turn_rows
from rlm_mcp.tokens import estimate_tokens
from rlm_mcp.variable import (
    ContextChunk,
    ContextHit,
    ContextPassage,
    Description,
    HitPage,
    Kind,
    MappedText,
    Outline,
)

if TYPE_CHECKING:
    import sqlite3

    from rlm_mcp.config import Settings


SHOWN_CHARS = 20_000
"""Characters of a text that are given; its `note` says where there are more."""


def memory(view: TranscriptView, text: str = "") -> list[dict[str, Any]]:
    """Return the notes that hold a text. Nothing in them becomes a rule or a decision."""
    found = []
    for note in view.index.reader.read_memory(view.index.path):
        body = redact(note.text)
        if text in body:
            entry = {"name": redact(note.name), "by": "agent", "bytes": len(note.text.encode())}
            changed = datetime.fromtimestamp(note.changed, UTC).isoformat(timespec="seconds")
            shown, cut = _cut_text(body)
            entry |= {"changed": changed, "text": shown, "note": note.note or cut}
            found.append({**entry, "path": note.path})
    return found


def workflows(view: TranscriptView) -> list[dict[str, Any]]:
    """Return the runs of workflows of the session, oldest first."""
    return [
        {
            "name": redact(run.name), "title": redact(run.title), "status": redact(run.status),
            "started": redact(run.started), "script": _cut_text(redact(run.script))[0],
            "result": _cut_text(redact(run.result))[0], "error": redact(run.error)[:2_000],
            "agents": run.agents, "tokens": run.tokens, "calls": run.calls,
        }
        for run in view.index.reader.read_workflows(view.index.path)
    ]  # fmt: skip


def _cut_text(text: str) -> tuple[str, str]:
    """Return a text that is not too long, and what is said where it was cut."""
    if len(text) <= SHOWN_CHARS:
        return text, ""
    return text[:SHOWN_CHARS] + "…", f"the first {SHOWN_CHARS:,} of {len(text):,} characters"


class SessionMethods:
    """Calls by name. Each takes and gives plain JSON."""

    def __init__(self, view: TranscriptView, settings: Settings) -> None:
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
        yield from help_entries(self.table()).values()

    def sessions(
        self, project: str = "", agent: str = "", since: str = "", q: str = "", limit: int = 50
    ) -> ResultList[dict[str, Any]]:
        """List this project's sessions of every agent, newest first (project="*": everywhere):
        {id, open, agent, project, title, started, bytes, path}, `open` for open_context.
        """
        found = list_sessions(self._settings, project, agent, since, q)
        rows = [
            {
                "id": item.native, "open": f"session:{short_id(item.native)}", "agent": item.agent,
                "project": item.project, "title": redact(item.title), "started": item.started,
                "bytes": item.size, "path": item.path,
                **({"note": LOG_SKIPPED_NOTE} if is_behind(item) else {}),
            }
            for item in found[: max(0, limit)]
        ]  # fmt: skip
        return ResultList(rows, len(found))

    def turns(self, start: int = 1, end: int = 0, branch: str = "live") -> list[dict[str, Any]]:
        """List turns `start` to `end`: {turn, role, origin, branch, segment, at, blocks}, each
        block {ref, type, bytes} and, where it has them, name, kind, status, arg, note.
        """
        rows = block_turn_rows(
            self._view,
            f"b.doc=1 AND b.n>=? AND b.n<=? AND t.live IN ({filters.branch_numbers(branch)})",
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
            turn["blocks"].append(self._block_entry(row))
        return list(found.values())

    def get(self, ref: str, limit: int = 400) -> dict[str, Any]:
        """Open a ref of this session: {ref, text, first_line, total, next_ref, note}, the text
        verbatim.
        """
        passage: dict[str, Any] = to_wire(self._view.peek(parse_ref(ref), limit))
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
        """Search lines: {hits, total, documents, cursor, exact, note, per_folder, ranked,
        related}, each hit {ref,
        path, line, text, before, after, cut, note}. `role` is user (the person alone), assistant,
        system or an origin such as compaction; `kind` a block's type (call, result, thinking), a
        tool's kind (shell, edit) or a tool's own name; `file` a path that the call names.
        """
        view = self._view
        filters.branch_numbers(branch)
        filters.check_filters(view, role, kind)

        def keep_row(row: sqlite3.Row) -> bool:
            if kind and kind not in (row["type"], row["kind"], row["name"]):
                return False
            if file and file not in f"{row['arg']}\n{row['data']}":
                return False
            return not role or filters.has_role(view, row, role)

        query = Query(pattern, limit=limit, ignore_case=ignore_case, cursor=cursor).fit_page()
        found = search.grep_blocks(
            view,
            query,
            [TranscriptPlace(thread) for thread in view.list_threads()],
            branches=filters.BRANCHES_BY_NAME[branch],
            keep=keep_row if role or kind or file else None,
        )
        result: dict[str, Any] = to_wire(found)
        return result

    def search_all(
        self, question: str, project: str = "", agent: str = "", limit: int = 10
    ) -> dict[str, Any]:
        """Search all sessions of this project (project="*": of all) for a question: {hits,
        sessions, not_searched, failed}, each hit {session, agent, ref, text, at}.
        """
        return search_all.search_all(self._settings, question, project, agent, limit)

    def mirror(self) -> dict[str, Any]:
        """Keep a redacted copy of all turns that outlives the agent's file; only when called:
        {added, blocks, path}.
        """
        return mirror.save_mirror(self._view)

    def mirrored(self, text: str, limit: int = 30) -> ResultList[dict[str, Any]]:
        """Find a text in the mirror, also in turns that the agent has rewritten or deleted:
        {ref, sha, type, name, status, role, origin, branch, at, text}.
        """
        return mirror.find_mirrored(self._view, text, limit)

    def search(self, question: str, limit: int = 10) -> list[dict[str, Any]]:
        """Return the passages of this session that best fit a question: {ref, path, line, text,
        before, after, cut, note}.
        """
        places = [TranscriptPlace(thread) for thread in self._view.list_threads()]
        hits: list[dict[str, Any]] = to_wire(
            search.search_blocks(self._view, question, places, limit)
        )
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
            {"ref": self._view.block_ref(row), "at": row["ts"], "text": self._view.block_text(row)}
            for row in block_turn_rows(self._view, where)
        ]

    def files(self, path: str = "", reads: bool = False) -> dict[str, Any]:
        """Tell the files that calls changed, {files, abandoned, by_shell} (abandoned: on dead
        branches), each a list of {path, changes, ops, first, last}.
        """
        view = self._view
        every = {
            "files": activity.touched_files(view, live=True, reads=reads),
            "abandoned": activity.touched_files(view, live=False, reads=reads),
            "by_shell": shell_changes.shell_files(view),
        }
        return {
            name: [_touched_entry(file) for file in listed if path in file.path]
            for name, listed in every.items()
        }

    def file_at(self, path: str, turn: int = 0) -> dict[str, Any]:
        """Rebuild a file as it was after a turn (0: the last), where the record allows it: {path,
        known, text, built_from, note}.
        """
        return timeline.file_at(self._view, path, turn)

    def diff(self, path: str) -> list[dict[str, Any]]:
        """Show each change that the session made to a file: {op, ref, turn, diff}."""
        return timeline.diff(self._view, path)

    def errors(self) -> list[dict[str, Any]]:
        """List failures: {error, command, first, count, tests, tries, fixed_by, fixed_at}; a try
        or fix is {file, op, ref}.
        """
        return activity.errors(self._view)

    def commands(self, pattern: str = "") -> list[dict[str, Any]]:
        """List distinct commands: {command, count, ok, failed, exit_codes, first, last,
        last_status, last_good}, the last four of them refs and a status.
        """
        return [entry for entry in activity.commands(self._view) if pattern in entry["command"]]

    def tasks(self) -> list[dict[str, Any]]:
        """Give the last state of the agent's task list: {task, status, opened, closed, last},
        status open, active, done or dropped, the rest refs.
        """
        return activity.tasks(self._view)

    def decisions(self, status: str = "") -> list[dict[str, Any]]:
        """List decisions and what was given up: {kind, quote, ref, turn, by, status,
        superseded_by}, kind decision or rejected, status active, superseded or past.
        """
        return self._list_facts(("decision", "rejected"), status)

    def corrections(self) -> list[dict[str, Any]]:
        """List where the person corrected the agent, verbatim: {kind, quote, ref, turn, by,
        status, superseded_by}.
        """
        return self._list_facts(("correction",), "")

    def preferences(self) -> list[dict[str, Any]]:
        """List the person's standing rules and preferences, verbatim: {kind, quote, ref, turn, by,
        status, superseded_by}, kind rule or preference, status active, superseded, or past (of an
        earlier conversation in the same file).
        """
        return self._list_facts(("rule", "preference"), "")

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
        return rollup.rollup_parts(self._view, tokens, level)

    def rollup_save(self, notes: dict[str, str]) -> int:
        """Keep notes by part key, session.rollup_save({part["key"]: answer}): how many."""
        return rollup.rollup_save(self._view, notes)

    def rollup(self, tokens: int = 8000) -> str:
        """Give the notes of the highest complete level."""
        return rollup.rollup_text(self._view, tokens)

    def since(self, mark: str | int) -> dict[str, Any]:
        """Say what is new after a turn, a ref or a time: {after, mark, facts, files, commands,
        failed, commits, compactions, timeline}; go on from `mark` the next time.
        """
        return timeline.since(self._view, mark)

    def timeline(self, start: int = 1, end: int = 0) -> list[dict[str, Any]]:
        """List prompts, errors, commits, plans and compactions in order: {turn, at, kind, ref,
        text}.
        """
        return timeline.timeline(self._view, start, end)

    def usage(self) -> dict[str, Any]:
        """Sum tokens, each reply once: {input, cache_read, cache_write, output, models}, by model
        the same with replies.
        """
        return activity.usage(self._view)

    def subagents(self) -> list[dict[str, Any]]:
        """List subagents: {name, ref, errand, call, turns, tokens, facts, report, report_ref}."""
        return timeline.subagents(self._view)

    def workflows(self) -> list[dict[str, Any]]:
        """List scripts that ran agents: {name, title, status, started, script, result, error,
        agents, tokens, calls}; the agents themselves are subagents.
        """
        return workflows(self._view)

    def memory(self, text: str = "") -> list[dict[str, Any]]:
        """List what the agent noted for itself in this project, its words and no rule of the
        person's: {name, by, bytes, changed, text, note, path}; those that hold `text`.
        """
        return memory(self._view, text)

    def commits(self) -> list[dict[str, Any]]:
        """List commits that the session made: {commit, branch, subject, turn, ref, at,
        in_repository, files, changed_since}, the last three beside git.
        """
        return timeline.commits(self._view, self._settings)

    def verify(self, ref: str) -> dict[str, Any]:
        """Say whether the transcript still holds what a ref cites: {ref, stale, digest}."""
        place = self._view.resolve_ref(parse_ref(ref))[0]
        rows = self._view.block_rows(place) if place.turn is not None else []
        if not rows:
            raise BadRequest(f"{ref!r} names no block; write one like {self._view.name}#12.3.")
        return {
            "ref": ref,
            "stale": any(self._view.index.is_stale(row) for row in rows),
            "digest": [row["sha"] for row in rows],
        }

    def _list_facts(self, kinds: Sequence[str], status: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = to_wire(
            [
                fact
                for fact in facts.extract_facts(self._view)
                if fact.kind in kinds and status in ("", fact.status)
            ]
        )
        return found

    def _block_entry(self, row: sqlite3.Row) -> dict[str, Any]:
        entry = {"ref": self._view.block_ref(row), "type": row["type"], "bytes": row["len"]}
        for key in ("name", "kind", "status", "arg", "note"):
            if row[key]:
                entry[key] = row[key]
        return entry


def _touched_entry(file: activity.TouchedFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "changes": len(file.ops),
        "ops": sorted({op for op, _, _ in file.ops}),
        "first": file.ops[0][1],
        "last": file.ops[-1][1],
    }


class Session:
    """A transcript as a context variable (see contexts/variable.py for the calls)."""

    kind: Kind = "session"

    def __init__(self, source: str, name: str, settings: Settings) -> None:
        path, key, reader, native = locate_session(source, settings)
        self.name, self._source, self._settings = name, source, settings
        self.index = TranscriptIndex(path, key, reader)
        self.view = TranscriptView(self.index, name, short_id(native))
        self.native = native
        self.index.refresh()
        self._methods = SessionMethods(self.view, settings)

    @property
    def methods(self) -> Mapping[str, Method]:
        return self._methods.table()

    def refresh(self) -> bool:
        return self.index.refresh()

    def describe(self) -> Description:
        states = self.index.thread_states()
        main = states[""]
        turns = self.index.query_rows(
            "SELECT live, count(*) AS n FROM turns WHERE doc=1 GROUP BY live"
        )
        counts = {row["live"]: row["n"] for row in turns}
        size = sum(
            length
            for thread in self.view.list_threads()
            for _, _, length in self.view.text_runs(thread)
        )
        reader = self.index.reader
        facts: dict[str, str | int] = {
            "agent": f"{reader.agent} {main.facts.get('version', '')}".strip(),
            "format": f"{reader.layout}, reader {reader.version}",
            "title": main.facts.get("title", ""),
            "project": main.cwds[-1] if main.cwds else "",
            "branch": main.facts.get("gitBranch", ""),
            "models": ", ".join(main.models),
            "from": main.first,
            "to": main.last,
            "turns": main.turns,
            "off the live branch": main.turns - counts.get(1, 0),
            "compactions": main.trunk.segment,
            "subagents": len(states) - 1,
        }
        return Description(
            name=self.name,
            kind="session",
            source=str(self.index.path) + (f"#{self.index.key}" if self.index.key else ""),
            size_bytes=size,
            tokens=estimate_tokens(size, "prose"),
            documents=len(states),
            lines=self._count_lines(),
            freshness="checked on each call",
            ref_example=f"{self.name}:{self.view.id}#12.3",
            facts={key: value for key, value in facts.items() if value not in ("", 0)},
            skipped=dict(count_skipped(states.values(), "unknown")),
            notes=tuple(self._session_notes()),
            methods=tuple(self._methods.help()),
        )

    def mapped_text(self) -> MappedText:
        spans = [
            span
            for thread in self.view.list_threads()
            for span in self.view.text_spans(TranscriptPlace(thread))
        ]
        corpus = self.index.corpus
        return MappedText(corpus.fd, spans, corpus.generation)

    def documents(self, scope: Ref) -> Sequence[str]:
        if not scope.path:
            return [thread.name for thread in self.view.list_threads()]
        return [place.path for place in self.view.resolve_ref(scope)]

    def peek(self, ref: Ref, limit: int = 80) -> ContextPassage:
        return self.view.peek(ref, limit)

    def full_text(self, ref: Ref) -> str:
        return self.view.full_text(ref)

    def grep(self, query: Query, scope: Ref) -> HitPage:
        return search.grep_blocks(self.view, query, self._scope_places(scope))

    def search(self, question: str, scope: Ref, limit: int = 10) -> Sequence[ContextHit]:
        return search.search_blocks(self.view, question, self._scope_places(scope), limit)

    def outline(self, scope: Ref, limit: int = 60) -> Outline:
        return outline_session(self.view, self._scope_places(scope), limit)

    def chunk(self, scope: Ref, by: str = "auto", tokens: int = 4000) -> Sequence[ContextChunk]:
        return chunk_session(self.view, scope, self._scope_places(scope), by, tokens)

    def close(self) -> None:
        self.index.close()

    def _scope_places(self, scope: Ref) -> list[TranscriptPlace]:
        """Return the places of a scope; a whole variable is all its threads."""
        if not scope.path and scope.span is None:
            return [TranscriptPlace(thread) for thread in self.view.list_threads()]
        return self.view.resolve_ref(scope)

    def _count_lines(self) -> int:
        snapshot = self.index.corpus.snapshot
        return sum(
            snapshot.document_at(snapshot.index[path]).lines
            for thread in self.view.list_threads()
            for path, _, _ in self.view.text_runs(thread)
        )

    def _session_notes(self) -> list[str]:
        """Return what a reader has to know: what was broken, repeated or not understood."""
        states = self.index.thread_states().values()
        notes = list(self.index.reader.limits)
        sentences = {
            "broken": ("line", "could not be parsed and left out"),
            "unfinished": ("unfinished line", "at the end (still being written, or cut off)"),
            "repeated": ("record", "repeated, counted once"),
            "large": ("line", "over 1 MB, with long strings cut"),
            "missing": ("file", "with what was said before this one missing"),
        }
        for kind, (noun, words) in sentences.items():
            if count := sum(count_skipped(states, kind).values()):
                notes.append(f"{count_noun(count, noun)} {words}.")
        if note := interleaving_note(states):
            notes.append(note)
        if count_skipped(states, "behind"):
            notes.append(f"{LOG_SKIPPED_NOTE}.")
        if unknown := count_skipped(states, "unknown"):
            kinds = ", ".join(f"{name} {count}" for name, count in unknown.most_common(8))
            notes.append(f"Record types that this reader does not know, kept out: {kinds}.")
        return notes
