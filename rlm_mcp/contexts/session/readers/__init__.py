"""One reader per agent's format, and the choice of the one that understands a file."""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from pathlib import Path

from rlm_mcp.contexts.session.readers import (
    aider,
    claude_code,
    claude_history,
    cline,
    codex,
    copilot,
    copilot_cli,
    cursor,
    cursor_cli,
    cursor_ide,
    gemini,
    opencode,
    plain,
    qwen,
    specstory,
)
from rlm_mcp.contexts.session.readers.reader import HEAD, Reader

READERS: tuple[Reader, ...] = (
    claude_history.READER,
    codex.READER,
    cursor.READER,
    copilot_cli.READER,
    copilot.READER,
    gemini.READER,
    cline.READER,
    qwen.READER,
    claude_code.READER,
    cursor_cli.READER,
    cursor_ide.READER,
    opencode.READER,
    specstory.READER,
    aider.READER,
)
"""In the order in which they are asked; the first that recognises a file reads it."""


def choose(path: Path) -> Reader | None:
    """Return the reader that understands the file, or None. It is only read, never locked."""
    try:
        with plain.opened(os.path.realpath(path)) as file:
            head = file.read(HEAD).removeprefix(BOM_UTF8)
    except OSError:
        return None
    return next((reader for reader in READERS if reader.detect(path, head)), None)
