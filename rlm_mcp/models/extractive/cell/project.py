"""What a project says about itself in its own files: how it is run, what it needs, its licence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rlm_mcp.models.extractive.cell.report import (
    Report,
    address,
    aside,
    attempt,
    built,
    code_of,
    some,
    tested,
)
from rlm_mcp.sdk import grep

if TYPE_CHECKING:
    from rlm_mcp.models.extractive.question import Question

MANIFESTS = [
    "pyproject.toml", "setup.cfg", "setup.py", "requirements*.txt", "package.json", "Cargo.toml",
    "go.mod", "pom.xml", "build.gradle*", "Gemfile", "*.gemspec", "composer.json", "*.csproj",
    "CMakeLists.txt", "Pipfile", "environment.yml",
]  # fmt: skip
TOLD_IN = [
    "CONTRIBUTING*", "docs/contributing*", "README*", "Makefile", "justfile", "tox.ini",
    "noxfile.py", "package.json", "pyproject.toml", "setup.cfg", "pytest.ini", "pom.xml",
    ".github/workflows/*", ".gitlab-ci.yml", "Dockerfile",
]  # fmt: skip
SAID: dict[str, tuple[list[str], str]] = {
    "dependencies": (
        MANIFESTS,
        r"(?i)^\W*[\w.-]*(?:dependencies|requires?|install_requires|python_requires)\b.*[\[({=:>]"
        r"|^\s*(?:gem|require|from) |^\[[\w.-]*dependencies|^[\w.\[\]-]+\s*[=~<>]="
        r"|FetchContent|find_package",
    ),
    "entry": (
        MANIFESTS,
        r"^\[[\w.]*(?:scripts|entry[-_]points)[\w.\"-]*\]|\"(?:main|bin|exports|module)\"\s*:"
        r"|\bconsole_scripts\b|^\[\[bin\]\]|<mainClass>",
    ),
    "version": (MANIFESTS, r"(?i)^\s*\W?version\W?\s*[:=]|^\s*<version>"),
    "supported": (
        MANIFESTS,
        r"(?i)^go \d|requires-python|python_requires|^\s*\"node\"\s*:|rust-version"
        r"|<maven\.compiler|<java\.version|sourceCompatibility",
    ),
    "licence": (["LICENSE*", "LICENCE*", "COPYING*", *MANIFESTS], r"(?i)\blicen[cs]e\b"),
}
"""For a key of a question's `about`: the documents that say it, and the lines in them."""
LENGTHS = {"dependencies": 14, "entry": 5}
"""Lines that are quoted after one that says something."""
MOST = {"licence": 1, "version": 1}
"""Lines of a document that are quoted, where it is not three: further ones are of other things."""
IN_CODE = {
    "entry": r"^\s*(?:def main\(|async def main\(|func main\(\)|(?:pub )?(?:async )?fn main\("
    r"|(?:public )?static (?:async )?\w+ [Mm]ain\(|(?:int|void) main\s*\(|if __name__ ==)",
    "environment": r"(?:^|[^`])\bos\.environ\b|\bgetenv\b|\bprocess\.env\b"
    r"|\bos\.(?:Getenv|LookupEnv)\b|\benv::var|\bENV\[|\bSystem\.getenv|\bGetEnvironmentVariable|\benvvar\s*=",
    "routes": r"@[\w.]+\.(?:route|get|post|put|patch|delete|websocket)\("
    r"|@(?:Get|Post|Put|Patch|Delete|Request)Mapping"
    r"|\b(?:app|router|server|fastify|api|mux|r|e)\.(?i:get|post|put|patch|delete|all|route|handle"
    r"|handlefunc)\(\s*[\"'`/]|^\s*(?:re_)?path\(\s*r?[\"']|http\.HandleFunc\(",
    "options": r"\.add_argument\(|@(?:\w+\.)?(?:option|argument)\("
    r"|\.(?:requiredO|o)ption\(\s*[\"'`]-"
    r"|#\[(?:arg|clap)\(|\b(?:flag|[fF]lags\(\))\.\w+\(\s*&?\w*,?\s*\"|\bOption\(\s*[\"'`]-",
    "version": r"^__version__\s*=|^(?:const|var|static)?\s*(?:VERSION|Version)\s*=",
}
TOOLS = (
    r"(?i)(?:^\s*(?:\$ |> |[-*] )?|[\"'`:=] ?|run: )(?:\w+=\S+ )*(?:python3? -m|pip|pipx|uv|uvx"
    r"|poetry|tox|nox|pytest|npm|npx|yarn|pnpm|make|cargo|go|mvn|\./\w+|gradle|docker|bundle|dotnet"
    r"|cmake|composer|just|rake)\s(?:.*[\s:])?(?:{telling})|^(?:{telling})[\w-]*:"
    r"|\"(?:{telling})[\w:-]*\"\s*:\s*\"[a-zA-Z./$]"
    r"|^\[(?:tool[.:])?(?:{telling})(?:[.:][\w.-]*)?\]"
)
"""Lines with a command for a task, the name of a task, or the head of a tool's settings."""
WRITTEN = r"\benviron\[[^\]]*\]\s*=(?!=)|\bprocess\.env\.\w+\s*=(?!=)|\b(?:put|set)env\b"
"""Lines that set a variable of the environment and read none."""
TASKS = {
    "test": r"test|testenv|pytest|tox|nox|check|jest|mocha|vitest",
    "install": r"install",
    "lint": r"lint|format|ruff|flake8|eslint|prettier|pre-commit|clippy|vet",
    "build": r"build|compile|bundle|package",
    "deploy": r"deploy|release|publish",
    "develop": r"develop|contribut|install|clone|virtualenv|venv",
}


