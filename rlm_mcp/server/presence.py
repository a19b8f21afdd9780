"""servers/<pid>.json: tells other programs of this user that a server runs, and for what."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import rlm_mcp
from rlm_mcp.config import Settings, state_dir


@contextlib.contextmanager
def present(settings: Settings, transport: str) -> Iterator[None]:
    """Write the file, and take it away at the end; those of dead servers go too.

    A state folder that cannot be written costs a view in an editor, never the server.
    """
    path: Path | None = None
    with contextlib.suppress(OSError):
        folder = state_dir() / "servers"
        folder.mkdir(mode=0o700, exist_ok=True)
        _sweep(folder)
        path = folder / f"{os.getpid()}.json"
        values = {
            "version": rlm_mcp.__version__,
            "pid": os.getpid(),
            "started": round(time.time(), 3),
            "transport": transport,
            "roots": [str(root) for root in settings.roots],
        }
        draft = path.with_suffix(".tmp")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(values) + "\n", "utf-8")
        draft.replace(path)
    try:
        yield
    finally:
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()


def _sweep(folder: Path) -> None:
    for path in folder.glob("*.json"):
        if path.stem.isdigit() and not _alive(int(path.stem)):
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    if os.name == "nt":
        # Sending signal 0 would end the process there; a file too many is the lesser evil.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
