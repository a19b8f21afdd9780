"""What a coding session's own lists say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rlm_mcp.models.extractive.cell.report import (
    Report,
    attempt,
    code_of,
    does,
    some,
    stage,
)

if TYPE_CHECKING:
    from rlm_mcp.models.extractive.question import Question

ENTRIES = 15
ASKING = (
    r"rule|prefer|insist|convention|standing|deci|cho[is]|reject|correct|task|todo|remain|done"
    r"|unfinish"
    r"|error|fail|exception|wrong|command|run|ran|file|chang|edit|touch|user|person|human|ask|want"
    r"|said|typ|prompt|request|turn|token|cost|state|happen|occur|made|make|agent|session|last|first"
    r"|list|still|open|left|went|met|far"
)
"""Words that ask for a list, and choose none of its entries."""
OPEN = r"\b(?:left|remain\w*|open|unfinished|pending|to do|still)\b"
LOST = r"\b(?:los[et]\w*|lost|forg[eo]t\w*|drop\w*|miss\w*|wrong)\b"


class Memory:
    """Answers about one session."""

    def __init__(self, report: Report, asked: Question, place: str, variable: Any) -> None:
        self.report, self.asked, self.place, self.variable = report, asked, place, variable

    def answer(self) -> bool:
        """Add what the lists hold that the question asks for, and say whether it asks for one."""
        for kind in self.asked.recalled:
            stage(getattr(self, kind, self.listed), kind)
        return bool(self.asked.recalled)

    def listed(self, kind: str) -> None:
        """Tell the entries of a list, those that share a word with the question first."""
        call = self.variable.files if kind == "files" else getattr(self.variable, kind)
        found = call()["files"] if kind == "files" else list(call())
        self.report.fact(f"{some(len(found), kind[:-1], kind)} in {self.place}")
        wanted = [row for row in found if self.meant(kind, row)]
        lines = [stage(self.entry, kind, row) or "" for row in wanted]
        if len(wanted) < len(found):
            self.report.fact(f"{len(wanted):,} of them {'is' if len(wanted) == 1 else 'are'} meant")
        words = [word for word in self.asked.words if not re.match(ASKING, word)]
        fitting = [line for line in lines if any(word in line.lower() for word in words)]
        chosen = fitting if 0 < len(fitting) < len(lines) else lines
        if "latest" in self.asked.about or "last" in self.asked.text.lower().split():
            chosen = chosen[::-1]
        for line in chosen[:ENTRIES]:
            self.report.fact(line)
        if len(chosen) < len(lines):
            self.report.fact(
                f"{len(chosen):,} of them {does(len(chosen), 'share')} a word with the question"
            )
        self.report.more(len(chosen) - ENTRIES, kind.removesuffix("s"))

    def meant(self, kind: str, row: Any) -> bool:
        """Say whether an entry of a list is of those that a question limits itself to."""
        text = self.asked.text
        if kind == "tasks" and re.search(OPEN, text, re.IGNORECASE):
            return bool(row.status != "done")
        if kind == "commands" and re.search(r"\bfail|\bbroke", text, re.IGNORECASE):
            return bool(row.failed > 0)
        if kind == "files" and self.asked.files:
            return any(name in row.path for name in self.asked.files)
        return True

    def entry(self, kind: str, row: Any) -> str:
        """Tell one entry of a list, under its ref."""
        if kind == "files":
            return f"{row.path}: changed {some(row.changes, 'time')}, last at {row['last']}"
        if kind == "tasks":
            return f"{row.status}: {row.task} ({row['last']})"
        if kind == "errors":
            gone = f", gone at {row.fixed_at}" if row.get("fixed_at") else ""
            return f"{some(row['count'], 'time')}{gone}: {row.first} {code_of(row.error, 200)}"
        if kind == "commands":
            ended = f"{row.ok} ok, {row.failed} failed, the last"
            return f"{code_of(row.command, 200)}: {ended} {row['last']}"
        if kind == "prompts":
            return f"{row.ref} {code_of(row.text.strip().splitlines()[0], 200)}"
        return f"{row.kind} of the {row.by}, {row.status}: {row.ref} {code_of(row.quote, 300)}"

    def compactions(self, kind: str) -> None:
        """Tell the compactions, and what the summary of the last one lost."""
        found = attempt(self.variable.compactions)
        self.report.fact(f"{some(len(found), 'compaction')} in {self.place}")
        for row in found[-ENTRIES:]:
            self.report.fact(", ".join(f"{key}: {value}" for key, value in row.items() if value))
        if found and re.search(LOST, self.asked.text, re.IGNORECASE):
            self.audit()

    def audit(self) -> None:
        """Tell what the summary of the last compaction lost and got wrong."""
        for key, value in self.variable.audit().items():
            if not isinstance(value, list):
                continue
            what = key.replace("_", " ")
            self.report.fact(f"{what}: {len(value):,}")
            for row in value[:8]:
                said = row if isinstance(row, str) else next(iter(row.values()))
                ref = "" if isinstance(row, str) else row.get("ref", "")
                self.report.fact(f"{what}: {code_of(str(said), 300)} {ref}".rstrip())

    def turns(self, kind: str) -> None:
        """Tell how many turns there are, by who took them."""
        rows = attempt(self.variable.turns)
        per: dict[str, int] = {}
        for row in rows:
            per[row["role"]] = per.get(row["role"], 0) + 1
        by = ", ".join(f"{count:,} {role}" for role, count in sorted(per.items()))
        self.report.fact(f"{some(len(rows), 'turn')} on the live branch of {self.place}: {by}")
        for label, row in zip(("first", "last"), rows[:1] + rows[1:][-1:], strict=False):
            self.report.fact(f"The {label} turn: {self.place}#{row['turn']} at {row['at']}")

    def usage(self, kind: str) -> None:
        """Tell the tokens that were used."""
        for key, value in self.variable.usage().items():
            if isinstance(value, dict):
                for name, own in value.items():
                    counts = ", ".join(f"{count:,} {what}" for what, count in own.items())
                    self.report.fact(f"{name}: {counts}")
            else:
                self.report.fact(
                    f"{key}: {value:,}" if isinstance(value, int) else f"{key}: {value}"
                )

    def story(self, kind: str) -> None:
        """Tell the session on one page."""
        self.report.parts.append(str(self.variable.brief(1500)))
