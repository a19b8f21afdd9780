"""Compare our search with ripgrep's, line for line, on many patterns over real trees.

    python bench/same_as_ripgrep.py TREE... [--patterns 320] [--rg PATH]

Each TREE is a git working tree. ripgrep runs with --no-unicode (our classes are ASCII too) over
every file, and its lines are kept for the documents that we load (we leave out binaries and
files over 4 MiB). Prints each pattern that differs, with the lines, and a summary; exits 1 where
a difference is none of those that docs/benchmarks.md explains.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rlm_mcp.corpus import load
from rlm_mcp.corpus.hits import Hits
from rlm_mcp.corpus.pack import Corpus
from rlm_mcp.errors import BadRequest

FIXED = (
    r"TODO|FIXME|XXX", r"^$", r"^\s*$", r"\s+$", r"^\s*#", r"\bdef\s+\w+\s*\(", r"^class \w+",
    r"\w+_init\s*\(", r"\b[a-z]{3}[0-9]{4}[A-Z]\w+", r"[A-Z]{2,}_[A-Z]+", r"0x[0-9a-fA-F]+",
    r"\d+\.\d+\.\d+", r"https?://[^\s\"'>)]+", r"[\w.+-]+@[\w-]+\.[\w.]+", r"\"[^\"]*\"",
    r"'[^']{20,40}'", r"\(([^()]*)\)", r"^\S+\s*=\s*\S+$", r"return\s+None", r"return;$",
    r"if\s*\(.*\)\s*\{", r"\}\s*else\s*\{", r"#include\s+[<\"].*[>\"]", r"import\s+\w+(\.\w+)+",
    r"^from .* import .*$", r"[^\x00-\x7f]", r"\t+\S", r" {8,}\S", r".{120,}", r"^.{1,3}$",
    r"(foo|bar|baz)\w*", r"\b(\w+)\s*\+=\s*1\b", r"[[:upper:]][[:lower:]]+Error", r"\\n", r"\\\\",
    r"a{2,}", r"(ab)+", r"x*y+z?", r"[^a-z]{10}", r"\W{5,}", r"\D\d\D", r"\S{60,}", r"(?i)copy",
    r"(?i)error|warning|fatal", r"(?i:LICENSE)", r"(?s)begin.*end", r"\bif\b.*\bnot\b.*\bin\b",
    r"^[^\w\s]", r"[-+*/]=", r"\$\{?\w+\}?", r"<[a-z]+[^>]*>", r"&\w+;", r"--[a-z-]+", r"\.\.\.",
    r"\*\*", r"==|!=", r"[{}]", r";;", r"(^|\s)at\s", r"\b\d{4}-\d{2}-\d{2}\b", r"e$", r"\Be\B",
    r"\bx\b", r"\w{25,}", r"(\w+\s){10}", r"(a|e|i|o|u){3,}", r"[aeiou][^aeiou\s]{4,}", r"q[^u\s]",
    r"\Qa.b(\E", r"\.c$", r"^\.", r"[.]h\b", r"(struct|enum|union)\s+\w+\s*\{", r"\(\s*void\s*\)",
    r"sizeof\s*\([^)]+\)", r"/\*.*\*/", r"//.*$", r"^\s*\*\s", r"unsigned\s+(int|long|char)\b",
    r"\bstatic\s+(inline\s+)?\w+", r"[0-9]+[uU]?[lL]{1,2}\b", r"self\.\w+\(", r"lambda[^:]*:",
    r"assert\w*\s*\(", r"@\w+(\.\w+)*", r"%[sdrf]", r"\{\w*\}", r"\[\d+\]", r"[^\s]+\.py\b",
    r"\r", r"[\t ]\r?$", r"(?i)[k]ernel", r"(?i)\bS\w+S\b", r"[[:punct:]]{4,}", r"[[:space:]]$",
    r"\x41\x42", r"[\x00-\x08]", r"\f", r"\v", r"(?:)foo", r"foo(?:)", r"()bar", r"b|", r"a?",
    r"(a+)+$", r"(x+x+)+y", r"^(\w+\s?)*$", r"(.*a){4}$", r"(a|aa)+$", r".*", r"^.*$", r"e",
)  # fmt: skip
"""Patterns of every kind, among them those that bring backtracking engines to a halt."""


MANY = 500_000
"""Lines from which on counts by document are compared, not sets of lines: memory is finite."""


def patterns(words: list[str], count: int, seed: int = 7) -> list[tuple[str, bool]]:
    """Return (pattern, ignore case): the fixed ones, then forms filled with words of the tree."""
    rng = random.Random(seed)
    made = [(pattern, False) for pattern in FIXED]
    forms = (
        "{a}", r"\b{a}\b", r"{a}\w*", r"\w*{a}", r"^\s*{a}", r"{a}\s*\(", r"{a}|{b}", r"{a}.*{b}",
        r"({a}|{b}|{c})\b", r"{a}\s+\w+", r"[^\w]{a}", r"{a}$", r"{a}[^\s]+", r"\.{a}\b",
        r"(?:{a})?{b}", r"{a}{{1,2}}", r"{a}[,;:]", r"\s{a}\s",
    )  # fmt: skip
    while len(made) < count:
        a, b, c = (rng.choice(words) for _ in "abc")
        made.append((rng.choice(forms).format(a=a, b=b, c=c), rng.random() < 0.25))
    return made


def words_of(corpus: Corpus, seed: int = 7) -> list[str]:
    """Return identifiers of the tree, common and rare."""
    rng = random.Random(seed)
    found: set[str] = set()
    paths = list(corpus.paths())
    while len(found) < 400:
        text = corpus.data(rng.choice(paths)).decode("ascii", "ignore")
        names = [word for word in text.replace("_", "_").split() if word.isidentifier()]
        found.update(rng.sample(names, min(3, len(names))))
    return sorted(found)


def by_ripgrep(
    rg: str, tree: Path, pattern: str, fold: bool, known: set[str]
) -> set[tuple[str, int]]:
    """Return (path, line) of ripgrep's lines in the documents that are known to us."""
    command = [rg, "--no-config", "--no-unicode", "-n", "-0", "-a", "-H", "--no-heading"]
    command += ["--color=never", "--no-ignore", "--hidden", "--no-messages", "-g", "!.git"]
    command += ["--encoding=none", *(["-i"] if fold else []), "-e", pattern]
    done = subprocess.run(command, cwd=tree, capture_output=True, check=False)
    if done.returncode > 1:
        raise RuntimeError(done.stderr.decode()[:300])
    lines = set()
    for record in done.stdout.split(b"\n"):
        path, nul, rest = record.partition(b"\0")
        if nul and (name := os.fsdecode(path)) in known:
            lines.add((name, int(rest[: rest.index(b":")])))
    return lines


