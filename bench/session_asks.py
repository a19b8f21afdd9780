"""Ask generated sessions what their users would, and see what an answer touches, keeps and weighs.

Called by session.py. The questions are asked through the session's methods, with no model.
"""

from __future__ import annotations

import json
import random
import string
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from rlm_mcp.redact import redact
from rlm_mcp.sessions.session import Session
from rlm_mcp.tokens import estimate_tokens
from tests.sessions.generator.layouts import Layout
from tests.sessions.generator.story import Story

QUESTIONS = {
    1: "Which file must never be edited, and does the rule still hold?",
    6: "What fixed the locked database, and what was tried in vain?",
    11: "What did the query take before and after?",
    13: "What did the subagent report, and where?",
    15: "What is still open, and how was the last run of all tests?",
}
KINDS = ("sha-1", "sha-256", "uuid", "path", "base64 of an image", "integrity of a lockfile")
LINES = 400
"""Of each kind of harmless identifier."""

Snapshot = dict[str, tuple[int, ...]]


def answers(session: Session, story: Story, layout: Layout) -> dict[int, bool | None]:
    """Say for each question whether its answer is right; None where the layout lacks the fact."""
    ask, keys = session.methods, story.keys
    no_results, no_plan = "results" in layout.lacks, "plan" in layout.lacks
    rules = [fact for fact in ask["preferences"]() if fact["status"] == "active"]
    frozen = any(keys.facts["frozen file"] in fact["quote"] for fact in rules)
    found: dict[int, bool | None] = {1: frozen}
    locked = [error for error in ask["errors"]() if "database is locked" in error["error"]]
    # The first change was tried in vain: its command failed again, in another way.
    tried = {item["file"] for error in locked for item in error["tries"]}
    found[6] = None if no_results else (
        len(locked) == 1 and bool(locked[0]["fixed_at"]) and "src/core/db.py" in tried
    )  # fmt: skip
    lines = "\n".join(hit["text"] for hit in ask["grep"](r"p95=\d+ms")["hits"])
    measured = [keys.facts["measured before"], keys.facts["measured after"]]
    found[11] = None if no_results else all(one in lines for one in measured)
    reports = json.dumps(ask["subagents"]()) + json.dumps(ask["grep"]("charge_v1")["hits"])
    no_report = no_results or layout.name == "aider"
    found[13] = None if no_report else keys.facts["report"] in reports
    todo = [task["task"] for task in ask["tasks"]() if task["status"] in ("open", "active")]
    planned = [task for task, status in keys.tasks.items() if status in ("open", "active")]
    passed = no_results or any(
        keys.facts["last run"] in hit["text"] for hit in ask["grep"](r"\d+ passed")["hits"]
    )
    found[15] = None if no_plan else todo == planned and passed
    return found


def calls(session: Session) -> dict[str, int]:
    """Call every method that needs no argument; return the size of each reply in bytes."""
    wants = {"get", "grep", "search", "search_all", "mirrored", "file_at", "diff", "since",
             "verify", "rollup_save", "rollup"}  # fmt: skip
    found = {}
    if not session.methods["compactions"]():
        wants.add("audit")
    for name, method in session.methods.items():
        if name not in wants:
            found[name] = len(json.dumps(method(), default=str).encode())
    for name, argument in (("grep", "."), ("search", "tests"), ("search_all", "tests")):
        found[name] = len(json.dumps(session.methods[name](argument), default=str).encode())
    return found


def seen(folder: Path) -> Snapshot:
    """Return what a write, a lock or a log would change in a folder: names, sizes, times."""
    return {
        str(path): (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino, info.st_nlink)
        for path in sorted(folder.rglob("*"))
        for info in (path.lstat(),)
    }


def touched(before: Snapshot, after: Snapshot) -> int:
    """Return how many entries were changed, made or removed."""
    return sum(before.get(name) != after.get(name) for name in before.keys() | after.keys())


def identifiers(seed: int) -> Iterator[tuple[str, str]]:
    """Yield (kind, line) with what looks random and is no secret."""
    chance = random.Random(seed)
    for _ in range(LINES):
        digest = sha256(chance.randbytes(16))
        name = "/".join("".join(chance.choices(string.ascii_lowercase, k=7)) for _ in range(4))
        values = (
            f"commit {digest.hexdigest()[:40]}",
            f"sha256:{digest.hexdigest()}  dist/wheel.whl",
            f'{{"id": "{UUID(bytes=digest.digest()[:16], version=4)}", "parent": null}}',
            f"/home/dev/{name}/test_{digest.hexdigest()[:8]}.py:{chance.randrange(999)}",
            f"data:image/png;base64,{b64encode(chance.randbytes(300)).decode()}",
            f'"integrity": "sha512-{b64encode(chance.randbytes(64)).decode()}"',
        )
        yield from zip(KINDS, values, strict=True)


def kept(seed: int) -> tuple[dict[str, int], int]:
    """Return how many lines of each kind redaction spoilt, and the tokens of all."""
    spoilt, size = dict.fromkeys(KINDS, 0), 0
    for kind, line in identifiers(seed):
        spoilt[kind] += redact(line) != line
        size += estimate_tokens(line, "code")
    return spoilt, size
