"""Token estimates beside counts of a public tokenizer, by kind of text.

Today's tokenizers of Claude are not public. What is counted with is the one that old releases of
Anthropic's client carry (its file, and the library that reads it, are installed by pip); the
estimates are those before anything was learnt from the usage of real replies.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

from rlm_mcp.corpus.code import kind_of_path
from rlm_mcp.corpus.store import Corpus
from rlm_mcp.tokens import actual_kind, estimate_tokens

SAMPLE = 400_000
"""Bytes of each kind that are counted."""
LARGEST = 50_000
"""Bytes of a document that are counted."""
_PACKAGES = ("anthropic==0.37.1", "tokenizers")


def tokenizer(folder: Path) -> Any | None:
    """Return the tokenizer, installed into a folder; None where it cannot be had."""
    where = folder / "tokenizer"
    if not where.is_dir():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
        done = subprocess.run([*command, "--target", where, *_PACKAGES], check=False)
        if done.returncode:
            return None
    sys.path.append(str(where))  # behind all that is installed: the client is not to be used
    library = importlib.import_module("tokenizers")
    return library.Tokenizer.from_file(str(where / "anthropic/tokenizer.json"))


def measure_tokens(corpus: Corpus, folder: Path) -> None:
    """Print, for each kind of text, our estimate as a share of the counted tokens."""
    counter = tokenizer(folder)
    if counter is None:
        print("| tokens | | | | 15 % | the tokenizer cannot be had here |")
        return
    taken: dict[str, int] = {}
    counted: dict[str, int] = {}
    said: dict[str, int] = {}
    # In an order that is the same in each run and mixes the folders.
    for path in sorted(corpus.document_paths(), key=lambda path: zlib.crc32(os.fsencode(path))):
        data = corpus.document_bytes(path)[:LARGEST]
        kind = actual_kind(data, kind_of_path(path))
        if taken.get(kind, 0) < SAMPLE:
            text = data.decode("utf-8", "replace")
            taken[kind] = taken.get(kind, 0) + len(data)
            counted[kind] = counted.get(kind, 0) + len(counter.encode(text).ids)
            said[kind] = said.get(kind, 0) + estimate_tokens(len(data), kind)
    for kind in sorted(taken):
        share = said[kind] / max(1, counted[kind])
        text = f"{taken[kind] / 1e3:,.0f} kB, {counted[kind]:,} tokens of the old public tokenizer"
        print(f"| tokens of {kind}, estimated | {share:.2f}x | | | 0.85-1.15x | {text} |")