def counts_by_ripgrep(
    rg: str, tree: Path, pattern: str, fold: bool, known: set[str]
) -> dict[str, int]:
    """Return how many lines of each document ripgrep counts, in the documents known to us."""
    command = [rg, "--no-config", "--no-unicode", "--count", "-0", "-a", "-H", "--no-messages"]
    command += ["--no-ignore", "--hidden", "-g", "!.git", "--encoding=none"]
    command += [*(["-i"] if fold else []), "-e", pattern]
    done = subprocess.run(command, cwd=tree, capture_output=True, check=False)
    if done.returncode > 1:
        raise RuntimeError(done.stderr.decode()[:300])
    pairs = (record.rpartition(b"\0") for record in done.stdout.splitlines())
    counts = {os.fsdecode(path): int(count) for path, nul, count in pairs if nul}
    return {path: count for path, count in counts.items() if path in known}


def find(corpus: Corpus, pattern: str, fold: bool) -> Hits:
    """Return all our hits."""
    from rlm_mcp.corpus import gate, hits

    return hits.find(corpus.snapshot, gate.gate(pattern, fold), None, seconds=120)


def by_us(corpus: Corpus, pattern: str, fold: bool) -> tuple[set[tuple[str, int]], int, bool]:
    """Return (path, line) of our lines, the total, and whether it is exact."""
    found = find(corpus, pattern, fold)
    places, lines = found.window(0, found.total, False)
    names = corpus.paths()
    pairs = {(names[place], line) for place, line in zip(places, lines, strict=True)}
    return pairs, found.total, found.whole


def difference(
    corpus: Corpus, rg: str, tree: Path, pattern: str, fold: bool, known: set[str]
) -> str:
    """Return what differs, or an empty string; many lines are compared by their counts."""
    found = find(corpus, pattern, fold)
    if not found.whole:
        return "our search ran out of time"
    if found.total > MANY:
        names = corpus.paths()
        counted = zip(found.places.tolist(), found.counts.tolist(), strict=True)
        mine = {names[place]: count for place, count in counted}
        other = counts_by_ripgrep(rg, tree, pattern, fold, known)
        wrong = [path for path in mine.keys() | other.keys() if mine.get(path) != other.get(path)]
        return f"counts differ in {len(wrong)} documents, as {sorted(wrong)[:3]}" if wrong else ""
    ours, total, _ = by_us(corpus, pattern, fold)
    theirs = by_ripgrep(rg, tree, pattern, fold, known)
    if ours == theirs and total == len(ours):
        return ""
    only = [f"only ours {sorted(ours - theirs)[:3]}", f"only theirs {sorted(theirs - ours)[:3]}"]
    return f"ours {len(ours)}, theirs {len(theirs)}; " + "; ".join(only)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("trees", nargs="+", type=Path)
    parser.add_argument("--patterns", type=int, default=320)
    parser.add_argument("--rg", default=shutil.which("rg") or "rg")
    options = parser.parse_args()
    differing = 0
    for tree in options.trees:
        with tempfile.TemporaryDirectory() as cache:
            corpus = load.tree(tree, cache=Path(cache))
            known = set(corpus.paths())
            equal = refused = 0
            for number, (pattern, fold) in enumerate(patterns(words_of(corpus), options.patterns)):
                if number % 20 == 0:
                    print(f"{tree.name}: {number} of {options.patterns}", file=sys.stderr)
                try:
                    said = difference(corpus, options.rg, tree, pattern, fold, known)
                except (BadRequest, RuntimeError) as error:
                    print(f"  refused by one {pattern!r}: {error}")
                    refused += 1
                    continue
                equal += not said
                if said:
                    differing += 1
                    print(f"  {pattern!r} fold={fold}: {said}", flush=True)
            print(
                f"{tree.name}: {equal} equal, {refused} refused by one, {differing} differ so far"
            )
            corpus.close()
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
