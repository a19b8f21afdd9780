"""Sessions of coding agents as context variables. Importing this costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.contexts.session.ahead import Ahead
    from rlm_mcp.contexts.variable import Variable

__all__ = ["after_compaction", "compaction_brief", "detect", "follower", "note", "open"]


def open(source: str, name: str, settings: Settings) -> Variable:
    """Open `session:current`, `session:latest`, `session:<id>` or a transcript's path.

    Raises BadRequest, Denied or Unavailable with the reason.
    """
    from rlm_mcp.contexts.session.session import Session

    return Session(source, name, settings)


def detect(path: Path) -> bool:
    """Say whether a file is a transcript of a known agent."""
    from rlm_mcp.contexts.session.readers import choose

    return choose(path) is not None


def note(session_id: str, transcript_path: str, settings: Settings) -> Path:
    """Remember which transcript is current for this server process."""
    from rlm_mcp.contexts.session import find

    return find.note(session_id, transcript_path, settings)


def follower(open: Callable[[], Variable]) -> Ahead:
    """Return what reads the running session ahead of a client's hooks; `open` gives it."""
    from rlm_mcp.contexts.session import ahead

    return ahead.Ahead(open, ahead.WAIT_S)


def compaction_brief(variable: Variable) -> str:
    """Return what to hand a client's summariser: rules verbatim, open tasks, refs."""
    from rlm_mcp.contexts.session import hooks
    from rlm_mcp.contexts.session.session import Session

    return hooks.compaction_brief(variable) if isinstance(variable, Session) else ""


def after_compaction(variable: Variable) -> str:
    """Return what to tell the model after a compaction: what stays addressable, what was lost."""
    from rlm_mcp.contexts.session import hooks
    from rlm_mcp.contexts.session.session import Session

    return hooks.after_compaction(variable) if isinstance(variable, Session) else ""
