"""No call of the session variable lets a secret out, wherever in the transcript it stood."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.corpus.search import Query
from rlm_mcp.methods import to_wire
from rlm_mcp.refs import parse_ref
from rlm_mcp.sessions import hooks
from rlm_mcp.sessions.session import Session
from tests.sessions.conftest import Record

Write = Callable[..., Path]
Open = Callable[[Path], Session]

PEM = "MIIEpAIBAAKCAQEA7bq3kRkVn0tYw1Z8mQdXh2LrJ5cGfT9uPsNe4vKoWyBxDaHi"
SECRETS = {
    "aws": "AKIAQ7R2M5XJ3WPLT6ZN",
    "github": "ghp_9fK2mXq7LpR4tVw8ZbN3cYd6HsJ1gTa5QeUi",
    "anthropic": "sk-ant-api03-Zk4Tq9Xw2Lm7Rv5Bn8Yc3Hd6Js1Ga0Pe",
    "slack": "xoxb-482915736021-Kq7Xm2Lp9Rt4Vw8Z",
    "npm": "npm_4hT8kQ2xW9mL5rV7bN3cY6dJ1sG0pZaUeFiX",
    "google": "AIzaSyD4k9Qw7Xm2Lp5Rt8Vb3Nc6Yd1Hs0Ga-Je",
    "password": "tR7#kQ9xWm2Lp",
    "pem": PEM,
}
PLAIN = list(SECRETS.values())


def spread(record: Record, keep: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a session that has each secret in every place that a transcript has."""
    parent: str | None = None

    def add(kind: str, content: Any, **more: Any) -> str:
        nonlocal parent
        uuid = f"u{len(keep)}"
        keep.append(record(kind, uuid, parent, content, **more))
        parent = uuid
        return uuid

    for name, secret in SECRETS.items():
        told = f'password = "{secret}"' if name == "password" else secret
        if name == "pem":
            told = f"-----BEGIN RSA PRIVATE KEY-----\n{PEM}\n{PEM}\n-----END RSA PRIVATE KEY-----"
        flat = told.replace("\n", " ")
        add("user", f"Always use the key {told} for the tests, never another one.",
            gitBranch=f"feature/{flat}", version=f"2 {flat}", cwd=f"/w/{flat}/x")  # fmt: skip
        add("assistant", [{"type": "text", "text": f"I decided to keep {told} because it works."}],
            model=f"model {flat}")  # fmt: skip
        keep[-1]["message"]["model"] = f"model {flat}"
        calls = [
            ("Bash", {"command": f"curl -H 'X: {told}' https://u.invalid && pytest {flat}"}),
            ("Write", {"file_path": f"/w/{flat}.py", "content": f"KEY = {json.dumps(told)}\n"}),
            ("Edit", {"file_path": f"/w/{flat}.py", "old_string": told, "new_string": f"b {told}"}),
            ("TodoWrite", {"todos": [{"content": f"Rotate {told}", "status": "pending"}]}),
            ("Task", {"description": f"look at {told}", "prompt": json.dumps({"k": told})}),
            ("Grep", {"pattern": told}),
            (f"mcp__x {flat}", {"deep": [{"deeper": json.dumps({"deepest": told})}]}),
        ]
        for number, (tool, values) in enumerate(calls):
            call = f"toolu_{name}_{number}"
            add("assistant", [{"type": "tool_use", "id": call, "name": tool, "input": values}])
            text = f"Exit code 1\nE   ValueError: {told}\nFAILED tests/test_a.py::test_a[{flat}]\n"
            text += f"took={told} rate = 12 ms\n[main 1a2b3c4] Keep {told}\n"
            result = {"type": "tool_result", "tool_use_id": call, "content": text}
            add("user", [{**result, "is_error": number % 2 == 0}])
        add("assistant", [{"type": "thinking", "thinking": f"hm {told}"}])
        image = {"type": "base64", "media_type": f"image/{flat}", "data": "aGVsbG8="}
        add("user", [{"type": "image", "source": image}])
        keep.append({"type": f"odd {flat}", "note": told})
        keep.append({"type": "summary", "summary": f"Work on {told}", "leafUuid": parent})
        uuid = f"b{len(keep)}"
        keep.append({"type": "system", "subtype": "compact_boundary", "uuid": uuid,
                     "parentUuid": None, "logicalParentUuid": parent, "content": f"cut {told}",
                     "compactMetadata": {"trigger": told, "preTokens": 9}})  # fmt: skip
        parent = uuid
        add("user", f"This session is being continued from a previous conversation: {told}. "
            f"All tests pass with {told}.", isCompactSummary=True)  # fmt: skip
        add("assistant", [{"type": "text", "text": f"The last word is {told}"}])
    return keep


