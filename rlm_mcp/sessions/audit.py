"""What a summary states against the evidence: tests, commits, files, paths and values.

A claim is a plain statement of what was done. What is hedged, denied, planned or asked for claims
nothing. Each contradiction names the record that refutes it; where a claim could be true by work
that left no record, nothing is said.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from sys import intern
from typing import Any

from rlm_mcp.errors import BadRequest
from rlm_mcp.sessions import activity, facts, search, shell_changes
from rlm_mcp.sessions.sentences import holds_anchor, keeps_statement, meaning_words, split_sentences
from rlm_mcp.sessions.view import TranscriptPlace, TranscriptView, block_turn_rows

_PATH = re.compile(r"(?<![\w/.-])((?:[\w.-]+/)+[\w.-]+\.\w{1,8})\b")
_VALUE = re.compile(
    r"\b([A-Z][A-Z0-9_]{2,}|[a-z]\w*_\w+)`?(?:\s*[=:]\s*|(?: (?:is|was|now|set|at|raised|lowered|"
    r"changed|capped|equals|to))+ )`?(\d+(?:\.\d+)?)\b(?! (?:of|to)\b)"
)
_ASSIGNED = re.compile(r"\b([A-Z][A-Z0-9_]{2,}|[a-z]\w*_\w+)\s*[=:]\s*(\d+(?:\.\d+)?)\b", re.ASCII)
_HEDGED = re.compile(
    r"\b(?:not|cannot|never|neither|nor|if|once|until|unless|should|must|needs?|needed|will|would|"
    r"could|can|may|goal|pending|next|to-?do|wants?|wanted|asked|plan\w*|ensure|make|before|"
    r"expected|yet|later|remaining|intend\w*|try|tried|trying|ought|supposed|unclear|unknown|"
    r"fail(?:s|ed|ing|ure|ures)?|broken|hopefully|claims?|claimed)\b|n't\b|\?\s*$",
    re.IGNORECASE,
)
_SOUND = re.compile(
    r"\b(?:no|zero|0|without(?: any)?) (?:test )?(?:fail\w*|broken)|[\w.-]*/[\w./-]+|`[^`]*`",
    re.IGNORECASE,
)
"""What hedges nothing: a denied failure, and the names of files."""
_GREEN = re.compile(
    r"\b(?:all|every|each|the|\d+) (?:\w+ ){0,2}tests? (?:now |all |still )?(?:pass(?:es|ed|ing)?|"
    r"succeeds?|(?:is|are) (?:now |all )?(?:green|passing|ok))\b"
    r"|\btests?(?:\s*:| suite)?(?: (?:are|is|now|all|still))* (?:green|passing|passes|pass|ok)\b"
    r"|\b(?:suite|build|ci)(?: (?:is|are|now|all|still))* (?:green|passes|passing)\b"
    r"|\bno (?:failing|failed|broken) tests?\b|\b(?:0|no|zero) (?:test )?failures\b|\b\d+ passed\b",
    re.IGNORECASE,
)
_TOOLS = (
    (
        re.compile(r"\b(?:linter|lint|linting|ruff|eslint|flake8|pylint|clippy)\b", re.IGNORECASE),
        re.compile(r"\b(?:lint|ruff|eslint|flake8|pylint|golangci-lint|clippy)\b"),
    ),
    (
        re.compile(r"\b(?:type[- ]?check\w*|types check|mypy|pyright|tsc)\b", re.IGNORECASE),
        re.compile(r"\b(?:mypy|pyright|tsc|typecheck)\b"),
    ),
)
"""(what a summary calls it, which commands do it)."""
_CLEAN = re.compile(
    r"\b(?:pass(?:es|ed|ing)?|clean|green|succeed\w*|no (?:errors|warnings|issues))\b",
    re.IGNORECASE,
)
_COMMITTED = re.compile(
    r"\b(?:was|were|been|is|are|all|now|and)\s+committed\b|^\W*committed\b|\bi committed\b"
    r"|\bcommits? (?:was|were|has been|have been) (?:made|created)\b",
    re.IGNORECASE,
)
_PUSHED = re.compile(r"\bpushed\b(?! back)", re.IGNORECASE)
_REQUESTED = re.compile(
    r"\b(?:opened|created|filed|submitted) (?:a |the )?(?:new )?"
    r"(?:pull request|merge request|PR|MR)\b",
    re.IGNORECASE,
)
_HASH = re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,40}\b")
_FILE = r"`?((?:[\w.-]+/)*[\w-][\w.-]*\.[A-Za-z]\w{0,7})`?(?!['\w/])"
_FILLER = r"(?:the |a |an |new |file |files |module |script |empty )*"
_MADE = re.compile(
    rf"\b(?:created|added|wrote|introduced) {_FILLER}{_FILE}"
    rf"|{_FILE} (?:was|were|has been|is) (?:newly )?(?:created|added|written)\b",
    re.IGNORECASE,
)
_GONE = re.compile(
    rf"\b(?:deleted|removed) {_FILLER}{_FILE}"
    rf"|{_FILE} (?:was|has been|is) (?:now )?(?:deleted|removed)\b",
    re.IGNORECASE,
)


def check_claims(view: TranscriptView, text: str, turn: int) -> Iterator[dict[str, Any]]:
    """Yield what a summary at `turn` states against what is recorded before it."""
    yield from _wrong_paths(view, text, turn)
    yield from _wrong_values(view, text, turn)
    plain = [s for s in split_sentences(text) if not _HEDGED.search(_SOUND.sub("", s))]
    yield from _wrong_tests(view, plain, turn)
    yield from _wrong_checks(view, plain, turn)
    yield from _wrong_commits(view, plain, turn)
    yield from _wrong_files(view, plain, turn)


def prefetch_evidence(view: TranscriptView) -> None:
    """Read what weighing any summary needs."""
    _all_operations(view)
    _assigned_values(view)
    activity.touched_files(view)
    shell_changes.shell_files(view)


def _all_operations(view: TranscriptView) -> list[tuple[int, activity.NamedFile]]:
    """Return what calls of all threads named, with the thread of each."""
    return [
        (thread.doc, one)
        for thread in view.list_threads()
        for one in activity.file_operations(view, doc=thread.doc)
    ]


def _wrong_paths(view: TranscriptView, text: str, turn: int) -> Iterator[dict[str, Any]]:
    """Yield paths that never occurred before the summary, with the like-named one that did."""
    named = _all_operations(view)
    known = {one.path: one.ref for doc, one in named if doc > 1 or one.turn < turn}
    names = {path.rpartition("/")[2]: path for path in reversed(known)}
    for path in dict.fromkeys(_PATH.findall(text)):
        like = names.get(path.rpartition("/")[2], "")
        if like and path not in known and not _is_mentioned(view, path, turn):
            yield {
                "claim": path, "evidence": f"the file is {like}", "ref": known[like],
                "kind": "path",
            }  # fmt: skip


def _is_mentioned(view: TranscriptView, path: str, turn: int) -> bool:
    """Say whether a path stands anywhere in the live text before the summary."""
    places = [TranscriptPlace(thread) for thread in view.list_threads()]
    return search.occurs_in(
        view,
        re.escape(path),
        places,
        lambda row: row["type"] != "compaction" and (row["doc"] > 1 or row["n"] < turn),
    )


def _wrong_values(view: TranscriptView, text: str, turn: int) -> Iterator[dict[str, Any]]:
    """Yield NAME = number statements that the last edit of that name refutes."""
    stated = dict.fromkeys(_VALUE.findall(text))
    if not stated:
        return
    last = {each.name: each for each in _assigned_values(view) if each.turn < turn}
    for name, value in stated:
        known = last.get(name)
        if known and known.value != value:
            yield {
                "claim": f"{name} = {value}", "evidence": f"last set to {known.value}",
                "ref": known.ref, "kind": "value",
            }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Assignment:
    """The last number that an edit gave to a name."""

    name: str
    value: str
    ref: str
    turn: int


def _assigned_values(view: TranscriptView) -> list[_Assignment]:
    where = "b.type='call' AND b.kind IN ('edit', 'write')"
    return view.block_cache.map_blocks("values", where, lambda row: _block_values(view, row))


def _block_values(view: TranscriptView, row: sqlite3.Row) -> Iterator[_Assignment]:
    ref = view.block_ref(row)
    for name, value in dict(_ASSIGNED.findall(view.block_text(row))).items():
        yield _Assignment(intern(name), intern(value), ref, row["n"])


def _wrong_tests(view: TranscriptView, plain: list[str], turn: int) -> Iterator[dict[str, Any]]:
    """Yield a claim that tests pass where the last run, or the last whole run, failed."""
    claim = next((s for s in plain if _GREEN.search(s)), "")
    if not claim:
        return
    ran = [
        run for run in _earlier_commands(view, turn) if activity.TEST_COMMAND.search(run.command)
    ]
    if not ran:
        yield {"claim": claim, "evidence": "no test run is recorded", "ref": "", "kind": "tests"}
        return
    widest = min(ran, key=lambda run: len(run.command)).command
    for run in (ran[-1], [r for r in ran if r.command == widest][-1]):
        if run.status == "error":
            yield _failed_claim(claim, run, "tests")
            return


def _wrong_checks(view: TranscriptView, plain: list[str], turn: int) -> Iterator[dict[str, Any]]:
    """Yield claims that a linter or type checker is content where its last run failed."""
    for said, command in _TOOLS:
        claim = next((s for s in plain if said.search(s) and _CLEAN.search(s)), "")
        ran = (
            [run for run in _earlier_commands(view, turn) if command.search(run.command)]
            if claim
            else []
        )
        if ran and ran[-1].status == "error":
            yield _failed_claim(claim, ran[-1], "check")


def _failed_claim(claim: str, run: activity.ShellCommand, kind: str) -> dict[str, Any]:
    lines = [line.strip() for line in run.output_text.splitlines() if re.search("fail|rror", line)]
    score = next((line for line in reversed(lines) if re.search(r"\d+ fail", line)), "")
    evidence = f"`{run.command}`: {score or (lines or [run.status])[-1]}"
    return {"claim": claim, "evidence": evidence, "ref": run.result_ref, "kind": kind}


def _wrong_commits(view: TranscriptView, plain: list[str], turn: int) -> Iterator[dict[str, Any]]:
    """Yield claims of commits, pushes and requests of which nothing is recorded."""
    where = (
        "b.type='call' AND (b.name LIKE '%commit%' OR b.name LIKE '%push%' OR b.name LIKE "
        "'%pull_request%' OR b.name LIKE '%merge_request%')"
    )
    other = view.block_cache.map_blocks("commits by tools", where, lambda row: (True,))
    if other or view.list_threads()[1:]:
        return  # a tool of its own, or a subagent, may have done it
    done = ""
    for sentence in plain:
        if any(pattern.search(sentence) for pattern in (_COMMITTED, _PUSHED, _REQUESTED)):
            done = done or _reported_work(view, turn)
        for kind, pattern, trace in (
            ("commit", _COMMITTED, r"\bcommit"),
            ("push", _PUSHED, r"\bpush"),
            ("request", _REQUESTED, r"\b(?:pr|mr|(?:pull|merge).request)\b"),
        ):
            if pattern.search(sentence) and not re.search(trace, done):
                evidence = f"no {kind} is recorded"
                yield {"claim": sentence, "evidence": evidence, "ref": "", "kind": "commit"}
        for name in _HASH.findall(sentence) if "commit" in sentence.lower() else ():
            if not _is_mentioned(view, name, turn):
                evidence = f"{name} occurs nowhere before"
                yield {"claim": sentence, "evidence": evidence, "ref": "", "kind": "commit"}


def _reported_work(view: TranscriptView, turn: int) -> str:
    """Return the commands that did not fail, and what persons and the agent's notices say."""
    rows = block_turn_rows(
        view, "b.doc=1 AND t.live=1 AND b.n<? AND (t.origin='human' OR b.type='notice')", (turn,)
    )
    commands = "\n".join(
        run.command for run in _earlier_commands(view, turn) if run.status != "error"
    )
    return commands + "\n" + "\n".join(view.block_text(row) for row in rows).lower()


