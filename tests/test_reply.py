"""The limiter: nothing leaves too long, with a secret, or without the way to the rest."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlm_mcp import reply
from rlm_mcp.errors import Unavailable


class Shelf:
    def __init__(self) -> None:
        self.kept: list[str] = []

    def keep(self, text: str) -> str:
        self.kept.append(text)
        return f"r{len(self.kept)}"


LINES = "\n".join(f"line {number} of many" for number in range(1, 2_001))


def test_a_short_text_passes_as_it_is_and_nothing_is_kept() -> None:
    shelf = Shelf()
    assert reply.limit_reply("hello\nworld", 6_000, shelf.keep) == "hello\nworld"
    assert shelf.kept == []


def test_a_long_text_is_cut_at_a_line_with_exact_figures_and_a_handle() -> None:
    shelf = Shelf()
    got = reply.limit_reply(LINES, 6_000, shelf.keep)
    assert len(got) <= 6_000
    assert shelf.kept == [LINES]
    match = re.search(r"\[([\d,]+) of ([\d,]+) characters shown, ([\d,]+) of 2,000 lines\.", got)
    assert match is not None
    shown_lines = int(match[3].replace(",", ""))
    assert int(match[2].replace(",", "")) == len(LINES)
    assert f'peek("r1#L{shown_lines + 1}")' in got
    assert got.startswith("".join(f"line {n} of many\n" for n in range(1, shown_lines + 1)))
    assert f"line {shown_lines + 1} of many" not in got


def test_a_last_line_that_says_how_to_go_on_survives() -> None:
    got = reply.limit_reply(f"{LINES}\nmore: the same call with cursor='abc'", 6_000, Shelf().keep)
    assert got.endswith("more: the same call with cursor='abc'")


def test_one_long_line_is_cut_by_characters() -> None:
    got = reply.limit_reply("x" * 50_000, 6_000, Shelf().keep)
    match = re.search(r'peek\("r1#C(\d+)-C(\d+)"\)', got)
    assert match is not None
    assert got.startswith("x" * int(match[1]) + "\n")
    assert len(got) <= 6_000


@pytest.mark.parametrize("cap", [-5, 0, 1, 399, 10**9])
def test_no_cap_widens_or_breaks_the_limit(cap: int) -> None:
    got = reply.limit_reply(LINES * 5, cap, Shelf().keep)
    assert len(got) <= max(reply.MIN_REPLY_CHARS, min(cap, reply.MAX_REPLY_CHARS))
    assert "r1" in got


def test_secrets_are_replaced_in_what_is_shown_and_in_what_is_kept() -> None:
    secret = "AKIA" + "QYLPMN5HFIQR7XYA"
    shelf = Shelf()
    got = reply.limit_reply(f"key {secret}\n{LINES}", 6_000, shelf.keep)
    assert secret not in got
    assert secret not in shelf.kept[0]
    assert "[secret:" in got


def test_a_secret_in_an_error_is_replaced_too() -> None:
    secret = "AKIA" + "QYLPMN5HFIQR7XYA"
    assert secret not in reply.error_sentence(ValueError(f"bad {secret}"))


def test_a_rest_that_cannot_be_kept_is_said() -> None:
    def keep(text: str) -> str:
        raise Unavailable("the disk is full")

    got = reply.limit_reply(LINES, 6_000, keep)
    assert "could not be kept: the disk is full" in got
    assert "peek" not in got
    assert len(got) <= 6_000


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text(st.characters(codec=None), max_size=200),
    st.integers(0, 400),
    st.integers(-10, 30_000),
)
def test_any_text_comes_out_valid_and_within_the_cap(piece: str, times: int, cap: int) -> None:
    got = reply.limit_reply(piece * times, cap, Shelf().keep)
    assert len(got) <= max(reply.MIN_REPLY_CHARS, min(cap, reply.MAX_REPLY_CHARS))
    got.encode("utf-8")
    assert "\x00" not in got
