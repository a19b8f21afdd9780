"""Patterns that cost much, that RE2 has not, or that are none: bounded, labelled or refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rlm_mcp.corpus.search import compile_pattern, grep
from rlm_mcp.corpus.search.grep import Query
from rlm_mcp.errors import BadRequest
from tests.corpus.conftest import lines_of, packed


def test_lookaround_and_backreferences_are_decided_and_labelled(cache: Path, engine: str) -> None:
    corpus = packed(cache, a="foobar\nfoobaz\nxx yy\nab ab\nword word\n", b="FOObar\n")
    wanted = {
        r"foo(?=bar)": [("a", 1)], r"foo(?!bar)": [("a", 2)], r"(?<=foo)baz": [("a", 2)],
        r"(?<!foo)ba": [("b", 1)], r"([a-z])\1": [("a", 1), ("a", 2), ("a", 3)],
        r"\b(\w+) \1\b": [("a", 4), ("a", 5)], r"(?P<w>\w+) (?P=w)": [("a", 4), ("a", 5)],
        r"(?<w>ab) \1": [("a", 4)], r"(?>fo+)b": [("a", 1), ("a", 2)],
    }  # fmt: skip
    for pattern, lines in wanted.items():
        found = grep.grep_corpus(corpus, Query(pattern))
        assert lines_of(found) == lines, pattern
        assert found.exact
        assert "backtracking" in found.note
    assert grep.grep_corpus(corpus, Query(r"foo(?=bar)", ignore_case=True)).total == 2
    assert lines_of(grep.grep_corpus(corpus, Query(r"foo(?=bar\n)", multiline=True))) == [("a", 1)]


def test_a_backtracking_bomb_is_stopped_and_labelled_partial(cache: Path) -> None:
    corpus = packed(cache, a="ok ok\n" * 300 + "a" * 60 + "!\n", b="ok ok\n")
    begun = time.monotonic()
    found = grep.grep_corpus(corpus, Query(r"(\w+) \1$|(?=(a+)+b)a", seconds=0.4))
    assert time.monotonic() - begun < 20
    assert not found.exact
    assert "lower bound" in found.note
    assert 0 < found.total <= 301
    with pytest.raises(BadRequest, match="not valid"):
        grep.grep_corpus(corpus, Query(r"(?<=a+)b"))


@pytest.mark.parametrize("pattern", [r"^(?!.*no)", r"(?<=z)q", r"(.)(.)\2\1"])
def test_lookaround_over_many_lines_is_back_in_time(cache: Path, pattern: str) -> None:
    corpus = packed(cache, **{f"d{n}": "some line of text\n" * 60_000 for n in range(8)})
    begun = time.monotonic()
    found = grep.grep_corpus(corpus, Query(pattern, seconds=0.5))
    assert time.monotonic() - begun < 10
    assert found.total <= 480_000
    if pattern.startswith("^"):
        assert found.total > 0 and (found.exact or "lower bound" in found.note)


EVIL = (
    r"(a+)+$", r"(a|aa)+$", r"(a|a)*$", r"(.*a){14}$", r"^(\w+\s?)*$", r"(x+x+)+y", r"(a*)*b",
    r"(a{1,30}){1,30}b", r"([a-z]+)*\d", r"(.*)(.*)(.*)(.*)x", r".*.*.*.*=.*", r"(\w*)*@(\w*)*",
)  # fmt: skip


@pytest.mark.parametrize("pattern", EVIL)
def test_patterns_that_stall_backtracking_engines_do_not(
    cache: Path, engine: str, pattern: str
) -> None:
    corpus = packed(cache, a=("a" * 5000 + "!\n") * 40)
    begun = time.monotonic()
    assert grep.grep_corpus(corpus, Query(pattern)).exact
    assert time.monotonic() - begun < 15


BOMBS = (
    r"(\w{1,1000}){50}x", r"\pL{1000}", r"((a{0,100}){0,100}){0,100}", r"(?:\pL\pN){900}",
    r"(?i)[^a-z\pL]{1000}", "(" * 5000, "a{1001}", "[" * 9000, "x" * 10_001, r"(a{500}){500}",
)  # fmt: skip


@pytest.mark.parametrize("pattern", BOMBS)
def test_compile_bombs_are_refused_at_once(pattern: str) -> None:
    compile_pattern.compile_pattern.cache_clear()
    begun = time.thread_time()
    with pytest.raises(BadRequest):
        compile_pattern.compile_pattern(pattern)
    assert time.thread_time() - begun < 0.5


@pytest.mark.parametrize(
    ("pattern", "place"),
    [("foo(bar", 4), ("a)b", 2), ("x[ab", 2), ("a**", 2), ("*a", 1), (r"ab\y", 3), ("q[z-a]", 3)],
)
def test_a_bad_pattern_is_refused_with_the_place(cache: Path, pattern: str, place: int) -> None:
    corpus = packed(cache, a="x")
    with pytest.raises(BadRequest, match=f"at character {place}"):
        grep.grep_corpus(corpus, Query(pattern))


def test_other_bad_arguments_are_refused(cache: Path) -> None:
    corpus = packed(cache, a="x")
    with pytest.raises(BadRequest, match="empty"):
        grep.grep_corpus(corpus, Query(""))
    for query in (Query("x", limit=-1), Query("x", before=-1), Query("x", after=-1)):
        with pytest.raises(BadRequest, match="negative"):
            grep.grep_corpus(corpus, query)
    with pytest.raises(BadRequest, match="Classes like"):
        grep.grep_corpus(corpus, Query(r"(?=[[:alpha:]])x"))
