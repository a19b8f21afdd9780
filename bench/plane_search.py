"""Searches beside ripgrep and git grep: full results, first pages, evil patterns."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.plane_measure import best, once, row, run
from rlm_mcp.corpus.search import GrepPage, Query, compile_pattern, grep, grep_corpus
from rlm_mcp.corpus.store import Corpus
from rlm_mcp.errors import BadRequest

GREPS: tuple[tuple[str, str, dict[str, Any], tuple[str, ...], float], ...] = (
    ("rare literal", "PyErr_BadInternalZ", {}, (), 0.25),
    ("common literal", "return", {}, (), 0.8),
    ("alternation, ignore case", "error|warning|fatal", {"ignore_case": True}, ("-i",), 0.8),
    ("no literal", r"\b[a-z]{3}[0-9]{4}[A-Z]\w+", {}, (), 0.5),
    ("call of an init", r"\w+_init\s*\(", {}, (), 0.5),
    ("line start", r"^(static|class|def|type) \w+", {}, (), 0.8),
    ("across lines", r"\{\n\s+return", {"multiline": True}, ("-U",), 0.8),
)  # fmt: skip
EVIL = (
    r"(a+)+$", r"(a|aa)+$", r"(a|a)*$", r"(.*a){14}$", r"^(\w+\s?)*$", r"(x+x+)+y",
)  # fmt: skip
BOMBS = (r"(\w{1,1000}){50}x", r"\pL{1000}", r"((a{0,100}){0,100}){0,100}")


def measure_search(tree: Path, corpus: Corpus, rg: str | None, reps: int) -> None:
    """Measure full results with totals, and first pages, beside ripgrep and git grep."""
    for name, pattern, ours_more, theirs_more, target in GREPS:
        query = Query(pattern, limit=200, **ours_more)

        def ours(query: Query = query) -> GrepPage:
            grep._recent_hits.clear()
            return grep_corpus(corpus, query)

        works: list[Callable[[], object]] = [ours]
        if rg:
            base = [rg, "-n", "--no-config", "--no-unicode", "--no-messages", *theirs_more]
            works.append(run([*base, "-e", pattern, "."], tree))
        found = ours()
        text = f"{'' if found.exact else 'stopped by its limit of time at '}{found.total:,} lines"
        if "-U" not in theirs_more:
            flavour = "-nIP" if "\\" in pattern else "-nIE"
            works.append(run(["git", "grep", flavour, *theirs_more, "-e", pattern], tree))
        times = best(reps, *works)
        if "-U" not in theirs_more:
            text += f"; git grep {times[-1].wall * 1e3:,.0f} ms"
        if rg:
            text = f"ripgrep {times[1].wall * 1e3:,.0f} ms; {text}"
        row(f"grep: {name}", times[0], text, times[1] if rg else None, f"{target}x")
    measure_first(tree, corpus, rg, reps)
    measure_evil(corpus)


def measure_first(tree: Path, corpus: Corpus, rg: str | None, reps: int) -> None:
    """Measure the first 200 hits of a common pattern, beside ripgrep's first 200 lines."""

    def ours() -> None:
        grep._recent_hits.clear()
        grep_corpus(corpus, Query("return", limit=200, totals=False))

    def theirs() -> None:
        with subprocess.Popen(
            [str(rg), "-n", "--no-config", "return", "."], cwd=tree, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            for _ in range(200):
                process.stdout.readline()
            process.kill()

    times = best(reps * 3, ours, theirs) if rg else best(reps * 3, ours)
    text = f"ripgrep's first 200, streamed: {times[1].wall * 1e3:.2f} ms" if rg else ""
    row("grep: first 200 of a common word", times[0], text, times[1] if rg else None, "0.2x")


def measure_evil(corpus: Corpus) -> None:
    """Measure the patterns that stall others, and the refusal of compile bombs."""
    worst = 0.0
    for pattern in EVIL:
        grep._recent_hits.clear()
        begun = time.perf_counter()
        grep_corpus(corpus, Query(pattern))
        worst = max(worst, time.perf_counter() - begun)
    row("worst of the evil patterns", once(worst), f"{len(EVIL)} patterns", None, "2 s")
    worst = 0.0
    for pattern in BOMBS:
        compile_pattern.compile_pattern.cache_clear()
        begun = time.perf_counter()
        try:
            compile_pattern.compile_pattern(pattern)
        except BadRequest:
            worst = max(worst, time.perf_counter() - begun)
    row("refusing a compile bomb", once(worst), f"{len(BOMBS)} patterns", None, "50 ms")
