"""Matches across lines: each document by itself, however the text is cut for the scan."""

from __future__ import annotations

import random
from codecs import BOM_UTF8
from pathlib import Path

import pytest

from rlm_mcp.corpus.search import compile_pattern, grep, scan
from rlm_mcp.corpus.search import multiline as across
from rlm_mcp.corpus.search.grep import Query
from rlm_mcp.corpus.store import open_corpus
from rlm_mcp.errors import BadRequest

PARTS = (
    "a", "b", r"\s", r"\w", ".", r"\W", "[^a]", "^", "$", r"\b", r"\B", r"\n", r"\s*", "a*", "b?",
    r"\w+", "(a|b)*", "(^|a)", "(b|$)", "(^$|a)", r"(\w+\s?)*", "a{2,3}", r"[ab\n]",
)  # fmt: skip


def starts(regex: object, data: bytes) -> set[int]:
    """Return the lines in which matches of a document start, found by RE2 in it alone."""
    found, position = set(), 0
    while position < len(data) and (match := regex.search(data, position)) is not None:  # type: ignore[attr-defined]
        if match.start() >= len(data):
            break
        found.add(data.count(b"\n", 0, match.start()) + 1)
        newline = data.find(b"\n", match.start())
        position = max(match.end(), newline + 1 if newline >= 0 else len(data))
    return found


@pytest.mark.parametrize("multiline", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_the_lines_are_those_of_each_document_by_itself(
    cache: Path, monkeypatch: pytest.MonkeyPatch, multiline: bool, seed: int
) -> None:
    rng = random.Random(seed)
    for _ in range(4):
        texts = {
            f"d{number:02}": "".join(rng.choices("ab \n\n\rx-", k=rng.choice([0, 1, 2, 5, 20])))
            for number in range(rng.randint(1, 9))
        }
        items = [
            (name, rng.choice([b"", b"", BOM_UTF8]) + text.encode()) for name, text in texts.items()
        ]
        corpus = open_corpus.pack_texts(items, cache=cache, name="t")
        for _ in range(60):
            block = rng.choice([8 << 20, 4, 16])
            monkeypatch.setattr(across, "BLOCK_BYTES", block)
            monkeypatch.setattr(scan, "BLOCK_BYTES", block)
            monkeypatch.setattr(across, "THREADED_BYTES", rng.choice([1, 64 << 20]))
            monkeypatch.setattr(across, "DENSE_HITS_PER_BYTE", rng.choice([0.0, 1.0]))
            sieved = rng.random() < 0.5
            monkeypatch.setattr(
                across._EngineChoice, "use_prefilter", lambda pace, s=sieved: s and pace._usable
            )
            pattern = "".join(rng.choices(PARTS, k=rng.randint(1, 5)))
            try:
                gated = compile_pattern.compile_pattern(pattern, multiline=multiline)
            except BadRequest:
                continue
            found = grep.grep_corpus(corpus, Query(pattern, limit=1000, multiline=multiline))
            got = {(hit.path, hit.line) for hit in found.hits}
            wanted = set()
            for path, data in items:
                if gated.per_document:
                    wanted |= {
                        (path, line) for line in starts(gated.regex, data.removeprefix(BOM_UTF8))
                    }
                    continue
                lines = data.split(b"\n")[: None if data and not data.endswith(b"\n") else -1]
                wanted |= {
                    (path, number)
                    for number, line in enumerate(lines, 1)
                    if gated.regex.search(line.removeprefix(BOM_UTF8 if number == 1 else b""))
                }
            assert got == wanted, (pattern, texts)
            assert found.total == len(wanted)
        corpus.close()
