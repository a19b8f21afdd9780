"""Which model a spec names, which one is the default, and what works on this machine.

A spec is `provider:model`; the providers are the keys of `PROVIDERS`. Nothing here calls a model
or spends anything.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rlm_mcp.errors import BadRequest, Denied, ModelError, did_you_mean
from rlm_mcp.models import bridge, claude_cli, fake, prices, sampling
from rlm_mcp.models.anthropic import Anthropic
from rlm_mcp.models.extractive import Extractive
from rlm_mcp.models.openai import OpenAI, key_base_url

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.models.model import Model

DEFAULT_MODEL = "sonnet"
"""What is used of Anthropic's models when none is named."""


def choose_model(spec: str, settings: Settings) -> Model:
    """Return the model that `spec` names; an empty spec is the default.

    Raises BadRequest for what is no spec, and Denied for a server that the user has not
    configured: a spec can come from a model, and prompts must not follow it to any host.
    """
    spec = spec.strip()
    if not spec:
        return default_model(settings)
    provider, colon, rest = spec.partition(":")
    if provider not in PROVIDERS or not colon:
        known = ", ".join(f"{name}:" for name in PROVIDERS)
        hint = did_you_mean(provider, PROVIDERS)
        if spec in prices.ALIASES or spec in prices.MODEL_CARDS:
            hint = f" Did you mean anthropic:{spec}?"
        raise BadRequest(f"Unknown model {spec!r}: a spec begins with one of {known}.{hint}")
    if provider == "openai" and "://" in rest.rpartition("@")[0]:
        raise BadRequest(
            "A base URL in a spec takes no user name or password (nor any other @): they would "
            "stand in logs and trajectories; a key belongs in OPENAI_API_KEY."
        )
    if spec not in (settings.model, settings.sub_model):
        _check_host(rest.rpartition("@")[2] if provider == "openai" and "@" in rest else "")
    return PROVIDERS[provider](rest)


def default_model(settings: Settings) -> Model:
    """Return the first that works: the configured one, an Anthropic key, `claude`, extractive.

    Without a configured model and a key it asks the `claude` command whether it is logged in,
    which takes 0.2 to 1 s: not for an event loop.
    """
    if settings.model:
        return choose_model(settings.model, settings)
    if _has_anthropic_key():
        return Anthropic(DEFAULT_MODEL)
    if claude_cli.login_state()[0]:
        return claude_cli.ClaudeCli(DEFAULT_MODEL)
    return Extractive()


def available_models(settings: Settings) -> list[tuple[str, bool, str]]:
    """Return (spec, whether it works, a sentence why) for each provider; spends nothing."""
    key = _has_anthropic_key()
    works, why = claude_cli.login_state()
    rows = [
        ("anthropic:", key, f"ANTHROPIC_API_KEY is {'' if key else 'not '}set."),
        ("claude-cli:", works, why),
        ("openai:", *_openai_state()),
        ("bridge:", *_bridge_state()),
        ("sampling:", sampling.is_offered(), "A client must offer it; few do."),
        ("extractive:", True, "Built in: finds and quotes, without a model and without cost."),
    ]
    for spec in dict.fromkeys(filter(None, (settings.model, settings.sub_model))):
        try:
            choose_model(spec, settings)
        except (BadRequest, Denied) as error:
            rows.insert(0, (spec, False, str(error)))
        else:
            kind = spec.partition(":")[0] + ":"
            row = next((row for row in rows if row[0] == kind), (spec, True, "A script."))
            rows.insert(0, (spec, row[1], f"Configured. {row[2]}"))
    return rows


def _make_anthropic(rest: str) -> Model:
    return Anthropic(rest or DEFAULT_MODEL)


def _make_claude_cli(rest: str) -> Model:
    return claude_cli.ClaudeCli(rest or DEFAULT_MODEL)


def _make_openai(rest: str) -> Model:
    model, at, url = rest.rpartition("@")
    if not at:
        model, url = rest, ""
    if not model or (at and urlsplit(url).scheme not in ("http", "https")):
        raise BadRequest(
            f"openai:{rest} is no spec; write openai:<model> or openai:<model>@http://host/v1."
        )
    return OpenAI(model, url)


def _make_fake(rest: str) -> Model:
    if not rest:
        raise BadRequest("fake: wants the path of a script, as in fake:replies.json.")
    return fake.load_script(Path(rest))


def _make_extractive(rest: str) -> Model:
    _check_no_name("extractive:", rest)
    return Extractive()


def _make_sampling(rest: str) -> Model:
    _check_no_name("sampling:", rest)
    return sampling.Sampling()


def _check_no_name(provider: str, rest: str) -> None:
    if rest:
        raise BadRequest(f"{provider} takes no model name, got {rest!r}.")


PROVIDERS: dict[str, Callable[[str], Model]] = {
    "anthropic": _make_anthropic,
    "claude-cli": _make_claude_cli,
    "openai": _make_openai,
    "bridge": bridge.Bridge,
    "sampling": _make_sampling,
    "extractive": _make_extractive,
    "fake": _make_fake,
}


def _check_host(url: str) -> None:
    """Raise Denied for a URL that is neither loopback nor the user's own."""
    if not url or url.rstrip("/") == key_base_url():
        return
    host = urlsplit(url).hostname or ""
    try:
        near = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        near = False
    if not near:
        raise Denied(
            f"The server {host!r} is not configured; set model or sub_model to this spec "
            "in your own config.toml, or give it with --model."
        )


def _has_anthropic_key() -> bool:
    return any(os.environ.get(name) for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"))


def _openai_state() -> tuple[bool, str]:
    if importlib.util.find_spec("openai") is None:
        return False, 'The extra is missing: pip install "rlm-mcp[openai]".'
    if os.environ.get("OPENAI_API_KEY"):
        return True, f"OPENAI_API_KEY is set, for {urlsplit(key_base_url()).hostname}."
    return False, "OPENAI_API_KEY is not set; local servers need none: openai:<model>@<base url>."


def _bridge_state() -> tuple[bool, str]:
    try:
        host, port, _ = bridge.bridge_address()
    except ModelError as error:
        return False, str(error)
    return True, f"An editor lends a model at {host}:{port}."