def _wrong_files(view: TranscriptView, plain: list[str], turn: int) -> Iterator[dict[str, Any]]:
    """Yield claims that a file was made or deleted of which no record tells."""
    ops = [
        (file.path, op)
        for file in [*activity.touched_files(view), *shell_changes.shell_files(view)]
        for op, _, number in file.ops
        if number < turn
    ]
    spoken = ""
    for pattern, deletes in ((_MADE, False), (_GONE, True)):
        known = [path for path, op in ops if (op == "delete") is deletes]
        for sentence in plain:
            for match in pattern.finditer(sentence):
                path = next(filter(None, match.groups()))
                spoken = spoken or _command_outputs(view, turn)
                if path.rpartition("/")[2] in spoken or view.list_threads()[1:]:
                    continue
                if any(_ends_with(one, path) or _ends_with(path, one) for one in known):
                    continue
                evidence = f"no call that succeeded {'deleted' if deletes else 'wrote'} {path}"
                yield {"claim": sentence, "evidence": evidence, "ref": "", "kind": "file"}


def _command_outputs(view: TranscriptView, turn: int) -> str:
    """Return the commands that did not fail, with what they printed."""
    runs = [run for run in _earlier_commands(view, turn) if run.status != "error"]
    return "\n".join(f"{run.command}\n{run.output_text}" for run in runs)


