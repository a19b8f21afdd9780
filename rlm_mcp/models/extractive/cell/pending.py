"""What is not committed: the files that differ, and the lines that came and went."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rlm_mcp.models.extractive.cell.report import (
    Report,
    address,
    attempt,
    code_of,
    does,
    some,
    stage,
)

if TYPE_CHECKING:
    from rlm_mcp.models.extractive.question import Question

HUNK = re.compile(r"^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@.*\n((?:[ +\\-].*\n?)*)", re.M)
"""One place of a patch: its first line before and after, and its rows."""
FILES = 20
HUNKS = 12
"""Places of a patch that are quoted."""
ROWS = 14
"""Lines of one that are quoted."""


class Pending:
    """Answers about the working tree of one repository."""

    def __init__(self, report: Report, asked: Question, place: str, variable: Any) -> None:
        self.report, self.asked = report, asked
        self.place, self.variable = place, variable
        text = asked.text.lower()
        self.staged = bool(re.search(r"(?<!un)\bstaged\b|\bto be committed\b|--cached", text))
        self.known = set(attempt(variable.files))
        self.quoted = 0

    def answer(self) -> bool:
        """Add what is found; say whether the variable is a working tree."""
        changed = stage(self.variable.changed)
        if changed is None:
            return False
        new = [] if self.staged else [item["path"] for item in changed if item["status"] == "??"]
        patch = stage(self.variable.diff, "", self.staged) or ""
        sections = re.split(r"^diff --git ", patch, flags=re.M)[1:]
        count = len(sections) + len(new)
        if not count:
            what = "is staged" if self.staged else "differs from the last commit"
            self.report.fact(f"Nothing of {self.place} {what}")
            return True
        verb = does(count, "differ") + " from the last commit"
        what = ("is" if count == 1 else "are") + " staged" if self.staged else verb
        self.report.fact(f"{some(count, 'file')} of {self.place} {what}")
        for path in new[:FILES]:
            self.report.fact(f"{self.named(path)} is new, and git does not track it")
        self.report.more(len(new) - FILES, "file", "that git does not track")
        for section in sections[:FILES]:
            self.file(section)
        self.report.more(len(sections) - FILES, "file", what)
        return True

    def file(self, section: str) -> None:
        """Tell what one file's part of the patch says, and quote its places."""
        header, _, body = section.partition("\n@@ ")
        paths = re.findall(r"^(?:---|\+\+\+) (?:[ab]/)?(.*?)\t?$", header, re.M)
        if len(paths) < 2:
            found = re.search(r"^rename to (.*)$|^a/(.*) b/\2$", header, re.M)
            path = (found[1] or found[2]) if found else header.split("\n")[0]
            self.report.fact(f"{self.named(path)} is changed, but in no line of text")
            return
        old, now = paths[:2]
        head = address(self.place, old if now == "/dev/null" else now)
        kind = "removed" if now == "/dev/null" else "new" if old == "/dev/null" else "changed"
        rows = [row for row in body.split("\n")[1:] if row[:1] in ("+", "-")]
        plus = sum(row[0] == "+" for row in rows)
        place = head + "@HEAD" if kind == "removed" else self.named(now)
        self.report.fact(
            f"{place} is {kind}: {some(plus, 'line')} added, {len(rows) - plus:,} removed"
        )
        if self.staged:  # what stands only in the index has no ref of the working tree
            for row in rows[:ROWS]:
                done = "added" if row[0] == "+" else "removed"
                self.report.fact(f"{done} in {paths[row[0] == '+']}: {code_of(row[1:])}")
            self.report.more(len(rows) - ROWS, "line", f"of {paths[1]}")
            return
        for hunk in HUNK.finditer(section):
            if self.quoted < HUNKS:
                self.quoted += 1
                self.hunk(head, int(hunk[1]), int(hunk[2]), hunk[3].split("\n"))

    def named(self, path: str) -> str:
        """Return the ref of a document, or the path of what is none (a link, an ignored file)."""
        return address(self.place, path) if path in self.known else path

    def hunk(self, head: str, old: int, now: int, rows: list[str]) -> None:
        """Quote the lines that went, as they were committed, and those that came."""
        went, came = [], []
        for row in rows:
            if row.startswith("-"):
                went.append(old)
            if row.startswith("+"):
                came.append(now)
            old += row[:1] in (" ", "-")
            now += row[:1] in (" ", "+")
        if went:
            self.report.quote("Was:", f"{head}@HEAD", went[0], min(went[-1], went[0] + ROWS))
        if came:
            self.report.quote("Is:", head, came[0], min(came[-1], came[0] + ROWS))
