"""Change a user's file by edits at positions, atomically, and remember how to undo it exactly.

What is remembered is where we inserted, never the user's text: if the file is as we left it, the
undo takes out exactly those characters (or the file, if we made it).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rlm_mcp.config import state_dir
from rlm_mcp.errors import BadRequest, Unavailable
from rlm_mcp.files import replace_file


class TextEdit(NamedTuple):
    """Replace the characters from `start` up to `end` by `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """What would be done to a file. `after` is None where the file goes away."""

    path: Path
    before: str | None
    after: str | None
    undo: tuple[tuple[int, int], ...] | None = None
    """Spans of `after` whose removal gives `before`; None where that is not enough."""

    @property
    def has_changes(self) -> bool:
        return self.before != self.after


def apply_edits(
    text: str, edits: Sequence[TextEdit]
) -> tuple[str, tuple[tuple[int, int], ...] | None]:
    """Return the edited text, and the spans that undo it where all edits only insert."""
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    position = length = 0
    for edit in sorted(edits):
        parts += [text[position : edit.start], edit.text]
        length += edit.start - position
        spans.append((length, length + len(edit.text)))
        length += len(edit.text)
        position = edit.end
    parts.append(text[position:])
    inserts = all(edit.start == edit.end for edit in edits)
    return "".join(parts), tuple(spans) if inserts else None


def read_config(path: Path) -> str | None:
    """Return a file's text with its line ends, or None where there is none."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"Cannot read {path} ({error}); nothing was changed.") from error


def write_change(change: ConfigChange) -> None:
    """Write the change, and remember (or forget) how to undo it."""
    journal = _read_journal()
    # A file that is a link (dotfiles) stays one: what it points to is replaced.
    target = Path(os.path.realpath(change.path))
    _check_writable(target)
    try:
        known = journal.pop(str(change.path), {})
        if change.after is None:
            target.unlink()
            for folder in known.get("folders", []):
                with suppress(OSError):  # somebody put something there meanwhile
                    os.rmdir(folder)
        else:
            folders = [str(folder) for folder in target.parents if not folder.exists()]
            target.parent.mkdir(parents=True, exist_ok=True)
            _replace_file(target, change.after)
            if change.undo is not None:
                journal[str(change.path)] = {
                    "sha256": _text_digest(change.after),
                    "spans": change.undo,
                    "made": change.before is None,
                    "folders": folders or known.get("folders", []),
                }
    except OSError as error:
        raise Unavailable(f"Cannot write {change.path} ({error}); nothing was changed.") from error
    _replace_file(_journal_path(), json.dumps(journal, indent=2) + "\n")


def _check_writable(path: Path) -> None:
    """Raise Unavailable for a file that is read-only: replacing it would pass that over."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not mode & 0o222:
        raise Unavailable(f"{path} is read-only; nothing was changed.")


def exact_undo(path: Path, text: str) -> ConfigChange | None:
    """Return the exact undo of what we once did to this file, if it is as we left it."""
    entry = _read_journal().get(str(path))
    if entry is None or entry["sha256"] != _text_digest(text):
        return None
    if entry["made"]:
        return ConfigChange(path, text, None)
    before, _ = apply_edits(text, [TextEdit(start, end, "") for start, end in entry["spans"]])
    return ConfigChange(path, text, before)


def check_change(
    change: ConfigChange, load: Callable[[str], dict[str, Any]], wanted: dict[str, Any], advice: str
) -> ConfigChange:
    """Return the change if it means exactly what is wanted, else raise Unavailable."""
    try:
        if change.after is None or load(change.after) == wanted:
            return change
    except BadRequest:
        pass
    raise Unavailable(
        f"{change.path} is written in a way that cannot be edited safely; nothing was changed. "
        f"{advice}"
    )


def _replace_file(path: Path, text: str) -> None:
    try:
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        mode = 0o600
    replace_file(path, text.encode("utf-8"), mode)


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _journal_path() -> Path:
    return state_dir() / "installed.json"


def _read_journal() -> dict[str, Any]:
    try:
        journal = json.loads(_journal_path().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return journal if isinstance(journal, dict) else {}
