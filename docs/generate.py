"""The generated parts of the documentation; cog calls these functions (`make docs`)."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path

from rlm_mcp.config import PROJECT_SETTINGS, Settings
from rlm_mcp.engine.job import Result
from rlm_mcp.engine.rlm import RLM, Completion
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


def api() -> str:
    """Return the reference of the public Python API, from signatures and docstrings."""
    parts = []
    for kind in (RLM, Completion, Result):
        head = inspect.cleandoc(kind.__doc__ or "")
        parts.append(f"## `{kind.__name__}`\n\n{head}\n")
        if kind is RLM:
            parts.append(_signature("RLM", kind.__init__))
        if is_dataclass(kind):
            parts.append(_field_table(kind))
        for name, member in vars(kind).items():
            if name.startswith("_") or not (inspect.isfunction(member) or _is_property(member)):
                continue
            text = inspect.cleandoc(member.__doc__ or "")
            if isinstance(member, property):
                parts.append(f"### `{kind.__name__}.{name}`\n\n{text}\n")
            else:
                shown = _signature(f"{kind.__name__}.{name}", member)
                parts.append(f"### `{kind.__name__}.{name}`\n\n{shown}\n{text}\n")
    return "\n".join(parts)


def _is_property(member: object) -> bool:
    return isinstance(member, property)


def _signature(name: str, function: Callable[..., object]) -> str:
    """Return a signature as a code block, with the annotations as they are written."""
    signature = str(inspect.signature(function)).replace("(self, ", "(").replace("(self)", "()")
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", signature).removesuffix(" -> None")
    waited = "await " if inspect.iscoroutinefunction(function) else ""
    return f"```python\n{waited}{name}{signature}\n```\n"


def _field_table(kind: type) -> str:
    """Return the fields of a dataclass with their types and the text below each."""
    source = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(source, ast.ClassDef)
    rows = ["| field | type | meaning |", "| --- | --- | --- |"]
    for node, after in zip(source.body, [*source.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign):
            text = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = " ".join(str(after.value.value).split())
            kind_text = ast.unparse(node.annotation).replace("|", "\\|")
            rows.append(f"| `{ast.unparse(node.target)}` | `{kind_text}` | {text} |")
    return "\n".join(rows) + "\n"


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
