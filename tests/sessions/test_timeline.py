"""Notes that are never made twice, files as they were, and what is new since a mark."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp import sessions
from rlm_mcp.config import Settings
from rlm_mcp.errors import BadRequest, Unavailable
from rlm_mcp.refs import parse_ref
from rlm_mcp.sessions import activity
from rlm_mcp.sessions.brief import active_rules
from rlm_mcp.sessions.session import Session
from rlm_mcp.tokens import estimate_tokens
from tests.sessions.generator.layouts import LAYOUTS
from tests.sessions.generator.story import Story, tell

Record = Callable[..., dict[str, Any]]


@pytest.fixture
def story() -> Story:
    return tell(9, filler=40)


@pytest.fixture
def session(story: Story, tmp_path: Path, opened: Callable[[Path], Session]) -> Session:
    return opened(LAYOUTS["claude"].write(story, tmp_path / "written"))


def roll(session: Session, tokens: int) -> tuple[str, int]:
    """Make all notes that are missing; return the text and how many had to be made."""
    made, level = 0, 1
    while True:
        parts = session.methods["rollup_parts"](tokens, level)
        missing = [part for part in parts if not part["note"]]
        made += len(missing)
        if missing:
            notes = {part["key"]: f"note on {part['ref']}" for part in missing}
            session.methods["rollup_save"](notes)
        if len(parts) == 1:
            return session.methods["rollup"](tokens), made
        level += 1


def test_a_rollup_of_unchanged_input_needs_no_call_and_gives_the_same_bytes(
    session: Session,
) -> None:
    first, made = roll(session, 600)
    assert made > 9
    for _ in range(10):
        assert roll(session, 600) == (first, 0)


def test_an_append_costs_only_the_last_leaf_and_what_stands_above_it(
    session: Session, record: Record
) -> None:
    roll(session, 600)
    leaves = len(session.methods["rollup_parts"](600, 1))
    last = session.index.query_rows("SELECT native FROM turns WHERE doc=1 AND live=1 ORDER BY n")[
        -1
    ][0]
    path = session.index.path
    data = path.read_bytes()
    path.write_bytes(
        data[: data.rindex(b"\n") + 1]
        + json.dumps(record("user", "new", last, "One more thing.")).encode()
        + b"\n"
    )
    session.refresh()
    _, made = roll(session, 600)
    assert 1 <= made <= 5 < leaves


def test_leaves_cover_the_session_once(session: Session) -> None:
    refs = [part["ref"] for part in session.methods["rollup_parts"](600)]
    text = "\n".join(session.full_text(parse_ref(ref)) for ref in refs)
    assert text == session.full_text(parse_ref("session"))


def test_a_level_above_quotes_and_is_not_made_from_notes_alone(
    session: Session, story: Story
) -> None:
    parts = session.methods["rollup_parts"](600, 1)
    session.methods["rollup_save"]({part["key"]: "n" for part in parts})
    prompts = "".join(part["prompt"] for part in session.methods["rollup_parts"](600, 2))
    assert all(rule in prompts for rule in story.keys.rules)


def test_a_level_whose_notes_are_missing_is_refused(session: Session) -> None:
    with pytest.raises(BadRequest, match="notes of level 1 are missing"):
        session.methods["rollup_parts"](600, 2)
    with pytest.raises(BadRequest, match="have no note yet"):
        session.methods["rollup"](600)


def test_a_file_is_rebuilt_as_it_was_at_a_turn(session: Session, story: Story) -> None:
    path = "src/core/idempotency.py"
    header = story.keys.facts["header"]
    assert header in session.methods["file_at"](path)["text"]
    turn = int(session.methods["files"](path)["files"][0]["first"].partition("#")[2].split(".")[0])
    early = session.methods["file_at"](path, turn)
    assert early["known"]
    assert header not in early["text"]
    assert not session.methods["file_at"]("src/webhooks/retry.py")["known"]


def test_diffs_show_each_change(session: Session) -> None:
    changes = session.methods["diff"]("src/webhooks/retry.py")
    assert [change["diff"].count("\n-MAX") for change in changes] == [1, 1]
    with pytest.raises(BadRequest, match="never touched"):
        session.methods["diff"]("src/unknown.py")


def test_since_tells_only_what_is_new(session: Session, story: Story) -> None:
    boundary = session.methods["compactions"]()[0]["turn"]
    new = session.methods["since"](boundary)
    assert [commit["commit"] for commit in new["commits"]] == [story.keys.commit]
    quotes = {fact["quote"] for fact in new["facts"]}
    assert story.keys.corrections[-1] in quotes
    assert not quotes & set(story.keys.rules)
    assert session.methods["since"](new["mark"])["timeline"] == []


def test_commits_are_joined_with_git(
    record: Record, transcript: Callable[..., Path], opened: Callable[[Path], Session],
    tmp_path: Path,
) -> None:  # fmt: skip
    repo = tmp_path / "repo"
    repo.mkdir()

    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.invalid")
        run = subprocess.run(
            ["git", *who, *words], cwd=repo, check=True, capture_output=True, text=True
        )
        return run.stdout

    git("init", "-q", "-b", "main")
    (repo / "a.txt").write_text("one")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    sha = git("rev-parse", "--short", "HEAD").strip()
    (repo / "a.txt").write_text("two")
    git("commit", "-q", "-am", "second")
    use = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "git commit -m x"}}
    said = {"type": "tool_result", "tool_use_id": "t", "content": f"[main {sha}] first\n 1 file"}
    path = transcript(
        record("assistant", "a", None, [use], cwd=str(repo)),
        record("user", "r", "a", [said], cwd=str(repo)),
    )
    commit = opened(path).methods["commits"]()[0]
    assert commit["in_repository"] is True
    assert commit["changed_since"] == ["a.txt"]


def test_a_handoff_is_short_and_cited_in_both_forms(session: Session, story: Story) -> None:
    for form in ("md", "yaml"):
        text = session.methods["handoff"](900, form)
        assert estimate_tokens(text, "code") <= 900
        held = sum(anchor in text for anchor in story.keys.facts.values())
        assert held >= 0.8 * len(story.keys.facts)
    with pytest.raises(BadRequest, match="md or yaml"):
        session.methods["handoff"](900, "xml")


@pytest.mark.parametrize("tokens", [200, 600, 1500])
def test_a_brief_keeps_to_its_budget_and_counts_what_it_leaves_out(
    session: Session, tokens: int
) -> None:
    text = session.methods["brief"](tokens)
    assert estimate_tokens(text, "code") <= tokens
    assert "Not shown:" in text or tokens == 1500


@pytest.mark.parametrize("call", ["brief", "handoff"])
def test_a_page_is_never_longer_than_asked_for_and_too_small_a_one_is_refused(
    session: Session, call: str
) -> None:
    make = session.methods[call]
    for form in ({},) if call == "brief" else ({"form": "md"}, {"form": "yaml"}):
        with pytest.raises(BadRequest, match=r"at least \d+ tokens, not 1\.") as refused:
            make(1, **form)
        least = int(str(refused.value).split("at least ")[1].split()[0])
        assert least < 200
        for tokens in (0, -5, least - 1):
            with pytest.raises(BadRequest, match=f"at least {least} tokens"):
                make(tokens, **form)
        for tokens in (*range(least, least + 40), 250, 400, 901):
            assert estimate_tokens(make(tokens, **form), "code") <= tokens, tokens


def test_hooks_carry_the_rules_verbatim_and_the_false_claims(
    session: Session, story: Story
) -> None:
    path = session.index.path
    prefetcher = sessions.session_prefetcher(lambda: session)
    prefetcher.follow_path(path)
    before = prefetcher.compaction_brief("session")
    lines = path.read_text().splitlines(keepends=True)
    summary = max(at for at, line in enumerate(lines) if "isCompactSummary" in line)
    path.write_text("".join(lines[: summary + 1]))
    after = prefetcher.after_compaction("session")
    prefetcher.close()
    for text in (before, after):
        assert estimate_tokens(text, "code") <= 900
        assert all(rule in text for rule in [fact.quote for fact in active_rules(session.view)])
    assert all(rule in before for rule in story.keys.rules)
    assert story.keys.defects["false claim"] in after


def test_an_audit_of_a_session_that_was_never_compacted_is_refused(
    record: Record, transcript: Callable[..., Path], opened: Callable[[Path], Session]
) -> None:
    session = opened(transcript(record("user", "u", None, "Hello there.")))
    with pytest.raises(BadRequest, match="not compacted"):
        session.methods["audit"]()


def test_what_is_kept_by_block_equals_a_fresh_reading(session: Session, tmp_path: Path) -> None:
    path = session.index.path
    lines = path.read_bytes().splitlines(keepends=True)
    settings = Settings(roots=(tmp_path,))
    grown = tmp_path / "grown" / path.name
    grown.parent.mkdir()
    grown.write_bytes(b"".join(lines[:3]))
    growing = sessions.open_session(str(grown), "session", settings)
    calls = (
        "preferences", "decisions", "corrections", "files", "commands", "errors", "tasks",
        "commits", "compactions", "brief",
    )  # fmt: skip
    for end in range(3, len(lines) + 1, max(1, len(lines) // 6)):
        grown.write_bytes(b"".join(lines[:end]))
        growing.refresh()
        fresh = sessions.open_session(str(grown), "session", settings)
        for call in calls:
            assert growing.methods[call]() == fresh.methods[call](), (call, end)
        if fresh.methods["compactions"]():
            assert growing.methods["audit"]() == fresh.methods["audit"](), end
        fresh.close()
    growing.close()


def test_what_is_kept_by_block_follows_rewinds_and_a_rewritten_file(
    record: Record, transcript: Callable[..., Path], opened: Callable[[Path], Session]
) -> None:
    def tried(name: str, parent: str | None, rule: str, path: str) -> list[Any]:
        made = {"file_path": f"/w/{path}", "content": f"MAX_TRIES = {len(path)}"}
        edit = {"type": "tool_use", "id": f"t{name}", "name": "Write", "input": made}
        done = {"type": "tool_result", "tool_use_id": f"t{name}", "content": "ok"}
        return [
            record("user", f"u{name}", parent, rule),
            record("assistant", f"a{name}", f"u{name}", [edit]),
            record("user", f"r{name}", f"a{name}", [done]),
        ]

    def told(session: Session) -> object:
        methods = session.methods
        return [methods[name]() for name in ("preferences", "files", "brief", "prompts")]

    first = tried("1", None, "Never touch the vendor folder.", "one.py")
    lines = [*first, *tried("2", "r1", "Always use tabs in the Makefile.", "two.py")]
    growing = opened(transcript(*lines))
    for name, parent in (("3", "r1"), ("4", "r2"), ("5", "r1")):  # back, to the other, back again
        lines += tried(name, parent, f"Never rename module {name}.", f"file{name}.py")
        path = transcript(*lines)
        growing.refresh()
        assert told(growing) == told(opened(path)), name
    rules = {fact["quote"] for fact in growing.methods["preferences"]()}
    assert rules == {"Never touch the vendor folder.", "Never rename module 5."}
    assert [file["path"] for file in growing.methods["files"]()["files"]] == ["one.py", "file5.py"]
    path = transcript(*tried("9", None, "Only use spaces here.", "nine.py"))
    growing.refresh()
    assert told(growing) == told(opened(path))
    assert [fact["quote"] for fact in growing.methods["preferences"]()] == ["Only use spaces here."]


def test_a_mirror_follows_no_link_and_goes_on_behind_a_cut_line(
    session: Session, tmp_path: Path
) -> None:
    path = Path(session.methods["mirror"]()["path"])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    session.methods["mirror"]()
    assert session.methods["mirror"]()["added"] == 0
    assert set(whole.splitlines()) <= set(path.read_bytes().splitlines())
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path.unlink()
    path.symlink_to(victim)
    with pytest.raises(Unavailable, match="Move away"):
        session.methods["mirror"]()
    assert victim.read_text() == "mine"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Unavailable, match="no ordinary file"):
        session.methods["mirrored"]("x")
    path.unlink()
    path.write_bytes(b'[]\n{"ref": 1}\n' + whole)
    assert session.methods["mirror"]()["added"] == 0


def test_a_mirror_keeps_what_the_agent_rewrote_and_no_secret(
    session: Session, story: Story
) -> None:
    first = session.methods["mirror"]()
    assert session.methods["mirror"]()["added"] == 0
    path = session.index.path
    path.write_text(path.read_text().split("\n")[1] + "\n")  # the agent throws the rest away
    session.refresh()
    assert session.describe().facts["turns"] == 1
    assert session.methods["mirror"]()["blocks"] == first["blocks"]
    found = session.methods["mirrored"](story.keys.rules[1])
    assert [entry["origin"] for entry in found] == ["human"]
    text = Path(first["path"]).read_text()
    assert not any(secret in text for secret in story.keys.secrets)
    assert Path(first["path"]).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("output", "names"),
    [
        ("FAILED (failures=1)\n", []),
        ("FAIL: test_cap (test_retry.T.test_cap)\nFAILED (failures=1)", ["test_retry.T.test_cap"]),
        ("ERROR: test_x (mod.T)\n", ["mod.T"]),
        ("FAILED tests/a.py::test_b - assert 1\n", ["tests/a.py::test_b"]),
    ],
)
def test_the_names_of_failing_tests_are_read(output: str, names: list[str]) -> None:
    assert activity.failing_tests(output) == names


def test_a_mirror_knows_what_was_rewound_and_keeps_what_the_agent_then_drops(
    record: Record, transcript: Callable[..., Path], opened: Callable[[Path], Session]
) -> None:
    first = [
        record("user", "u1", None, "Make it fast."),
        record("assistant", "a1", "u1", [{"type": "text", "text": "Trying a queue."}]),
    ]
    session = opened(transcript(*first))
    mirror, find = session.methods["mirror"], session.methods["mirrored"]
    assert mirror()["added"] == 2
    assert [entry["branch"] for entry in find("queue")] == ["live"]
    transcript(*first, record("user", "u2", None, "Keep the loop."))
    session.refresh()
    assert mirror()["added"] == 1
    assert [(entry["branch"], entry["text"]) for entry in find("queue")] == [
        ("abandoned", "Trying a queue.")
    ]
    assert mirror() == {**mirror(), "added": 0, "blocks": 3}
    transcript(record("user", "u2", None, "Keep the loop."))  # the agent forgets the rest
    session.refresh()
    assert [entry["branch"] for entry in find("queue")] == ["abandoned"]
    assert [prompt["text"] for prompt in session.methods["prompts"]()] == ["Keep the loop."]


def test_what_was_tried_and_what_fixed_it_is_told_within_one_reply(
    record: Record, transcript: Callable[..., Path], opened: Callable[[Path], Session]
) -> None:
    def call(name: str, tool: str, **args: str) -> dict[str, Any]:
        return {"type": "tool_use", "id": name, "name": tool, "input": args}

    def result(name: str, text: str, *, failed: bool = False) -> dict[str, Any]:
        content = {"type": "tool_result", "tool_use_id": name, "content": text}
        return record("user", f"r{name}", "a1", [{**content, "is_error": failed}])

    def edit(name: str, path: str) -> dict[str, Any]:
        return call(name, "Edit", file_path=path, old_string="a", new_string="b")

    one_reply = [
        edit("1", "/w/before.py"), call("2", "Bash", command="make test"),
        edit("3", "/w/tried.py"), call("4", "Bash", command="make test"),
        edit("5", "/w/fixed.py"), call("6", "Bash", command="make test"),
        edit("7", "/w/after.py"),
    ]  # fmt: skip
    session = opened(
        transcript(
            record("user", "u1", None, "Make it work."),
            record("assistant", "a1", "u1", one_reply),
            *[result(name, "done") for name in "1357"],
            result("2", "ValueError: one", failed=True),
            result("4", "ValueError: two", failed=True),
            result("6", "ok"),
        )
    )
    first, second = session.methods["errors"]()
    assert [item["file"] for item in first["tries"]] == ["tried.py"]
    assert [item["file"] for item in second["fixed_by"]] == ["fixed.py"]
    assert first["fixed_by"] == [] and second["fixed_at"].endswith("#2.14")
