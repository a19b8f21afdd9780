"""Compare what a session variable says with what a story planted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rlm_mcp.config import Settings
from rlm_mcp.corpus.search import Query
from rlm_mcp.methods import to_wire
from rlm_mcp.refs import parse_ref
from rlm_mcp.sessions import facts as ledger
from rlm_mcp.sessions.session import Session
from rlm_mcp.tokens import estimate_tokens
from tests.sessions.generator.layouts import Layout
from tests.sessions.generator.story import Story

REF = re.compile(r"\[(session:[\w./#-]+)\]|ref: \"(session:[^\"]+)\"")


@dataclass(frozen=True)
class Score:
    """How well a list fits its key."""

    right: int
    said: int
    planted: int

    @property
    def precision(self) -> float:
        return self.right / self.said if self.said else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.planted if self.planted else 1.0

    @property
    def exact(self) -> bool:
        return self.right == self.said == self.planted


def score(said: Iterable[object], planted: Iterable[object]) -> Score:
    one, other = list(said), list(planted)
    right = len([item for item in one if item in other])
    return Score(right, len(one), len(other))


def opened(path: Path, root: Path) -> Session:
    return Session(str(path), "session", Settings(roots=(root,)))


def prompts(session: Session, story: Story, layout: Layout) -> Score:
    said = [prompt["text"].strip() for prompt in session.methods["prompts"]()]
    return score(said, expected_prompts(story, layout))


def expected_prompts(story: Story, layout: Layout) -> list[str]:
    """Return a story's prompts; a layout without a tree shows the rewound one as well."""
    steps = story.steps if shows_dead(layout) else story.live()
    return [step.text for step in steps if step.kind == "human"]


def shows_dead(layout: Layout) -> bool:
    """Say whether a layout holds the rewound turns without saying that they were."""
    return layout.name in ("cursor-jsonl", "cursor-txt", "aider", "specstory")


def files(session: Session, story: Story, layout: Layout) -> Score:
    said = {file["path"] for file in session.methods["files"]()["files"]}
    planted = story.keys.files | (story.keys.dead_files if shows_dead(layout) else set())
    return score(sorted(said), sorted(planted))


def commands(session: Session, story: Story, layout: Layout) -> Score:
    said = [entry["command"] for entry in session.methods["commands"]()]
    if layout.name == "codex":  # reads and searches are shell commands there
        said = [command for command in said if not command.startswith(("nl -ba", "rg -n"))]
    return score(said, story.keys.commands)


def errors(session: Session, story: Story) -> Score:
    found = [(error["error"], bool(error["fixed_at"])) for error in session.methods["errors"]()]
    planted = list(story.keys.errors.items())
    right = sum(
        any(part in said and fixed == done for said, done in found) for part, fixed in planted
    )
    return Score(right, len(found), len(planted))


def tasks(session: Session, story: Story) -> Score:
    said = [(task["task"], task["status"]) for task in session.methods["tasks"]()]
    return score(said, list(story.keys.tasks.items()))


def citations(session: Session, most: int = 10_000) -> Score:
    """Open every block's ref and compare text and digest with the transcript."""
    rows = session.index.query_rows("SELECT * FROM blocks ORDER BY doc, n, i LIMIT ?", (most,))
    right = 0
    for row in rows:
        ref = session.view.block_ref(row)
        same = session.full_text(parse_ref(ref)) == session.view.block_text(row)
        right += same and not session.index.is_stale(row)
    return Score(right, len(rows), len(rows))


def cited_lines(session: Session, text: str) -> Score:
    """Count the statements of a brief that carry a ref that opens."""
    lines = [line for line in text.splitlines() if line.startswith(("- ", "  - "))]
    right = 0
    for line in lines:
        match = REF.search(line)
        right += match is not None and bool(session.full_text(parse_ref(match[1] or match[2])))
    return Score(right, len(lines), len(lines))


