"""Settings, and where things are kept on this machine.

A setting comes from (first wins): a flag, an environment variable RLM_MCP_<NAME>, the user's
config.toml. A project's .rlm/config.toml may only narrow: lower budgets, fewer roots, smaller
replies. It never sets a key, a URL, a model or anything that widens what may be done.
"""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import platformdirs

from rlm_mcp.errors import BadRequest, did_you_mean
from rlm_mcp.files import private_folder, read_limited

APP_NAME = "rlm-mcp"
log = logging.getLogger("rlm_mcp")
MAX_FILE_BYTES = 1 << 20
"""Bytes that a file of settings may have."""


def current_folder() -> Path:
    """Return the current folder. Raises BadRequest where it was deleted under our feet."""
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise BadRequest(
            "The current folder was deleted; change to one that exists, or pass --root."
        ) from error


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a user can set. Limits of 0 mean "none of it", None means "no limit"."""

    roots: tuple[Path, ...] = field(default_factory=lambda: (current_folder(),))
    """Folders that sources are confined to."""
    model: str = ""
    """Spec of the root model; empty: the first that works."""
    sub_model: str = ""
    """Spec of the sub-model; empty: the same as the root model."""
    spend: str = "ask"
    """Whether an agent's cells may call models that cost: "ask" (only after the user let
    llm_query or rlm_query be called once in this session) or "allow". Never a project's setting."""
    max_usd: float = 1.0
    """What one run may spend."""
    max_usd_day: float = 20.0
    """What all runs of this user may spend in a day."""
    max_calls: int = 500
    """Model calls of one run, its children included."""
    max_input_tokens: int = 20_000_000
    max_output_tokens: int = 1_000_000
    max_seconds: float = 900.0
    max_depth: int = 2
    """Levels of recursion below the root run."""
    max_iterations: int = 30
    """Root turns of one run."""
    max_errors: int = 8
    """Consecutive failed cells, and consecutive failed calls before the breaker opens."""
    concurrency: int = 16
    """Model calls in flight per provider."""
    cell_seconds: float = 30.0
    cell_memory_mb: int = 512
    reply_chars: int = 6_000
    """Characters that one tool reply may have (never above 20,000)."""
    reduced_sandbox: bool = False
    """Whether to run with less than a kernel layer. Only a flag or the user's file can say so."""
    secrets: bool = False
    """Whether to open files that are denied by default (.env, keys). Never a project's setting."""
    clone_hosts: tuple[str, ...] = ()
    """Hosts that open_context may clone from (github.com, git.example.org:8443), none by default.
    A private address is reached only where it, or its network (10.0.0.0/8), is listed too."""
    clone_ssh_config: bool = False
    """Whether a clone over ssh may use the user's ssh configuration and agent."""
    raw_replies: bool = False
    """Whether replies keep control, bidirectional and invisible characters instead of marks."""


PROJECT_SETTINGS = frozenset(
    {
        "max_usd", "max_usd_day", "max_calls", "max_input_tokens", "max_output_tokens",
        "max_seconds", "max_depth", "max_iterations", "max_errors", "concurrency",
        "cell_seconds", "cell_memory_mb", "reply_chars",
    }
)  # fmt: skip
"""Settings that a project may lower."""

NO_ENVIRONMENT = frozenset(
    {"reduced_sandbox", "secrets", "spend", "clone_hosts", "clone_ssh_config", "raw_replies"}
)
"""Settings that no environment variable reaches: a project's editor files can set those."""


def state_dir() -> Path:
    """Where runs, handles and the answer cache are kept (XDG state; RLM_MCP_STATE_DIR)."""
    return _make_folder(
        "RLM_MCP_STATE_DIR", platformdirs.user_state_path(APP_NAME, appauthor=False)
    )


def cache_dir() -> Path:
    """Where packed contexts and symbol tables are kept; safe to delete (RLM_MCP_CACHE_DIR)."""
    return _make_folder(
        "RLM_MCP_CACHE_DIR", platformdirs.user_cache_path(APP_NAME, appauthor=False)
    )


