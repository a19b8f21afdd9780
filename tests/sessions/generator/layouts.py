"""Write a story in the native layout of every agent, and say what each layout cannot hold."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.sessions.generator import databases, documents, lines, markdown
from tests.sessions.generator.story import Story


@dataclass(frozen=True)
class Layout:
    """One layout: how to write it, who reads it, and what it leaves out."""

    name: str
    agent: str
    write: Callable[[Story, Path], Path]
    lacks: frozenset[str] = field(default_factory=frozenset)
    """Of: tree, results, thoughts, compaction, status, reads, plan, images, usage, times,
    searches, subagents."""


def _layout(name: str, agent: str, write: Callable[[Story, Path], Path], lacks: str = "") -> Layout:
    return Layout(name, agent, write, frozenset(lacks.split()))


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        _layout("claude", "claude", lines.claude),
        _layout("codex", "codex", lines.codex, "images"),
        _layout("cursor-jsonl", "cursor", lines.cursor,
                "tree results compaction status usage times images subagents"),
        _layout("cursor-txt", "cursor", markdown.cursor,
                "tree compaction status usage times images subagents"),
        _layout("cursor-ide", "cursor-ide", databases.cursor, "tree usage subagents"),
        _layout("copilot-json", "copilot", documents.copilot,
                "tree compaction status usage images subagents"),
        _layout("copilot-oplog", "copilot", lines.copilot,
                "compaction status usage images subagents"),
        _layout("copilot-cli", "copilot-cli", lines.copilot_cli, "usage images subagents"),
        _layout("gemini-json", "gemini", documents.gemini, "tree compaction images subagents"),
        _layout("gemini-jsonl", "gemini", lines.gemini, "images subagents"),
        _layout("opencode-db", "opencode", databases.opencode, "tree"),
        _layout("opencode-storage", "opencode", databases.opencode_storage, "tree subagents"),
        _layout("cline", "cline", documents.cline, "tree usage images subagents"),
        _layout("cline-data", "cline", documents.cline_data, "tree compaction images subagents"),
        _layout("roo", "cline", documents.roo, "tree compaction usage images subagents"),
        _layout("aider", "aider", markdown.aider,
                "tree thoughts compaction status reads plan images usage searches subagents"),
        _layout("specstory", "specstory", markdown.specstory,
                "tree compaction status images usage subagents"),
    )
}  # fmt: skip


def home_of(root: Path) -> dict[str, str]:
    """Return the environment under which the written folders are the agents' own."""
    return {"HOME": str(root), "XDG_CONFIG_HOME": str(root / ".config"), "PATH": os.environ["PATH"]}
