"""Which model a spec names, which one is the default, and what works on this machine.

A spec is `provider:model`; providers are listed in `PROVIDERS`. Nothing here calls a model or
spends anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from rlm_mcp.config import Settings
from rlm_mcp.errors import BadRequest, did_you_mean
from rlm_mcp.models import anthropic, extractive, fake
from rlm_mcp.models.model import Model

ROOT = "anthropic:claude-sonnet-5-5"
SUB = "anthropic:claude-haiku-5-5"
"""What is used with an Anthropic key when nothing is configured."""


def _anthropic(rest: str) -> Model:
    return anthropic.Anthropic(rest or ROOT.partition(":")[2])


def _extractive(rest: str) -> Model:
    if rest:
        raise BadRequest(f"extractive: takes no model name, got {rest!r}.")
    return extractive.Extractive()


def _fake(rest: str) -> Model:
    if not rest:
        raise BadRequest("fake: wants the path of a script, as in fake:replies.json.")
    return fake.load(Path(rest))


PROVIDERS: dict[str, Callable[[str], Model]] = {
    "anthropic": _anthropic,
    "extractive": _extractive,
    "fake": _fake,
}


def choose(spec: str, settings: Settings) -> Model:
    """Return the model that `spec` names. Raises BadRequest; an empty spec is the default."""
    if not spec.strip():
        return default(settings)
    provider, colon, rest = spec.strip().partition(":")
    if provider not in PROVIDERS:
        known = ", ".join(f"{name}:" for name in PROVIDERS)
        hint = did_you_mean(provider, PROVIDERS)
        raise BadRequest(f"Unknown model {spec!r}: a spec begins with one of {known}.{hint}")
    if not colon and provider != "extractive":
        raise BadRequest(f"Unknown model {spec!r}; write {provider}:<model>.")
    return PROVIDERS[provider](rest)


def default(settings: Settings) -> Model:
    """Return the first that works: configured, an Anthropic key, `claude`, extractive."""
    if settings.model:
        return choose(settings.model, settings)
    if _has_key():
        return choose(ROOT, settings)
    return extractive.Extractive()


def available(settings: Settings) -> list[tuple[str, bool, str]]:
    """Return (spec, whether it works, a sentence why), without spending anything."""
    key = _has_key()
    return [
        (ROOT, key, "ANTHROPIC_API_KEY is set." if key else "No ANTHROPIC_API_KEY is set."),
        ("extractive:", True, "Built in; finds and quotes, without a model."),
    ]


def _has_key() -> bool:
    return any(os.environ.get(name) for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"))
