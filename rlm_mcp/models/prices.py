"""What models cost and hold: one dated table, and the user's prices.toml beside it.

Anthropic's figures are its list prices (platform.claude.com, "Pricing" and the model overviews,
looked up on 2026-11-21) for the standard tier and five-minute cache writes; OpenAI's are its
prices of 2026-09-22 as others report them. A model that is in
neither table has no price: that is said, and never counted as zero. prices.toml in the
configuration folder overrides and adds, by name or pattern:

    ["my-model*"]
    input = 0.2        # USD per million tokens
    output = 0.8
    window = 131072
"""

from __future__ import annotations

import fnmatch
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from rlm_mcp import config
from rlm_mcp.errors import BadRequest
from rlm_mcp.models.model import Price, TokenUsage

AS_OF = "2026-11-21"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known about a model."""

    price: Price | None = None
    window: int = 200_000
    max_output: int = 64_000
    sampling: bool = True
    """Whether it takes a temperature; newer Claude models answer one with status 400."""


UNKNOWN_CARD = ModelCard()
"""What is assumed of a model that no table names; its price is not known."""

ALIASES = {
    "opus": "claude-opus-5-5",
    "sonnet": "claude-sonnet-5-5",
    "haiku": "claude-haiku-5-5",
    "fable": "claude-fable-5-1",
}


def _list_price(input_usd: float, output_usd: float, read_share: float = 0.1) -> Price:
    return Price(input_usd, output_usd, input_usd * read_share, input_usd * 1.25, AS_OF)


def _modern_card(price: Price) -> ModelCard:
    return ModelCard(price, window=1_000_000, max_output=128_000, sampling=False)


def _gpt_card(input_usd: float, output_usd: float) -> ModelCard:
    longer = _list_price(2 * input_usd, 1.5 * output_usd)
    price = replace(_list_price(input_usd, output_usd), long_over=272_000, long=longer)
    return ModelCard(price, window=1_050_000, max_output=128_000, sampling=False)


_HAIKU_PRICE = replace(_list_price(0.10, 0.50), long_over=100_000, long=_list_price(0.50, 2.50))

MODEL_CARDS: dict[str, ModelCard] = {
    "claude-fable-5-1": _modern_card(_list_price(10, 50, 0.025)),
    "claude-mythos-5-1": _modern_card(_list_price(10, 50, 0.025)),
    "claude-fable-5": _modern_card(_list_price(10, 50)),
    "claude-mythos-5": _modern_card(_list_price(10, 50)),
    "claude-opus-5-5": _modern_card(_list_price(4, 20, 0.05)),
    "claude-opus-5": _modern_card(_list_price(5, 25)),
    "claude-opus-4-8": _modern_card(_list_price(5, 25)),
    "claude-opus-4-7": _modern_card(_list_price(5, 25)),
    "claude-opus-4-6": ModelCard(_list_price(5, 25), 1_000_000, 128_000),
    "claude-opus-4-5": ModelCard(_list_price(5, 25)),
    "claude-sonnet-5-5": _modern_card(_list_price(2, 10, 0.05)),
    "claude-sonnet-5": _modern_card(_list_price(2, 10)),
    "claude-sonnet-4-6": ModelCard(_list_price(3, 15), 1_000_000, 64_000),
    "claude-sonnet-4-5": ModelCard(_list_price(3, 15)),
    "claude-haiku-5-5": _modern_card(_HAIKU_PRICE),
    "claude-haiku-4-5": ModelCard(_list_price(1, 5)),
    "gpt-6-sol": _gpt_card(2, 10),
    "gpt-6-luna": _gpt_card(0.10, 0.50),
}

_SUFFIX = re.compile(r"(?:-20[0-9]{6}|-latest|@20[0-9]{6}|\[1m\])$")
_PREFIX = re.compile(r"^(?:[a-z]{2,6}\.)?anthropic[./]")


def resolve_alias(model: str) -> str:
    """Return the full name behind a short one ("haiku"), or `model` itself."""
    return ALIASES.get(model, model)


def model_card(model: str) -> ModelCard:
    """Return what is known about `model`: the user's figures first, then the table's.

    Raises BadRequest where prices.toml cannot be read.
    """
    read = _current_prices()
    if model not in read.cards:
        read.cards[model] = _make_card(model, read.overrides)
    return read.cards[model]


def _make_card(model: str, overrides: Mapping[str, Any]) -> ModelCard:
    name = _PREFIX.sub("", _SUFFIX.sub("", resolve_alias(model)))
    known = MODEL_CARDS.get(name, UNKNOWN_CARD)
    for pattern, values in overrides.items():
        if fnmatch.fnmatchcase(model, pattern) or fnmatch.fnmatchcase(name, pattern):
            return _merge_card(known, values, pattern)
    return known


def request_cost_usd(model: str, usage: TokenUsage) -> float | None:
    """Return what one request of `usage` costs in USD, or None where the price is not known."""
    price = model_card(model).price
    return None if price is None else price.cost_usd(usage)


class _PricesFile(NamedTuple):
    """prices.toml as it was last read, and the cards that were made of it."""

    folder: str | None
    path: Path
    changed_ns: int
    overrides: Mapping[str, Any]
    cards: dict[str, ModelCard]


_prices_file: _PricesFile | None = None
"""Every call asks for a price four times: the file is looked at each time, and read when it
changed."""


def _current_prices() -> _PricesFile:
    global _prices_file
    folder = os.environ.get("RLM_MCP_CONFIG_DIR")
    path = (
        _prices_file.path
        if _prices_file and _prices_file.folder == folder
        else config.config_dir() / "prices.toml"
    )
    try:
        changed_ns = os.stat(path).st_mtime_ns
    except OSError:
        changed_ns = 0
    if _prices_file is None or (_prices_file.path, _prices_file.changed_ns) != (path, changed_ns):
        _prices_file = _PricesFile(
            folder, path, changed_ns, _read_overrides(path) if changed_ns else {}, {}
        )
    return _prices_file


def _read_overrides(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRequest(f"Cannot read the prices in {path}: {error}.") from error


def _merge_card(known: ModelCard, values: Any, pattern: str) -> ModelCard:
    try:
        rest = dict(values)
        sizes = {name: int(rest.pop(name)) for name in ("window", "max_output") if name in rest}
        found = replace(known, **sizes)  # type: ignore[arg-type]
        if not rest:
            return found
        paid, made = float(rest.pop("input")), float(rest.pop("output"))
        price = Price(
            paid,
            made,
            float(rest.pop("cache_read", paid)),
            float(rest.pop("cache_write", paid * 1.25)),
            str(rest.pop("as_of", "prices.toml")),
        )
        if rest or min(price.input, price.output, price.cache_read, price.cache_write) < 0:
            raise ValueError(f"unknown or negative: {sorted(rest)}")
    except (KeyError, TypeError, ValueError) as error:
        raise BadRequest(
            f"prices.toml: [{pattern!r}] wants input and output in USD per million tokens "
            f"(and may set cache_read, cache_write, as_of, window, max_output): {error!r}."
        ) from error
    return replace(found, price=price)
