"""No documented or generated way to start us runs code of the folder that it is started in.

The lines are taken from the documents and manifests themselves and run as written, in a folder
full of traps. Only the program's place and a free port are filled in, and a uvx line installs a
stand-in of the release, offline.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.clients import CLIENTS, launch_command

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
UVX = shutil.which("uvx", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
DOCUMENTS = (
    "README.md",
    "plugin/README.md",
    "vscode-extension/README.md",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md"))),
)
TRAP_MODULES = (
    "click", "mcp", "sitecustomize", "usercustomize", "json", "re", "typing", "subprocess",
    "numpy/__init__", "rlm_mcp/__init__", "rlm_mcp/cli/__init__", "rlm_mcp/cli/__main__",
    "RestrictedPython/__init__", "anthropic/__init__", "openai/__init__", "tree_sitter/__init__",
)  # fmt: skip
TRAP_PROGRAMS = ("git", "python", "python3", "claude", "uv", "uvx", "rlm-mcp", "setpriv", "ssh")
KEY = "sk-ant-not-a-secret"


@dataclass(frozen=True)
class Line:
    """One way to start us, and where it is written."""

    where: str
    words: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.where}: {shlex.join(self.words)}"


def documented() -> Iterator[Line]:
    """Give each command of ours in the documents, as it is written there."""
    for name in DOCUMENTS:
        text = (ROOT / name).read_text()
        spans = [*re.findall(r"`([^`\n]+)`", text), *re.findall(r"(?m)^\$ (.+)$", text)]
        for part in (part for span in spans for part in re.split(r" && | -- ", span)):
            try:
                words = shlex.split(part)
            except ValueError:
                continue
            while words and re.match(r"\w+=", words[0]):
                del words[0]
            program = Path(words[0]).name if words else ""
            ours = program == "rlm-mcp" or (
                program in ("uvx", "python", "python3") and "rlm" in "".join(words[1:])
            )
            if ours and len(words) > 1 and not re.search("[<>…|]", part):
                yield Line(name, tuple(words))
        for package in re.findall(r"RLM_MCP_PACKAGE=(-[^`\s]+)", text):
            chosen = {"RLM_MCP_COMMAND": "python", "RLM_MCP_PACKAGE": package}
            yield from manifest("plugin/.mcp.json", chosen)


def manifest(name: str, chosen: dict[str, str] | None = None) -> Iterator[Line]:
    """Give the servers of a plugin's manifest, its variables filled in."""

    def filled(text: str) -> str:
        return re.sub(
            r"\$\{([\w.]+)(?::-([^}]*))?\}",
            lambda found: (chosen or {}).get(found[1], found[2] or ""),
            text,
        )

    for server in json.loads((ROOT / name).read_text())["mcpServers"].values():
        words = tuple(map(filled, [server["command"], *server["args"]]))
        env = {name: filled(value) for name, value in server.get("env", {}).items()}
        yield Line(name, words, env)


def installed() -> Iterator[Line]:
    """Give what `rlm-mcp install` enters for each client."""
    for client in CLIENTS.values():
        for scope in client.scopes:
            entry: dict[str, Any] = client.make_entry(launch_command(), scope)
            words = [word for word in entry["args"] if "workspaceFolder" not in word]
            words = [word for word in words if word != "--root"]
            yield Line(f"install {client.name}", (entry["command"], *words), entry.get("env", {}))


def extension() -> Iterator[Line]:
    """Give the uvx line of the VS Code extension, with the variables that it sets."""
    source = (ROOT / "vscode-extension/src/launch.ts").read_text()
    isolated = re.search(r"const ISOLATED = \{(.*?)\}", source, re.DOTALL)
    arguments = re.search(r"command: uvx, args: \[(.*?), \.\.\.python\]", source)
    python = re.search(r"const python = (\[.*?\]);", source)
    assert isolated and arguments and python
    given = re.findall(r'"([^"]*)"|`([^`]*)`', arguments[1])
    words = [(a or b).replace("${around.version}", "0.1.0") for a, b in given]
    env = dict(re.findall(r'(\w+): "(.*?)"', isolated[1]))
    yield Line("vscode-extension", ("uvx", *words, *json.loads(python[1])), env)
    yield Line("vscode-extension", ("rlm-mcp", "serve"), env)


