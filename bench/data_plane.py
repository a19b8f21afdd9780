"""Measure the data plane beside ripgrep, git grep and plain reading, in one run.

    python bench/data_plane.py [TREE ...] [--rg PATH] [--reps 5] [--fetch FOLDER]

Each TREE is a git working tree. Without one, sources are installed by package clients into
FOLDER (default: a folder of the system's temporary one): Django by pip, CPython and Linux by apt,
ripgrep by npm; what cannot be had is said and left out. Each line is the best of `reps` runs of
ours and theirs in turn: wall time, the ratio of wall times, the ratio of processor times (of all
threads and children; it tells more on a busy machine), the target, and what it stands beside.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.plane_fetch import fetch  # noqa: E402
from bench.plane_history import measure_history  # noqa: E402
from bench.plane_logs import measure_logs  # noqa: E402
from bench.plane_measure import best, once, row  # noqa: E402
from bench.plane_retrieval import measure_retrieval  # noqa: E402
from bench.plane_search import measure_search  # noqa: E402
from bench.plane_symbols import measure_chunks, measure_rank, measure_symbols  # noqa: E402
from bench.plane_tokens import measure_tokens  # noqa: E402
from rlm_mcp.corpus.search import Query, compile_pattern, grep_corpus  # noqa: E402
from rlm_mcp.corpus.store import Corpus, open_tree  # noqa: E402

PARTS = ("load", "search", "structure", "logs", "history")


def plain_read(tree: Path) -> int:
    """Read every listed file and keep nothing: the floor of a load."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=tree, capture_output=True, check=True
    ).stdout
    size = 0
    for name in listed.split(b"\0")[:-1]:
        try:
            handle = os.open(os.path.join(os.fsencode(tree), name), os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            continue
        size += len(os.read(handle, os.fstat(handle).st_size))
        os.close(handle)
    return size


def measure_load(tree: Path, cache: Path, reps: int) -> Corpus:
    """Measure loading, reopening, freshness and peeking."""

    def anew() -> None:
        shutil.rmtree(cache / "cold", ignore_errors=True)
        open_tree(tree, cache=cache / "cold").close()

    anew()
    loaded, floor = best(max(2, reps // 2), anew, lambda: plain_read(tree))
    corpus = open_tree(tree, cache=cache)
    size, count = corpus.snapshot.table.text_bytes, len(corpus.document_paths())
    target = "0.2 s" if size < 2e8 else "2.0 s"
    row("load, page cache warm", loaded, f"reading only: {floor.wall:.3f} s", floor, target)
    time.sleep(0.1)
    corpus.refresh()
    reopened = best(reps, lambda: open_tree(tree, cache=cache).close())[0]
    target = "0.05 s" if size < 2e8 else "0.3 s"
    stats = best(reps, lambda: [os.lstat(tree / path) for path in corpus.document_paths()])[0]
    row("reopen", reopened, f"lstat of all, in Python: {stats.wall:.3f} s", stats, target)
    for _ in range(4):
        corpus.refresh()
        time.sleep(0.25)
    row("refresh, nothing changed, watched", best(50, corpus.refresh)[0], f"{count:,} files")
    edits = [edit(tree, corpus) for _ in range(3)]
    seen, asked = min(edits), min(asked for _, asked in edits)
    text = f"refresh after a write; a search of the whole tree finds it {asked * 1e3:.1f} ms later"
    row("an edit, until a search can see it", once(seen[0]), text, None, "50 ms")
    peek(corpus)
    return corpus


def edit(tree: Path, corpus: Corpus) -> tuple[float, float]:
    """Return the seconds from a write until it is in the corpus, and of a search that finds it."""
    path = next(
        p for p in corpus.document_paths() if 2_000 < len(corpus.document_bytes(p)) < 50_000
    )
    old = (tree / path).read_bytes()
    word = f"freshly_written_{random.randrange(10**9)}"
    try:
        (tree / path).write_bytes(old + f"{word}\n".encode())
        begun = time.perf_counter()
        corpus.refresh()
        seen = time.perf_counter()
        found = grep_corpus(corpus, Query(word))
        asked = time.perf_counter() - seen
        assert found.total == 1
    finally:
        (tree / path).write_bytes(old)
        corpus.refresh()
    return seen - begun, asked


def peek(corpus: Corpus) -> None:
    """Measure opening windows of lines."""
    rng = random.Random(1)
    paths = [path for path in corpus.document_paths() if corpus.line_count(path) > 100]
    wanted = [(path, rng.randrange(1, corpus.line_count(path))) for path in rng.sample(paths, 500)]

    def windows() -> None:
        for path, line in wanted:
            corpus.line_bytes(path, line, line + 20)

    took = best(5, windows)[0].wall / len(wanted)
    row("peek at 20 lines", once(took), f"{took * 1e6:.1f} us", None, "20 us")


def measure_memory(tree: Path, cache: Path) -> None:
    """Measure the private memory of a process that has the tree open and has searched it."""
    script = (
        "import sys; from pathlib import Path; from rlm_mcp.corpus.store import open_corpus;"
        "from rlm_mcp.corpus.search import grep, query;"
        "c = open_tree(Path(sys.argv[1]), cache=Path(sys.argv[2]));"
        "grep_corpus(c, query.Query('return'));"
        "lines = open('/proc/self/smaps_rollup').read().splitlines()[1:];"
        "text = dict(l.split(':', 1) for l in lines);"
        "kb = lambda k: int(text[k].split()[0]);"
        "print(kb('Private_Dirty'), kb('Rss'), c.snapshot.table.text_bytes // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tree), str(cache)], capture_output=True, check=True
    )
    private, rss, text = (int(part) / 1024 for part in done.stdout.split())
    print(
        f"| memory, after a search | {rss:,.0f} MB | | | {1.2 * text + 80:,.0f} MB | "
        f"resident, the page cache of {text:,.0f} MB text included; private: {private:,.0f} MB |"
    )


def open_measured(tree: Path, cache: Path, options: argparse.Namespace) -> Corpus:
    """Open a tree, measured where that is asked for."""
    if "load" in options.only:
        return measure_load(tree, cache, options.reps)
    return open_tree(tree, cache=cache)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("trees", nargs="*", type=Path)
    parser.add_argument("--rg", default=shutil.which("rg"))
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--fetch", type=Path, default=Path(tempfile.gettempdir()) / "rlm-bench")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="Parts to measure.")
    parser.add_argument("--history", type=Path, default=ROOT, help="A repository with a history.")
    parser.add_argument("--log-gb", type=float, default=2.0, help="Size of the generated log.")
    options = parser.parse_args()
    trees, rg = options.trees, options.rg
    if not trees:
        trees, fetched = fetch(options.fetch)
        rg = rg or fetched
    engine = compile_pattern.load_hyperscan()
    print(
        f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}, Hyperscan {'on' if engine else 'off'}, "
        f"ripgrep {'on' if rg else 'not found'}"
    )
    for tree in trees if {"load", "search", "structure"} & set(options.only) else ():
        with tempfile.TemporaryDirectory(dir=tree.parent) as cache:
            print(f"\n### {tree.name}\n")
            print("| what | ours | ratio | by processor time | target | beside |")
            print("| --- | --- | --- | --- | --- | --- |")
            corpus = open_measured(tree, Path(cache), options)
            if "search" in options.only:
                measure_search(tree, corpus, rg, options.reps)
            if "structure" in options.only:
                measure_symbols(tree, corpus, Path(cache))
                measure_chunks(corpus, Path(cache), options.reps)
                measure_rank(corpus)
                measure_retrieval(tree.name, corpus)
                measure_tokens(corpus, options.fetch)
            if "load" in options.only:
                measure_memory(tree, Path(cache))
            size = corpus.snapshot.table.text_bytes
            scan = size / 15e9 * 1e3
            print(
                f"\n{size / 1e6:,.0f} MB in {len(corpus.document_paths()):,} documents; "
                "one pass over them "
                f"at 15 GB/s takes {scan:.1f} ms; load {os.getloadavg()[0]:.1f}."
            )
            corpus.close()
    if "history" in options.only:
        measure_history(options.history, options.reps)
    if "logs" in options.only:
        measure_logs(rg, options.reps, int(options.log_gb * (1 << 30)))
    print(f"\npeak resident {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
