"""What the lines of logs come to: counts by a field, by time and by log; what took longest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rlm_mcp.models.extractive.cell.report import Report, attempt, code_of, some
from rlm_mcp.sdk import grep

if TYPE_CHECKING:
    from rlm_mcp.models.extractive.question import Question

LINES = 50_000
"""Lines that are looked at for one count."""
SHOWN = 10
FIELDS = {
    "client address": (
        r"\b(?:ips?|addresses|clients?|remote hosts?)\b",
        r"(?:^|[^\w.])(\d{1,3}(?:\.\d{1,3}){3})(?:[^\w.]|$)",
    ),
    "status": (
        r"\bstatus(?:es)?\b|\b(?:response|return|http) codes?\b",
        r"\" ([1-5]\d\d) |\"?\bstatus(?:_?code)?\"?\s*[:=]\s*\"?([1-5]\d\d)\b",
    ),
    "path": (
        r"\b(?:paths?|urls?|endpoints?|routes?|pages?)\b",
        r"\"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) ([^\s?\"]+)"
        r"|\"(?:path|url|uri|route)\"\s*:\s*\"([^\"?]+)",
    ),
    "method": (
        r"\b(?:http|request) methods?\b",
        r"\"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) |\"method\"\s*:\s*\"([A-Z]+)\"",
    ),
    "host": (r"\b(?:hosts?|machines?|nodes?)\b", r"\"host(?:name)?\"\s*:\s*\"([^\"]+)"),
    "user": (r"\busers?\b", r"\"user(?:_?(?:name|id))?\"\s*:\s*\"?([^\",}]+)|\buser[= ](\S+)"),
    "exception": (
        r"\bexceptions?\b|\btrace ?backs?\b|\bstack ?traces?\b|\bwhy\b|\bcauses?\b",
        r"^\s*(?:Caused by: )?((?:[\w$]+\.)*[A-Z]\w*(?:Error|Exception|Timeout|Interrupt))(?::|$)"
        r"|\"(?:err|error|exception)\"\s*:\s*\"(?:[\w$]+\.)*([A-Z]\w+(?:Error|Exception|Timeout))\b",
    ),
}
"""For a field: how a question asks for it, and where it stands in a line."""
TALLIED = (
    r"\b(?:how many|how often|count|number of|per|by|most|top|which|what|list|all|each|distribution"
    r"|breakdown|where|why)\b"
)
SLOW = r"\bslow(?:est|er)?\b|\blong(?:est|er)\b|\blatenc(?:y|ies)\b|\btook\b|\bdurations?\b"
TOOK = (
    r"\b(?:duration|latency|elapsed|took|response_?time|request_?time|time_?taken|rt|cost)\w*\"?"
    r"\s*[:=]\s*\"?(\d+(?:\.\d+)?)|\b(?:in|took) (\d+(?:\.\d+)?) ?m?s\b|\" ?(\d+\.\d{2,6})$"
)
"""How long something took, as a line says it."""
IDENTIFIER = r"(?<![\w.-])(?:[A-Za-z]+[-_]?)?[\da-f]*\d[\da-f]*(?:-[\da-f]+)*(?![\w.-])"
EVERY = r"\b(?:per|each|every|by(?: the)?) (second|minute|hour|day)\b|\b(hour|dai)ly\b"


def status(number: str) -> str:
    """Return a pattern for the lines of requests that ended with a status of HTTP."""
    return rf'" {number} |\bstatus(?:_?code)?"?\s*[:=]\s*"?{number}\b'


class Tallies:
    """Counts over one set of logs, of what a question asks for."""

    def __init__(self, report: Report, asked: Question, place: str, variable: Any) -> None:
        self.report, self.asked, self.place, self.variable = report, asked, place, variable
        self.text = asked.text

    def answer(self, refs: list[str]) -> bool:
        """Add what is counted or followed, and say whether there was anything."""
        before = len(self.report.facts)
        told = self.over_time()
        if re.search(SLOW, self.text, re.IGNORECASE):
            told = self.slowest(refs) or told
        if re.search(r"\b(?:which|what) (?:log|file)s?\b", self.text, re.IGNORECASE):
            told = self.logs() or told
        for name, (words, pattern) in FIELDS.items():
            wanted = re.search(words, self.text, re.IGNORECASE)
            if wanted and re.search(TALLIED, self.text, re.IGNORECASE):
                told = self.field(name, pattern, refs) or told
        told = told or self.followed()
        return bool(told) and len(self.report.facts) > before

    def field(self, name: str, pattern: str, refs: list[str]) -> bool:
        """Tell the commonest values of a field, each with its first line."""
        counts: dict[str, int] = {}
        first: dict[str, Any] = {}
        of, lines = 0, 0
        wanted, only = self.narrowed() if name != "exception" else ("", "")
        for ref in refs:
            hits = grep(pattern, ref, LINES)
            of, lines = of + hits.total, lines + len(hits)
            for hit in hits:
                found = re.search(pattern, hit.text)
                value = next((part for part in found.groups() if part), "") if found else ""
                if value and (not wanted or re.search(wanted, hit.text, re.IGNORECASE)):
                    counts[value] = counts.get(value, 0) + 1
                    first.setdefault(value, hit)
        if not counts:
            return False
        most = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        part = f" (of the first {lines:,} of {of:,} lines with one)" * (lines < of)
        plural = {"status": "statuses", "client address": "client addresses"}.get(name, "")
        self.report.fact(f"{some(len(counts), name, plural)}{only}, the commonest first{part}")
        for value, count in most[:SHOWN]:
            hit = first[value]
            line = f"first {hit.ref} {code_of(hit.text)}"
            self.report.fact(f"{value}: {some(count, 'time')}, {line}")
        self.report.more(len(counts) - SHOWN, name if not plural else "value")
        return True

    def narrowed(self) -> tuple[str, str]:
        """Return what a question limits a count to: a pattern, and how that is said."""
        found = re.search(r"(?<![\w.:-])([1-5]\d\d)(?:s|\b)(?![\w.:-])", self.text)
        failed = re.search(r"\bfail(?:ed|ures?|ing)\b", self.text, re.IGNORECASE)
        if found:
            return status(found[1]), f" on lines with the status {found[1]}"
        return (r"\bfail", " on lines with fail") if failed else ("", "")

    def over_time(self) -> bool:
        """Tell how many records there are in each slot of time."""
        every = re.search(EVERY, self.text, re.IGNORECASE)
        if not every and not re.search(r"\bover time\b|\bhistogram\b", self.text, re.IGNORECASE):
            return False
        by = {"dai": "day"}.get(every[2], every[2]) if every and every[2] else ""
        by = by or (every[1].lower() if every else "auto")
        found = self.variable.histogram(by=by, level=self.asked.level)
        if not found["slots"]:
            return False
        level = f" of the level {self.asked.level} or worse" * bool(self.asked.level)
        slots = found["slots"]
        said = f"{some(found['total'], 'record')}{level} in {some(len(slots), 'slot')}"
        self.report.fact(
            f"{said} of {some(found['step_seconds'], 'second')} {found['note']}".strip()
        )
        for slot in slots[:40]:
            self.report.fact(f"{slot['time']}: {slot['records']:,}, first {slot['ref']}")
        self.report.more(len(slots) - 40, "slot")
        return True

    def slowest(self, refs: list[str]) -> bool:
        """Tell the lines that say the longest time, as far as lines say one."""
        rows: list[tuple[float, Any]] = []
        of = 0
        for ref in refs:
            hits = grep(TOOK, ref, LINES)
            of += hits.total
            for hit in hits:
                found = re.search(TOOK, hit.text)
                number = next((part for part in found.groups() if part), "") if found else ""
                if number:
                    rows.append((float(number), hit))
        if not rows:
            return False
        part = f"the first {len(rows):,} of " * (len(rows) < of)
        self.report.fact(f"The longest of {part}{some(of, 'line')} that say how long it took")
        for took, hit in sorted(rows, key=lambda row: -row[0])[:SHOWN]:
            self.report.fact(f"{took:g}: {hit.ref} {code_of(hit.text, 300)}")
        return True

    def logs(self) -> bool:
        """Tell how many lines of a level there are in each log, most first."""
        level = self.asked.level
        rows = []
        for file in attempt(self.variable.files) if level else []:
            path = file.ref.partition(":")[2]
            forms = self.variable.templates(level=level, top=1, path=path)
            rows.append((forms["lines"], file.ref))
        for count, ref in sorted(rows, key=lambda row: (-row[0], row[1]))[:20]:
            self.report.fact(f"{some(count, 'line')} of {ref} with the level {level} or worse")
        return bool(rows)

    def followed(self) -> bool:
        """Tell the lines with an identifier that the question names, by time."""
        for found in re.finditer(IDENTIFIER, self.text, re.IGNORECASE):
            name = found[0]
            if len(name) < 6 or re.fullmatch(r"\d{4}(?:-\d+)*", name):
                continue
            rows = self.variable.follow(name, 15)
            self.report.fact(f"{some(rows['total'], 'line')} of {self.place} with {name}")
            for row in rows["records"]:
                self.report.fact(f"{row['time']}: {row['ref']} {code_of(row['text'], 300)}")
            self.report.more(rows["total"] - len(rows["records"]), "line", f"with {name}")
            return True
        return False
