"""Prices: dated, never invented, overridable by the user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp.errors import BadRequest
from rlm_mcp.models import prices
from rlm_mcp.models.model import TokenUsage

COUNTS = st.integers(0, 2_000_000)


def override(text: str) -> None:
    (Path(os.environ["RLM_MCP_CONFIG_DIR"]) / "prices.toml").write_text(text)


def test_an_unknown_model_has_no_price_rather_than_none_at_all() -> None:
    assert prices.model_card("nobody-knows-7b").price is None
    assert prices.request_cost_usd("nobody-knows-7b", TokenUsage(1_000, 1_000)) is None


@pytest.mark.parametrize(
    "name",
    ["claude-haiku-4-5-20251001", "claude-haiku-4-5-latest", "us.anthropic.claude-haiku-4-5"],
)
def test_dated_and_hosted_names_have_the_price_of_their_model(name: str) -> None:
    assert prices.model_card(name) == prices.model_card("claude-haiku-4-5")


def test_short_names_stand_for_the_newest_of_a_family() -> None:
    for short in ("opus", "sonnet", "haiku", "fable"):
        assert prices.model_card(short) == prices.model_card(prices.resolve_alias(short))
        assert prices.model_card(short).price is not None


def test_every_price_is_dated_and_orders_its_kinds() -> None:
    for name, card in prices.MODEL_CARDS.items():
        assert card.price is not None, name
        assert card.price.as_of == prices.AS_OF, name
        assert card.price.cache_read < card.price.input < card.price.cache_write, name
        assert card.price.input < card.price.output, name


def test_a_long_prompt_costs_more_on_every_token_of_its_request() -> None:
    short = prices.request_cost_usd("claude-haiku-5-5", TokenUsage(100_000, 1_000))
    long = prices.request_cost_usd("claude-haiku-5-5", TokenUsage(100_001, 1_000))
    assert short == pytest.approx(0.0105)
    assert long == pytest.approx(100_001 * 0.5e-6 + 1_000 * 2.5e-6)


def test_cached_tokens_count_towards_a_long_prompt() -> None:
    long = prices.request_cost_usd("claude-haiku-5-5", TokenUsage(1, 0, cache_read=100_000))
    assert long == pytest.approx(0.5e-6 + 100_000 * 0.05e-6)


@given(COUNTS, COUNTS, COUNTS, st.integers(0, 100_000))
def test_no_division_of_a_request_costs_more_than_its_worst_case(
    plain: int, read: int, written: int, output: int
) -> None:
    for name in ("claude-haiku-5-5", "claude-opus-5-5", "gpt-6-luna"):
        price = prices.model_card(name).price
        assert price is not None
        worst = price.worst_cost_usd(plain + read + written, output)
        assert price.cost_usd(TokenUsage(plain, output, read, written)) <= worst + 1e-9


def test_the_users_file_adds_and_overrides_by_name_or_pattern() -> None:
    override(
        '["my-*"]\ninput = 1\noutput = 2\nwindow = 4096\n\n[claude-opus-5-5]\ninput=9\noutput=9'
    )
    card = prices.model_card("my-model")
    assert card.price is not None
    assert (card.price.input, card.price.output, card.window) == (1.0, 2.0, 4_096)
    assert card.price.cache_read == 1.0, "without a figure, cached input is not cheaper"
    assert prices.request_cost_usd("opus", TokenUsage(1_000_000)) == pytest.approx(9.0)


def test_the_users_file_may_give_a_window_alone() -> None:
    override("[local]\nwindow = 8192")
    assert (prices.model_card("local").window, prices.model_card("local").price) == (8_192, None)


def test_a_change_of_the_users_file_is_seen() -> None:
    override("[a]\ninput = 1\noutput = 1")
    assert prices.request_cost_usd("a", TokenUsage(1_000_000)) == 1.0
    path = Path(os.environ["RLM_MCP_CONFIG_DIR"]) / "prices.toml"
    path.write_text("[a]\ninput = 2\noutput = 2")
    os.utime(path, ns=(1, 1))
    assert prices.request_cost_usd("a", TokenUsage(1_000_000)) == 2.0


@pytest.mark.parametrize(
    "text",
    [
        "[a]\ninput = 1",
        "[a]\ninput = -1\noutput = 1",
        "[a]\ninput='x'\noutput=1",
        "[a]\nprice=1",
        "[",
    ],
)
def test_a_wrong_file_is_refused_with_its_reason(text: str) -> None:
    override(text)
    with pytest.raises(BadRequest, match="prices"):
        prices.model_card("a")


def test_the_prices_in_the_document_are_read() -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    override(text.partition("```toml\n")[2].partition("```")[0])
    assert prices.request_cost_usd("qwen3:8b", TokenUsage(1_000_000, 1_000_000)) == 0.0
    assert prices.model_card("qwen3:8b").window == 131_072
