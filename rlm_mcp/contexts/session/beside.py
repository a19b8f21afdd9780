"""What an agent keeps beside a transcript, redacted: its notes for itself, its workflows' runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rlm_mcp.contexts.session.view import View
from rlm_mcp.redact import redact

SHOWN = 20_000
"""Characters of a text that are given; its `note` says where there are more."""


def memory(view: View, text: str = "") -> list[dict[str, Any]]:
    """Return the notes that hold a text. Nothing in them becomes a rule or a decision."""
    found = []
    for note in view.index.reader.memory(view.index.path):
        body = redact(note.text)
        if text in body:
            entry = {"name": redact(note.name), "by": "agent", "bytes": len(note.text.encode())}
            changed = datetime.fromtimestamp(note.changed, UTC).isoformat(timespec="seconds")
            shown, cut = _shown(body)
            entry |= {"changed": changed, "text": shown, "note": note.note or cut}
            found.append({**entry, "path": note.path})
    return found


def workflows(view: View) -> list[dict[str, Any]]:
    """Return the runs of workflows of the session, oldest first."""
    return [
        {
            "name": redact(run.name), "title": redact(run.title), "status": redact(run.status),
            "started": redact(run.started), "script": _shown(redact(run.script))[0],
            "result": _shown(redact(run.result))[0], "error": redact(run.error)[:2_000],
            "agents": run.agents, "tokens": run.tokens, "calls": run.calls,
        }
        for run in view.index.reader.workflows(view.index.path)
    ]  # fmt: skip


def _shown(text: str) -> tuple[str, str]:
    """Return a text that is not too long, and what is said where it was cut."""
    if len(text) <= SHOWN:
        return text, ""
    return text[:SHOWN] + "…", f"the first {SHOWN:,} of {len(text):,} characters"
