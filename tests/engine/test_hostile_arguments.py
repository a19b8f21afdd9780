"""What an agent may name in a call: no file as a model, no price that nobody knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlm_mcp.config import Settings
from rlm_mcp.engine import json_schema
from rlm_mcp.errors import BadRequest
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
