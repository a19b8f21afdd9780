"""What logs say at a time, at a level, and how often."""

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
from rlm_mcp.models.extractive.cell.tallies import LINES, Tallies, status
from rlm_mcp.sdk import grep, peek

if TYPE_CHECKING:
    from rlm_mcp.models.extractive.question import Question


class LogTables:
    """Answers about one set of logs."""

    def __init__(self, report: Report, asked: Question, place: str, variable: Any) -> None:
        self.report, self.asked, self.place, self.variable = report, asked, place, variable
        refs = [file.ref for file in attempt(variable.files)]
        self.scope = [
            ref for name in asked.files for ref in refs if ref.partition(":")[2].endswith(name)
        ]

    def tallied(self) -> bool:
        """Add what is counted by a field, by time or by log; say whether it was asked for."""
        tallies = Tallies(self.report, self.asked, self.place, self.variable)
        return tallies.answer(self.scope or [self.place])

    def answer(self) -> bool:
        """Add what stands at the times and the level of the question; say whether it did."""
        before = len(self.report.facts)
        since, until = self.times()
        if not self.asked.level or len(self.asked.clock) == 1:
            for at in self.asked.clock:
                for row in attempt(self.variable.at, at):
                    text = code_of(row.text, 300)
                    self.report.fact(f"The first line at {at} or later: {row.ref} {text}")
        refs = self.scope or [self.place]
        if self.asked.level and [ref for ref in refs if stage(self.statuses, ref)]:
            return True
        for ref in refs if self.asked.level else []:
            stage(self.level, ref, since, until)
        if not self.asked.level and (since or until):
            stage(self.between, since, until)
        if "counting" in self.asked.about:
            for ref in refs:
                if not stage(self.statuses, ref):
                    stage(self.count, ref)
        return len(self.report.facts) > before

    def times(self) -> tuple[str, str]:
        """Return the first and the last moment that the question is about."""
        if len(self.asked.clock) == 2:
            return self.asked.clock[0], self.asked.clock[1]
        return self.asked.since, self.asked.until

    def level(self, ref: str, since: str, until: str) -> None:
        """Tell the lines of a level by their forms, and the first of them."""
        level, path = self.asked.level, ref.partition(":")[2]
        forms = self.variable.templates(level=level, since=since, until=until, top=100, path=path)
        if not forms["lines"]:
            self.report.fact(f"No line of {ref} with the level {level} or worse")
            return
        lines, kinds = forms["lines"], some(forms["total"], "form")
        count = f"{lines:,} of {some(forms['of_lines'], 'line')} of {ref}"
        when = f" from {since}" * bool(since) + f" to {until}" * bool(until)
        self.report.fact(
            f"{count}{when} {'has' if lines == 1 else 'have'} the level {level} or worse, "
            f"in {kinds} (grouped approximately)"
        )
        for form in forms["templates"][:8]:
            text = code_of(str(peek(form["first"], 1)), 300)
            self.report.fact(f"{some(form['count'], 'time')}, first {form['first']} {text}")
        if re.search(r"\b(?:last|latest|newest|most recent)\b", self.asked.text, re.IGNORECASE):
            last = max(forms["templates"], key=lambda form: (form["last_time"], form["last"]))
            text = code_of(str(peek(last["last"], 1)), 300)
            self.report.fact(f"The last: {last['last']} {text}")
        first = self.variable.first_error(since=since, path=path) if level == "error" else None
        if first and first["record"]:
            record = first["record"]
            line = record["text"].strip().splitlines()[0]
            self.report.fact(f"The first: {record['ref']} {code_of(line, 300)}")

    def between(self, since: str, until: str) -> None:
        """Tell how many lines there are between two times, and their commonest forms."""
        forms = self.variable.templates(since=since, until=until, top=10)
        when = f" from {since}" * bool(since) + f" to {until}" * bool(until)
        self.report.fact(
            f"{some(forms['lines'], 'line')} of {self.place}{when}, "
            f"in {some(forms['total'], 'form')}"
        )
        for form in forms["templates"]:
            text = code_of(str(peek(form["first"], 1)), 300)
            self.report.fact(f"{some(form['count'], 'time')}, first {form['first']} {text}")

    def statuses(self, ref: str) -> bool:
        """Tell how many requests ended with a status that the question names, first and last."""
        told = False
        for number in re.findall(r"(?<![\w:.-])[1-5]\d\d(?![\w:.-])", self.asked.text):
            found = grep(status(number), ref, LINES)
            for label, hit in zip(("first", "last"), found[:1] + found[1:][-1:], strict=False):
                many = f"{some(found.total, 'line')} of {ref} with the status {number}"
                if label == "last" and len(found) < found.total:
                    continue
                self.report.fact(f"{many}; the {label} is {hit.ref} {code_of(hit.text, 300)}")
                told = True
        return told

    def count(self, ref: str) -> None:
        """Tell how many lines there are, or how many hold the numbers that a question names."""
        numbers = re.findall(r"(?<![\w:.-])\d{2,}(?![\w:.-])", self.asked.text)
        every = "line" in self.asked.counted and not self.asked.words
        for number in numbers or [""] * every:
            found = grep(rf"\b{number}\b" if number else "^", ref, 1)
            holding = f" {does(found.total, 'hold')} {number}" * bool(number)
            for hit in found:
                first = f"; the first is {hit.ref} {code_of(hit.text, 300)}"
                self.report.fact(f"{some(found.total, 'line')} of {ref}{holding}{first}")
