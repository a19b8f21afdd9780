"""Sessions of coding agents as context variables: found, read whatever agent wrote them, indexed.

Importing this costs nothing: what a name needs is imported when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.errors import BadRequest
from rlm_mcp.lazy_door import load_lazily

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.sessions.hooks import SessionPrefetcher
    from rlm_mcp.sessions.locate import list_sessions
    from rlm_mcp.variable import Variable
else:
    __getattr__ = load_lazily(__name__, {"SessionPrefetcher": "hooks", "list_sessions": "locate"})

__all__ = [
    "SessionPrefetcher",
    "is_transcript",
    "list_sessions",
    "note_current",
    "open_session",
    "session_prefetcher",
]


def open_session(source: str, name: str, settings: Settings) -> Variable:
    """Open `session:current`, `session:latest`, `session:<id>` or a transcript's path.

    Raises BadRequest, Denied or Unavailable with the reason.
    """
    from rlm_mcp.sessions.session import Session

    return Session(source, name, settings)


def is_transcript(path: Path) -> bool:
    """Say whether a file is a transcript of a known agent."""
    from rlm_mcp.sessions.readers import choose_reader

    return choose_reader(path) is not None


def note_current(session_id: str, transcript_path: str, settings: Settings) -> Path:
    """Remember which transcript is current for this server process."""
    from rlm_mcp.sessions import locate

    return locate.note_current(session_id, transcript_path, settings)


def session_prefetcher(open: Callable[[], Variable]) -> SessionPrefetcher:
    """Return what prefetches the running session for a client's hooks; `open` gives it."""
    from rlm_mcp.sessions.hooks import WAIT_S, SessionPrefetcher
    from rlm_mcp.sessions.session import Session

    def open_as_session() -> Session:
        variable = open()
        if not isinstance(variable, Session):
            raise BadRequest(f"{variable.name} is no session, but {variable.kind}.")
        return variable

    return SessionPrefetcher(open_as_session, WAIT_S)
