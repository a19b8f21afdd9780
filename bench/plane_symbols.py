"""Structure beside parsing alone and universal-ctags: symbols, the map, ranking, chunks."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from bench.plane_measure import Best, best, once, processor, row
from rlm_mcp.corpus.code import (
    CodeNavigator,
    chunk_documents,
    language_of,
    parse_pool,
    rank_passages,
)
from rlm_mcp.corpus.code.grammar import LANGUAGES, ParsedDocument
from rlm_mcp.corpus.code.symbols import SymbolIndex
from rlm_mcp.corpus.store import Corpus

MOST = 100 << 20
"""Bytes of code that are parsed; of a larger tree the first documents."""
QUESTIONS = ("how are hooks registered", "parse http headers", "free memory of a cache",
             "decoder scan", "read a file line by line")  # fmt: skip
_RAW = """
import sys
from rlm_mcp.corpus import grammar
from tree_sitter import QueryCursor
with open(sys.argv[1], "rb") as text:
    for line in sys.stdin:
        name, offset, length = line.split()
        text.seek(int(offset))
        parser, query = grammar._tools(name)
        tree = parser.parse(text.read(int(length)))
        if sys.argv[2] == "query":
            QueryCursor(query, match_limit=100_000).matches(tree.root_node)
"""


def measure_symbols(tree: Path, corpus: Corpus, cache: Path) -> None:
    """Measure parsing from nothing and from the cache, and the map drawn from it."""
    paths, size = [], 0
    for path, (_, length) in zip(corpus.document_paths(), corpus.document_spans(), strict=True):
        if language_of(path) in LANGUAGES and length <= parse_pool.MAX_PARSED_BYTES and size < MOST:
            paths.append(path)
            size += length
    raw, queried = (_raw(corpus, paths, what) for what in ("parse", "query"))
    cold, found = _symbols(corpus, cache, paths)
    count = sum(len(item.names) for item in found.values())
    text = f"{count:,} definitions in {size / 1e6:,.0f} MB; "
    row(
        "symbols, cold", cold, f"{text}two processes that only parse: {raw.wall:.1f} s", raw, "1.3x"
    )
    row("symbols, cold", cold, f"that parse and query: {queried.wall:.1f} s", queried, "1.3x")
    theirs = _ctags(tree, paths)
    warm = min((_symbols(corpus, cache, paths)[0] for _ in range(3)), key=lambda one: one.cpu)
    text = f"ctags, definitions only: {theirs.wall:.2f} s" if theirs else "no ctags here"
    row("symbols, warm", warm, text, theirs, "0.3 s")
    drawn = [_map(corpus, cache) for _ in range(3)]
    row("repository map from the cache", min(drawn, key=lambda one: one.cpu), "", None, "0.6 s")


def _raw(corpus: Corpus, paths: list[str], what: str) -> Best:
    """Return the time of two processes that parse the documents, and make nothing of it."""
    spans, index = corpus.snapshot.spans, corpus.snapshot.index
    jobs = sorted(((spans[index[path]][1], path) for path in paths), reverse=True)
    begun, spent = time.perf_counter(), processor()
    command = [sys.executable, "-c", _RAW, str(corpus.snapshot.text.name), what]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, text=True) for _ in range(2)]
    for number, worker in enumerate(workers):
        assert worker.stdin is not None
        lines = [
            f"{language_of(path)} {spans[index[path]][0]} {size}\n"
            for size, path in jobs[number::2]
        ]
        worker.stdin.write("".join(lines))
        worker.stdin.close()
    for worker in workers:
        worker.wait()
    return Best(time.perf_counter() - begun, processor() - spent)


def _symbols(
    corpus: Corpus, cache: Path, paths: list[str]
) -> tuple[Best, dict[str, ParsedDocument]]:
    begun, spent = time.perf_counter(), processor()
    symbols = SymbolIndex(corpus, cache / "symbols")
    found = dict(symbols.parse_paths(paths))
    for item in found.values():
        len(item.names)
    symbols.close()
    return Best(time.perf_counter() - begun, processor() - spent), found


def _ctags(tree: Path, paths: list[str]) -> Best | None:
    if not shutil.which("ctags"):
        return None
    names = "\n".join(paths).encode("utf-8", "surrogateescape")
    command = ["ctags", "-L", "-", "-f", "-", "--sort=no"]
    return best(
        2, lambda: subprocess.run(command, cwd=tree, input=names, capture_output=True, check=False)
    )[0]


def _map(corpus: Corpus, cache: Path) -> Best:
    code = CodeNavigator("repo", corpus, cache / "symbols")
    begun, spent = time.perf_counter(), processor()
    code.map(2_000)
    took = Best(time.perf_counter() - begun, processor() - spent)
    code.close()
    return took


def measure_rank(corpus: Corpus) -> None:
    """Measure building the full-text index, and questions to it."""
    begun, spent = time.perf_counter(), processor()
    notes = {hit.note for hit in rank_passages(corpus, QUESTIONS[0])}
    built = Best(time.perf_counter() - begun, processor() - spent)
    row("ranking: build the index", built, " ".join(notes) or "whole", None, "3 s")
    if not any(notes):
        times = [best(3, partial(rank_passages, corpus, asked))[0] for asked in QUESTIONS]
        middle = sorted(times, key=lambda one: one.wall)[len(times) // 2]
        text = f"{len(QUESTIONS)} questions; processor {middle.cpu * 1e3:.1f} ms"
        row("ranking: a question (median)", middle, text, None, "10 ms")


def measure_chunks(corpus: Corpus, cache: Path, reps: int) -> None:
    """Measure chunking, and how many functions that fit are cut, in any language."""
    size = corpus.snapshot.table.text_bytes
    took = best(max(2, reps // 2), lambda: chunk_documents(corpus, None, "auto", 1143))[0]
    parts = chunk_documents(corpus, None, "auto", 1143)
    starts: dict[str, list[int]] = {}
    for part in parts:
        starts.setdefault(part.path, []).append(part.start)
    symbols = SymbolIndex(corpus, cache / "symbols")
    counts = {}
    for suffix in (".py", ".c", ".go", ".js"):
        paths = [path for path in starts if path.endswith(suffix)][:600]
        fit = cut = 0
        for path, item in symbols.parse_paths(paths).items():
            for found in item.definitions:
                if found.kind in ("function", "method"):
                    lines = corpus.line_bytes(path, found.line, found.stop)
                    if sum(map(len, lines)) + len(lines) <= 4000:
                        fit += 1
                        cut += any(found.line < at <= found.stop for at in starts[path])
        if fit:
            counts[suffix] = f"{suffix} {cut} of {fit:,}"
    symbols.close()
    name = f"chunk, {size / 1e6 / took.cpu:,.0f} MB a processor second"
    text = f"{len(parts):,} parts; small functions cut: {', '.join(counts.values())}"
    row(name, once(took.wall), text, None, "50 MB/s, 1 %")
