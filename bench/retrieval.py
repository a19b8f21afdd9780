"""How high ranking puts the file that answers a question, beside plain BM25.

    python bench/retrieval.py FOLDER QUESTIONS

QUESTIONS has a line of JSON for each question: {"question": ..., "paths": [...]}, the paths
relative to FOLDER. A question counts the reciprocal of the rank of the first file that answers,
among the first ten files; 0 where none does. `--misses` lists what is not found first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from rlm_mcp.corpus.code import ranking, words
from rlm_mcp.corpus.code.fulltext import FullTextIndex
from rlm_mcp.corpus.store import open_corpus
from rlm_mcp.corpus.store.corpus import Corpus

FIRST = 10
PASSAGES = 50


def file_rank(found: Iterable[str], answers: set[str]) -> int:
    """Return the place of the first file that answers, from 1; 0 where none is among the first."""
    files = list(dict.fromkeys(found))[:FIRST]
    return next((place for place, path in enumerate(files, 1) if path in answers), 0)


def plain_bm25(corpus: Corpus) -> Callable[[str], list[str]]:
    """Return a search that takes BM25's order as it is, over the same passages."""
    index = FullTextIndex(corpus)
    index.update_index(corpus.snapshot, ranking.BUILD_S)

    def search(question: str) -> list[str]:
        phrases = [f'"{" ".join(term.parts)}"' for term in words.split_question(question)]
        if not phrases:
            return []
        found = index.match_passages(" OR ".join(phrases), PASSAGES)
        return [passage.path for passage in found]

    return search


def measure_folder(folder: Path, questions: Path, cache: Path, misses: bool) -> None:
    """Print a row of the table for a folder and its questions."""
    asked = [json.loads(line) for line in questions.read_text("utf-8").splitlines() if line.strip()]
    corpus = open_corpus.open_folder(folder.resolve(), cache=cache)
    plain = plain_bm25(corpus)
    own, base, seconds = [], [], []
    ranking.rank_passages(corpus, "warm up the index", limit=1)
    for one in asked:
        answers = set(one["paths"])
        begun = time.perf_counter()
        found = ranking.rank_passages(corpus, one["question"], limit=PASSAGES)
        seconds.append(time.perf_counter() - begun)
        own.append(file_rank([hit.path for hit in found], answers))
        base.append(file_rank(plain(one["question"]), answers))
        if misses and own[-1] != 1:
            first = found[0].path if found else "nothing"
            print(f"  {own[-1]:2} {one['question']}: {first}, not {', '.join(sorted(answers))}")
    scores = [statistics.mean(1 / place if place else 0.0 for place in row) for row in (own, base)]
    print(
        f"| {questions.stem} | {len(asked)} | {scores[0]:.3f} | {own.count(1)} | {scores[1]:.3f} "
        f"| {base.count(1)} | {statistics.median(seconds) * 1000:.1f} ms |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--misses", action="store_true", help="list what is not found first")
    options = parser.parse_args()
    print("| questions | number | MRR | first | BM25 MRR | first | median |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as cache:
        measure_folder(options.folder, options.questions, Path(cache), options.misses)


if __name__ == "__main__":
    main()
