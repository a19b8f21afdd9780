"""Claude through the user's own `claude` command: no key needed, the login of Claude Code is used.

Each call is one lean `claude -p` (no tools, no plugins, no hooks, no MCP servers, nothing saved):
0.3 to 1 s and about 185 MB each, so at most four run at once in this process. The child gets a
short environment and a depth of its own in RLM_MCP_DEPTH: a copy of us that somehow starts in it
starts no further one. What the command line cannot do is said here, not hidden: no temperature;
stop sequences are applied to the finished text; a conversation goes in as one prompt.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

from rlm_mcp import config
from rlm_mcp.errors import ModelError
from rlm_mcp.models import prices
from rlm_mcp.models.http_errors import (
    checked_cost_usd,
    checked_usage,
    failure_kind,
    failure_sentence,
    safe_excerpt,
    unreadable_reply,
)
from rlm_mcp.models.model import ModelReply, ModelRequest, Price, TokenUsage
from rlm_mcp.programs import find_program, search_path

PROVIDER_NAME = "`claude`"
MAX_PROCESSES = 4
DEPTH_VARIABLE = "RLM_MCP_DEPTH"
OWN_TOKENS = 400
"""What the command line adds to each prompt by itself (about 1.1 kB)."""

FOLDER_PREFIX = "claude-"
"""How the folder of a call begins, in the cache folder; it holds the system text."""

STALE_S = 24 * 3600.0

CLI_RETRIES = 2
"""How often the command line itself sends again; it does not say how often it did."""

LEAN_FLAGS = (
    "-p", "--output-format", "json", "--tools", "", "--strict-mcp-config", "--safe-mode",
    "--no-session-persistence", "--disable-slash-commands",
)  # fmt: skip

KEPT_VARIABLES = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "TEMP", "TMP",
        "APPDATA", "LOCALAPPDATA", "USERPROFILE", "SYSTEMROOT", "COMSPEC", "PATHEXT", "WINDIR",
        "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
        "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "DBUS_SESSION_BUS_ADDRESS",
        "CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN",
    }
)  # fmt: skip
"""Variables that a login, a proxy or the system needs; all else stays with us."""

KEPT_PREFIXES = ("ANTHROPIC_", "CLAUDE_CODE_USE_", "XDG_", "LC_", "AWS_", "GOOGLE_", "CLOUD_ML_")


class ClaudeCli:
    """One model behind the `claude` command."""

    concurrency: int | None = MAX_PROCESSES

    def __init__(self, model: str, command: str = "claude") -> None:
        self.model = model or "sonnet"
        self.spec = f"claude-cli:{self.model}"
        self.command = command

    @property
    def window_tokens(self) -> int:
        return prices.model_card(self.model).window

    @property
    def price(self) -> Price | None:
        return prices.model_card(self.model).price

    async def check_ready(self) -> None:
        """Raise ModelError where there is no such command, or this process may not start it."""
        self._find_command()

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Return the model's reply. Raises ModelError; a cancelled call ends its process."""
        found = self._find_command()
        try:
            async with asyncio.timeout(request.timeout_s):
                async with _process_semaphore():
                    code, out, err = await self._run_command(found, request)
        except TimeoutError as error:
            raise ModelError(
                f"`claude` gave no reply within {request.timeout_s:g} s and was ended; ask for "
                "less at once, or raise the limit of seconds.",
                kind="timeout",
                retryable=True,
                spent_usd=None,
            ) from error
        return self._parse_reply(_parse_output(code, out, err, self.model), request)

    async def count_tokens(self, request: ModelRequest) -> int:
        """Return the input tokens of `request`, estimated."""
        return request.estimate_tokens() + OWN_TOKENS

    async def close(self) -> None:
        """Hold nothing between calls, so release nothing."""

    def _find_command(self) -> str:
        """Return the command's path. Raises ModelError."""
        if sub_call_depth() > 0:
            raise ModelError(
                "This copy of rlm-mcp was started below a sub-call and starts no further `claude`; "
                "use another model here.",
                kind="refused",
                attempts=0,
            )
        found = find_program(self.command)
        if found is None:
            raise ModelError(
                f"There is no `{self.command}` command on the PATH; install Claude Code, or use "
                "another model.",
                kind="auth",
                attempts=0,
            )
        return found

    async def _run_command(self, found: str, request: ModelRequest) -> tuple[int, bytes, bytes]:
        with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, dir=_clean_cache_folder()) as folder:
            # A file, not an argument: arguments are bounded and visible to other users.
            system = Path(folder) / "system.txt"
            system.write_text(request.system or "Answer the user's prompt.", "utf-8", "replace")
            arguments = [*LEAN_FLAGS, "--model", self.model, "--system-prompt-file", str(system)]
            if self.price is not None:
                # A reply that meets its output limit would be continued up to three times.
                most = self.price.worst_cost_usd(
                    await self.count_tokens(request), request.max_tokens
                )
                arguments += ["--max-budget-usd", f"{max(most, 1e-6):.6f}"]
            child = await asyncio.create_subprocess_exec(
                *_kill_guard(),
                found,
                *arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=child_environment(request.max_tokens),
                cwd=folder,
                start_new_session=True,
            )
            try:
                prompt = conversation_prompt(request).encode("utf-8", "replace")
                out, err = await child.communicate(prompt)
            finally:
                await _kill_child(child)
            return child.returncode or 0, out, err

    def _parse_reply(self, said: Mapping[str, Any], request: ModelRequest) -> ModelReply:
        text = said.get("result")
        if not isinstance(text, str):
            raise unreadable_reply(PROVIDER_NAME, "its JSON holds no result", retryable=False)
        usage = checked_usage(PROVIDER_NAME, lambda: _parse_usage(said["usage"]), retryable=False)
        models = said.get("modelUsage")
        model = str(next(iter(models), self.model)) if isinstance(models, dict) else self.model
        paid = checked_cost_usd(said.get("total_cost_usd"))
        cost = prices.request_cost_usd(model, usage) if paid is None else paid
        stop: Literal["end", "max_tokens", "stop", "refused"] = "end"
        if said.get("stop_reason") in ("max_tokens", "model_context_window_exceeded"):
            stop = "max_tokens"
        elif said.get("stop_reason") == "refusal":
            stop = "refused"
        ends = [at for word in request.stop if (at := text.find(word)) >= 0]
        if ends:
            text, stop = text[: min(ends)], "stop"
        return ModelReply(text, usage, model, cost, stop)


