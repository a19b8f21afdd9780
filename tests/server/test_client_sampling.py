"""A client of the older era that offers its model lends it to runs; no other does."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
import pytest
from mcp.client import Client

from rlm_mcp.config import Settings
from rlm_mcp.server.app import RlmServer
from tests.server.talk import Talk


def lending(settings: Settings, mode: str, asked: list[Any]) -> Talk:
    async def sample(context: Any, params: types.CreateMessageRequestParams) -> Any:
        asked.append(params)
        text = types.TextContent(type="text", text="the client says hello")
        return types.CreateMessageResult(
            role="assistant", content=text, model="lent-1", stop_reason="endTurn"
        )

    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        app = RlmServer(settings)
        try:
            async with Client(app, mode=mode, sampling_callback=sample) as client:
                yield client
        finally:
            await app.close()

    return Talk(connect)


@pytest.fixture
def borrowing(settings: Settings) -> Settings:
    return dataclasses.replace(settings, model="sampling:")


@pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")
def test_a_lent_model_answers_and_its_cost_is_said_to_be_unknown(borrowing: Settings) -> None:
    asked: list[Any] = []
    with lending(borrowing, "legacy", asked) as talk:
        said = talk.call("llm_query", prompt="Say hello.")
    assert not said.error, said.text
    assert "the client says hello" in said.text
    assert "$0.00" not in said.text
    assert len(asked) == 1


@pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")
def test_a_modern_connection_lends_nothing_and_that_is_a_sentence(borrowing: Settings) -> None:
    asked: list[Any] = []
    with lending(borrowing, "auto", asked) as talk:
        said = talk.call("llm_query", prompt="Say hello.")
    assert said.error
    assert "sampling" in said.text
    assert asked == []
