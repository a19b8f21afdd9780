"""The main job on real input, without a key: three questions, answered with verified refs.

Two go to the installed source of a large public package (the Anthropic SDK, which rlm-mcp
depends on), one to this checkout's own git history. The embedded `extractive:` model ranks and
quotes; no network is used and nothing is spent. Fails when an answer has no verified evidence.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rlm_mcp.plurals import count_noun

ROOT = Path(__file__).parents[1]


def package_folder(name: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{name} is not installed; run: make setup")
    return Path(spec.origin).parent


def ask(question: str, arguments: list[str], folder: Path, state: Path) -> dict[str, Any]:
    """Run `rlm-mcp ask --json` as a user would; return its object."""
    command = [str(Path(sys.executable).parent / "rlm-mcp"), "ask", question, *arguments]
    env = {
        **os.environ,
        "RLM_MCP_STATE_DIR": str(state / "state"),
        "RLM_MCP_CACHE_DIR": str(state / "cache"),
    }
    done = subprocess.run(
        [*command, "--model", "extractive:", "--json"],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def show(question: str, where: str, got: dict[str, Any]) -> None:
    """Print one answer the way a person reads it."""
    verified = sum(1 for item in got["evidence"] if item["verified"])
    print(f"\n== {question}\n   asked of {where}\n")
    print(got["answer"].rstrip())
    print()
    for item in got["evidence"]:
        mark = "verified" if item["verified"] else "NOT VERIFIED"
        print(f"   {mark}  {item['ref']}")
    print(
        f"   status {got['status']} · {verified} of {len(got['evidence'])} refs verified · "
        f"{got['seconds']:.2f} s · {count_noun(got['calls'], 'model call')} · "
        f"cost ${got['cost_usd']:.2f}"
    )


def main() -> int:
    """Ask the three questions; return 1 if one has no verified evidence."""
    package = package_folder("anthropic")
    questions = [
        (
            "How does the client decide how long to wait before it retries a request?",
            ["--open", str(package)],
            f"the installed source of the anthropic package ({package.name}/)",
        ),
        (
            "Where is the class Stream defined and how does it decode server-sent events?",
            ["--open", str(package)],
            f"the installed source of the anthropic package ({package.name}/)",
        ),
        (
            "Which commit laid out the contracts between the rooms?",
            ["--history"],
            "this checkout's git history",
        ),
    ]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="rlm-demo-") as scratch:
        for question, arguments, where in questions:
            got = ask(question, arguments, ROOT, Path(scratch))
            show(question, where, got)
            good = got["evidence"] and all(item["verified"] for item in got["evidence"])
            failed += not good
    print(f"\n{len(questions) - failed} of {len(questions)} questions answered with verified refs.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
