"""Find sessions: the current one, the newest, one by id or path, and all of a project's.

A transcript is opened when it lies under a root or in a known agent's own folder, links resolved;
a link in such a folder that leads out of it is refused.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.errors import BadRequest, Denied, Unavailable, did_you_mean
from rlm_mcp.sessions.readers import READERS, choose_reader, claude_history, sqlite_file
from rlm_mcp.sessions.schema import SessionInfo

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.sessions.readers.reader import TranscriptReader

_noted: list[SessionInfo] = []
"""The session that a client named to this process last. In memory: a refused state folder must
not keep it from being read."""

_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[45][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


def short_id(native: str) -> str:
    """Return the id that refs use: eight characters of a random UUID, else all that is safe."""
    if _UUID4.match(native):
        return native[:8]
    return re.sub(r"[^A-Za-z0-9_-]", "-", native)[:60] or "session"


def list_sessions(
    settings: Settings, project: str = "", agent: str = "", since: str = "", q: str = ""
) -> list[SessionInfo]:
    """Return the sessions of this project (`*`: of all), newest first."""
    found = []
    roots = _project_roots(settings)
    for reader in READERS:
        if agent and agent != reader.agent:
            continue
        for item in reader.find_sessions(roots):
            try:
                info = os.stat(item.path)
            except OSError:
                continue
            item = replace(item, changed=item.changed or info.st_mtime)
            found.append(item if item.size else replace(item, size=info.st_size))
    kept = [
        item
        for item in found
        if _in_project(item, project, settings)
        and (not since or _changed_at(item) >= since)
        and q.lower() in f"{item.title} {item.native} {item.project}".lower()
    ]
    return sorted(kept, key=lambda item: (-item.changed, item.path, item.key))


def is_behind(item: SessionInfo) -> bool:
    """Say whether what its agent wrote last is left out, because its database is too large."""
    with contextlib.suppress(OSError):
        return sqlite_file.is_log_skipped(item.path)
    return False


def locate_session(source: str, settings: Settings) -> tuple[Path, str, TranscriptReader, str]:
    """Return path, key, reader and native id of what `source` names.

    Raises BadRequest (no such session, ambiguous, no transcript), Denied, Unavailable.
    """
    name = source.removeprefix("session:")
    if name in ("current", "latest", ""):
        item = _current_session(settings) if name != "latest" else None
        return _locate_entry(item or _newest_session(settings), settings)
    if os.sep in name or name.startswith((".", "~")) or Path(name).suffix:
        return locate_path(name, settings)
    matches = [
        item for item in list_sessions(settings, project="*")
        if item.native.startswith(name) or short_id(item.native) == name
    ]  # fmt: skip
    exact = [item for item in matches if item.native == name] or matches
    if not exact:
        known = [short_id(item.native) for item in list_sessions(settings)]
        raise BadRequest(f"There is no session {name!r}.{did_you_mean(name, known)}")
    if len({(item.agent, item.native) for item in exact}) > 1:
        some = ", ".join(sorted(item.native for item in exact)[:5])
        raise BadRequest(f"{name!r} is the start of several sessions: {some}.")
    return _locate_entry(exact[0], settings)


def locate_path(name: str, settings: Settings) -> tuple[Path, str, TranscriptReader, str]:
    """Return the same for a path, with `#<key>` behind it where a file holds many sessions."""
    text, _, key = name.partition("#")
    asked = Path(text).expanduser()
    if not asked.is_absolute() and settings.roots:
        asked = settings.roots[0] / asked
    path = allowed_path(asked, settings)
    if path.is_dir():
        raise BadRequest(f"{text!r} is a folder; name a transcript in it.")
    reader = choose_reader(path)
    if reader is None:
        raise BadRequest(f"{text!r} is no transcript of a known agent; open it as text instead.")
    keys = reader.session_keys(path)
    if key and key not in keys:
        raise BadRequest(f"{path.name} has no session {key!r}.{did_you_mean(key, keys)}")
    if not keys:
        raise BadRequest(f"{path.name} holds no session.")
    key = key or keys[-1]
    return path, key, reader, key or reader.session_id(path)


def allowed_path(asked: Path, settings: Settings) -> Path:
    """Return the real path of a transcript that may be read, or raise Denied."""
    real = Path(os.path.realpath(asked))
    lexical = Path(os.path.abspath(asked))
    for folder in agent_folders():
        home = Path(os.path.realpath(folder))
        if lexical.is_relative_to(folder) or lexical.is_relative_to(home):
            if real.is_relative_to(home):
                break
            raise Denied(f"{asked.name!r} is a link that leaves the agent's folder.")
    else:
        roots = [Path(os.path.realpath(root)) for root in settings.roots]
        if not any(real.is_relative_to(root) for root in roots):
            raise Denied(
                f"{asked.name!r} is neither under the roots nor in a known agent's folder; "
                "start the server with --root for its folder."
            )
    if not real.exists():
        raise BadRequest(f"There is no file {asked.name!r}.")
    if not (real.is_file() or real.is_dir()):
        raise BadRequest(f"{asked.name!r} is no ordinary file.")
    return real


def agent_folders() -> Iterator[Path]:
    """Yield the folders in which known agents keep their sessions."""
    for reader in READERS:
        yield from reader.session_folders()


def note_current(session_id: str, transcript_path: str, settings: Settings) -> Path:
    """Remember which transcript is current for this server process, and return its real path.

    Raises Denied for a path that is not in a known agent's folder, BadRequest for a file that is
    no transcript.
    """
    asked = Path(transcript_path)
    folders = [Path(os.path.realpath(folder)) for folder in agent_folders()]
    real = Path(os.path.realpath(asked))
    if not any(real.is_relative_to(folder) for folder in folders):
        raise Denied("The transcript is not in a known agent's folder.")
    if real.exists() and choose_reader(real) is None and real.stat().st_size:
        raise BadRequest("The file is no transcript of a known agent.")
    _noted[:] = [SessionInfo("", session_id, str(real))]
    return real


def _current_session(settings: Settings) -> SessionInfo | None:
    """Return the session that this server serves, as far as anybody said."""
    with contextlib.suppress(OSError, Denied, BadRequest):
        for item in _noted:
            if Path(item.path).is_file() and allowed_path(Path(item.path), settings):
                return item
    wanted = os.environ.get("CLAUDE_CODE_SESSION_ID", "")
    if re.fullmatch(r"[A-Za-z0-9-]{8,64}", wanted):
        for folder in agent_folders():
            for path in folder.glob(f"*/{wanted}.jsonl"):
                return SessionInfo("", wanted, str(path))
    return None


def _newest_session(settings: Settings) -> SessionInfo:
    found = list_sessions(settings)
    if not found:
        raise Unavailable(
            "No agent has a session in this folder; name one by id or path, or list those of "
            'other projects with session.sessions(project="*").'
        )
    # A list of prompts is no session to go on with while there is a transcript.
    return next((item for item in found if item.agent != claude_history.AGENT), found[0])


def _locate_entry(item: SessionInfo, settings: Settings) -> tuple[Path, str, TranscriptReader, str]:
    path = Path(item.path)
    reader = next((r for r in READERS if r.agent == item.agent), None) or choose_reader(path)
    if reader is None:
        raise Unavailable(f"{path.name!r} is empty, or no transcript of a known agent.")
    return allowed_path(path, settings), item.key, reader, item.native


def _in_project(item: SessionInfo, project: str, settings: Settings) -> bool:
    if project == "*":
        return True
    if project:
        return project in item.project
    here = [os.fspath(root) for root in _project_roots(settings)]
    where = os.path.realpath(item.project) if item.project else ""
    return item.shared or any(where == root or where.startswith(root + os.sep) for root in here)


def _project_roots(settings: Settings) -> list[Path]:
    """Return the folders of this project, links resolved."""
    folders = list(settings.roots)
    if chosen := os.environ.get("CLAUDE_PROJECT_DIR"):
        folders.append(Path(chosen))
    return list(dict.fromkeys(Path(os.path.realpath(folder)) for folder in folders))


def _changed_at(item: SessionInfo) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(item.changed, UTC).isoformat()
