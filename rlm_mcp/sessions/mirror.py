"""A copy of a session's turns that outlives the agent's own file. Only when asked for.

Some agents rewrite their transcripts at a compaction or delete them after a month. `keep` appends
what is new to a file in our state folder: redacted, one JSON line a block, addressed by the
digest of its bytes, never changed afterwards. A block whose turn was rewound meanwhile is written
once more, with its new branch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rlm_mcp import config
from rlm_mcp.errors import Unavailable
from rlm_mcp.files import private_folder, regular_handle
from rlm_mcp.methods import ResultList
from rlm_mcp.sessions.schema import BRANCHES
from rlm_mcp.sessions.view import TranscriptView, block_turn_rows


def save_mirror(view: TranscriptView) -> dict[str, Any]:
    """Append the blocks that the mirror has not; return how many it added and where it is."""
    path = _mirror_path(view)
    private_folder(path.parent)
    known = {_entry_key(entry): entry.get("branch") for entry in read_mirror(view)}
    added = 0
    with open(_open_mirror(path, os.O_RDWR | os.O_APPEND | os.O_CREAT), "a+b") as file:
        if not _ends_with_newline(file):
            file.write(b"\n")  # behind a line that a crash cut
        for row in block_turn_rows(view, "1"):
            entry = {
                "ref": view.block_ref(row),
                "sha": row["sha"],
                "type": row["type"],
                "name": row["name"],
                "status": row["status"],
                "role": row["role"],
                "origin": row["origin"],
                "branch": BRANCHES[row["live"]],
                "at": row["ts"],
                "text": view.block_text(row),
            }
            key = _entry_key(entry)
            if known.get(key) != entry["branch"]:
                file.write(json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
                added += key not in known
                known[key] = entry["branch"]
    return {"added": added, "blocks": len(known), "path": str(path)}


def _open_mirror(path: Path, flags: int) -> int:
    """Open the mirror; follow no link and wait for no pipe that was planted in its place."""
    try:
        return regular_handle(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unavailable(
            f"The mirror {path} cannot be opened: {error.strerror}. Move away what is there."
        ) from error


def _ends_with_newline(file: BinaryIO) -> bool:
    """Say whether the last line has its end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 1))
    return not size or file.read(1) == b"\n"


def find_mirrored(view: TranscriptView, text: str, limit: int = 30) -> ResultList[dict[str, Any]]:
    """Return the mirrored blocks that hold a text, newest last, also those that the agent lost."""
    found = list(
        {_entry_key(entry): entry for entry in read_mirror(view) if text in entry["text"]}.values()
    )
    return ResultList(found[-limit:] if limit > 0 else [], len(found))


def read_mirror(view: TranscriptView) -> Iterator[dict[str, Any]]:
    """Yield what the mirror holds; a last line that was cut by a crash is passed over."""
    try:
        with open(_open_mirror(_mirror_path(view), os.O_RDONLY), "rb") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(entry, dict) and all(
                    isinstance(entry.get(key), str) for key in ("ref", "sha", "text")
                ):
                    yield entry
    except FileNotFoundError:
        return


def _entry_key(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["ref"].partition(":")[2], entry["sha"]


def _mirror_path(view: TranscriptView) -> Path:
    return config.state_dir() / "sessions" / f"{view.index.id}.mirror.jsonl"
