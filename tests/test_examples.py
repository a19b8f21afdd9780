"""The examples run as they are written, without a key."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
TURNS = [("user", "Where is the port set?"), ("assistant", "The port 8125 is set in config.py.")]


def run_python(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_folder_is_asked(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("class Basket:\n    '''What a customer will buy.'''\n")
    question = "Where is the class Basket defined?"
    printed = run_python(tmp_path, str(EXAMPLES / "ask_folder.py"), ".", question)
    assert "shop.py#L1" in printed and "\nverified" in printed and "$0.00" in printed


def test_a_log_is_asked(tmp_path: Path) -> None:
    lines = [f"2026-03-01T10:00:{n:02} INFO request {n} served" for n in range(50)]
    lines[30] = "2026-03-01T10:00:30 ERROR the disk volume7 is full"
    (tmp_path / "app.log").write_text("\n".join(lines) + "\n")
    printed = run_python(
        tmp_path, str(EXAMPLES / "ask_log.py"), "app.log", "Which disk volume is full?"
    )
    assert "volume7" in printed and "\nverified" in printed


def test_a_session_is_asked(tmp_path: Path) -> None:
    records = [
        {
            "type": kind,
            "uuid": f"u{number}",
            "parentUuid": f"u{number - 1}" if number else None,
            "sessionId": "5f0c0000-0000-4000-8000-000000000001",
            "timestamp": f"2026-03-01T10:00:0{number}.000Z",
            "cwd": str(tmp_path),
            "message": {"role": kind, "content": [{"type": "text", "text": text}]},
        }
        for number, (kind, text) in enumerate(TURNS)
    ]
    transcript = tmp_path / "5f0c0000-0000-4000-8000-000000000001.jsonl"
    transcript.write_text("".join(json.dumps(record) + "\n" for record in records))
    printed = run_python(
        tmp_path, str(EXAMPLES / "ask_session.py"), str(transcript), "Which port is set?"
    )
    assert "8125" in printed and "complete" in printed


def test_a_tool_of_a_project_is_called_once_it_is_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "user_tool"
    shutil.copytree(EXAMPLES / "user_tool", folder)
    run_python(tmp_path, "-Im", "rlm_mcp.cli", "trust", str(folder), "--yes")
    printed = run_python(tmp_path, str(folder / "call_tool.py"))
    assert "Call the tool in .rlm/tools of this folder" in printed
