"""Matches that an engine skips over are found all the same."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import re2

from rlm_mcp.corpus.search import compile_pattern, grep, regex_parser, regex_tree
from rlm_mcp.corpus.store import open_corpus

Report = Callable[[int, int, int, int, object], None]


@pytest.mark.parametrize(
    "written",
    [
        r"ab.*(ab|re)", r"ab.*\s*(ab|re)", r"(ab|re).*\s*(ab|re)", r"12.*\s?.*(return|12)",
        r"curl.*\|\s*python", r"(re|x)[^a]*if", r"(if|return|re).*(12|if)", r"b\s*$",
    ],
)  # fmt: skip
@pytest.mark.parametrize("multiline", [False, True])
def test_long_runs_between_the_parts_of_a_match_hide_nothing(
    cache: Path, written: str, multiline: bool
) -> None:
    words = ["ab", "re", "12", "return", "curl http://a.example/ 2>&1 |", "python", "x", "if", "b"]
    lines = [
        first + fill * gap + second + fill * behind
        for first in words
        for second in words
        for fill in ("q", "-")
        for gap, behind in [(0, 0), (1, 0), (20, 40), (31, 1), (64, 0), (65, 70), (3, 130)]
    ]
    regex = re.compile(written, re.MULTILINE)
    text = "\n".join(lines)
    wanted = [number for number, line in enumerate(lines, 1) if regex.search(line)]
    if multiline:
        wanted = list(starts(regex, text))
    items = [("a", text.encode()), ("b", b"q" * 60 + b"ab"), ("c", b"-")]
    corpus = open_corpus.pack_texts(items, cache=cache, name="t")
    query = grep.Query(written, limit=10_000, multiline=multiline)
    found = [hit.line for hit in grep.grep_corpus(corpus, query).hits if hit.path == "a"]
    alone = grep.grep_corpus(corpus, query, ["b"])
    corpus.close()
    assert found == wanted
    assert alone.total == (regex.search("q" * 60 + "ab") is not None)


def starts(regex: re.Pattern[str], text: str) -> Iterator[int]:
    """Yield the lines in which matches start, each looked for behind the line of the last one."""
    position = 0
    while match := regex.search(text, position):
        yield text.count("\n", 0, match.start()) + 1
        newline = text.find("\n", match.start())
        if newline < 0:
            return
        position = max(match.end(), newline + 1)


class Database:
    """Reports the end of every line but some."""

    def __init__(self, silent: int) -> None:
        self.silent = silent

    def scan(self, text: bytes, report: Report) -> None:
        ends = [place + 1 for place, byte in enumerate(text) if byte == 10][1:]
        for number, end in enumerate(ends):
            if number != self.silent:
                report(0, 0, end, 0, None)


@pytest.mark.parametrize("written", [r"a.*b", r"^\w+(a|bc)\s*$", r"\bx[^a]{2,}y"])
def test_one_match_that_is_not_reported_is_enough_for_distrust(written: str) -> None:
    node = regex_tree.trim_node(regex_parser.parse_regex(written, ignore_case=False).node)
    regex = re2.compile(written.encode())
    assert compile_pattern.verify_automaton(Database(silent=-1), node, regex)
    assert not compile_pattern.verify_automaton(Database(silent=0), node, regex)
    assert not compile_pattern.verify_automaton(Database(silent=37), node, regex)


def test_ordinary_patterns_are_trusted() -> None:
    if compile_pattern.load_hyperscan() is None:
        pytest.skip("Hyperscan is not installed")
    for written in (r"\w+_init\s*\(", r"^\s*#", r"\bdef\s+\w+", r"error|warning", r"TODO.*"):
        assert compile_pattern.compile_pattern(written).automaton is not None


@pytest.mark.parametrize(
    "pattern",
    [
        r"(_|if)\w+(ab|re)", r"(ab1|12|x).+ab", r"ab.+(if|ab)", r"(re|rea).*(re|rea|12)",
        r"12.*(if|12)", r"(foo|=|ab)[a-z]*return", r"(12|_|if).*(rea|ab)", r"(x|12|rea)\s+(if|re)",
        r"(ab|re)+\d*(x|12)", r"^(if|ab).*(re|foo)\s*$",
    ],
)  # fmt: skip
def test_choices_beside_gaps_lose_no_line(pattern: str) -> None:
    rng = random.Random(5)
    words = [b"ab", b"re", b"12", b"return", b"foo", b"x", b"_", b"if", b"ab1", b"rea", b"=", b" "]
    words = words * 2 + [b"q" * 60, b"-" * 70, b" " * 64, b"z" * 33, b"Q" * 120, b"_" * 90, b"\xff"]
    lines = [b"".join(rng.choices(words, k=rng.choice([1, 2, 4, 9, 20]))) for _ in range(4_000)]
    gated = compile_pattern.compile_pattern(pattern)
    if gated.automaton is None:
        return
    found: set[int] = set()
    with gated.automaton.lend_database() as database:
        database.scan(
            b"\n" + b"\n".join(lines) + b"\n\n", lambda _id, _from, to, _flags, _c: found.add(to)
        )
    at, missed = 1, []
    for line in lines:
        at += len(line) + 1
        if at not in found and gated.regex.search(line) is not None:
            missed.append(line)
    assert not missed
