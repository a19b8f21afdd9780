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
import ast
import os
import platform
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rlm_mcp.corpus import chunk, gate, load, search
from rlm_mcp.corpus.pack import Corpus
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


class Best(NamedTuple):
    """The least wall seconds and the least processor seconds of a work."""

    wall: float
    cpu: float


def best(reps: int, *works: Callable[[], object]) -> list[Best]:
    """Run the works in turn, several times; processor time includes that of child processes."""
    found = [Best(float("inf"), float("inf"))] * len(works)
    for _ in range(reps):
        for number, work in enumerate(works):
            begun, spent = time.perf_counter(), processor()
            work()
            wall, cpu = time.perf_counter() - begun, processor() - spent
            found[number] = Best(min(found[number].wall, wall), min(found[number].cpu, cpu))
    return found


def processor() -> float:
    """Return the processor seconds of this process and of its children that ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def row(name: str, ours: Best, text: str, theirs: Best | None = None, target: str = "") -> None:
    """Print one line of the table."""
    shares = " | "
    if theirs is not None:
        shares = f"{ours.wall / theirs.wall:.2f}x | {ours.cpu / theirs.cpu:.2f}x"
    print(f"| {name} | {ours.wall * 1e3:,.2f} ms | {shares} | {target} | {text} |", flush=True)


def once(seconds: float) -> Best:
    """Return a single measurement as a Best."""
    return Best(seconds, seconds)


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


def run(command: Sequence[str], tree: Path) -> Callable[[], bytes]:
    """Return a work that runs a command and reads what it prints."""
    return lambda: subprocess.run(command, cwd=tree, capture_output=True, check=False).stdout


def measure_load(tree: Path, cache: Path, reps: int) -> Corpus:
    """Measure loading, reopening, freshness and peeking."""

    def anew() -> None:
        shutil.rmtree(cache / "cold", ignore_errors=True)
        load.tree(tree, cache=cache / "cold").close()

    anew()
    loaded, floor = best(max(2, reps // 2), anew, lambda: plain_read(tree))
    corpus = load.tree(tree, cache=cache)
    size, count = corpus.snapshot.table.text_bytes, len(corpus.paths())
    target = "0.2 s" if size < 2e8 else "2.0 s"
    row("load, page cache warm", loaded, f"reading only: {floor.wall:.3f} s", floor, target)
    time.sleep(0.1)
    corpus.refresh()
    reopened = best(reps, lambda: load.tree(tree, cache=cache).close())[0]
    target = "0.05 s" if size < 2e8 else "0.3 s"
    stats = best(reps, lambda: [os.lstat(tree / path) for path in corpus.paths()])[0]
    row("reopen", reopened, f"lstat of all, in Python: {stats.wall:.3f} s", stats, target)
    for _ in range(4):
        corpus.refresh()
        time.sleep(0.25)
    row("refresh, nothing changed, watched", best(50, corpus.refresh)[0], f"{count:,} files")
    edits = [edit(tree, corpus) for _ in range(3)]
    row("an edit, until it is found", once(min(edits)), "write, refresh, search", None, "50 ms")
    peek(corpus)
    return corpus


def edit(tree: Path, corpus: Corpus) -> float:
    """Return the seconds from a write to the end of a search that finds it."""
    path = next(p for p in corpus.paths() if 2_000 < len(corpus.data(p)) < 50_000)
    old = (tree / path).read_bytes()
    word = f"freshly_written_{random.randrange(10**9)}"
    try:
        (tree / path).write_bytes(old + f"{word}\n".encode())
        begun = time.perf_counter()
        corpus.refresh()
        found = search.search(corpus, search.Query(word))
        took = time.perf_counter() - begun
        assert found.total == 1
    finally:
        (tree / path).write_bytes(old)
        corpus.refresh()
    return took


def peek(corpus: Corpus) -> None:
    """Measure opening windows of lines."""
    rng = random.Random(1)
    paths = [path for path in corpus.paths() if corpus.line_count(path) > 100]
    wanted = [(path, rng.randrange(1, corpus.line_count(path))) for path in rng.sample(paths, 500)]

    def windows() -> None:
        for path, line in wanted:
            corpus.line_bytes(path, line, line + 20)

    took = best(5, windows)[0].wall / len(wanted)
    row("peek at 20 lines", once(took), f"{took * 1e6:.1f} us", None, "20 us")


def measure_search(tree: Path, corpus: Corpus, rg: str | None, reps: int) -> None:
    """Measure full results with totals, and first pages, beside ripgrep and git grep."""
    for name, pattern, ours_more, theirs_more, target in GREPS:
        query = search.Query(pattern, limit=200, **ours_more)

        def ours(query: search.Query = query) -> int:
            search._recent.clear()
            return search.search(corpus, query).total

        works: list[Callable[[], object]] = [ours]
        if rg:
            base = [rg, "-n", "--no-config", "--no-unicode", "--no-messages", *theirs_more]
            works.append(run([*base, "-e", pattern, "."], tree))
        text = f"{ours():,} lines"
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
        search._recent.clear()
        search.search(corpus, search.Query("return", limit=200, totals=False))

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
        search._recent.clear()
        begun = time.perf_counter()
        search.search(corpus, search.Query(pattern))
        worst = max(worst, time.perf_counter() - begun)
    row("worst of the evil patterns", once(worst), f"{len(EVIL)} patterns", None, "2 s")
    worst = 0.0
    for pattern in BOMBS:
        gate.gate.cache_clear()
        begun = time.perf_counter()
        try:
            gate.gate(pattern)
        except BadRequest:
            worst = max(worst, time.perf_counter() - begun)
    row("refusing a compile bomb", once(worst), f"{len(BOMBS)} patterns", None, "50 ms")


def measure_chunks(corpus: Corpus, reps: int) -> None:
    """Measure chunking, and how many functions that fit are cut."""
    size = corpus.snapshot.table.text_bytes
    took = best(max(2, reps // 2), lambda: chunk.chunk(corpus, None, "auto", 1143))[0]
    parts = chunk.chunk(corpus, None, "auto", 1143)
    starts: dict[str, list[int]] = {}
    for part in parts:
        starts.setdefault(part.path, []).append(part.start)
    fit = cut = 0
    for path in [path for path in starts if path.endswith(".py")][:600]:
        source = corpus.data(path)
        try:
            module = ast.parse(source)
        except (SyntaxError, ValueError):
            continue
        lines = source.splitlines(True)
        for node in ast.walk(module):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno:
                first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
                if sum(map(len, lines[first - 1 : node.end_lineno])) <= 4000:
                    fit += 1
                    cut += any(first < start <= node.end_lineno for start in starts[path])
    text = f"{len(parts):,} parts; of {fit:,} small Python functions {cut} cut"
    row(
        f"chunk, {size / 1e6 / took.cpu:,.0f} MB a processor second",
        took,
        text,
        None,
        "50 MB/s, 1 %",
    )


def measure_memory(tree: Path, cache: Path) -> None:
    """Measure the private memory of a process that has the tree open and has searched it."""
    script = (
        "import sys; from pathlib import Path; from rlm_mcp.corpus import load, search;"
        "c = load.tree(Path(sys.argv[1]), cache=Path(sys.argv[2]));"
        "search.search(c, search.Query('return'));"
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


def fetch(folder: Path) -> tuple[list[Path], str | None]:
    """Install sources and ripgrep by package clients; return the trees that could be had."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = {
        "Django": "pip download -q --no-deps --no-binary :all: Django==3.2.25"
        " && tar xzf Django-*.tar.gz --no-same-owner && mv Django-*/ Django",
        "cpython": "mkdir -p apt/lists/partial apt/parts && for list in"
        " /etc/apt/sources.list.d/*.sources; do sed 's/^Types:.*/Types: deb-src/' $list"
        " > apt/parts/${list##*/}; done && O='-o Dir::Etc::sourcelist=/dev/null -o"
        " Dir::Etc::sourceparts='$PWD'/apt/parts -o Dir::State::lists='$PWD'/apt/lists' &&"
        " apt-get $O update && apt-get $O source --download-only python3.11;"
        " tar xzf python3.11_*.orig.tar.gz --no-same-owner && mv Python-*/ cpython",
        "linux": "apt-get download linux-source-6.1 && dpkg-deb -x linux-source-6.1_*.deb deb &&"
        " tar xJf deb/usr/src/linux-source-6.1.tar.xz --no-same-owner && rm -rf deb"
        " linux-source-6.1/.gitignore && mv linux-source-6.1 linux",
        "rg": "npm pack --silent @vscode/ripgrep-linux-x64 && tar xzf vscode-ripgrep-*.tgz"
        " && mv package rg",
    }
    for name, command in steps.items():
        if not (folder / name).is_dir():
            done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, check=False)
            if done.returncode:
                print(f"{name} cannot be had here: {done.stderr.decode()[-200:].strip()}")
    trees = [folder / name for name in ("Django", "cpython", "linux") if (folder / name).is_dir()]
    for tree in trees:
        if not (tree / ".git").is_dir():
            who = "git -c user.name=b -c user.email=b@b"
            subprocess.run(
                f"git init -q . && git add -A . && {who} commit -qm all",
                shell=True, cwd=tree, check=True,
            )  # fmt: skip
    rg = folder / "rg/bin/rg"
    return trees, str(rg) if rg.exists() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("trees", nargs="*", type=Path)
    parser.add_argument("--rg", default=shutil.which("rg"))
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--fetch", type=Path, default=Path(tempfile.gettempdir()) / "rlm-bench")
    options = parser.parse_args()
    trees, rg = options.trees, options.rg
    if not trees:
        trees, fetched = fetch(options.fetch)
        rg = rg or fetched
    engine = gate.hyperscan()
    print(
        f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}, Hyperscan {'on' if engine else 'off'}, "
        f"ripgrep {'on' if rg else 'not found'}"
    )
    for tree in trees:
        with tempfile.TemporaryDirectory(dir=tree.parent) as cache:
            print(f"\n### {tree.name}\n")
            print("| what | ours | ratio | by processor time | target | beside |")
            print("| --- | --- | --- | --- | --- | --- |")
            corpus = measure_load(tree, Path(cache), options.reps)
            measure_search(tree, corpus, rg, options.reps)
            measure_chunks(corpus, options.reps)
            measure_memory(tree, Path(cache))
            size = corpus.snapshot.table.text_bytes
            scan = size / 15e9 * 1e3
            print(
                f"\n{size / 1e6:,.0f} MB in {len(corpus.paths()):,} documents; one pass over them "
                f"at 15 GB/s takes {scan:.1f} ms; load {os.getloadavg()[0]:.1f}."
            )
            corpus.close()
    print(f"\npeak resident {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
