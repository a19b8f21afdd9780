"""Who relates to a name or a document: callers, heirs, tests, importers; what it calls, holds."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rlm_mcp.models.extractive.cell.report import (
    Report,
    aside,
    attempt,
    built,
    code_of,
    does,
    some,
    tested,
)
from rlm_mcp.sdk import grep

MANY = 2_000
"""Lines that relate to a name which are looked at."""
VERBS = {"test": "use"}
"""What is said of a relation, where it is not the relation's own name."""


class Relations:
    """Answers from the parsed source of one variable; `within` says which refs are meant."""

    def __init__(self, report: Report, variable: Any, within: Callable[[str], bool]) -> None:
        self.report, self.variable, self.within = report, variable, within

    def relate(self, kind: str, name: str) -> list[Any]:
        """Tell how many lines relate to a name, and quote the first of each document."""
        if kind == "callee":
            return self.callees(name)
        if kind == "member":
            return self.members(name)
        if kind == "thrown":
            return self.thrown(name)
        found = [use for use in self.uses(kind, name) if self.within(use.ref)]
        if not found:
            return []
        first: dict[str, Any] = {}
        for use in found:
            first.setdefault(use.path, use)
        least = "at least " * (len(found) >= MANY)
        where, verb = "of tests " * (kind == "test"), VERBS.get(kind, kind)
        self.report.fact(
            f"{least}{some(len(found), 'line')} {where}of {some(len(first), 'document')} "
            f"{does(len(found), verb)} {name}, "
            "by the names in the parsed source"
        )
        spread = list(first.values())
        if kind != "import":  # files are asked for, one line of each is enough
            spread += [use for use in found if first[use.path] is not use]
        spread.sort(key=lambda use: (built(use.ref), aside(use.ref), *doubt(use)))
        for use in spread[:12]:
            around = (
                f" in {use.inside}" if use.get("inside") else f" {use.get('name', '')}".rstrip()
            )
            unsure = ", by its name alone" * (
                kind == "call" and "." in name and use.get("basis") == "name"
            )
            as_what = "throw" if kind == "throw" else use.kind
            self.report.fact(f"{as_what}{around}{unsure}: {use.ref} {code_of(use.text)}")
        if kind == "import":
            self.report.more(len(spread) - 12, "document", f"with an import of {name}")
        else:
            self.report.more(len(spread) - 12, "line", f"of those that {verb} {name}")
        return found

    def uses(self, kind: str, name: str) -> list[Any]:
        """Return the lines that relate to a name in one way."""
        if kind == "call":
            return attempt(self.variable.callers, name, MANY)
        if kind == "extend":
            return attempt(self.variable.subclasses, name, MANY)
        found = attempt(self.variable.references, name, MANY)
        if kind == "import":  # of core.json and json, one is meant
            found = [use for use in found if use.kind == "import"]
            whole = r"(?<![\w.])" + re.escape(name) + r"\b"
            return [use for use in found if re.search(whole, use.text)] or found
        if kind == "throw":
            raising = r"\b(?:throw|raise|panic|Err|reject|abort)\b|\bnew "
            return [use for use in found if re.search(raising, use.text)]
        if kind == "test":
            return [use for use in found if tested(use.ref) and use.kind != "import"]
        return found

    def callees(self, name: str) -> list[Any]:
        """Tell what a definition calls."""
        found = attempt(self.variable.callees, name, MANY)
        if found:
            self.report.fact(f"{name} holds {some(len(found), 'call')}, by the parsed source")
        per: dict[str, list[Any]] = {}
        for use in found:
            per.setdefault(use.name, []).append(use)
        for called, own in list(per.items())[:20]:
            times = f" {len(own)} times, first" * (len(own) > 1)
            self.report.fact(f"{called}:{times} {own[0].ref} {code_of(own[0].text)}")
        self.report.more(len(per) - 20, "name", f"called in {name}")
        return found

    def thrown(self, name: str) -> list[Any]:
        """Tell what a definition throws, or says that it throws."""
        found = []
        for item in attempt(self.variable.symbols, name, limit=8):
            found += attempt(grep, r"\b(?:throws?|raise|panic|reject)\b", item.ref, 20)
        if found:
            many, throw = some(len(found), "line"), does(len(found), "throw")
            self.report.fact(f"{many} of {name} {throw} something, or {does(len(found), 'say')} so")
        for hit in found[:16]:
            self.report.fact(f"throws: {hit.ref} {code_of(hit.text)}")
        self.report.more(len(found) - 16, "line", f"of {name}")
        return found

    def members(self, name: str) -> list[Any]:
        """Tell what a class holds."""
        found = attempt(self.variable.symbols, name + ".*", limit=MANY)
        found.sort(key=lambda item: (built(item.ref), tested(item.ref), item.path, item.line))
        per: dict[str, int] = {}
        for item in found:
            per[item.kind] = per.get(item.kind, 0) + 1
        if found:
            counts = ", ".join(f"{count:,} of kind {kind}" for kind, count in sorted(per.items()))
            self.report.fact(f"{name} holds {counts}, by the parsed source")
        for item in found[:24]:
            self.report.fact(f"{item.kind} {item.name}: {item.ref} {code_of(item.text)}")
        self.report.more(len(found) - 24, "member", f"of {name}")
        return found

    def importers(self, ref: str) -> bool:
        """Tell which lines import a document."""
        path = ref.partition(":")[2]
        found = attempt(self.variable.importers, path, 500)
        self.report.fact(f"{some(len(found), 'line')} {does(len(found), 'import')} {ref}")
        for use in found[:12]:
            self.report.fact(f"import: {use.ref} {code_of(use.text)}")
        self.report.more(len(found) - 12, "line", "with an import of it")
        return bool(found)

    def imports(self, ref: str) -> bool:
        """Tell what a document imports."""
        begins = (
            r"^\s*(?:import|from|use|using|include|#include|require|require_once|source|extern)\b"
        )
        found = grep(rf"{begins}|\brequire\(|\bimport\(|\bfrom ['\"]", ref, 60)
        if found:
            many, verb = some(found.total, "line"), does(found.total, "import")
            self.report.fact(f"{many} of {ref} {verb} something")
        for hit in found[:20]:
            self.report.fact(f"import: {hit.ref} {code_of(hit.text)}")
        self.report.more(found.total - 20, "line", "with an import")
        return bool(found)


def doubt(use: Any) -> tuple[bool, bool]:
    """Return what makes a use less sure: known by the name alone, or only a mention."""
    return use.get("basis") == "name", use.kind == "mention"
