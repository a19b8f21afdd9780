"""The order in which a cell looks: the past, code, sessions, logs; then the answer is set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlm_mcp.models.extractive.cell.code import Code
from rlm_mcp.models.extractive.cell.log_tables import LogTables
from rlm_mcp.models.extractive.cell.memory import Memory
from rlm_mcp.models.extractive.cell.past import Past
from rlm_mcp.models.extractive.cell.pending import Pending
from rlm_mcp.models.extractive.cell.project import Project
from rlm_mcp.models.extractive.cell.report import Report, attempt, stage
from rlm_mcp.sdk import peek, search

if TYPE_CHECKING:
    from rlm_mcp.models.extractive.question import Question


def look(
    report: Report, asked: Question, bound: dict[str, tuple[str, Any]], absent: list[str]
) -> None:
    """Add what is found in the variables: {name: (kind, variable)}; say which are not there."""
    for name in absent:
        report.fact(f"There is no {name} here: it could not be opened")
    code = [pair for pair in bound.items() if pair[1][0] in ("repo", "text")]
    for place, (kind, variable) in bound.items():
        if kind == "history" and ("past" in asked.about or len(bound) == 1):
            stage(past, report, asked, place, variable, code[0][1][1] if code else None)
    told = bool(report.facts or report.parts) and not absent
    if "past" in asked.about and told and not asked.relations:
        return
    for place, (kind, variable) in bound.items():
        if (
            kind == "repo"
            and "pending" in asked.about
            and Pending(report, asked, place, variable).answer()
        ):
            continue
        if kind in ("repo", "text"):
            if not Project(report, asked, place, variable).answer():
                stage(Code(report, asked, place, variable).answer)
        elif kind != "history":
            stage(other, report, asked, place, kind, variable)


def past(report: Report, asked: Question, place: str, variable: Any, code: Any) -> None:
    """Look into a history."""
    Past(report, asked, place, variable, code).answer()


def other(report: Report, asked: Question, place: str, kind: str, variable: Any) -> None:
    """Look into a session or logs: their own lists, lines with a name, what ranks best."""
    if kind == "session" and Memory(report, asked, place, variable).answer():
        return
    logs = LogTables(report, asked, place, variable) if kind == "logs" else None
    if logs is not None and (stage(logs.tallied) or (not asked.names and logs.answer())):
        return
    found = Code(report, asked, place, variable)
    for text in asked.phrases:
        stage(found.phrase, text)
    for name in asked.names:
        stage(found.lines, name)
    for hit in attempt(search, asked.topic, place, 8) if asked.words or not report.facts else []:
        if hit.ref not in report.shown and len(report.parts) < 12:
            report.shown[hit.ref] = []
            rows = str(peek(hit.ref, 10)).strip("\n").split("\n")[:10]
            report.parts.append(f"Fits: {hit.ref}\n" + "\n".join("> " + row for row in rows))
