"""Exit codes, and the one sentence on stderr."""

from __future__ import annotations

import re
import sys

import click

from rlm_mcp.errors import BadRequest, BudgetSpent, Cancelled, Denied, RlmError

_LIMIT_SETTINGS = re.compile(r"\bmax_(usd|calls|seconds|depth)\b(?!' in .*\.toml\b)")
"""Limits that are flags; in a file they have their own names."""
_REPLACEMENTS = (
    ("open_context(source) opens more", "--open SOURCE names more"),
    ("(model, sub_model)", "(--model, --sub-model)"),
    ("The sub_model ", "The --sub-model "),
    ("The model ", "The --model "),
    ("start the server with --root for that folder", "say --root for that folder"),
)


def cli_wording(sentence: str) -> str:
    """Return a sentence with the words of the command line."""
    for ours, theirs in _REPLACEMENTS:
        sentence = sentence.replace(ours, theirs)
    return _LIMIT_SETTINGS.sub(r"--max-\1", sentence)


COMPLETE = 0
BAD_USE = 2
PARTIAL = 3
FAILED = 4
INTERRUPTED = 130

EXIT_CODES = {"complete": COMPLETE, "partial": PARTIAL, "forced": PARTIAL, "failed": FAILED}
"""Exit codes of a run, by its status."""


def exit_code_of(error: BaseException) -> int | None:
    """Return the exit code of an expected error, or None for a crash."""
    if isinstance(error, Cancelled):
        return INTERRUPTED
    if isinstance(error, (BadRequest, Denied, BudgetSpent)):
        return BAD_USE  # a limit that ends a run is its status; one that is raised began none
    if type(error).__module__ == "sqlite3":  # imported by commands that need it alone
        return FAILED
    # A folder that cannot be written, a full disk: the system's own sentence names the path.
    return FAILED if isinstance(error, (RlmError, OSError)) else None


def print_error(sentence: str) -> None:
    """Print one sentence to stderr, without characters that a terminal would obey."""
    click.echo(f"rlm-mcp: {escape_controls(cli_wording(sentence))}", err=True)


def escape_controls(text: str) -> str:
    """Return `text` with control characters made visible: sources are hostile, terminals obey."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in "\n\t" else f"\\x{ord(char):02x}" for char in text
    )


def stderr_is_terminal() -> bool:
    """Whether a person watches stderr."""
    return sys.stderr.isatty()


def stdout_is_terminal() -> bool:
    """Whether a person watches stdout."""
    return sys.stdout.isatty()
