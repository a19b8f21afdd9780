"""Search all sessions of a project at once, each through its own full-text index."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm_mcp.errors import RlmError
from rlm_mcp.sessions import search
from rlm_mcp.sessions.index import TranscriptIndex
from rlm_mcp.sessions.locate import allowed_path, is_behind, list_sessions, short_id
from rlm_mcp.sessions.readers import READERS
from rlm_mcp.sessions.readers.sqlite_file import LOG_SKIPPED_NOTE
from rlm_mcp.sessions.view import TranscriptPlace, TranscriptView

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.sessions.schema import SessionInfo

SEARCH_LIMIT_S = 20.0
"""What indexing sessions for one search may take; the newest come first, the rest is counted."""


def search_all(
    settings: Settings, question: str, project: str, agent: str, limit: int
) -> dict[str, Any]:
    """Return the passages of all sessions that best fit a question, and what was not searched."""
    deadline = time.monotonic() + SEARCH_LIMIT_S
    hits: list[tuple[float, dict[str, Any]]] = []
    told: set[str] = set()
    left, failed, behind = 0, [], []
    found = list_sessions(settings, project, agent)
    for item in found:
        if time.monotonic() > deadline:
            left += 1
            continue
        try:
            one = _search_one(item, question, limit, settings)
        except (RlmError, OSError, sqlite3.Error) as error:
            failed.append(f"{short_id(item.native)}: {error}")
            continue
        # A resumed session repeats its parent's blocks: the newest session tells them.
        hits += [(score, hit) for score, sha, hit in one if sha not in told]
        told |= {sha for _, sha, _ in one}
        if is_behind(item):
            behind.append(short_id(item.native))
    best = [hit for _, hit in sorted(hits, key=lambda pair: pair[0])[:limit]]
    report = {
        "hits": best, "sessions": len(found) - left, "not_searched": left, "failed": failed,
    }  # fmt: skip
    return {**report, "behind": behind, "note": LOG_SKIPPED_NOTE} if behind else report


def _search_one(
    item: SessionInfo, question: str, limit: int, settings: Settings
) -> list[tuple[float, str, dict[str, Any]]]:
    path = allowed_path(Path(item.path), settings)
    reader = next(reader for reader in READERS if reader.agent == item.agent)
    index = TranscriptIndex(path, item.key, reader)
    try:
        index.refresh()
        view = TranscriptView(index, "session", short_id(item.native))
        places: Sequence[TranscriptPlace] = [
            TranscriptPlace(thread) for thread in view.list_threads()
        ]
        found = search.score_blocks(view, question, places, limit)
        about = {"session": f"session:{view.id}", "agent": item.agent}
        return [
            (score, row["sha"], {**about, "ref": hit.ref, "text": hit.text, "at": row["ts"]})
            for score, row, hit in found
        ]
    finally:
        index.close()