def everything(session: Session) -> dict[str, str]:
    """Return all that each call gives, by its name."""
    methods = session.methods
    files = [entry["path"] for group in methods["files"]().values() for entry in group]
    refs = [block["ref"] for turn in methods["turns"]() for block in turn["blocks"]]
    found: dict[str, Any] = {
        name: method()
        for name, method in methods.items()
        if name not in ("get", "grep", "search", "search_all", "mirrored", "file_at", "diff",
                        "since", "verify", "rollup_save", "rollup")
    }  # fmt: skip
    found["get"] = [methods["get"](ref) for ref in refs[::5]]
    found["grep"] = [methods["grep"]("key|pass|use", limit=500), methods["grep"](".", kind="Bash")]
    found["search"] = methods["search"]("key tests password rotate", limit=50)
    found["search_all"] = methods["search_all"]("key tests", project="*")
    found["mirrored"] = methods["mirrored"]("key", limit=500)
    found["file_at"] = [methods["file_at"](path) for path in files]
    found["diff"] = [methods["diff"](path) for path in files]
    found["since"] = methods["since"](1)
    found["verify"] = methods["verify"](refs[0])
    parts = methods["rollup_parts"]()
    methods["rollup_save"]({part["key"]: f"Note on {part['ref']}" for part in parts})
    found["rollup"] = methods["rollup"]()
    found["yaml"] = methods["handoff"](5_000, "yaml")
    found["large brief"] = methods["brief"](100_000)
    found["audits"] = [methods["audit"](k + 1) for k in range(len(methods["compactions"]()))]
    whole = parse_ref("session")
    found["describe"] = to_wire(session.describe())
    found["documents"] = list(session.documents(whole))
    found["text"] = session.full_text(whole)
    found["read"] = to_wire(session.peek(whole, 5_000))
    found["lines"] = to_wire(session.grep(Query(".", limit=2_000), whole))
    found["rank"] = to_wire(session.search("key tests password", whole, 50))
    found["outline"] = to_wire(session.outline(whole))
    found["chunks"] = to_wire(session.chunk(whole))
    found["hooks"] = [
        hooks.before_compaction_text("session", "", hooks.active_facts(session), tokens=9_000),
        hooks.after_compaction_text(
            "session",
            "",
            hooks.active_facts(session),
            hooks.contradiction_lines(session),
            tokens=9_000,
        ),
    ]
    return {
        name: json.dumps(value, ensure_ascii=False, default=str) for name, value in found.items()
    }


def test_no_call_lets_a_secret_out(record: Record, transcript: Write, opened: Open) -> None:
    path = transcript(*spread(record, []))
    folder = path.with_suffix("") / "subagents"
    folder.mkdir(parents=True)
    flat = SECRETS["github"]
    found = [{"type": "text", "text": f"Found {flat}"}]
    child = [
        record("user", "c1", None, f"Look for {flat}"),
        record("assistant", "c2", "c1", found),
    ]
    (folder / "agent-a1.jsonl").write_text("".join(json.dumps(one) + "\n" for one in child))
    meta = {"agentType": flat, "description": f"find {flat}", "toolUseId": "toolu_github_4"}
    (folder / "agent-a1.meta.json").write_text(json.dumps(meta))
    told = everything(opened(path))
    leaks = {
        name: [kind for kind, secret in SECRETS.items() if secret in text]
        for name, text in told.items()
    }
    assert {name: kinds for name, kinds in leaks.items() if kinds} == {}
    assert "[secret:" in told["text"]


@pytest.mark.parametrize("name", ["mirror", "rollup_parts"])
def test_what_is_kept_on_disk_holds_no_secret(
    record: Record, transcript: Write, opened: Open, tmp_path: Path, name: str
) -> None:
    session = opened(transcript(*spread(record, [])))
    session.methods[name]()
    session.methods["search"]("key")
    for file in (tmp_path / "rlm").rglob("*"):
        data = file.read_bytes() if file.is_file() else b""
        assert [
            data[max(0, data.find(s.encode()) - 90) :][:150] for s in PLAIN if s.encode() in data
        ] == [], file.name
