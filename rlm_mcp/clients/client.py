"""What a client is: where its file lies, what our entry looks like, how both are changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlm_mcp.clients import jsonc, patch, toml
from rlm_mcp.clients.patch import ConfigChange
from rlm_mcp.errors import BadRequest, Unavailable
from rlm_mcp.programs import find_program

InstallScope = Literal["project", "user"]
Run = tuple[str, ...]
"""A command line that starts us, up to its `serve`; the program is an absolute path."""

SERVER_NAME = "rlm"
"""What our server is called in every client."""


@dataclass(frozen=True, slots=True)
class Client:
    """A coding agent whose configuration is a file with one entry for each server."""

    name: str
    title: str
    format: Literal["jsonc", "toml"]
    keys: tuple[str, ...]
    """Where the servers stand in the file."""
    scopes: tuple[InstallScope, ...]
    """What it can be installed for; the first is the default."""
    config_path: Callable[[InstallScope, Path], Path]
    """The file for a scope and a project folder."""
    make_entry: Callable[[Run, InstallScope], dict[str, Any]]
    """Our entry for a command line."""
    executables: tuple[str, ...] = ()
    """Commands by which doctor finds it."""
    next_step: str = ""
    """What a person has to do next."""

    def plan_install(self, scope: InstallScope, project: Path, run: Run) -> ConfigChange:
        """Return the change that installs us. Raises Unavailable for a file we cannot read."""
        path = self.config_path(scope, project)
        before = patch.read_config(path)
        text = before or ""
        entry = self.make_entry(run, scope)
        keys = (*self.keys, SERVER_NAME)
        notation = self._format_module
        try:
            wanted = deepcopy(notation.load_document(text))
            edits = notation.set_entry(text, keys, entry)
        except BadRequest as error:
            raise Unavailable(f"Cannot edit {path}: {error}; nothing was changed.") from error
        place: Any = wanted
        for key in self.keys:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise Unavailable(f"In {path}, {key} holds no servers; nothing was changed.")
        self._check_name_free(path, place)
        place[SERVER_NAME] = entry
        if not edits and before is not None:
            return ConfigChange(path, before, before)
        after, undo = patch.apply_edits(text, edits)
        advice = f"Add this by hand: {notation.format_entry(keys, entry)}"
        return patch.check_change(
            ConfigChange(path, before, after, undo), notation.load_document, wanted, advice
        )

    def plan_uninstall(self, scope: InstallScope, project: Path) -> ConfigChange:
        """Return the change that takes us out; none where we are not in the file."""
        path = self.config_path(scope, project)
        before = patch.read_config(path)
        if before is None:
            return ConfigChange(path, None, None)
        exact = patch.exact_undo(path, before)
        if exact is not None:
            return exact
        keys = (*self.keys, SERVER_NAME)
        notation = self._format_module
        try:
            wanted = deepcopy(notation.load_document(before))
            edits = notation.remove_entry(before, keys)
        except BadRequest as error:
            raise Unavailable(f"Cannot edit {path}: {error}; nothing was changed.") from error
        place: Any = wanted
        for key in self.keys:
            place = place.get(key, {}) if isinstance(place, dict) else {}
        if isinstance(place, dict):
            self._check_name_free(path, place)
            place.pop(SERVER_NAME, None)
        after, _ = patch.apply_edits(before, edits)
        with suppress(BadRequest):  # `check` judges what cannot be read
            if not place and self.keys[0] not in notation.load_document(after):
                # A table of TOML is there only while something is in it.
                wanted.pop(self.keys[0], None)
        advice = f"Take {'.'.join(keys)} out by hand."
        return patch.check_change(
            ConfigChange(path, before, after), notation.load_document, wanted, advice
        )

    def is_installed(self, scope: InstallScope, project: Path) -> bool:
        """Whether our entry is in the file."""
        text = patch.read_config(self.config_path(scope, project))
        try:
            place: Any = self._format_module.load_document(text or "")
        except BadRequest:
            return False
        for key in (*self.keys, SERVER_NAME):
            if not isinstance(place, dict) or key not in place:
                return False
            place = place[key]
        return True

    def _check_name_free(self, path: Path, servers: dict[str, Any]) -> None:
        """Raise Unavailable where another server has our name: it is not ours to change."""
        other = servers.get(SERVER_NAME)
        if other is not None and not _starts_rlm_mcp(other):
            raise Unavailable(
                f"{path} has another server called {SERVER_NAME}, which does not start "
                "rlm-mcp; nothing "
                f"was changed. Give it another name first."
            )

    @property
    def _format_module(self) -> Any:
        return {"jsonc": jsonc, "toml": toml}[self.format]


def _starts_rlm_mcp(entry: Any) -> bool:
    """Say whether a client's entry starts a copy of us, whatever its options are."""
    if not isinstance(entry, dict):
        return False
    given = entry.get("args")
    words = [entry.get("command"), *(given if isinstance(given, list) else [])]
    said = [word for word in words if isinstance(word, str)]
    return "serve" in said[1:2] or any("rlm-mcp" in word or "rlm_mcp" in word for word in said)


def launch_command(program: str = "") -> Run:
    """Return the command line that starts us in any shell and in any folder.

    It names this Python by its path, since a client may lack the user's PATH, and isolates it,
    since the folder that the client opens, and a PYTHONPATH that leads there, may hold anything.
    `program` is another rlm-mcp to start. Raises BadRequest where there is none.
    """
    if program:
        found = find_program(os.path.abspath(program) if os.path.dirname(program) else program)
        if found is None:
            raise BadRequest(f"{program!r} is not a program; name the path of an rlm-mcp.")
        return (found,)
    isolated = (sys.executable, "-Im", "rlm_mcp.cli")
    tried = subprocess.run([*isolated, "--version"], capture_output=True, timeout=60, check=False)
    if tried.returncode == 0:
        return isolated
    # Installed for the user alone (pip --user), which an isolated Python does not see.
    script = find_program("rlm-mcp")
    if script is None:
        raise Unavailable("No rlm-mcp is on the PATH; name the one to start with --command PATH.")
    return (script,)
