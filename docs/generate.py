"""The generated parts of the documentation; cog calls these functions (`make docs`)."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

from rlm_mcp.config import PROJECT_SETTINGS, Settings
from rlm_mcp.redact import RULES

ROOT = Path(__file__).parents[1]
EXAMPLE = "Where is the class BudgetSpent defined?"


def tools() -> str:
    """Return the table of tools: name with arguments, first line of the description."""
    rows = ["| tool | what it does |", "| --- | --- |"]
    for path in sorted((ROOT / "tools").glob("*.py")):
        function = next(
            node
            for node in ast.parse(path.read_text("utf-8")).body
            if isinstance(node, ast.FunctionDef) and node.name == path.stem
        )
        first = (ast.get_docstring(function) or "").split("\n\n")[0].replace("\n", " ")
        names = [argument.arg for argument in function.args.args]
        rows.append(f"| `{path.stem}({', '.join(names)})` | {first} |")
    return "\n".join(rows) + "\n"


def settings() -> str:
    """Return the table of settings with defaults, from the dataclass itself."""
    rows = ["| setting | default | a project may lower it |", "| --- | --- | --- |"]
    defaults = Settings(roots=())
    for field in fields(Settings):
        value = getattr(defaults, field.name)
        shown = "the project folder" if field.name == "roots" else f"`{value!r}`"
        rows.append(
            f"| `{field.name}` | {shown} | {'yes' if field.name in PROJECT_SETTINGS else 'no'} |"
        )
    return "\n".join(rows) + "\n"


def secrets() -> str:
    """Return the table of the forms of secrets that are known, from the rules themselves."""
    rows = ["| name | of | form | facts from |", "| --- | --- | --- | --- |"]
    for rule in RULES.all:
        shape = (rule.shape or rule.form).replace("|", "\\|")
        source = rule.source
        licence = f" ({source.licence})" if source.licence else ""
        facts = f"{source.name}{licence}, {source.date}"
        rows.append(f"| `{rule.kind}` | {rule.maker} | `` {shape} `` | {facts} |")
    return "\n".join(dict.fromkeys(rows)) + "\n"


def cli_help() -> str:
    """Return the list of commands as `rlm-mcp --help` prints it."""
    return f"```text\n{run(['--help']).rstrip()}\n```\n"


def example() -> str:
    """Return a real question about this package with its real answer."""
    folder = str(ROOT / "rlm_mcp")
    printed = run(["ask", EXAMPLE, "--open", folder, "--model", "extractive:", "--root", folder])
    # Seconds and the run's name differ each time: the last line stands without them.
    printed = re.sub(r" · [0-9.]+ s · ", " · ", printed)
    printed = re.sub(r" · run \S+", "", printed)
    return f'```console\n$ rlm-mcp ask "{EXAMPLE}" --open rlm_mcp/\n{printed.strip()}\n```\n'


def run(arguments: list[str]) -> str:
    """Run the installed command with folders of its own and return what it printed."""
    with tempfile.TemporaryDirectory() as scratch:
        env = {**os.environ, "COLUMNS": "88", "NO_COLOR": "1"}
        for name in ("STATE", "CACHE", "CONFIG"):
            env[f"RLM_MCP_{name}_DIR"] = str(Path(scratch) / name.lower())
        command = [str(Path(sys.executable).parent / "rlm-mcp"), *arguments]
        done = subprocess.run(
            command, env=env, cwd=scratch, capture_output=True, text=True, check=True, timeout=120
        )
    return re.sub(r"[ \t]+$", "", done.stdout, flags=re.MULTILINE)
