"""Small files that others read: contexts.json and servers/<pid>.json, written atomically.

docs/trajectory.md describes them; the editor extension shows them. Used from one thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm_mcp import __version__
from rlm_mcp.files import replace_file

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.variable import Description

STATE_VERSION = 1
TEMPORARY_S = 3600.0
"""Age from which a half written file is one of a killed writer."""


class StateFiles:
    """What this process tells about itself in the state folder."""

    def __init__(self, state: Path, settings: Settings) -> None:
        self._state, self._settings = state, settings
        self._own = state / "servers" / f"{os.getpid()}.json"
        self._started = time.time()

    def write_all(self, contexts: Sequence[Description], runs: Sequence[str]) -> None:
        """Write both files: what is open here, and what this server is."""
        for path in self._own.parent.glob("*.json"):
            if path.stem.isdigit() and not _is_alive(int(path.stem)):
                path.unlink(missing_ok=True)
        for path in (
            *self._state.glob(".*.json.*"),
            *self._own.parent.glob(".*.json.*"),
        ):  # of writers that were killed
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > TEMPORARY_S:
                    path.unlink()
        settings = self._settings
        replace_json(
            self._own,
            {
                "v": STATE_VERSION,
                "pid": os.getpid(),
                "version": __version__,
                "started": self._started,
                "roots": [str(root) for root in settings.roots],
                "model": settings.model,
                "sub_model": settings.sub_model,
                "max_usd": settings.max_usd,
                "max_usd_day": settings.max_usd_day,
                "runs": list(runs),
            },
        )
        self._write_contexts([_context_entry(description) for description in contexts])

    def remove_own(self) -> None:
        """Take back what this process wrote."""
        self._own.unlink(missing_ok=True)
        self._write_contexts([])

    def _write_contexts(self, own: list[dict[str, Any]]) -> None:
        """Put this process's contexts beside those of the other living ones."""
        path = self._state / "contexts.json"
        try:
            known = json.loads(path.read_text("utf-8"))["contexts"]
            others = [
                item for item in known if item["pid"] != os.getpid() and _is_alive(item["pid"])
            ]
        except (OSError, ValueError, KeyError, TypeError):
            others = []
        contexts = others + [{**item, "pid": os.getpid()} for item in own]
        replace_json(path, {"v": STATE_VERSION, "updated": time.time(), "contexts": contexts})


def replace_json(path: Path, value: Any) -> None:
    """Write JSON to a file that others never see half written."""
    replace_file(path, json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def _context_entry(d: Description) -> dict[str, Any]:
    return {
        "name": d.name,
        "kind": d.kind,
        "source": d.source,
        "size_bytes": d.size_bytes,
        "tokens": d.tokens,
        "documents": d.documents,
        "lines": d.lines,
        "freshness": d.freshness,
        "ref_example": d.ref_example,
        "notes": list(d.notes),
    }


def _is_alive(pid: object) -> bool:
    if type(pid) is not int or pid <= 0:
        return False
    if os.name == "nt":
        return True  # a signal of 0 would end the process there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