MANIFESTS = [*manifest("plugin/.mcp.json"), *manifest("plugin/mcp.json")]
GENERATED = [*MANIFESTS, *installed(), *extension()]
LINES = list({str(line): line for line in [*documented(), *GENERATED]}.values())


@dataclass(frozen=True)
class Traps:
    """A folder in which everything that could be run by mistake writes its name into a file."""

    folder: Path
    canary: Path
    env: dict[str, str]

    @property
    def sprung(self) -> str:
        return self.canary.read_text() if self.canary.exists() else ""


@pytest.fixture
def traps(tmp_path: Path) -> Traps:
    folder, canary = tmp_path / "opened", tmp_path / "canary"
    say = "import os\nopen({!r}, 'a').write({!r} + ' ' + os.environ.get('ANTHROPIC_API_KEY', ''))\n"
    packages = folder / ".venv/lib/python3.11/site-packages"
    (folder / ".venv/bin").mkdir(parents=True)
    packages.mkdir(parents=True)
    for module in TRAP_MODULES:
        path = folder / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(say.format(str(canary), module))
    spring = f"import os; open({str(canary)!r}, 'a').write('pth')\n"
    for place in (folder, packages):
        (place / "trap.pth").write_text(spring)
    for program in TRAP_PROGRAMS:
        for place in (folder, folder / ".venv/bin"):
            (place / program).write_text(f"#!/bin/sh\necho {program} >> '{canary}'\nexit 3\n")
            (place / program).chmod(0o755)
    (folder / ".venv/pyvenv.cfg").write_text("home = /usr/bin\n")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "rlm-mcp"\nversion = "0.1.0"\n[tool.uv]\nno-index = true\n'
        'find-links = ["./wheels"]\npython-preference = "only-system"\n'
    )
    (folder / "wheels").mkdir()
    wheel(folder / "wheels", say.format(str(canary), "wheel") + "def main(): pass\nmain()\n")
    (folder / "uv.toml").write_text('no-index = true\nfind-links = ["./wheels"]\n')
    (folder / "pip.conf").write_text("[global]\nno-index = true\nfind-links = ./wheels\n")
    (folder / ".env").write_text(f"PYTHONPATH={folder}\nUV_PYTHON={folder}/python\n")
    (folder / ".python-version").write_text(f"{folder}/python\n")
    release = tmp_path / "release"
    release.mkdir()
    wheel(release, "import re, json\ndef main():\n    print('started')\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {
        "HOME": str(tmp_path / "home"),
        "ANTHROPIC_API_KEY": KEY,
        "RLM_MCP_MODEL": "extractive:",
        "UV_OFFLINE": "1",
        "UV_FIND_LINKS": str(release),
    }
    return Traps(folder, canary, env)


def wheel(folder: Path, source: str) -> None:
    """Make a wheel named like ours, whose command is `source`."""
    info = "rlm_mcp-0.1.0.dist-info"
    with zipfile.ZipFile(folder / "rlm_mcp-0.1.0-py3-none-any.whl", "w") as file:
        file.writestr("rlm_mcp/__init__.py", "")
        file.writestr("rlm_mcp/cli.py", f"{source}\nif __name__ == '__main__':\n    main()\n")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: rlm-mcp\nVersion: 0.1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        file.writestr(f"{info}/entry_points.txt", "[console_scripts]\nrlm-mcp = rlm_mcp.cli:main\n")
        file.writestr(f"{info}/RECORD", "")


CALLS = [
    ("grep", {"pattern": "import os"}),
    ("grep", {"pattern": r"(?<=import )os"}),
    ("outline", {"ref": "repo"}),
    ("open_context", {"source": "history"}),
    ("execute", {"code": "print(6 * 7)"}),
]
"""Calls after which every kind of child process that we start has been started."""


def talk() -> str:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return "".join(
        json.dumps(
            {
                "jsonrpc": "2.0",
                "id": number,
                "method": "tools/call",
                "params": {"_meta": meta, "name": name, "arguments": arguments},
            }
        )
        + "\n"
        for number, (name, arguments) in enumerate(CALLS)
    )


