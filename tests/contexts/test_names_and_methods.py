"""The manual of a variable's methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import pytest

from rlm_mcp.methods import help_entry


@dataclass
class Hit:
    ref: str
    line: int


class Pair(NamedTuple):
    left: str
    right: str


class Row(TypedDict):
    path: str
    count: int


def find(name: str, limit: int = 5) -> list[Hit]:
    """find(name, limit=5) -> places

    More that is not shown.
    """
    return []


def pairs() -> list[Pair]:
    """pairs() -> both"""
    return []


def rows() -> list[Row]:
    """rows() -> counts"""
    return []


def plain(text: str = "") -> str:
    """Return a text."""
    return text


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (find, "find(name, limit=5) -> places [each: ref, line]"),
        (pairs, "pairs() -> both [each: left, right]"),
        (rows, "rows() -> counts [each: path, count]"),
        (plain, "plain(text='') -> Return a text."),
    ],
)
def test_an_entry_says_how_to_call_and_what_each_result_holds(method: object, said: str) -> None:
    assert callable(method)
    assert help_entry(getattr(method, "__name__", ""), method) == said
