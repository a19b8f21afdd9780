"""What an agent must know again after a compaction, in a page; every line with its ref.

Deterministic, from the extracted facts and the record of work; no model. Rules stand verbatim,
nothing that was taken back is shown as in force, and what does not fit the budget is counted,
not dropped in silence.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm_mcp.errors import BadRequest
from rlm_mcp.refs import LineSpan, Ref
from rlm_mcp.sessions import activity
from rlm_mcp.sessions import facts as ledger
from rlm_mcp.sessions.build import count_skipped, interleaving_note
from rlm_mcp.sessions.readers.sqlite_file import LOG_SKIPPED_NOTE
from rlm_mcp.sessions.sentences import meaning_words
from rlm_mcp.sessions.view import TranscriptPlace, TranscriptView, block_turn_rows
from rlm_mcp.tokens import bounded_parts, estimate_tokens
from rlm_mcp.variable import ContextChunk, Outline, OutlineItem

if TYPE_CHECKING:
    from rlm_mcp.sessions.activity import ShellCommand
    from rlm_mcp.sessions.facts import Fact


_LOOK_COMMANDS = re.compile(
    r"^\s*(?:cd [^&;]+&& *)?(?:git (?:status|log|diff|show|add|commit|checkout|branch|stash|blame)"
    r"|ls|cat|head|tail|grep|rg|find|pwd|echo|wc|sed -n|nl|which|env|sleep|tree|less|file|stat)\b"
)
_SCORE = re.compile(r"\b(?:passed|failed|ok|PASS|FAIL|errors?)\b")
_MEASURE = re.compile(
    r"\b[\w./-]+\s?[=:]\s?\d[\d.,]*\s?(?:ms|us|s|sec|min|MB/s|MB|GB|KB|kB|%|x|rps|qps|req/s)\b"
)
_LINE_CHARS = 220
_DONE_RANK = 6
"""The rank of what is done."""
_YAML_TOKENS = 16
"""Tokens of the marks around a page in YAML."""


@dataclass(frozen=True, slots=True)
class BriefLine:
    """One statement and the ref that proves it. A smaller `rank` is kept longer."""

    section: str
    text: str
    ref: str
    rank: int


SECTIONS = {
    "goal": "Goal",
    "rules": "Rules in force (verbatim)",
    "corrections": "Corrections by the user",
    "decisions": "Decisions in force",
    "tasks": "Open tasks",
    "state": "State",
    "rejected": "Given up, do not try again",
    "errors": "Errors met",
    "measured": "Measured",
    "commands": "Commands that work",
    "files": "Files changed",
    "subagents": "Subagents' reports",
}


def brief(view: TranscriptView, tokens: int = 1500) -> str:
    """Return the brief as Markdown of at most so many tokens; BadRequest where none fits."""
    return _brief_page(view, tokens, "brief")


def handoff(view: TranscriptView, tokens: int = 900, form: str = "md") -> str:
    """Return the same for another agent: goal, state, next steps, rules, traps; md or yaml."""
    return _brief_page(view, tokens, "handoff", form)


def _brief_page(view: TranscriptView, tokens: int, what: str, form: str = "md") -> str:
    """Return head, the lines that fit, the count of the others, and where to look."""
    lines = gather_lines(view)
    head, foot = _head_line(view), _foot_lines(view)
    frame = [head, *_left_out(lines, []), *foot]
    least = estimate_tokens("\n".join([*frame, ""]), "code") + (
        _YAML_TOKENS if form == "yaml" else 0
    )
    if tokens < least:
        raise BadRequest(f"A {what} of this session takes at least {least} tokens, not {tokens}.")
    room = tokens - least
    if form == "yaml":
        return render_yaml(_fit_lines(lines, room, padding=16), head.removeprefix("# "), foot)
    kept = _fit_lines(lines, room)
    parts = [head, *filter(None, [render_markdown(kept)]), *_left_out(lines, kept), *foot]
    return "\n".join(parts)


def active_rules(view: TranscriptView, before: int = 0) -> list[Fact]:
    """Return the rules, preferences and corrections in force."""
    kinds = ("rule", "preference", "correction")
    return [
        f for f in ledger.extract_facts(view, before) if f.kind in kinds and f.status == "active"
    ]


def active_lines(view: TranscriptView) -> list[BriefLine]:
    """Return what holds now: rules, corrections and decisions in force, tasks that are open."""
    lines = [*_fact_lines(view, ledger.extract_facts(view)), *_task_lines(view)]
    kept = ("rules", "corrections", "decisions", "tasks")
    found = [line for line in lines if line.section in kept and line.rank < _DONE_RANK]
    return sorted(found, key=lambda line: kept.index(line.section))


def gather_lines(view: TranscriptView) -> list[BriefLine]:
    """Return every line that a brief may hold, in the order of its sections."""
    facts = ledger.extract_facts(view)
    runs = activity.shell_commands(view)
    lines = [
        *_fact_lines(view, facts),
        *_task_lines(view),
        *_state_lines(view, runs),
        *_error_lines(view),
    ]
    lines += [
        *_measured_lines(runs),
        *_command_lines(runs),
        *_file_lines(view),
        *_subagent_lines(view),
    ]
    order = list(SECTIONS)
    return sorted(lines, key=lambda line: order.index(line.section))


def render_markdown(lines: Sequence[BriefLine]) -> str:
    parts: list[str] = []
    last = ""
    for line in lines:
        if line.section != last:
            parts.append(f"## {SECTIONS[line.section]}")
            last = line.section
        parts.append(f"- {line.text} [{line.ref}]")
    return "\n".join(parts)


def render_yaml(lines: Sequence[BriefLine], title: str = "", foot: Sequence[str] = ()) -> str:
    parts = [f"session: {json.dumps(title, ensure_ascii=False)}"] if title else []
    last = ""
    for line in lines:
        if line.section != last:
            parts.append(f"{line.section}:")
            last = line.section
        text = json.dumps(line.text, ensure_ascii=False)
        parts.append(f"  - {{text: {text}, ref: {json.dumps(line.ref)}}}")
    if foot:
        parts.append(f"look: {json.dumps(' '.join(foot), ensure_ascii=False)}")
    return "\n".join(parts)


def _head_line(view: TranscriptView) -> str:
    state = view.index.thread_states()[""]
    title = state.facts.get("title", "")[:80]
    span = f"{state.first[:16]} to {state.last[:16]}" if state.first else "no times"
    name = f"{view.index.reader.agent} session {view.id}"
    return f"# {title or name} ({name if title else 'brief'}, {state.turns} turns, {span})"


def _foot_lines(view: TranscriptView) -> list[str]:
    states = view.index.thread_states().values()
    behind = [f"{LOG_SKIPPED_NOTE}."] if count_skipped(states, "behind") else []
    return [
        *behind,
        *filter(None, [interleaving_note(states)]),
        f"Everything before is still there, verbatim: peek a ref, grep ref={view.name!r}, or in a "
        f"cell {view.name}.files(), .errors(), .decisions(), .audit().",
    ]


def _fit_lines(lines: Sequence[BriefLine], tokens: int, *, padding: int = 0) -> list[BriefLine]:
    """Return the lines that fit, the most important first to be taken."""
    kept: set[int] = set()
    used = 0
    for place in sorted(range(len(lines)), key=lambda at: (lines[at].rank, at)):
        line = lines[place]
        new = not any(lines[at].section == line.section for at in kept)
        cost = len(f"- {line.text} [{line.ref}]\n".encode())
        cost += len(f"## {SECTIONS[line.section]}\n".encode()) if new else 0
        cost += padding
        if estimate_tokens(used + cost, "code") <= tokens:
            kept.add(place)
            used += cost
    return [line for place, line in enumerate(lines) if place in kept]


def _left_out(lines: Sequence[BriefLine], kept: Sequence[BriefLine]) -> list[str]:
    left = dict.fromkeys(SECTIONS, 0)
    for line in lines:
        left[line.section] += 1
    for line in kept:
        left[line.section] -= 1
    words_left = ", ".join(f"{count} {name}" for name, count in left.items() if count)
    return [f"Not shown: {words_left}."] if words_left else []


def _fact_lines(view: TranscriptView, facts: Sequence[Fact]) -> Iterator[BriefLine]:
    if first := ledger.find_goal(view):
        yield BriefLine("goal", _shorten_text(first.quote, 400), first.ref, 0)
    shown: set[str] = set()
    for fact in facts:
        plain = " ".join(fact.quote.lower().split())
        if fact.status != "active" or plain in shown:
            continue
        if fact.kind in ("rule", "preference"):
            shown.add(plain)
            yield BriefLine("rules", fact.quote, fact.ref, 1 if fact.kind == "rule" else 3)
        elif fact.kind == "correction" and len(meaning_words(fact.quote)) >= 2:
            shown.add(plain)
            yield BriefLine("corrections", fact.quote, fact.ref, 2)
        elif fact.kind == "decision":
            shown.add(plain)
            yield BriefLine("decisions", _shorten_text(fact.quote), fact.ref, 2)
        elif fact.kind == "rejected" and len(meaning_words(fact.quote)) >= 2:
            shown.add(plain)
            yield BriefLine("rejected", _shorten_text(fact.quote), fact.ref, 4)


def _task_lines(view: TranscriptView) -> Iterator[BriefLine]:
    done = 0
    for task in activity.tasks(view):
        if task["status"] in ("done", "dropped"):
            done += 1
            continue
        mark = "[~]" if task["status"] == "active" else "[ ]"
        yield BriefLine("tasks", f"{mark} {_shorten_text(task['task'])}", task["last"], 2)
    if done:
        last = activity.tasks(view)[0]["last"]
        yield BriefLine("tasks", f"{done} of the list's tasks are done", last, _DONE_RANK)


def _state_lines(view: TranscriptView, runs: Sequence[ShellCommand]) -> Iterator[BriefLine]:
    tests = [run for run in runs if activity.TEST_COMMAND.search(run.command)]
    if tests:
        last = tests[-1]
        score = _score_line(last.output_text) or last.status or "no result recorded"
        text = f"last test run: `{_shorten_text(last.command, 120)}`: {score}"
        yield BriefLine("state", text, last.result_ref or last.call_ref, 2)
        for name in activity.failing_tests(last.output_text)[:8] if last.status == "error" else ():
            yield BriefLine("state", f"failing: {name}", last.result_ref, 2)
    for commit in activity.recorded_commits(view)[-2:]:
        text = f"commit {commit['commit']} {_shorten_text(commit['subject'], 100)}"
        yield BriefLine("state", text, commit["ref"], 3)
    for origin, who in (("human", "last prompt"), ("agent", "last reply")):
        row = view.index.query_rows(
            "SELECT b.* FROM blocks b JOIN turns t ON t.doc=b.doc AND t.n=b.n WHERE b.doc=1 AND "
            "t.live=1 AND t.origin=? AND b.type='text' AND b.len>0 ORDER BY b.n DESC, b.i DESC "
            "LIMIT 1",
            (origin,),
        )
        if row:
            yield BriefLine(
                "state",
                f"{who}: {_shorten_text(view.block_text(row[0]))}",
                view.block_ref(row[0]),
                3,
            )


def _error_lines(view: TranscriptView) -> Iterator[BriefLine]:
    for error in activity.errors(view):
        if error["fixed_at"]:
            changed = sorted({item["file"] for item in error["fixed_by"]})[:3]
            near = 0 < len({item["file"] for item in error["fixed_by"]}) <= 3
            how = f"fixed by {', '.join(changed)}" if near else "passed again later"
            yield BriefLine(
                "errors", f"{_shorten_text(error['error'], 140)}: {how}", error["fixed_at"], 5
            )
        else:
            rank = 3 if error["command"] else 6
            yield BriefLine(
                "errors", f"{_shorten_text(error['error'], 140)}: not fixed", error["first"], rank
            )


def _measured_lines(runs: Sequence[ShellCommand]) -> Iterator[BriefLine]:
    """Yield what commands measured, of a repeated one the first and the last figures."""
    table: dict[str, list[tuple[str, str]]] = {}
    for run in runs:
        if activity.TEST_COMMAND.search(run.command) or _LOOK_COMMANDS.match(run.command):
            continue
        found = [line.strip() for line in run.output_text.splitlines() if _MEASURE.search(line)]
        if found and len(found) <= 40:
            table.setdefault(run.command, []).append((found[-1], run.result_ref))
    for command, seen in table.items():
        (first, at), (last, ref) = seen[0], seen[-1]
        if first != last:
            yield BriefLine(
                "measured",
                f"`{_shorten_text(command, 60)}` at first: {_shorten_text(first, 120)}",
                at,
                4,
            )
        yield BriefLine(
            "measured", f"`{_shorten_text(command, 60)}`: {_shorten_text(last, 120)}", ref, 4
        )


def _command_lines(runs: Sequence[ShellCommand]) -> Iterator[BriefLine]:
    """Yield the last good invocations of tests and of what else was run, looking around aside."""
    good: dict[str, ShellCommand] = {}
    for run in runs:
        if run.status == "ok" and not _LOOK_COMMANDS.match(run.command):
            good.pop(run.command, None)
            good[run.command] = run
    tests = [run for run in good.values() if activity.TEST_COMMAND.search(run.command)]
    others = [run for run in good.values() if not activity.TEST_COMMAND.search(run.command)]
    widest = min(tests, key=lambda run: len(run.command), default=None)
    shown = [run for run in (widest, *tests[-1:]) if run is not None]
    for one in {run.command: run for run in shown}.values():
        yield BriefLine(
            "commands", f"`{_shorten_text(one.command, 160)}`", one.result_ref or one.call_ref, 4
        )
    for one in others[-5:]:
        yield BriefLine(
            "commands", f"`{_shorten_text(one.command, 160)}`", one.result_ref or one.call_ref, 6
        )


def _file_lines(view: TranscriptView) -> Iterator[BriefLine]:
    touched = sorted(
        activity.touched_files(view), key=lambda file: (-len(file.ops), -file.ops[-1][2])
    )
    for place, file in enumerate(touched):
        op, ref, _ = file.ops[-1]
        count = f", {len(file.ops)} changes" if len(file.ops) > 1 else ""
        created = file.ops[0][0] == "create"
        what = "created" if created else op
        yield BriefLine(
            "files", f"{file.path} ({what}{count})", ref, 5 if created else 7 + place // 8
        )


def _subagent_lines(view: TranscriptView) -> Iterator[BriefLine]:
    threads = view.list_threads()[1:]
    if not threads:  # the report is kept only as the result of the call
        where = "b.doc=1 AND t.live=1 AND b.type='result' AND b.kind='task' AND b.len>0"
        for row in block_turn_rows(view, where):
            yield BriefLine(
                "subagents", _shorten_text(view.block_text(row)), view.block_ref(row), 4
            )
    for thread in threads:
        rows = list(
            block_turn_rows(
                view, "b.doc=? AND t.live=1 AND t.origin='agent' AND b.type='text'", (thread.doc,)
            )
        )
        if rows:
            yield BriefLine(
                "subagents", _shorten_text(view.block_text(rows[-1])), view.block_ref(rows[-1]), 4
            )


def _score_line(text: str) -> str:
    found = [line.strip(" =") for line in text.splitlines() if _SCORE.search(line)]
    return _shorten_text(found[-1], 120) if found else ""


def _shorten_text(text: str, most: int = _LINE_CHARS) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= most else plain[: most - 1].rstrip() + "…"


CHUNK_BY = ("auto", "turns", "prompts", "lines")


ACTIVE_KINDS = {
    "rules": "rule",
    "corrections": "correction",
    "decisions": "decision",
    "tasks": "task",
}


def outline_session(view: TranscriptView, places: Sequence[TranscriptPlace], limit: int) -> Outline:
    """Return what holds now, then prompts, compactions and subagents, the newest where too many.

    Of a part of a session, what was said in it alone.
    """
    told = _prompt_items(view, places)
    if any(place.turn is not None for place in places) or len(places) < len(view.list_threads()):
        items, note = _cut_items(told, limit)
        return Outline(tuple(items), len(told), note)
    standing = [_line_item(line) for line in active_lines(view)]
    kept = standing[: max(1, limit * 2 // 3)]
    rest, note = _cut_items(told, limit - len(kept))
    notes = [note] if note else []
    if len(kept) < len(standing):
        notes.insert(0, f"{len(kept)} of {len(standing)} that hold now; the brief has all")
    return Outline((*kept, *rest), len(standing) + len(told), "; ".join(notes))


def _prompt_items(view: TranscriptView, places: Sequence[TranscriptPlace]) -> list[OutlineItem]:
    """Return the prompts, compactions and subagents of some places, in order."""
    items = []
    for place in places:
        for row in block_turn_rows(
            view,
            "b.doc=? AND t.live=1 AND (t.origin IN ('human', 'compaction') OR b.kind='task') "
            "AND b.type IN ('text', 'compaction', 'call')",
            (place.thread.doc,),
        ):
            if place.turn is None or row["n"] == place.turn:
                items.append(_row_item(view, row))
    return items


def _cut_items(items: Sequence[OutlineItem], limit: int) -> tuple[Sequence[OutlineItem], str]:
    """Return at most `limit` items, the first ones and the newest, and what was left out."""
    if len(items) <= limit:
        return items, ""
    if limit <= 0:
        return (), f"none of {len(items)} prompts and compactions shown"
    head = max(1, limit // 4)
    kept = [*items[:head], *items[len(items) - (limit - head) :]] if limit > 1 else items[:1]
    return kept, f"the first {head} and the newest {limit - head} prompts are shown"


def _line_item(line: BriefLine) -> OutlineItem:
    return OutlineItem(line.ref, ACTIVE_KINDS[line.section], line.text)


def _row_item(view: TranscriptView, row: sqlite3.Row) -> OutlineItem:
    kind = {"human": "prompt", "compaction": "compaction"}.get(row["origin"], "subagent")
    text = row["arg"] if kind == "subagent" else view.block_text(row)
    line = " ".join(text[:400].split())
    return OutlineItem(
        view.block_ref(row), kind, line[:160] + ("…" if len(line) > 160 else ""), 0, row["ts"][:19]
    )


def chunk_session(
    view: TranscriptView, scope: Ref, places: Sequence[TranscriptPlace], by: str, tokens: int
) -> list[ContextChunk]:
    """Return the parts of a scope, each line exactly once, cut at turns where they fit."""
    if by not in CHUNK_BY:
        raise BadRequest(f"A session is not chunked by {by!r}; use one of {', '.join(CHUNK_BY)}.")
    if tokens < 1:
        raise BadRequest(f"A chunk needs at least 1 token, got {tokens}.")
    span = scope.span if isinstance(scope.span, LineSpan) else None
    return bounded_parts(
        part for place in places for part in _place_chunks(view, place, span, by, tokens)
    )


def _place_chunks(
    view: TranscriptView, place: TranscriptPlace, span: LineSpan | None, by: str, tokens: int
) -> Iterator[ContextChunk]:
    text = view.place_text(place)
    lines = text.removesuffix("\n").split("\n") if text else []
    first = span.start if span else 1
    last = min(span.end, len(lines)) if span else len(lines)
    borders = _turn_borders(view, place, by)
    start, size = first, 0
    for number in range(first, last + 1):
        cost = len(lines[number - 1].encode("utf-8", "replace")) + 1
        unit = number in borders
        ahead = _bytes_to_border(lines, borders, number, last) if unit else cost
        full = estimate_tokens(size + ahead, "prose") > tokens and size > 0
        if full and (unit or estimate_tokens(size + cost, "prose") > tokens):
            yield _make_chunk(view, place, lines, start, number - 1, size)
            start, size = number, 0
        size += cost
    if start <= last:
        yield _make_chunk(view, place, lines, start, last, size)


def _bytes_to_border(lines: Sequence[str], borders: set[int], number: int, last: int) -> int:
    """Return the bytes up to the next border: a turn that fits into a chunk is not cut."""
    size = 0
    for at in range(number, last + 1):
        if at > number and at in borders:
            break
        size += len(lines[at - 1].encode("utf-8", "replace")) + 1
    return size


def _turn_borders(view: TranscriptView, place: TranscriptPlace, by: str) -> set[int]:
    """Return the lines on which turns (or prompts) begin."""
    if by == "lines" or place.turn is not None:
        return set()
    where = "b.doc=? AND t.live=1 AND b.i=1"
    if by == "prompts":
        where += " AND t.origin='human'"
    found = set()
    snapshot = view.index.corpus.snapshot
    before = 0
    heads = [row["head"] for row in block_turn_rows(view, where, (place.thread.doc,))]
    at = 0
    for path, start, length in view.text_runs(place.thread):
        run = snapshot.index[path]
        while at < len(heads) and heads[at] < start + length:
            if heads[at] >= start:
                found.add(before + snapshot.line_number(run, heads[at]))
            at += 1
        before += snapshot.document_at(run).lines
    return found


def _make_chunk(
    view: TranscriptView,
    place: TranscriptPlace,
    lines: Sequence[str],
    start: int,
    end: int,
    size: int,
) -> ContextChunk:
    ref = Ref(view.name, place.path, "", LineSpan(start, end))
    title = next((line.strip() for line in lines[start - 1 : end] if line.strip()), "")
    return ContextChunk(str(ref), estimate_tokens(size, "prose"), title[:80])
