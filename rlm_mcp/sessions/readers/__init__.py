"""One reader per agent's format, and the choice of the one that understands a file."""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from pathlib import Path

from rlm_mcp import files
from rlm_mcp.sessions.readers import (
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
    qwen,
    specstory,
)
from rlm_mcp.sessions.readers.reader import HEAD_BYTES, TranscriptReader

READERS: tuple[TranscriptReader, ...] = (
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


def choose_reader(path: Path) -> TranscriptReader | None:
    """Return the reader that understands the file, or None. It is only read, never locked."""
    try:
        with files.open_regular(os.path.realpath(path)) as file:
            head = file.read(HEAD_BYTES).removeprefix(BOM_UTF8)
    except OSError:
        return None
    return next((reader for reader in READERS if reader.detect_format(path, head)), None)
