"""What an agent must know again after a compaction, in a page; every line with its ref.

Deterministic, from the ledger and the record of work; no model. Rules stand verbatim, nothing that
was taken back is shown as in force, and what does not fit the budget is counted, not dropped in
silence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rlm_mcp.contexts.session import ledger, todo, work
from rlm_mcp.contexts.session.build import interleaved, total
from rlm_mcp.contexts.session.ledger import Fact
from rlm_mcp.contexts.session.readers.database import BEHIND
from rlm_mcp.contexts.session.sentences import words
from rlm_mcp.contexts.session.view import View, rows_of
from rlm_mcp.contexts.session.work import Run
from rlm_mcp.corpus.tokens import estimate
from rlm_mcp.errors import BadRequest

_LOOKS = re.compile(
    r"^\s*(?:cd [^&;]+&& *)?(?:git (?:status|log|diff|show|add|commit|checkout|branch|stash|blame)"
    r"|ls|cat|head|tail|grep|rg|find|pwd|echo|wc|sed -n|nl|which|env|sleep|tree|less|file|stat)\b"
)
_SCORE = re.compile(r"\b(?:passed|failed|ok|PASS|FAIL|errors?)\b")
_MEASURE = re.compile(
    r"\b[\w./-]+\s?[=:]\s?\d[\d.,]*\s?(?:ms|us|s|sec|min|MB/s|MB|GB|KB|kB|%|x|rps|qps|req/s)\b"
)
_LINE = 220
_DONE = 6
"""The rank of what is done."""
_YAML = 16
"""Tokens of the marks around a page in YAML."""


@dataclass(frozen=True, slots=True)
class Line:
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


def brief(view: View, tokens: int = 1500) -> str:
    """Return the brief as Markdown of at most so many tokens; BadRequest where none fits."""
    return _page(view, tokens, "brief")


def handoff(view: View, tokens: int = 900, form: str = "md") -> str:
    """Return the same for another agent: goal, state, next steps, rules, traps; md or yaml."""
    return _page(view, tokens, "handoff", form)


def _page(view: View, tokens: int, what: str, form: str = "md") -> str:
    """Return head, the lines that fit, the count of the others, and where to look."""
    lines = gather(view)
    head, foot = _head(view), _foot(view)
    frame = [head, *_left(lines, []), *foot]
    least = estimate("\n".join([*frame, ""]), "code") + (_YAML if form == "yaml" else 0)
    if tokens < least:
        raise BadRequest(f"A {what} of this session takes at least {least} tokens, not {tokens}.")
    room = tokens - least
    if form == "yaml":
        return yaml(_fit(lines, room, padding=16), head.removeprefix("# "), foot)
    kept = _fit(lines, room)
    parts = [head, *filter(None, [markdown(kept)]), *_left(lines, kept), *foot]
    return "\n".join(parts)


def rules(view: View, before: int = 0) -> list[Fact]:
    """Return the rules, preferences and corrections in force."""
    kinds = ("rule", "preference", "correction")
    return [f for f in ledger.facts(view, before) if f.kind in kinds and f.status == "active"]


def standing(view: View) -> list[Line]:
    """Return what holds now: rules, corrections and decisions in force, tasks that are open."""
    lines = [*_ledger(view, ledger.facts(view)), *_tasks(view)]
    kept = ("rules", "corrections", "decisions", "tasks")
    found = [line for line in lines if line.section in kept and line.rank < _DONE]
    return sorted(found, key=lambda line: kept.index(line.section))


def gather(view: View) -> list[Line]:
    """Return every line that a brief may hold, in the order of its sections."""
    facts = ledger.facts(view)
    runs = work.runs(view)
    lines = [*_ledger(view, facts), *_tasks(view), *_state(view, runs), *_errors(view)]
    lines += [*_measured(runs), *_commands(runs), *_files(view), *_subagents(view)]
    order = list(SECTIONS)
    return sorted(lines, key=lambda line: order.index(line.section))


def markdown(lines: Sequence[Line]) -> str:
    parts: list[str] = []
    last = ""
    for line in lines:
        if line.section != last:
            parts.append(f"## {SECTIONS[line.section]}")
            last = line.section
        parts.append(f"- {line.text} [{line.ref}]")
    return "\n".join(parts)


def yaml(lines: Sequence[Line], title: str = "", foot: Sequence[str] = ()) -> str:
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


def _head(view: View) -> str:
    state = view.index.states()[""]
    title = state.facts.get("title", "")[:80]
    span = f"{state.first[:16]} to {state.last[:16]}" if state.first else "no times"
    name = f"{view.index.reader.agent} session {view.id}"
    return f"# {title or name} ({name if title else 'brief'}, {state.turns} turns, {span})"


def _foot(view: View) -> list[str]:
    states = view.index.states().values()
    behind = [f"{BEHIND}."] if total(states, "behind") else []
    return [
        *behind,
        *filter(None, [interleaved(states)]),
        f"Everything before is still there, verbatim: peek a ref, grep ref={view.name!r}, or in a "
        f"cell {view.name}.files(), .errors(), .decisions(), .audit().",
    ]


def _fit(lines: Sequence[Line], tokens: int, *, padding: int = 0) -> list[Line]:
    """Return the lines that fit, the most important first to be taken."""
    kept: set[int] = set()
    used = 0
    for place in sorted(range(len(lines)), key=lambda at: (lines[at].rank, at)):
        line = lines[place]
        new = not any(lines[at].section == line.section for at in kept)
        cost = len(f"- {line.text} [{line.ref}]\n".encode())
        cost += len(f"## {SECTIONS[line.section]}\n".encode()) if new else 0
        cost += padding
        if estimate(used + cost, "code") <= tokens:
            kept.add(place)
            used += cost
    return [line for place, line in enumerate(lines) if place in kept]


def _left(lines: Sequence[Line], kept: Sequence[Line]) -> list[str]:
    left = dict.fromkeys(SECTIONS, 0)
    for line in lines:
        left[line.section] += 1
    for line in kept:
        left[line.section] -= 1
    words_left = ", ".join(f"{count} {name}" for name, count in left.items() if count)
    return [f"Not shown: {words_left}."] if words_left else []


def _ledger(view: View, facts: Sequence[Fact]) -> Iterator[Line]:
    if first := ledger.goal(view):
        yield Line("goal", _short(first.quote, 400), first.ref, 0)
    shown: set[str] = set()
    for fact in facts:
        plain = " ".join(fact.quote.lower().split())
        if fact.status != "active" or plain in shown:
            continue
        if fact.kind in ("rule", "preference"):
            shown.add(plain)
            yield Line("rules", fact.quote, fact.ref, 1 if fact.kind == "rule" else 3)
        elif fact.kind == "correction" and len(words(fact.quote)) >= 2:
            shown.add(plain)
            yield Line("corrections", fact.quote, fact.ref, 2)
        elif fact.kind == "decision":
            shown.add(plain)
            yield Line("decisions", _short(fact.quote), fact.ref, 2)
        elif fact.kind == "rejected" and len(words(fact.quote)) >= 2:
            shown.add(plain)
            yield Line("rejected", _short(fact.quote), fact.ref, 4)


def _tasks(view: View) -> Iterator[Line]:
    done = 0
    for task in todo.tasks(view):
        if task["status"] in ("done", "dropped"):
            done += 1
            continue
        mark = "[~]" if task["status"] == "active" else "[ ]"
        yield Line("tasks", f"{mark} {_short(task['task'])}", task["last"], 2)
    if done:
        last = todo.tasks(view)[0]["last"]
        yield Line("tasks", f"{done} of the list's tasks are done", last, _DONE)


def _state(view: View, runs: Sequence[Run]) -> Iterator[Line]:
    tests = [run for run in runs if work.TEST.search(run.command)]
    if tests:
        last = tests[-1]
        score = _score(last.text) or last.status or "no result recorded"
        text = f"last test run: `{_short(last.command, 120)}`: {score}"
        yield Line("state", text, last.result or last.ref, 2)
        for name in work.failing(last.text)[:8] if last.status == "error" else ():
            yield Line("state", f"failing: {name}", last.result, 2)
    for commit in work.commits(view)[-2:]:
        text = f"commit {commit['commit']} {_short(commit['subject'], 100)}"
        yield Line("state", text, commit["ref"], 3)
    for origin, who in (("human", "last prompt"), ("agent", "last reply")):
        row = view.index.rows(
            "SELECT b.* FROM blocks b JOIN turns t ON t.doc=b.doc AND t.n=b.n WHERE b.doc=1 AND "
            "t.live=1 AND t.origin=? AND b.type='text' AND b.len>0 ORDER BY b.n DESC, b.i DESC "
            "LIMIT 1",
            (origin,),
        )
        if row:
            yield Line("state", f"{who}: {_short(view.body(row[0]))}", view.ref(row[0]), 3)


def _errors(view: View) -> Iterator[Line]:
    for error in work.errors(view):
        if error["fixed_at"]:
            changed = sorted({item["file"] for item in error["fixed_by"]})[:3]
            near = 0 < len({item["file"] for item in error["fixed_by"]}) <= 3
            how = f"fixed by {', '.join(changed)}" if near else "passed again later"
            yield Line("errors", f"{_short(error['error'], 140)}: {how}", error["fixed_at"], 5)
        else:
            rank = 3 if error["command"] else 6
            yield Line("errors", f"{_short(error['error'], 140)}: not fixed", error["first"], rank)


def _measured(runs: Sequence[Run]) -> Iterator[Line]:
    """Yield what commands measured, of a repeated one the first and the last figures."""
    table: dict[str, list[tuple[str, str]]] = {}
    for run in runs:
        if work.TEST.search(run.command) or _LOOKS.match(run.command):
            continue
        found = [line.strip() for line in run.text.splitlines() if _MEASURE.search(line)]
        if found and len(found) <= 40:
            table.setdefault(run.command, []).append((found[-1], run.result))
    for command, seen in table.items():
        (first, at), (last, ref) = seen[0], seen[-1]
        if first != last:
            yield Line("measured", f"`{_short(command, 60)}` at first: {_short(first, 120)}", at, 4)
        yield Line("measured", f"`{_short(command, 60)}`: {_short(last, 120)}", ref, 4)


def _commands(runs: Sequence[Run]) -> Iterator[Line]:
    """Yield the last good invocations of tests and of what else was run, looking around aside."""
    good: dict[str, Run] = {}
    for run in runs:
        if run.status == "ok" and not _LOOKS.match(run.command):
            good.pop(run.command, None)
            good[run.command] = run
    tests = [run for run in good.values() if work.TEST.search(run.command)]
    others = [run for run in good.values() if not work.TEST.search(run.command)]
    widest = min(tests, key=lambda run: len(run.command), default=None)
    shown = [run for run in (widest, *tests[-1:]) if run is not None]
    for one in {run.command: run for run in shown}.values():
        yield Line("commands", f"`{_short(one.command, 160)}`", one.result or one.ref, 4)
    for one in others[-5:]:
        yield Line("commands", f"`{_short(one.command, 160)}`", one.result or one.ref, 6)


def _files(view: View) -> Iterator[Line]:
    touched = sorted(work.files(view), key=lambda file: (-len(file.ops), -file.ops[-1][2]))
    for place, file in enumerate(touched):
        op, ref, _ = file.ops[-1]
        count = f", {len(file.ops)} changes" if len(file.ops) > 1 else ""
        created = file.ops[0][0] == "create"
        what = "created" if created else op
        yield Line("files", f"{file.path} ({what}{count})", ref, 5 if created else 7 + place // 8)


def _subagents(view: View) -> Iterator[Line]:
    threads = view.threads()[1:]
    if not threads:  # the report is kept only as the result of the call
        where = "b.doc=1 AND t.live=1 AND b.type='result' AND b.kind='task' AND b.len>0"
        for row in rows_of(view, where):
            yield Line("subagents", _short(view.body(row)), view.ref(row), 4)
    for thread in threads:
        rows = list(
            rows_of(
                view, "b.doc=? AND t.live=1 AND t.origin='agent' AND b.type='text'", (thread.doc,)
            )
        )
        if rows:
            yield Line("subagents", _short(view.body(rows[-1])), view.ref(rows[-1]), 4)


def _score(text: str) -> str:
    found = [line.strip(" =") for line in text.splitlines() if _SCORE.search(line)]
    return _short(found[-1], 120) if found else ""


def _short(text: str, most: int = _LINE) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= most else plain[: most - 1].rstrip() + "…"
