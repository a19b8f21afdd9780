"""The VS Code extension: built, tested and packaged with npm; and it reads what we write."""

from __future__ import annotations

import asyncio
import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import rlm_mcp
from rlm_mcp import config
from rlm_mcp.server.server_state import ServerState
from tests.client.claude_code import ROOT

HERE = ROOT / "vscode-extension"
LARGEST = 300_000


def run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    return done.stdout


def test_its_types_and_its_own_tests_pass(npm: str) -> None:
    run([npm, "run", "types"])
    assert "# fail 0" in run([npm, "test"])


def test_it_packages_into_a_small_vsix_without_anything_stray(npm: str) -> None:
    run([npm, "run", "package"])
    package = HERE / "out" / "rlm-mcp.vsix"
    assert package.stat().st_size < LARGEST
    with zipfile.ZipFile(package) as files:
        names = {name.removeprefix("extension/") for name in files.namelist()}
    assert names == {
        "[Content_Types].xml",
        "extension.vsixmanifest",
        "LICENSE.txt",
        "media/icon.png",
        "media/rlm.svg",
        "out/extension.js",
        "package.json",
        "readme.md",
    }


def test_it_shows_what_the_engine_writes(npm: str, project: Path, own_folders: Path) -> None:
    bundle = own_folders / "print.js"
    esbuild = str(HERE / "node_modules" / ".bin" / "esbuild")
    run([esbuild, "test/print.ts", "--bundle", f"--outfile={bundle}", "--platform=node"])

    def shown() -> dict[str, Any]:
        values: dict[str, Any] = json.loads(run(["node", str(bundle), str(config.state_dir())]))
        return values

    async def work() -> tuple[dict[str, Any], str]:
        office = ServerState(config.Settings(roots=(project,)))
        try:
            workspace = await office.get_workspace()
            await workspace.call_tool("grep", {"pattern": "GAMMA"})
            await workspace.call_tool("grep", {"pattern": "GAMMA"})
            result = await workspace.run_query(
                "Where is MAX_RETRIES_GAMMA set?", model="extractive:"
            )
            return shown(), result.status
        finally:
            await office.close()

    seen, status = asyncio.run(work())
    assert status == "complete"
    (repo,) = seen["contexts"]
    assert repo["label"] == "repo" and "2 documents" in repo["description"]
    (run_row,) = seen["runs"]
    assert run_row["label"].startswith("Where is MAX_RETRIES_GAMMA")
    assert run_row["description"].startswith("$0.00 · complete · ")
    assert run_row["icon"] == "pass"
    assert "RLM $0.00" in seen["status"]["text"]
    assert shown()["contexts"] == [], "nothing is open once the server has ended"


def test_its_manifest_and_its_code_name_the_same_things() -> None:
    manifest = json.loads((HERE / "package.json").read_text("utf-8"))
    code = "".join(path.read_text("utf-8") for path in (HERE / "src").glob("*.ts"))
    contributes = manifest["contributes"]
    commands = [command["command"] for command in contributes["commands"]]
    views = [view["id"] for view in contributes["views"]["rlm"]]
    providers = [provider["id"] for provider in contributes["mcpServerDefinitionProviders"]]
    for name in commands + views + providers:
        assert f'"{name}"' in code, name
    for name in contributes["configuration"]["properties"]:
        assert f'"{name.removeprefix("rlm.")}"' in code, name
    assert manifest["version"] == rlm_mcp.__version__
