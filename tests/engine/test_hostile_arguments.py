"""What an agent may name in a call: no file as a model, no price that nobody knows."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlm_mcp import tokens
from rlm_mcp.config import Settings
from rlm_mcp.engine import json_schema
from rlm_mcp.errors import BadRequest, RlmError
from tests.engine.conftest import Desks
from tests.server.conftest import git
from tests.server.talk import Talk, in_memory


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    with in_memory(Settings(roots=(folder,), model="extractive:")) as made:
        yield made


@pytest.mark.parametrize("space", ["", " ", "\t", "\n", "\u2003"])
@pytest.mark.parametrize("spec", ["fake:{}", "openai:x", "openai:x@http://127.0.0.1:9/"])
def test_no_spacing_lets_a_model_of_the_agents_choice_through(
    spec: str, space: str, talk: Talk, tmp_path: Path
) -> None:
    script = tmp_path / "outside.json"
    script.write_text(json.dumps({"replies": ["canary"]}))
    said = talk.call("llm_query", prompt="hi", model=space + spec.format(script))
    assert said.error
    assert "only the user's own configuration" in said.text


@pytest.mark.parametrize("name", ["anthropic:claude-none-9", "anthropic:CLAUDE-OPUS-5"])
def test_a_model_without_a_known_price_is_not_the_agents_to_choose(name: str, talk: Talk) -> None:
    for tool in ("llm_query", "rlm_query"):
        said = talk.call(tool, prompt="hi", model=name)
        assert said.error
        assert "price" in said.text


@pytest.mark.parametrize("name", ["bridge:", "bridge:any", " bridge:", "sampling:"])
def test_a_lent_model_is_not_the_agents_to_choose(name: str, talk: Talk) -> None:
    for tool in ("llm_query", "rlm_query"):
        said = talk.call(tool, prompt="hi", model=name)
        assert said.error
        assert "only the user's own configuration" in said.text


@pytest.mark.parametrize("text", ["[" * 100_000, '{"items":' * 100_000])
def test_deep_nesting_is_a_sentence(text: str) -> None:
    with pytest.raises(BadRequest):
        json_schema.parse_schema(text)
    with pytest.raises(ValueError, match="deeply"):
        json_schema.value_in(text)


NUMBERS = (-(10**18), -1, 0, 1, 2, 99, 100_000, 100_001, 2**31, 2**63, 10**15)
CALLS = {
    "grep": ({"pattern": ".", "ref": "repo"}, ("limit", "before", "after")),
    "peek": ({"ref": "repo:f1.txt"}, ("limit",)),
    "outline": ({"ref": "repo"}, ("limit",)),
    "chunk": ({"ref": "repo"}, ("tokens",)),
}


@pytest.mark.parametrize("tool", CALLS)
def test_every_number_gets_a_page_or_a_sentence(tool: str, desk: Desks) -> None:
    fixed, names = CALLS[tool]

    async def go() -> None:
        async with desk() as d:
            rows = "".join(f"row {row}\n" for row in range(60_000))
            (d.folder / "long.txt").write_text(rows)
            for numbers in itertools.product(NUMBERS[::2] if len(names) > 1 else NUMBERS,
                                             repeat=len(names)):  # fmt: skip
                given = {**fixed, **dict(zip(names, numbers, strict=True))}
                try:
                    shown = await d.workspace.call_tool(tool, given)
                except RlmError as error:
                    shown = str(error)
                    assert "HostError" not in shown and "Violation" not in shown, (given, shown)
                assert 0 < len(shown) < 5_000_000, given

    asyncio.run(go())


def test_chunks_are_counted_while_they_are_made(
    desk: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MAX_PARTS", 40)

    async def go() -> None:
        async with desk() as d:
            for size in (1, 5):
                with pytest.raises(BadRequest, match="more than 40 chunks; ask for larger ones"):
                    await d.workspace.call_tool("chunk", {"ref": "repo", "tokens": size})
            assert await d.workspace.call_tool("chunk", {"ref": "repo", "tokens": 4_000})

    asyncio.run(go())
