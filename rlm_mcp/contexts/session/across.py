"""Search all sessions of a project at once, each through its own full-text index."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm_mcp.contexts.session import search
from rlm_mcp.contexts.session.find import allowed, is_behind, sessions, short
from rlm_mcp.contexts.session.index import Index
from rlm_mcp.contexts.session.readers import READERS
from rlm_mcp.contexts.session.readers.database import BEHIND
from rlm_mcp.contexts.session.turns import Found
from rlm_mcp.contexts.session.view import Place, View
from rlm_mcp.errors import RlmError

if TYPE_CHECKING:
    from rlm_mcp.config import Settings

SECONDS = 20.0
"""What indexing sessions for one search may take; the newest come first, the rest is counted."""


def find(settings: Settings, question: str, project: str, agent: str, limit: int) -> dict[str, Any]:
    """Return the passages of all sessions that best fit a question, and what was not searched."""
    deadline = time.monotonic() + SECONDS
    hits: list[tuple[float, dict[str, Any]]] = []
    told: set[str] = set()
    left, failed, behind = 0, [], []
    found = sessions(settings, project, agent)
    for item in found:
        if time.monotonic() > deadline:
            left += 1
            continue
        try:
            one = _one(item, question, limit, settings)
        except (RlmError, OSError, sqlite3.Error) as error:
            failed.append(f"{short(item.native)}: {error}")
            continue
        # A resumed session repeats its parent's blocks: the newest session tells them.
        hits += [(score, hit) for score, sha, hit in one if sha not in told]
        told |= {sha for _, sha, _ in one}
        if is_behind(item):
            behind.append(short(item.native))
    best = [hit for _, hit in sorted(hits, key=lambda pair: pair[0])[:limit]]
    report = {
        "hits": best, "sessions": len(found) - left, "not_searched": left, "failed": failed,
    }  # fmt: skip
    return {**report, "behind": behind, "note": BEHIND} if behind else report


def _one(
    item: Found, question: str, limit: int, settings: Settings
) -> list[tuple[float, str, dict[str, Any]]]:
    path = allowed(Path(item.path), settings)
    reader = next(reader for reader in READERS if reader.agent == item.agent)
    index = Index(path, item.key, reader)
    try:
        index.refresh()
        view = View(index, "session", short(item.native))
        places: Sequence[Place] = [Place(thread) for thread in view.threads()]
        found = search.scored(view, question, places, limit)
        about = {"session": f"session:{view.id}", "agent": item.agent}
        return [
            (score, row["sha"], {**about, "ref": hit.ref, "text": hit.text, "at": row["ts"]})
            for score, row, hit in found
        ]
    finally:
        index.close()
