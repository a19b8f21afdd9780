"""Compare our search with ripgrep's, line for line, on many patterns over real trees.

    python bench/same_as_ripgrep.py TREE... [--patterns 320] [--rg PATH]

Each TREE is a git working tree. ripgrep runs with --no-unicode (our classes are ASCII too) over a
copy of the documents that we load (we leave out binaries and files over 4 MiB) in files of a
megabyte: matching is by line, and to open 80,000 files 320 times takes hours. Prints each pattern
that differs, with the lines, and a summary; exits 1 where anything differs (docs/benchmarks.md
explains what does).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from codecs import BOM_UTF8
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.search import compile_pattern, grep
from rlm_mcp.corpus.store import Corpus, open_tree
from rlm_mcp.encodings import UTF16_SNIFF_BYTES, utf16_encoding
from rlm_mcp.errors import BadRequest

Numbers = npt.NDArray[np.int64]

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
    r"if.*(if|else)", r"return.*\s*(return|NULL)", r"\|.*\|\s*\w+", r"\w\s*$", r"-.*\s(a|-)",
    r"(a+)+$", r"(x+x+)+y", r"^(\w+\s?)*$", r"(.*a){4}$", r"(a|aa)+$", r".*", r"^.*$", r"e",
)  # fmt: skip
"""Patterns of every kind, among them those that bring backtracking engines to a halt."""


MANY = 1_000_000
"""Lines from which on counts by megabyte are compared, not sets of lines: memory is finite."""
PART = 1 << 20
LINES = 1 << 32
"""More lines than a part may have."""


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
    paths = list(corpus.document_paths())
    while len(found) < 400:
        text = corpus.document_bytes(rng.choice(paths)).decode("ascii", "ignore")
        names = [word for word in text.replace("_", "_").split() if word.isidentifier()]
        found.update(rng.sample(names, min(3, len(names))))
    return sorted(found)


class Copy(NamedTuple):
    """The documents of a tree as they are on disk, one behind the other in files of a megabyte."""

    folder: Path
    part: Numbers
    """The file that holds each document."""
    before: Numbers
    """The lines before it in that file."""


def copied(corpus: Corpus, tree: Path, folder: Path) -> Copy:
    """Copy the documents from the tree, not from our store; a last line gets its newline.

    They are decoded as ripgrep does where it looks at single files.
    """
    part: list[int] = []
    before: list[int] = []
    number, size, lines = 0, 0, 0
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(folder / "0", "wb"))
        for name in corpus.document_paths():
            data = as_read((tree / name).read_bytes())
            if size > PART:
                number, size, lines = number + 1, 0, 0
                stack.close()
                file = stack.enter_context(open(folder / str(number), "wb"))
            part.append(number)
            before.append(lines)
            data += b"" if data.endswith(b"\n") or not data else b"\n"
            file.write(data)
            size, lines = size + len(data), lines + data.count(b"\n")
    return Copy(folder, np.array(part), np.array(before))


def as_read(data: bytes) -> bytes:
    """Return a file without its byte order mark, in UTF-8 where it was in UTF-16."""
    encoding = utf16_encoding(data[:UTF16_SNIFF_BYTES])
    data = data.decode(encoding).encode() if encoding else data
    return data.removeprefix(BOM_UTF8)


def ripgrep(rg: str, copy: Copy, pattern: str, fold: bool, *more: str) -> list[bytes]:
    """Return what ripgrep prints of the copy, by line."""
    command = [rg, "--no-config", "--no-unicode", "-a", "--no-heading", "--color=never"]
    command += ["--no-ignore", "--encoding=none", *(["-i"] if fold else []), *more]
    done = subprocess.run(
        [*command, "-e", pattern, "."], cwd=copy.folder, capture_output=True, check=False
    )
    if done.returncode > 1:
        raise RuntimeError(done.stderr.decode()[:300])
    return done.stdout.split(b"\n")[:-1]


def difference(corpus: Corpus, rg: str, copy: Copy, pattern: str, fold: bool) -> str:
    """Return what differs, or an empty string.

    Many lines are compared by how many there are in each megabyte.
    """
    found = grep.find_line_hits(
        corpus.snapshot, compile_pattern.compile_pattern(pattern, fold), None, seconds=300
    )
    if not found.whole:
        return "our search ran out of time"
    if found.hit_count > MANY:
        counts = np.bincount(copy.part[found.places], found.counts, len(copy.part)).astype(int)
        mine = {str(part): int(counts[part]) for part in np.flatnonzero(counts)}
        said = (line.rpartition(b":") for line in ripgrep(rg, copy, pattern, fold, "-c", "-H"))
        other = {os.fsdecode(name.removeprefix(b"./")): int(count) for name, _, count in said}
        wrong = [part for part in mine.keys() | other.keys() if mine.get(part) != other.get(part)]
        return f"counts differ in {len(wrong)} parts, as {sorted(wrong)[:3]}" if wrong else ""
    window = found.hit_window(0, found.hit_count, False)
    places, numbers = (np.array(each, np.int64) for each in window)
    ours = set((copy.part[places] * LINES + copy.before[places] + numbers).tolist())
    theirs = set()
    for line in ripgrep(rg, copy, pattern, fold, "-n", "-H"):
        name, number = line.split(b":", 2)[:2]
        theirs.add(int(name.removeprefix(b"./")) * LINES + int(number))
    if ours == theirs and found.hit_count == len(ours):
        return ""
    names = corpus.document_paths()

    def show(lines: set[int]) -> list[str]:
        """Name the documents of the first lines."""
        shown = []
        for code in sorted(lines)[:3]:
            part, number = divmod(code, LINES)
            inside = np.flatnonzero((copy.part == part) & (copy.before < number))
            shown.append(f"{names[inside[-1]]}:{number - copy.before[inside[-1]]}")
        return shown

    return f"only ours {show(ours - theirs)}, only theirs {show(theirs - ours)}"


def compare(tree: Path, rg: str, count: int) -> int:
    """Compare all patterns on one tree; return how many differ."""
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as folder:
        corpus = open_tree(tree, cache=Path(cache))
        copy = copied(corpus, tree, Path(folder))
        equal = refused = differing = 0
        for number, (pattern, fold) in enumerate(patterns(words_of(corpus), count)):
            if number % 20 == 0:
                print(f"{tree.name}: {number} of {count}", file=sys.stderr, flush=True)
            try:
                said = difference(corpus, rg, copy, pattern, fold)
            except (BadRequest, RuntimeError) as error:
                print(f"  refused by one {pattern!r}: {error}")
                refused += 1
                continue
            equal += not said
            differing += bool(said)
            if said:
                print(f"  {pattern!r} fold={fold}: {said}", flush=True)
        print(f"{tree.name}: {equal} equal, {refused} refused by one, {differing} differ")
        corpus.close()
    return differing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("trees", nargs="+", type=Path)
    parser.add_argument("--patterns", type=int, default=320)
    parser.add_argument("--rg", default=shutil.which("rg") or "rg")
    options = parser.parse_args()
    differing = [compare(tree, options.rg, options.patterns) for tree in options.trees]
    return 1 if any(differing) else 0


if __name__ == "__main__":
    sys.exit(main())
