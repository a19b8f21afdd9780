"""The reaper finds what a command leaves behind; else every test that asks it proves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

REAPER = Path(__file__).with_name("reap.py")


def reap(report: Path, script: str) -> dict[str, object]:
    command = [sys.executable, str(REAPER), str(report), "sh", "-c", script]
    subprocess.run(command, check=True, env={**os.environ, "REAP_PATIENCE_S": "2"})
    found: dict[str, object] = json.loads(report.read_text())
    return found


def test_a_process_that_outlives_its_session_is_found_and_ended(tmp_path: Path) -> None:
    report = reap(tmp_path / "report", "setsid sh -c 'sleep 4321 & wait' & exit 3")
    assert report["code"] == 3
    assert "sleep 4321" in str(report["left"])
    assert subprocess.run(["pgrep", "-f", "sleep 4321$"], capture_output=True).stdout == b""


def test_a_child_that_ends_soon_after_is_not_held_against_the_command(tmp_path: Path) -> None:
    report = reap(tmp_path / "report", "sleep 0.3 & exit 0")
    assert report == {"code": 0, "left": []}
