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
from rlm_mcp.models.model import Price, Usage

AS_OF = "2026-11-21"


@dataclass(frozen=True, slots=True)
class Card:
    """What is known about a model."""

    price: Price | None = None
    window: int = 200_000
    max_output: int = 64_000
    sampling: bool = True
    """Whether it takes a temperature; newer Claude models answer one with status 400."""


UNKNOWN = Card()
"""What is assumed of a model that no table names; its price is not known."""

ALIASES = {
    "opus": "claude-opus-5-5",
    "sonnet": "claude-sonnet-5-5",
    "haiku": "claude-haiku-5-5",
    "fable": "claude-fable-5-1",
}


def _price(input_usd: float, output_usd: float, read_share: float = 0.1) -> Price:
    return Price(input_usd, output_usd, input_usd * read_share, input_usd * 1.25, AS_OF)


def _modern(price: Price) -> Card:
    return Card(price, window=1_000_000, max_output=128_000, sampling=False)


def _gpt(input_usd: float, output_usd: float) -> Card:
    longer = _price(2 * input_usd, 1.5 * output_usd)
    price = replace(_price(input_usd, output_usd), long_over=272_000, long=longer)
    return Card(price, window=1_050_000, max_output=128_000, sampling=False)


_HAIKU = replace(_price(0.10, 0.50), long_over=100_000, long=_price(0.50, 2.50))

TABLE: dict[str, Card] = {
    "claude-fable-5-1": _modern(_price(10, 50, 0.025)),
    "claude-mythos-5-1": _modern(_price(10, 50, 0.025)),
    "claude-fable-5": _modern(_price(10, 50)),
    "claude-mythos-5": _modern(_price(10, 50)),
    "claude-opus-5-5": _modern(_price(4, 20, 0.05)),
    "claude-opus-5": _modern(_price(5, 25)),
    "claude-opus-4-8": _modern(_price(5, 25)),
    "claude-opus-4-7": _modern(_price(5, 25)),
    "claude-opus-4-6": Card(_price(5, 25), 1_000_000, 128_000),
    "claude-opus-4-5": Card(_price(5, 25)),
    "claude-sonnet-5-5": _modern(_price(2, 10, 0.05)),
    "claude-sonnet-5": _modern(_price(2, 10)),
    "claude-sonnet-4-6": Card(_price(3, 15), 1_000_000, 64_000),
    "claude-sonnet-4-5": Card(_price(3, 15)),
    "claude-haiku-5-5": _modern(_HAIKU),
    "claude-haiku-4-5": Card(_price(1, 5)),
    "gpt-6-sol": _gpt(2, 10),
    "gpt-6-luna": _gpt(0.10, 0.50),
}

_SUFFIX = re.compile(r"(?:-20[0-9]{6}|-latest|@20[0-9]{6}|\[1m\])$")
_PREFIX = re.compile(r"^(?:[a-z]{2,6}\.)?anthropic[./]")


def resolve(model: str) -> str:
    """Return the full name behind a short one ("haiku"), or `model` itself."""
    return ALIASES.get(model, model)


def card(model: str) -> Card:
    """Return what is known about `model`: the user's figures first, then the table's.

    Raises BadRequest where prices.toml cannot be read.
    """
    read = _last_read()
    if model not in read.cards:
        read.cards[model] = _card(model, read.overrides)
    return read.cards[model]


def _card(model: str, overrides: Mapping[str, Any]) -> Card:
    name = _PREFIX.sub("", _SUFFIX.sub("", resolve(model)))
    known = TABLE.get(name, UNKNOWN)
    for pattern, values in overrides.items():
        if fnmatch.fnmatchcase(model, pattern) or fnmatch.fnmatchcase(name, pattern):
            return _merge(known, values, pattern)
    return known


def cost(model: str, usage: Usage) -> float | None:
    """Return what one request of `usage` costs in USD, or None where the price is not known."""
    price = card(model).price
    return None if price is None else price.cost(usage)


class _Read(NamedTuple):
    """prices.toml as it was last read, and the cards that were made of it."""

    folder: str | None
    path: Path
    changed_ns: int
    overrides: Mapping[str, Any]
    cards: dict[str, Card]


_read: _Read | None = None
"""Every call asks for a price four times: the file is looked at each time, and read when it
changed."""


def _last_read() -> _Read:
    global _read
    folder = os.environ.get("RLM_MCP_CONFIG_DIR")
    path = _read.path if _read and _read.folder == folder else config.config_dir() / "prices.toml"
    try:
        changed_ns = os.stat(path).st_mtime_ns
    except OSError:
        changed_ns = 0
    if _read is None or (_read.path, _read.changed_ns) != (path, changed_ns):
        _read = _Read(folder, path, changed_ns, _overrides(path) if changed_ns else {}, {})
    return _read


def _overrides(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRequest(f"Cannot read the prices in {path}: {error}.") from error


def _merge(known: Card, values: Any, pattern: str) -> Card:
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