def _ends_with(path: str, end: str) -> bool:
    return path == end or path.endswith(f"/{end}")


def _earlier_commands(view: TranscriptView, turn: int) -> list[activity.ShellCommand]:
    return [run for run in activity.shell_commands(view) if run.turn < turn]


_NUMBER = re.compile(r"\b[\w./-]+\s?[=:]\s?(\d[\d.,]*\s?(?:ms|us|s|MB|GB|KB|%|x))\b")
_SHOWN_ITEMS = 40


def compactions(view: TranscriptView) -> list[dict[str, Any]]:
    """Return the compactions of the live branch, numbered from 1, with their summaries' refs."""
    found: list[dict[str, Any]] = []
    for row in _compaction_rows(view):
        if not found or row["segment"] != found[-1]["segment"]:
            found.append(
                {"number": len(found) + 1, "segment": row["segment"], "turn": row["n"],
                 "at": row["ts"], "ref": "", "summary_bytes": 0, "note": "", "refs": []}
            )  # fmt: skip
        entry = found[-1]
        if row["name"] == "boundary":
            entry["note"] = " ".join(view.block_text(row).split())[:200]
        else:
            entry["refs"].append(view.block_ref(row))
            entry["summary_bytes"] += row["len"]
            entry["note"] = entry["note"] or row["note"]
        entry["ref"] = entry["refs"][0] if entry["refs"] else view.block_ref(row)
    return found


