"""What works on this machine: versions, the sandbox's layers, models, folders, clients.

Every finding is tried, not assumed: the sandbox is started and has to refuse, a folder is written
to, a command is looked up. Nothing is sent anywhere and nothing is spent.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import rlm_mcp
from rlm_mcp import config, promptbook, toolbox, trust
from rlm_mcp.clients.known import CLIENTS
from rlm_mcp.errors import RlmError
from rlm_mcp.git import run_git
from rlm_mcp.programs import find_program
from rlm_mcp.tool_table import TOOL_ROWS

if TYPE_CHECKING:
    from rlm_mcp.clients.client import InstallScope
    from rlm_mcp.config import Settings

FindingState = Literal["ok", "off", "bad"]

PACKAGES = ("mcp", "anthropic", "google-re2", "hyperscan", "watchfiles", "restrictedpython")

ESCAPE_CELLS = {
    "reading a file": "open('/etc/passwd').read()",
    "listing a folder": "import os\nos.listdir('/')",
    "running a command": "import os\nos.system('true')",
    "opening a socket": "import socket\nsocket.create_connection(('127.0.0.1', 9))",
    "reaching a class": "().__class__.__base__.__subclasses__()",
}
"""Cells that have to be refused, here and now."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `off` is a choice or an absence, `bad` wants mending."""

    group: str
    name: str
    state: FindingState
    detail: str


def check_machine(settings: Settings) -> list[Finding]:
    """Return everything that was found, group by group."""
    groups: tuple[Callable[[Settings], list[Finding]], ...] = (
        _check_versions,
        _check_sandbox,
        _check_models,
        _check_folders,
        _check_stores,
        _check_content,
        _check_clients,
    )
    return [finding for group in groups for finding in group(settings)]


def _check_versions(settings: Settings) -> list[Finding]:
    found = [
        Finding("versions", "rlm-mcp", "ok", rlm_mcp.__version__),
        Finding(
            "versions", "python", "ok", f"{platform.python_version()} on {platform.platform()}"
        ),
    ]
    try:
        version = run_git(["version"], Path.cwd()).decode("utf-8", "replace").strip()
        found.append(Finding("versions", "git", "ok", version))
    except RlmError as error:
        found.append(Finding("versions", "git", "bad", f"{error} repo and history need it."))
    for package in PACKAGES:
        try:
            found.append(Finding("versions", package, "ok", metadata.version(package)))
        except metadata.PackageNotFoundError:
            state: FindingState = "off" if package == "hyperscan" else "bad"
            found.append(Finding("versions", package, state, "not installed"))
    return found


def _check_sandbox(settings: Settings) -> list[Finding]:
    from rlm_mcp.sandbox import Sandbox  # 40 ms, wanted by this command alone

    try:
        with Sandbox(reduced=settings.reduced_sandbox) as sandbox:
            layers = [
                Finding("sandbox", layer, "ok", "active, self-tested") for layer in sandbox.layers
            ]
            works = sandbox.execute("1 + 1").value == 2
            leaks = [
                what for what, code in ESCAPE_CELLS.items() if sandbox.execute(code).error is None
            ]
    except (RlmError, OSError) as error:
        return [Finding("sandbox", "worker", "bad", str(error))]
    answer = "runs cells" if works else "does not compute 1 + 1"
    refused = f"refuses {', '.join(ESCAPE_CELLS)}" if not leaks else f"ALLOWS {', '.join(leaks)}"
    return [
        *layers,
        Finding("sandbox", "worker", "ok" if works else "bad", answer),
        Finding("sandbox", "escapes", "bad" if leaks else "ok", refused),
    ]


def _check_models(settings: Settings) -> list[Finding]:
    from rlm_mcp import models  # 30 ms, wanted by this command alone

    found = [
        Finding("models", spec, "ok" if works else "off", sentence)
        for spec, works, sentence in models.available_models(settings)
    ]
    try:
        chosen = models.choose_model("", settings).spec
        found.append(Finding("models", "default", "ok", f"{chosen} answers unless you say more"))
    except RlmError as error:
        found.append(Finding("models", "default", "bad", str(error)))
    return found


def _check_folders(settings: Settings) -> list[Finding]:
    found = [
        _check_folder("state", config.state_dir),
        _check_folder("cache", config.cache_dir),
        Finding("folders", "config", "ok", str(config.config_dir())),
    ]
    for root in settings.roots:
        readable = os.access(root, os.R_OK | os.X_OK)
        detail = str(root) if readable else f"{root} cannot be read"
        found.append(Finding("folders", "root", "ok" if readable else "bad", detail))
    return found


def _check_folder(name: str, where: Callable[[], Path]) -> Finding:
    try:
        folder = where()
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding("folders", name, "bad", f"cannot be written: {error}")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Finding("folders", name, "ok", f"{folder} ({size / 1e6:,.1f} MB)")


def _check_stores(settings: Settings) -> list[Finding]:
    """Open every database of the state and the cache folder, and read all its pages."""
    found = []
    for name, where in (("state", config.state_dir), ("cache", config.cache_dir)):
        try:
            paths = sorted(where().rglob("*.sqlite"))
            aside = sorted(where().rglob("*.sqlite.broken-*"))
        except OSError:
            continue  # told among the folders
        damaged = [path for path in paths if not _is_whole_store(path)]
        found += [
            Finding("stores", path.name, "bad", f"{path} is damaged; delete it to begin it anew")
            for path in damaged
        ]
        if not damaged:
            found.append(Finding("stores", name, "ok", f"{len(paths)} checked"))
        found += [
            Finding("stores", path.name, "off", f"{path} was damaged and set aside; delete it")
            for path in aside
        ]
    return found


def _is_whole_store(path: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            return bool(db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.OperationalError:
        return True  # being written, or a kind of lock that reading does not get
    except sqlite3.DatabaseError:
        return False


def _check_content(settings: Settings) -> list[Finding]:
    project = settings.roots[0]
    try:
        tools = toolbox.read_tools(trust.content_folders("tools", project))
        prompts = promptbook.read_prompts(trust.content_folders("prompts", project))
    except RlmError as error:
        return [Finding("content", "trust", "bad", str(error))]
    offered = sum(prompt.is_offered for prompt in prompts)
    missing = [name for name in TOOL_ROWS if name not in {tool.name for tool in tools}]
    detail = f"{len(tools)}" + (f"; missing: {', '.join(missing)}" if missing else "")
    return [
        Finding("content", "tools", "bad" if missing else "ok", detail),
        Finding("content", "prompts", "ok", f"{len(prompts)}, {offered} of them for people"),
        *(Finding("content", "note", "off", problem) for problem in tools.problems),
        *(Finding("content", "note", "off", problem) for problem in prompts.problems),
    ]


def _check_clients(settings: Settings) -> list[Finding]:
    project = settings.roots[0]
    found = []
    for client in CLIENTS.values():
        program = next(filter(None, map(find_program, client.executables)), None)
        scopes: list[InstallScope] = []
        for scope in client.scopes:
            try:
                if client.is_installed(scope, project):
                    scopes.append(scope)
            except RlmError as error:
                found.append(Finding("clients", client.name, "bad", str(error)))
        state: FindingState = "ok" if program and scopes else "off"
        where = program or f"no command {' or '.join(client.executables)} on PATH"
        entered = f"entered for {', '.join(scopes)}" if scopes else "not entered"
        found.append(Finding("clients", client.name, state, f"{where}; {entered}"))
    return found