def config_dir() -> Path:
    """Where the user's config.toml, tools and prompts are (RLM_MCP_CONFIG_DIR)."""
    override = os.environ.get("RLM_MCP_CONFIG_DIR")
    return Path(override) if override else platformdirs.user_config_path(APP_NAME, appauthor=False)


def load_settings(flags: Mapping[str, Any] | None = None, project: Path | None = None) -> Settings:
    """Return the settings in force; `flags` holds only what the user gave on the command line.

    Raises BadRequest for an unknown name or a value of the wrong type, naming the file. An unknown
    name in a project's file is a warning alone.
    """
    settings = Settings()
    path = config_dir() / "config.toml"
    settings = _merge_settings(settings, _read_settings(path), str(path))
    env = {
        name: value
        for setting in fields(Settings)
        if setting.name not in NO_ENVIRONMENT
        and (value := os.environ.get(f"RLM_MCP_{(name := setting.name).upper()}", "")) != ""
    }
    settings = _merge_settings(settings, env, "the environment (RLM_MCP_*)")
    settings = _merge_settings(settings, flags or {}, "the command line")
    if project is not None:
        path = project / ".rlm" / "config.toml"
        settings = _narrow_settings(settings, _read_settings(path), str(path))
    return settings


def _make_folder(variable: str, default: Path) -> Path:
    override = os.environ.get(variable)
    return private_folder(Path(override) if override else default)


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_limited(path, MAX_FILE_BYTES).decode("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        why = str(error) or type(error).__name__
        raise BadRequest(f"Cannot read the settings in {path}: {why}.") from error


def _merge_settings(settings: Settings, values: Mapping[str, Any], source: str) -> Settings:
    known = {setting.name for setting in fields(Settings)}
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise BadRequest(f"Unknown setting {name!r} in {source}.{did_you_mean(name, known)}")
        changes[name] = _cast_setting(name, value, getattr(settings, name), source)
        if name == "spend" and changes[name] not in ("ask", "allow"):
            raise BadRequest(
                f'Setting \'spend\' in {source} is "ask" or "allow", got {_short_repr(value)}.'
            )
    return replace(settings, **changes) if changes else settings


def _narrow_settings(settings: Settings, values: Mapping[str, Any], source: str) -> Settings:
    known = {setting.name for setting in fields(Settings)}
    for name, value in values.items():
        if name not in known:
            # Of another version of ours, or a slip: no reason to end the server.
            said = f"Unknown setting {_short_repr(name)} in {source} is left out."
            log.warning("%s%s", said, did_you_mean(name, PROJECT_SETTINGS))
            continue
        if name not in PROJECT_SETTINGS:
            raise BadRequest(
                f"A project cannot set {name!r} ({source}); only the user's own configuration can."
            )
        limit = _cast_setting(name, value, getattr(settings, name), source)
        settings = replace(settings, **{name: min(limit, getattr(settings, name))})
    return settings


def _cast_setting(name: str, value: Any, like: Any, source: str) -> Any:
    try:
        if isinstance(like, bool):
            if isinstance(value, bool):
                return value
            return {"1": True, "true": True, "0": False, "false": False}[str(value).lower()]
        if name == "clone_hosts":
            if isinstance(value, str) or not all(isinstance(host, str) for host in value):
                raise TypeError(name)
            return tuple(host.strip().lower() for host in value)
        if isinstance(like, tuple):
            parts = value.split(os.pathsep) if isinstance(value, str) else value
            return tuple(Path(part).expanduser().absolute() for part in parts)
        if isinstance(value, bool):
            raise TypeError(name)
        result = type(like)(value)
        if isinstance(result, (int, float)) and not result >= 0:
            raise ValueError(name)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadRequest(
            f"Setting {name!r} in {source} wants {_wanted_type(name, like)}, got "
            f"{_short_repr(value)}."
        ) from error
    return result


_TYPE_NAMES = {
    int: "a whole number, 0 or more",
    float: "a number, 0 or more",
    bool: "true or false",
    str: "a text",
    tuple: "a list of paths",
}


def _wanted_type(name: str, like: Any) -> str:
    return "a list of hosts" if name == "clone_hosts" else _TYPE_NAMES[type(like)]


def _short_repr(value: Any) -> str:
    try:
        return repr(value)[:100]
    except ValueError:
        return "a number of thousands of digits"