def audit(view: TranscriptView, number: int = 0) -> dict[str, Any]:
    """Return what the summary of a compaction (0: the last) lost and got wrong, with refs."""
    chosen, text = _summary_text(view, number)
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
    return {**report, "contradicted": list(check_claims(view, text, turn))}


def check_last_summary(view: TranscriptView) -> list[dict[str, str]]:
    """Return what the last summary states against the evidence."""
    chosen, text = _summary_text(view, 0)
    return list(check_claims(view, text, chosen["turn"])) if text.strip() else []


def _summary_text(view: TranscriptView, number: int) -> tuple[dict[str, Any], str]:
    """Return a compaction (0: the last) and its summary's text. Raises BadRequest for none."""
    every = compactions(view)
    if not every:
        raise BadRequest("This session was not compacted; there is no summary to audit.")
    if not 0 <= number <= len(every):
        raise BadRequest(f"There are compactions 1 to {len(every)}, not {number}.")
    chosen = every[number - 1] if number else every[-1]
    rows = (row for row in _compaction_rows(view) if row["segment"] == chosen["segment"])
    return chosen, "\n".join(view.block_text(row) for row in rows if row["name"] != "boundary")


def _compaction_rows(view: TranscriptView) -> list[sqlite3.Row]:
    """Return the blocks of the compactions on the live branch."""
    return view.block_cache.map_blocks("compactions", "t.origin='compaction'", lambda row: (row,))


def _rules_lost(view: TranscriptView, text: str, turn: int) -> dict[str, Any]:
    asked = [fact for fact in facts.extract_facts(view, turn) if fact.status == "active"]
    lost: dict[str, list[dict[str, str]]] = {"rules": [], "preferences": [], "decisions": []}
    names = {"rule": "rules", "correction": "rules", "preference": "preferences",
             "decision": "decisions", "rejected": "decisions"}  # fmt: skip
    for fact in asked:
        if len(meaning_words(fact.quote)) < 1 or keeps_statement(fact.quote, text):
            continue
        entry = {"quote": fact.quote, "ref": fact.ref, "kind": fact.kind}
        if entry["quote"] not in {item["quote"] for items in lost.values() for item in items}:
            lost[names[fact.kind]].append(entry)
    return {f"lost_{name}": items for name, items in lost.items()}


def _facts_lost(view: TranscriptView, text: str, turn: int) -> dict[str, Any]:
    paths = [
        {"path": file.path, "ref": file.ops[-1][1]}
        for file in activity.touched_files(view)
        if file.ops[0][2] < turn and not holds_anchor(text, file.path)
    ]
    runs = [run for run in activity.shell_commands(view) if run.turn < turn]
    lost_commands = list(
        dict.fromkeys(run.command for run in runs if run.status == "ok" and run.command not in text)
    )
    numbers = {
        match[1]: run.result_ref
        for run in runs
        for match in _NUMBER.finditer(run.output_text)
        if match[1] not in text and len(run.output_text) < 4_000
    }
    open_tasks = [
        {"task": task["task"], "ref": task["last"]}
        for task in activity.tasks(view)
        if task["status"] in ("open", "active") and not keeps_statement(task["task"], text)
    ]
    return {
        "lost_paths": paths[:_SHOWN_ITEMS],
        "lost_commands": lost_commands[:_SHOWN_ITEMS],
        "lost_numbers": [{"number": k, "ref": v} for k, v in list(numbers.items())[:_SHOWN_ITEMS]],
        "lost_tasks": open_tasks,
        "counts": {
            "paths": len(paths), "commands": len(lost_commands), "numbers": len(numbers),
        },
    }  # fmt: skip
