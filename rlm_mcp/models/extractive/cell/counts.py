"""How many there are: definitions, documents, lines, on the whole, in a folder, in a language."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rlm_mcp.models.extractive.cell.report import Report, attempt, code_of, some, span, tested
from rlm_mcp.sdk import grep

if TYPE_CHECKING:
    from rlm_mcp.models.extractive.question import Question

LANGUAGES = {
    "python": "py,pyi", "javascript": "js,mjs,cjs,jsx", "typescript": "ts,tsx,mts,cts",
    "go": "go", "golang": "go", "rust": "rs", "java": "java", "kotlin": "kt", "ruby": "rb",
    "php": "php", "c++": "cc,cpp,cxx,hpp", "c#": "cs", "markdown": "md", "yaml": "yaml,yml",
    "html": "html", "css": "css", "shell": "sh", "sql": "sql",
}  # fmt: skip
"""The endings of the files of a language."""


class Counts:
    """Counts over one variable with source in it, in `scope` where the question names one."""

    def __init__(
        self, report: Report, asked: Question, place: str, variable: Any, scope: list[str]
    ) -> None:
        self.report, self.asked, self.place = report, asked, place
        self.variable, self.scope = variable, scope

    def answer(self) -> bool:
        """Tell how many definitions, documents or lines there are, on the whole or where asked."""
        told = False
        for kind in self.asked.counted:
            for ref in self.scope or [self.place]:
                if kind in ("file", "line"):
                    told = self.size(kind, ref) or told
                elif kind not in ("commit", "author"):
                    told = self.number(kind, ref) or told
        return told

    def size(self, kind: str, ref: str) -> bool:
        """Tell how many documents or lines are under a ref, in one language where it is named."""
        said = re.findall(r"[a-z][a-z+#]+", self.asked.text.lower())
        language = next((word for word in said if word in LANGUAGES), "")
        folder = ref[-1] == "/" or ref == self.place
        if language and folder:
            own = ref.partition(":")[2]
            glob = f"{own}**/*.{{{LANGUAGES[language]}}}"
            paths = attempt(self.variable.files, glob)
            total = grep("^", f"{self.place}:{glob}", 1).total if paths and kind == "line" else 0
            what = f"{some(total, 'line')} in " * (kind == "line")
            self.report.fact(f"{what}{some(len(paths), 'document')} of {language} in {ref}")
            return True
        if kind == "file":
            own = ref.partition(":")[2]
            paths = attempt(self.variable.files, own + "**" if own else "**")
            self.report.fact(f"{some(len(paths), 'document')} in {ref}")
            return bool(paths)
        found = grep("^", ref, 1)
        self.report.fact(
            f"{some(found.total, 'line')} in {some(found.documents, 'document')} of {ref}"
        )
        return True

    def number(self, kind: str, ref: str) -> bool:
        """Tell how many definitions of a kind there are, and the documents with most of them."""
        wanted = "function" if kind == "test" else kind
        path = ref.partition(":")[2]
        found = attempt(self.variable.symbols, "*", wanted, limit=100_000)
        if path:
            found = [item for item in found if span(item.ref)[0] == ref or (
                path.endswith("/") and item.path.startswith(path))]  # fmt: skip
        if kind == "test":
            more = attempt(self.variable.symbols, "*", "method", limit=100_000)
            found = [
                item for item in found + more
                if tested(item.ref) and re.match(r"(?i)test|it$|should", item.name)
            ]  # fmt: skip
        if not found:
            return False
        per: dict[str, list[Any]] = {}
        for item in found:
            per.setdefault(item.path, []).append(item)
        plural = {"class": "classes"}.get(kind, kind + "s")
        self.report.fact(
            f"{some(len(found), kind, plural)} in {some(len(per), 'document')} of {ref}, "
            "by the parsed source"
        )
        most = sorted(per.values(), key=lambda own: (-len(own), own[0].path))
        for own in most[:8] if len(per) > 1 else []:
            at = span(own[0].ref)
            self.report.fact(
                f"{len(own):,} in {own[0].path}, the first: {at[0]}#L{at[1]} {code_of(own[0].text)}"
            )
        for item in found[:20] if len(per) == 1 else []:
            at = span(item.ref)
            self.report.fact(f"{kind} {item.name}: {at[0]}#L{at[1]} {code_of(item.text)}")
        if len(per) > 1:
            self.report.more(len(most) - 8, "document", "with some")
        else:
            self.report.more(len(found) - 20, "definition")
        return True