def _parse_usage(used: Any) -> TokenUsage:
    return TokenUsage(
        int(used["input_tokens"]),
        int(used["output_tokens"]),
        int(used.get("cache_read_input_tokens") or 0),
        int(used.get("cache_creation_input_tokens") or 0),
    )


def sub_call_depth() -> int:
    """Return how many sub-calls this process stands below."""
    try:
        return int(os.environ.get(DEPTH_VARIABLE, "0"))
    except ValueError:
        return 1


def child_environment(max_tokens: int) -> dict[str, str]:
    """Return what the child may know."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in KEPT_VARIABLES or name.startswith(KEPT_PREFIXES)
    }
    return {
        **kept,
        "PATH": search_path(),
        DEPTH_VARIABLE: str(sub_call_depth() + 1),
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(max_tokens),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_MAX_RETRIES": str(CLI_RETRIES),
    }


def conversation_prompt(request: ModelRequest) -> str:
    """Return a conversation as one prompt; a single message stays as it is."""
    if len(request.messages) == 1:
        return request.messages[0].text
    turns = [f'<turn role="{m.role}">\n{m.text}\n</turn>' for m in request.messages]
    return "\n".join(
        [*turns, "Write the next assistant turn of this conversation, without the turn tags."]
    )


def login_state(command: str = "claude") -> tuple[bool, str]:
    """Say whether the command is there and logged in; takes 0.2 to 1 s and spends nothing."""
    found = find_program(command)
    if found is None:
        return False, f"There is no `{command}` command on the PATH."
    if sub_call_depth() > 0:
        return False, "This process stands below a sub-call."
    try:
        ran = subprocess.run(
            [found, "auth", "status"],
            env=child_environment(1),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10.0,
        )
        said = json.loads(ran.stdout)
        if said["loggedIn"]:
            return True, f"`{command}` is logged in ({said.get('authMethod', 'unknown method')})."
    except (OSError, subprocess.TimeoutExpired):
        return False, f"`{command} auth status` did not answer; run it by hand."
    except (ValueError, KeyError, TypeError):
        return False, f"`{command} auth status` said nothing that is known here; run it by hand."
    return False, f"`{command}` is installed but not logged in; run `{command}` and log in."


_semaphores: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def _process_semaphore() -> asyncio.Semaphore:
    """Return the one semaphore of this event loop that the calls of all models share."""
    return _semaphores.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(MAX_PROCESSES))


def _clean_cache_folder() -> Path:
    """Return the cache folder, without what killed servers have left in it."""
    place = config.cache_dir()
    for folder in place.glob(f"{FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < time.time() - STALE_S:
                shutil.rmtree(folder)
    return place


def _kill_guard() -> list[str]:
    """Return a prefix that makes the kernel end the child with us, where util-linux has one."""
    setpriv = find_program("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


async def _kill_child(child: asyncio.subprocess.Process) -> None:
    """End the child's whole process group, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":  # unverified
            child.kill()
        else:
            os.killpg(child.pid, signal.SIGKILL)
    await asyncio.shield(child.wait())


def _parse_output(code: int, out: bytes, err: bytes, model: str) -> Mapping[str, Any]:
    """Read what the command printed. Raises ModelError where it reports a failure."""
    try:
        said = json.loads(out)
        failed = said["is_error"]
    except (ValueError, KeyError, TypeError) as error:
        printed = safe_excerpt((err or out).decode("utf-8", "replace"))
        what = f"not its JSON but {printed or 'nothing'} (exit code {code})"
        raise unreadable_reply(PROVIDER_NAME, what, retryable=False) from error
    if not failed and code == 0:
        return dict(said)
    status = said.get("api_error_status")
    status = status if isinstance(status, int) else None
    text = safe_excerpt(str(said.get("result") or "; ".join(map(str, said.get("errors") or []))))
    kind, retryable = _output_failure(said, status, text.lower())
    if kind == "truncated":
        text = "the reply met its output limit, and a cut one is not handed out"
    raise ModelError(
        failure_sentence(f"{PROVIDER_NAME} ({model})", kind, text),
        kind=kind,
        retryable=retryable,
        status=status,
        spent_usd=checked_cost_usd(said.get("total_cost_usd")),
    )


def _output_failure(said: Mapping[str, Any], status: int | None, text: str) -> tuple[str, bool]:
    """Return the kind of a failure, and whether trying again can help."""
    if said.get("api_error") == "max_output_tokens" or "budget" in str(said.get("subtype")):
        return "truncated", False
    if status is not None:
        return failure_kind(status, text)
    if "log in" in text or "/login" in text or "api key" in text:
        return "auth", False
    if "too long" in text:
        return "too_long", False
    return ("network", True) if "connect" in text else ("refused", False)