def start(line: Line, traps: Traps, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a line in the folder of traps, the place of its program filled in."""
    program = Path(line.words[0]).name
    places = {"rlm-mcp": str(BIN / "rlm-mcp"), "uvx": UVX or "", "python": sys.executable}
    words = [places.get(program, line.words[0]), *line.words[1:]]
    words = [re.sub(r"^(127\.0\.0\.1):\d+$", r"\1:0", word) for word in words]
    serves = words[-1] == "serve" and program != "uvx"
    with subprocess.Popen(
        words,
        cwd=traps.folder,
        env={**traps.env, **more, **line.env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        said = ""
        if "--http" in words:
            assert process.stderr is not None
            said = process.stderr.readline()
            process.terminate()
        if serves:
            process.stdin.write(talk())
            process.stdin.flush()
            left = set(range(len(CALLS)))
            while left and (reply := process.stdout.readline()):
                left.discard(json.loads(reply).get("id"))
                said += reply
        try:
            rest, errors = process.communicate(timeout=60)
        finally:
            process.kill()
        return subprocess.CompletedProcess(words, process.returncode, said + rest, errors)


def began(line: Line, done: subprocess.CompletedProcess[str]) -> bool:
    """Say whether what was started was really ours: it answered, or refused as we do."""
    if Path(line.words[0]).name == "uvx":
        return done.stdout.strip() == "started"
    if "--http" in line.words:
        return "MCP at http" in done.stdout
    if line.words[-1] == "serve":
        return done.stdout.count('"id":') >= len(CALLS) and "42" in done.stdout
    return done.returncode in (0, 2, 3, 4) and "Traceback" not in done.stderr


def test_the_documents_name_the_lines_that_this_test_is_for() -> None:
    told = [str(line) for line in LINES]
    for start in ("README.md: .venv/bin/rlm-mcp install", "plugin/.mcp.json: python -Im",
                  "plugin/.mcp.json: uvx", "plugin/mcp.json: uvx", "docs/claude-code.md: uvx",
                  "vscode-extension: uvx", "install codex: "):  # fmt: skip
        assert any(line.startswith(start) for line in told), start


@pytest.mark.parametrize("line", LINES, ids=str)
def test_a_line_runs_nothing_of_the_folder_that_it_is_started_in(line: Line, traps: Traps) -> None:
    uvx = line.words[0] == "uvx"
    if uvx and UVX is None:
        pytest.skip("needs uv")
    # uv itself looks for Pythons along the PATH, where a relative folder is the user's own choice.
    path = traps.env["PATH"] if uvx else f".{os.pathsep}{traps.env['PATH']}{os.pathsep}"
    done = start(line, traps, PATH=path)
    assert traps.sprung == ""
    assert began(line, done), done.stdout + done.stderr


@pytest.mark.parametrize("line", GENERATED, ids=str)
def test_what_a_client_is_given_ignores_a_pythonpath_into_the_folder(
    line: Line, traps: Traps
) -> None:
    if line.words[0] == "uvx" and UVX is None:
        pytest.skip("needs uv")
    done = start(line, traps, PYTHONPATH=str(traps.folder), PYTHONUSERBASE=".venv")
    assert traps.sprung == ""
    assert began(line, done), done.stdout + done.stderr


def test_the_traps_are_sprung_by_a_launch_that_is_not_isolated(traps: Traps) -> None:
    start(Line("control", ("python", "-m", "rlm_mcp.cli", "--version")), traps)
    assert f"rlm_mcp/__init__ {KEY}" in traps.sprung


def test_a_click_py_is_not_imported_even_by_python_m(traps: Traps) -> None:
    shutil.rmtree(traps.folder / "rlm_mcp")
    line = Line("older entries", ("python", "-m", "rlm_mcp.cli", "serve"))
    for name in ("typing", "re", "json", "subprocess"):
        (traps.folder / f"{name}.py").unlink()
    done = start(line, traps)
    assert traps.sprung == ""
    assert began(line, done), done.stdout + done.stderr


def test_the_console_script_forgets_a_pythonpath_before_it_imports_more(traps: Traps) -> None:
    shutil.rmtree(traps.folder / "rlm_mcp")
    for name in ("sitecustomize", "typing", "re", "json", "subprocess"):
        (traps.folder / f"{name}.py").unlink()
    line = Line("console script", ("rlm-mcp", "serve"))
    done = start(line, traps, PYTHONPATH=str(traps.folder))
    assert traps.sprung == ""
    assert began(line, done), done.stdout + done.stderr