class Project:
    """Answers from the files by which a project describes itself."""

    def __init__(self, report: Report, asked: Question, place: str, variable: Any) -> None:
        self.report, self.asked, self.place, self.variable = report, asked, place, variable

    def answer(self) -> bool:
        """Add what is found, and say whether anything was."""
        before = len(self.report.facts), len(self.report.parts)
        for key in self.asked.about:
            if key in SAID:
                own = "supported" if key == "version" and self.of_others() else key
                self.lines(own, *SAID[own])
                if own != key:
                    continue
            if key in IN_CODE:
                self.in_code(key, IN_CODE[key])
        if "running" in self.asked.about:
            self.running()
        if "languages" in self.asked.about:
            self.languages()
        if "largest" in self.asked.about:
            self.largest()
        return (len(self.report.facts), len(self.report.parts)) != before

    def of_others(self) -> bool:
        """Say whether a question about versions is about those of what the project needs."""
        others = r"\b(?:support\w*|requir\w*|needs?|python|node|go|golang|rust|java|php|ruby)\b"
        return bool(re.search(others, self.asked.text, re.IGNORECASE))

    def found(self, globs: list[str]) -> list[str]:
        """Return the documents that fit, those near the top first."""
        paths: list[str] = []
        for glob in globs:
            some = attempt(self.variable.files, glob) or attempt(self.variable.files, "**/" + glob)
            own = [path for path in some if not built(":" + path) and not tested(":" + path)]
            paths += sorted(own, key=lambda path: (path.count("/"), len(path), path))[:2]
        return list(dict.fromkeys(paths))

    def lines(self, key: str, globs: list[str], pattern: str) -> None:
        """Quote the lines by which the manifests say something, with what follows them."""
        length = LENGTHS.get(key, 0)
        for path in self.found(globs)[:6]:
            head = address(self.place, path)
            for hit in attempt(grep, pattern, head, 3)[: MOST.get(key, 3)]:
                self.report.quote(f"From {path}:", head, hit.line, hit.line + length)

    def in_code(self, key: str, pattern: str) -> None:
        """Tell the lines of code that say something."""
        found = [hit for ref in self.scope() for hit in attempt(grep, pattern, ref, 1_000)]
        hits = [hit for hit in found if not built(hit.ref)]
        if key == "environment" and re.search(r"\bread|\buse", self.asked.text):
            hits = [hit for hit in hits if not re.search(WRITTEN, hit.text)]
        hits = [hit for hit in hits if not aside(hit.ref)] or hits
        most = 40 if key in ("routes", "options") else 12
        for hit in hits[:most]:
            self.report.fact(f"{key.removesuffix('s')}: {hit.ref} {code_of(hit.text)}")
        self.report.more(len(hits) - most, "line", f"about the {key}")

    def scope(self) -> list[str]:
        """Return the folders and refs that the question is limited to, else the whole."""
        given = [ref for ref in self.asked.refs if ref.startswith(self.place + ":")]
        folders = [name.rstrip("/") + "/" for name in self.asked.files]
        own = [name for name in folders if attempt(self.variable.files, name + "**")]
        return [address(self.place, name) for name in own] or given or [self.place]

    def running(self) -> None:
        """Quote what the project's own files say about a task: test, install, build and so on."""
        text = self.asked.text.lower()
        words = [pattern for word, pattern in TASKS.items() if word in text] or [r"run|start|serve"]
        telling = "|".join(words)
        for path in self.found(TOLD_IN)[:8]:
            head = address(self.place, path)
            command = TOOLS.format(telling=telling)
            for hit in attempt(grep, command, head, 3)[:3]:
                section = hit.text.startswith("[")
                first, last = (0, 11) if section else (-3, 5)
                self.report.quote(f"From {path}:", head, max(1, hit.line + first), hit.line + last)

    def largest(self) -> None:
        """Tell which documents are largest."""
        rows = self.variable.largest(12)
        for row in rows:
            size = f"{some(row.bytes, 'byte')}, {some(row.lines, 'line')}"
            self.report.fact(f"{row.path}: {size} ({row.ref})")
        self.report.more(rows.total - len(rows), "document")

    def languages(self) -> None:
        """Tell how many documents there are by their endings."""
        per: dict[str, int] = {}
        for path in attempt(self.variable.files, "**"):
            name = path.rpartition("/")[2]
            ending = name.rpartition(".")[2] if "." in name[1:] else ""
            if ending and not built(":" + path):
                per[ending] = per.get(ending, 0) + 1
        most = sorted(per.items(), key=lambda pair: -pair[1])[:10]
        if most:
            listed = ", ".join(f"{count:,} .{ending}" for ending, count in most)
            self.report.fact(f"Documents of {self.place} by ending: {listed}")
