"""Fixtures for models: a scratch home, keys that are no keys, and no real provider in reach."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from rlm_mcp.errors import ModelError
from tests.sim.server import SimServer

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from real providers and from this machine's logins."""
    for name in ("ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY", "RLM_MCP_DEPTH"):
        monkeypatch.delenv(name, raising=False)
    for name in ("RLM_MCP_BRIDGE_URL", "RLM_MCP_BRIDGE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test-key")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", NOWHERE)
    monkeypatch.setenv("OPENAI_BASE_URL", NOWHERE)


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimServer]:
    """Serve simulated models by name, and point the environment at them."""
    with SimServer() as server:
        point(monkeypatch, server)
        yield server


def point(monkeypatch: pytest.MonkeyPatch, server: SimServer) -> None:
    """Make both SDKs speak to a simulated server."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")


_INTERNALS = re.compile(
    r"\b[A-Z]\w*(?:Error|Exception|Timeout)\b|NoneType|Traceback|<class|object at|Errno|\bKey'"
)
_NEXT = re.compile(
    r"try again|again later|use another|another (?:model|one)|wait|check|set |install|log in|send |"
    r"ask (?:for|again)|raise the|change it|name another|is the (?:server|editor)|add more|must be"
)


def sentence(error: ModelError) -> ModelError:
    """Return a failure whose text a stranger understands: no internals, and what to do next."""
    text = str(error)
    assert not _INTERNALS.search(text), text
    assert _NEXT.search(text[0].lower() + text[1:]), text
    assert text.endswith((".", "?")), text
    return error
