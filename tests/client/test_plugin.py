"""The plugin in the real Claude Code CLI: valid, installed from this checkout, working."""

from __future__ import annotations

import json
from pathlib import Path

import rlm_mcp
from tests.client.claude_code import ROOT, Agent, Claude, use
from tests.sim.call import Call
from tests.sim.server import SimServer

PREFIX = "mcp__plugin_rlm_rlm__"
PLUGIN = ROOT / "plugin"


def test_the_cli_finds_nothing_to_complain_about(program: Path, tmp_path: Path) -> None:
    claude = Claude(program, tmp_path, "http://127.0.0.1:9")
    for place in ((str(PLUGIN), "--profile", "directory"), (str(ROOT),)):
        ended = claude.run("plugin", "validate", "--strict", *place)
        assert ended.code == 0, ended.stdout + ended.stderr
        assert "Validation passed" in ended.stdout


def test_it_installs_from_this_checkout_and_the_model_calls_its_tools(
    program: Path, project: Path, tmp_path: Path
) -> None:
    agent = Agent(
        [
            use(PREFIX + "contexts"),
            use(PREFIX + "grep", pattern="7381"),
            "It is 7381.",
        ],
        ready=PREFIX + "contexts",
    )
    with SimServer(agent) as sim:
        claude = Claude(program, tmp_path, sim.url)
        for command in (("marketplace", "add", str(ROOT)), ("install", "rlm@rlm-mcp")):
            done = claude.run("plugin", *command)
            assert done.code == 0, done.stdout + done.stderr
        ended = claude.ask("What is the limit?")

    assert ended.code == 0, ended.stderr
    contexts, grep = agent.results
    assert not contexts.is_error and "repo" in contexts.text
    assert "repo:src/limits.py#L3" in grep.text
    shown = "\n".join(turn.text for turn in agent.turns[-1].turns)
    assert "rlm:large-inputs" in shown, "the skill is offered"
    assert ended.left == []


def test_its_agent_runs_on_a_small_model_with_our_tools_alone(
    program: Path, project: Path, tmp_path: Path
) -> None:
    below: list[Call] = []

    def scout(call: Call) -> str:
        below.append(call)
        return "repo:src/limits.py#L3 sets it."

    delegate = use(
        "Agent",
        subagent_type="rlm:scout",
        description="Look",
        prompt="Where is it?",
        run_in_background=False,
    )
    agent = Agent([delegate, scout, "Done."], ready=PREFIX + "contexts")
    with SimServer(agent) as sim:
        claude = Claude(program, tmp_path, sim.url)
        ended = claude.ask("Where?", "--plugin-dir", str(PLUGIN))

    assert ended.code == 0, ended.stderr
    assert below, "the agent was not started"
    assert "haiku" in below[0].model
    tools = set(below[0].tools) - {"DeferredToolPlaceholder"}
    assert tools == {PREFIX + path.stem for path in (ROOT / "tools").glob("*.py")}
    assert any("repo:src/limits.py#L3 sets it." in result.text for result in agent.results)


PORTABLE = {"$schema", "name", "version", "description", "author", "homepage", "repository"}
PORTABLE |= {"license", "keywords", "extensions"}
"""All fields that Agent Plugins 1.0 allows (agent-plugins.org, section 5.2)."""
CURSOR = {"name", "displayName", "description", "version", "author", "publisher", "homepage"}
CURSOR |= {"repository", "license", "logo", "keywords", "category", "tags", "commands", "agents"}
CURSOR |= {"skills", "rules", "hooks", "variables", "mcpServers", "minClientVersions"}
"""All fields that Cursor's published schema allows (cursor.com/schemas/cursor-plugin)."""


def test_the_portable_manifests_keep_to_their_formats() -> None:
    portable = json.loads((PLUGIN / "plugin.json").read_text("utf-8"))
    assert portable["$schema"] == "https://agent-plugins.org/schemas/1.0.0/plugin.schema.json"
    assert set(portable) <= PORTABLE
    servers = json.loads((PLUGIN / "mcp.json").read_text("utf-8"))
    assert set(servers) == {"$schema", "mcpServers"}
    for server in servers["mcpServers"].values():
        assert server["type"] == "stdio"
        assert set(server) <= {"type", "command", "args", "env", "cwd"}
        assert "${" not in json.dumps(server), "other clients do not know these defaults"
    cursor = json.loads((PLUGIN / ".cursor-plugin" / "plugin.json").read_text("utf-8"))
    assert set(cursor) <= CURSOR
    assert cursor["agents"] == [] and cursor["hooks"]["hooks"] == {}, "those are Claude Code's"


def test_every_manifest_names_the_same_plugin_and_release() -> None:
    files = ["plugin.json", ".claude-plugin/plugin.json", ".cursor-plugin/plugin.json"]
    manifests = [json.loads((PLUGIN / name).read_text("utf-8")) for name in files]
    for manifest in manifests:
        assert manifest["name"] == "rlm"
        assert manifest["version"] == rlm_mcp.__version__
        assert manifest["description"] == manifests[0]["description"]
    servers = [json.loads((PLUGIN / name).read_text("utf-8")) for name in ("mcp.json", ".mcp.json")]
    for server in servers:
        entry = server["mcpServers"]["rlm"]
        assert f"rlm-mcp@{rlm_mcp.__version__}" in " ".join(entry["args"])
        assert entry["args"][-1] == "serve"


def test_every_tool_that_the_plugin_names_exists() -> None:
    tools = {path.stem for path in (ROOT / "tools").glob("*.py")}
    listed = (PLUGIN / "agents" / "scout.md").read_text("utf-8").split("tools:")[1].split("\n")[0]
    assert {name.strip().removeprefix(PREFIX) for name in listed.split(",")} == tools
    hooks = json.loads((PLUGIN / "hooks" / "claude-code.json").read_text("utf-8"))["hooks"]
    called = {
        hook["tool"]
        for groups in hooks.values()
        for group in groups
        for hook in group["hooks"]
        if hook["type"] == "mcp_tool"
    }
    assert called <= tools