def ledger_scores(session: Session, story: Story) -> Score:
    """Compare rules, corrections, decisions and what was given up with their keys."""
    keys = story.keys
    planted = [*keys.rules, *keys.corrections, *keys.decisions, *keys.superseded, *keys.rejected]
    found = ledger.extract_facts(session.view)
    quotes = {fact.quote for fact in found if keys.dead_text not in fact.quote}
    right = sum(any(key in q or q in key for q in quotes) for key in planted)
    noise = {
        q for q in quotes
        if not any(key in q or q in key for key in planted) and not _planted_prompt(q, story)
    }  # fmt: skip
    return Score(right, right + len(noise), len(planted))


def _planted_prompt(quote: str, story: Story) -> bool:
    """Say whether a quote is a true statement that the key does not list by itself."""
    return any(
        quote in step.text
        for step in story.steps
        if step.kind == "human" and len(step.text) > 25
    ) or any(
        quote in f"{step.thought}\n{step.text}" for step in story.steps
        if step.kind == "reply" and ("reject" in step.text or "changes on" in step.thought)
    )  # fmt: skip


def superseded_as_active(session: Session, story: Story) -> list[str]:
    """Return the decisions that were taken back and are still called active."""
    return [
        fact.quote
        for fact in ledger.extract_facts(session.view)
        if fact.kind == "decision" and fact.status == "active"
        and any(key in fact.quote for key in story.keys.superseded)
    ]  # fmt: skip


def fact_recall(text: str, story: Story, layout: Layout) -> Score:
    """Count the planted facts whose anchor stands in a text."""
    facts = {name: anchor for name, anchor in story.keys.facts.items() if _held(name, layout)}
    return Score(sum(anchor in text for anchor in facts.values()), len(facts), len(facts))


def _held(name: str, layout: Layout) -> bool:
    lacks = layout.lacks
    if name in ("measured before", "measured after", "last run", "commit"):
        return "results" not in lacks
    if name in ("open task",):
        return "plan" not in lacks
    if name == "report":
        return "results" not in lacks and layout.name != "aider"
    return True


def audit_recall(session: Session, story: Story) -> tuple[Score, int]:
    """Return how many planted defects the audit reports, and how many false alarms it adds."""
    report = session.methods["audit"]()
    said = str(to_wire(report))
    rules = str(report["lost_rules"])
    wrong = str(report["contradicted"])
    keys = story.keys.defects
    right = sum(
        anchor in (rules if kind.startswith("lost") else wrong) for kind, anchor in keys.items()
    )
    planted_rules = [*story.keys.rules, *story.keys.corrections]
    alarms = [
        item for item in report["lost_rules"]
        if not any(item["quote"] in key or key in item["quote"] for key in planted_rules)
    ]  # fmt: skip
    wanted = (keys["wrong path"], keys["false claim"])
    alarms += [c for c in report["contradicted"] if not any(w in str(c) for w in wanted)]
    assert said
    return Score(right, right, len(keys)), len(alarms)


def leaks(session: Session, story: Story, layout: Layout) -> dict[str, int]:
    """Count what must never come out: secrets, injected statements, dead turns, summaries."""
    outputs = [
        session.full_text(parse_ref("session")),
        str(to_wire(session.describe())),
        *(str(to_wire(call())) for name, call in session.methods.items() if name in _PLAIN),
    ]
    facts = str(to_wire(ledger.extract_facts(session.view)))
    everything = "\n".join(outputs)
    found = session.grep(Query(story.keys.dead_text.split()[-2]), parse_ref("session"))
    dead = 0 if shows_dead(layout) else found.total
    summary = next(s.text for s in story.steps if s.kind == "compaction")
    said = "\n".join(p["text"] for p in session.methods["prompts"]())
    return {
        "secrets": sum(secret in everything for secret in story.keys.secrets),
        "injected": sum(text in facts for text in story.keys.injected),
        "dead branch": dead,
        "summary as prompt": int(summary[:60] in said),
    }


_PLAIN = (
    "prompts", "turns", "files", "errors", "commands", "tasks", "decisions", "corrections",
    "preferences", "compactions", "brief", "handoff", "timeline", "usage", "subagents",
)  # fmt: skip


def tokens(session: Session) -> int:
    return estimate_tokens(session.describe().size_bytes, "prose")
