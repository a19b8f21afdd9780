"""Ask a coding agent's transcript. Usage: python examples/ask_session.py TRANSCRIPT QUESTION

A transcript is a file such as ~/.claude/projects/<project>/<id>.jsonl. The command line also takes
`latest` and `current`.
"""

from __future__ import annotations

import json
import subprocess
import sys


def main(transcript: str, question: str) -> None:
    command = [sys.executable, "-Im", "rlm_mcp.cli", "ask", question]
    options = ["--session", transcript, "--model", "extractive:", "--json"]
    printed = subprocess.run([*command, *options], check=True, capture_output=True, text=True)
    answer = json.loads(printed.stdout)
    print(answer["answer"])
    print(f"\n{answer['status']}: {len(answer['evidence'])} refs")


if __name__ == "__main__":
    main(*sys.argv[1:])
