"""Names of variables: those that open by themselves, those that are taken, one for a source."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Container

from rlm_mcp.errors import BadRequest

DEFAULT_NAMES = ("repo", "history", "session", "logs")
"""Variables that open by themselves when they are named."""

RESERVED = frozenset(
    {
        "context", "answer", "contexts", "open_context", "peek", "grep", "outline", "chunk",
        "execute", "llm_query", "llm_query_batched", "rlm_query", "rlm_query_batched", "wait",
        "FINAL", "FINAL_VAR", "SUBMIT", "SHOW_VARS", "repo", "history", "session", "logs",
        "re", "json", "math", "help", *dir(builtins),
    }
)  # fmt: skip
"""Names that mean something else in an environment; the default variables keep theirs."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
"""What agents call their transcripts."""
_HANDLE = re.compile(r"r[0-9]+\Z")


def check_name(name: str) -> None:
    """Raise BadRequest for a name that a variable cannot have."""
    if not _NAME.match(name) or keyword.iskeyword(name):
        raise BadRequest(f"{name!r} is no usable name; write letters, digits and _, as docs2.")
    if name in ("repo", "history", "session", "logs"):
        raise BadRequest(f"The name {name!r} is the project's own; choose another, as my_{name}.")
    if _HANDLE.match(name) or name in RESERVED:
        raise BadRequest(f"The name {name!r} means something else; choose another, as my_{name}.")


def derive_name(source: str, taken: Container[str]) -> str:
    """Return a free name for a source: its last telling word, numbered where it is taken."""
    text = source.split("://", 1)[-1].rstrip("/*").removesuffix(".git")
    ranged = ".." in text.strip("./")
    text = text if ranged else re.split(r"[/\\:]", text)[-1]
    folder, slash, last = source.rpartition("/")
    if slash and any(char in last for char in "*?["):
        text = folder.rsplit("/", 1)[-1]
    named = ranged or "@" in text  # a revision, whose numbers tell
    stem = (
        text
        if named
        else re.sub(r"\.(?:txt|md|log|json|jsonl|csv|gz|bz2|xz|zst|[0-9]+)(?=\.|\Z)", "", text)
    )
    if _UUID.match(stem):
        stem = f"session_{stem[:8]}"
    name = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_").lower()[:40]
    if not name or not name[0].isalpha():
        name = f"text_{name}".rstrip("_")
    if _HANDLE.match(name) or keyword.iskeyword(name) or name in RESERVED:
        name += "_"
        name += "context" if name + "context" not in taken else "2"
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate
