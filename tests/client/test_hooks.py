"""The plugin's hooks in the real Claude Code CLI: the session stays in reach, whatever happens."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.client.claude_code import ROOT, WAIT, Agent, Claude, use
from tests.client.test_plugin import PLUGIN, PREFIX
from tests.sim.call import Call, Say, ToolResult
from tests.sim.server import SimServer

RULE = "Never write to the vendor folder, not even in tests."
FACT = "The staging port is 48213."
CLAIM = "All 11 tests pass now."
TALK = ["Thank you.", "Go on then."]


def test_what_only_old_turns_hold_is_found_after_a_compaction(
    program: Path, project: Path, tmp_path: Path
) -> None:
    def answer(call: Call) -> Say | str:
        found = re.search(r"staging port is (\d+)", call.results[-1].text)
        return f"Port {found[1]}." if found else "I do not know."

    last = ["The CLI keeps what was said last; this is said last."] * len(TALK)
    agent = Agent(
        [
            f"Understood. {FACT} I noted the rule.",
            *last,
            *last,
            use(PREFIX + "grep", pattern=r"staging port is \d+", ref="session"),
            answer,
        ],
        ready=PREFIX + "contexts",
        summary=f"<summary>The user asked something. {CLAIM}</summary>",
    )
    with SimServer(agent) as sim:
        claude = Claude(program, tmp_path, sim.url)
        ended, ends = claude.converse(
            [
                f"A rule for all of this session: {RULE}",
                *TALK,
                "/compact",
                *TALK,
                "/compact",
                "Which port is staging?",
            ],
            *("--plugin-dir", str(PLUGIN)),
        )

    assert ended.code == 0, ended.stderr
    assert ends[-1]["result"] == "Port 48213."
    assert len(agent.summarised) == 2
    for summariser in agent.summarised:
        instructions = next(turn.text for turn in summariser.turns[::-1] if turn.role == "user")
        assert RULE in instructions.split("Additional Instructions:")[1], "the rule, verbatim"
    for number in (1 + len(TALK), 1 + 2 * len(TALK)):
        asked = "\n".join(turn.text for turn in agent.turns[number].turns)
        assert FACT not in asked, "the window no longer holds the fact"
        after = asked.split("SessionStart hook additional context:")[1]
        assert "the context variable `session`" in after, "the model is told where the rest is"
        assert RULE in after, "and the rule, whatever the summary made of it"
        # This CLI writes the summary later; the one before must not be taken for it.
        assert "The summary was not checked" in after and CLAIM not in after
    transcript = claude.transcripts()[-1]
    assert transcript.read_text().count(CLAIM) >= 2, "both summaries are there in the end"
    assert ended.left == []


def test_session_is_the_one_that_runs_also_after_clear_and_resume(
    program: Path, project: Path, tmp_path: Path
) -> None:
    look = use(PREFIX + "grep", pattern="my word is [a-z]+", ref="session")
    agent = Agent(["Noted."] + [look, "Seen."] * 3, ready=PREFIX + "contexts")
    with SimServer(agent) as sim:
        claude = Claude(program, tmp_path, sim.url)
        flags = ("--plugin-dir", str(PLUGIN))
        first = claude.ask("my word is apple", *flags)
        claude.converse(["my word is pear", "/clear", "my word is cherry"], *flags)
        claude.ask("my word is plum", "--resume", first.session, *flags)

    words = [set(re.findall(r"my word is ([a-z]+)", r.text)) for r in results(agent)]
    assert words == [{"pear"}, {"cherry"}, {"apple", "plum"}]


def results(agent: Agent) -> list[ToolResult]:
    """Return the tool results of all conversations."""
    found = {}
    for call in agent.turns:
        for turn in call.turns:
            for result in turn.results:
                if result.tool != WAIT:
                    found[id(result)] = result
    return list(found.values())


def test_a_server_that_does_not_start_stops_neither_prompt_nor_compaction(
    program: Path, project: Path, tmp_path: Path
) -> None:
    agent = Agent(["One.", "Two."])
    with SimServer(agent) as sim:
        claude = Claude(program, tmp_path, sim.url)
        nothing = {"RLM_MCP_COMMAND": "/nowhere/python"}
        flags = ("--plugin-dir", str(PLUGIN))
        first = claude.ask("Hello", *flags, env=nothing)
        resume = ("--resume", first.session)
        compacted = claude.ask("/compact", *resume, *flags, env=nothing)
        last = claude.ask("Again", *resume, *flags, env=nothing)

    assert [first.code, compacted.code, last.code] == [0, 0, 0]
    assert len(agent.summarised) == 1
    assert last.values["result"] == "Two."


def test_no_hook_listens_to_other_tools_or_may_take_long() -> None:
    hooks = json.loads((ROOT / "plugin" / "hooks" / "claude-code.json").read_text("utf-8"))["hooks"]
    assert set(hooks) == {"UserPromptSubmit", "PreCompact", "SessionStart"}
    for groups in hooks.values():
        for group in groups:
            assert all(hook["timeout"] <= 20 for hook in group["hooks"])
