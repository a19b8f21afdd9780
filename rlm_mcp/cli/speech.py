"""Say to a person what the rooms below say to agents: flags for settings and tools."""

from __future__ import annotations

import re

_LIMITS = re.compile(r"\bmax_(usd|calls|seconds|depth)\b(?!' in .*\.toml\b)")
"""Limits that are flags; in a file they have their own names."""
_WORDS = (
    ("open_context(source) opens more", "--open SOURCE names more"),
    ("(model, sub_model)", "(--model, --sub-model)"),
    ("The sub_model ", "The --sub-model "),
    ("The model ", "The --model "),
    ("start the server with --root for that folder", "say --root for that folder"),
)


def spoken(sentence: str) -> str:
    """Return a sentence with the words of the command line."""
    for ours, theirs in _WORDS:
        sentence = sentence.replace(ours, theirs)
    return _LIMITS.sub(r"--max-\1", sentence)
