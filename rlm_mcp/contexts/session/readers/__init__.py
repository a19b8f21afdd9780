"""One reader per agent's format, and the choice of the one that understands a file."""

from __future__ import annotations

from pathlib import Path

from rlm_mcp.contexts.session.readers import claude_code
from rlm_mcp.contexts.session.readers.reader import HEAD, Reader

READERS: tuple[Reader, ...] = (claude_code.READER,)
"""In the order in which they are asked; the first that recognises a file reads it."""


def choose(path: Path) -> Reader | None:
    """Return the reader that understands the file, or None. It is only read, never locked."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return None
    return next((reader for reader in READERS if reader.detect(path, head)), None)
