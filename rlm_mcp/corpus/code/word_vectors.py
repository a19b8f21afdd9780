"""Static word vectors: how near a passage is to a question that shares no word with it.

The table (32,000 pieces of words, 256 numbers each) comes with the package wordllama, whose two
files are read as they are; its code is never imported. A passage is the weighted sum of the words
of its path, its name and its first lines. Without the package, ranking goes by words alone.
"""

from __future__ import annotations

import bisect
import json
import math
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PACKAGE = "wordllama"
WEIGHTS = "weights/l2_supercat_256.safetensors"
VOCABULARY = "tokenizers/l2_supercat_tokenizer_config.json"
DIMENSIONS = 256
HEAD_BYTES = 400
"""Bytes of a passage that its vector is made of: what it is called, takes and says of itself.

Whole passages gave the same on 73 questions, in six times the time.
"""
MAX_WORD_CHARS = 24
_START = "\u2581"
"""What a piece that begins a word begins with."""
_WORD = re.compile(rb"[a-z]{2,24}")
_WORD_OR_BREAK = re.compile(rb"[a-z]{2,24}|\0")
_KEYWORDS = frozenset(
    {
        "self", "cls", "this", "def", "func", "fn", "return", "none", "null", "nil", "true",
        "false", "str", "string", "int", "bool", "float", "dict", "list", "any", "if", "else",
        "elif", "for", "while", "in", "from", "import", "raise", "throw", "not", "is", "and", "or",
        "the", "to", "of", "an", "class", "type", "args", "kwargs", "optional", "async", "await",
        "value", "const", "let", "var", "public", "private", "static", "void", "new", "end",
    }
)  # fmt: skip
"""Words that every passage of code has: they count little."""
_KEYWORD_WEIGHT = 0.3
_RARE_WEIGHT = 4.5
"""What a word counts that is no piece of its own: log(1 + 32,000 / 300), about."""
MAX_TABLE_WORDS = 40_000
"""Words whose vectors are kept while an index is built: 40 MB."""

MAX_PASSAGES = 200_000
"""Passages that are compared, source before documents: 51 MB, about 20 ms."""
BLOCK_ROWS = 8_192
"""Rows that are made floating-point numbers at a time: they stay in the processor's cache."""

Vectors = npt.NDArray[np.float32]
PackedVectors = npt.NDArray[np.int8]


class WordVectors:
    """The table of word pieces. Pieces lie in it by how common they are, the commonest first."""

    def __init__(self, weights: Path, vocabulary: Path) -> None:
        raw = np.memmap(weights, np.uint8, "r")
        (size,) = struct.unpack("<Q", raw[:8].tobytes())
        pieces = raw[8 + size :].view(np.float16)
        self._pieces: npt.NDArray[np.float16] = np.asarray(pieces).reshape(-1, DIMENSIONS)
        known = json.loads(vocabulary.read_text("utf-8"))["model"]["vocab"]
        self._known: dict[str, int] = known
        self.word_vector = lru_cache(1 << 12)(self._word_vector)

    def _word_vector(self, word: str) -> Vectors:
        """Return the vector of a word in lower case: the sum of its longest pieces, scaled."""
        rest, found = _START + word[:MAX_WORD_CHARS], []
        while rest:
            length = next((n for n in range(len(rest), 0, -1) if rest[:n] in self._known), 0)
            if length:
                found.append(self._known[rest[:length]])
            rest = rest[max(1, length) :]
        if len(found) > 1 and found[0] == self._known.get(_START):
            del found[0]
        if not found:
            return np.zeros(DIMENSIONS, np.float32)
        total: Vectors = self._pieces[found].astype(np.float32).sum(0)
        return total / math.sqrt(len(found))

    def has_word(self, word: str) -> bool:
        """Say whether a word is a piece of its own: one made of pieces may mean anything."""
        return _START + word in self._known

    def common_weight(self, word: str) -> float:
        """Return what a word of a passage counts: little where it is common in any text."""
        if word in _KEYWORDS:
            return _KEYWORD_WEIGHT
        place = self._known.get(_START + word)
        return _RARE_WEIGHT if place is None else math.log(1 + place / 300)

    def embed_weighted(self, weights: Mapping[str, float]) -> Vectors:
        """Return the vector, of length 1, of words with their weights."""
        total = np.zeros(DIMENSIONS, np.float32)
        for word, weight in weights.items():
            total += weight * self.word_vector(word)
        return total / (float(np.linalg.norm(total)) or 1.0)


class PassageEmbedder:
    """Makes the vectors of passages while an index is built."""

    def __init__(self, vectors: WordVectors) -> None:
        self._vectors = vectors
        self._clear_table()

    def embed_passages(
        self, heading: bytes, names: Sequence[bytes], heads: Sequence[bytes]
    ) -> PackedVectors:
        """Return a row a passage, of length 127: of the words of its document's path (`heading`),
        of its own name and of the beginning of its text, all with identifiers apart.
        """
        texts = [
            b" ".join((heading, name, name, head)) for name, head in zip(names, heads, strict=True)
        ]
        words = _WORD_OR_BREAK.findall(b"\0".join([*texts, b""]).lower())
        if len(self._rows) > MAX_TABLE_WORDS:
            self._clear_table()
        for word in set(words).difference(self._rows):
            self._add_word(word)
        places = np.array([self._rows[word] for word in words])
        ends = np.flatnonzero(places == 0)
        starts = np.concatenate(([0], ends[:-1] + 1))
        # Each span ends in its break, whose vector is zero, so that none is empty.
        totals = np.add.reduceat(self._table[places], starts)
        norms = np.linalg.norm(totals, axis=1, keepdims=True)
        norms[norms == 0] = 1.0
        packed: PackedVectors = np.rint(totals * (127 / norms)).astype(np.int8)
        return packed

    def _clear_table(self) -> None:
        self._rows: dict[bytes, int] = {b"\0": 0}
        self._table: Vectors = np.zeros((1024, DIMENSIONS), np.float32)

    def _add_word(self, word: bytes) -> int:
        row = self._rows[word] = len(self._rows)
        if row == len(self._table):
            self._table = np.concatenate((self._table, np.zeros_like(self._table)))
        text = word.decode("ascii")
        vector = self._vectors._word_vector(text)
        self._table[row] = vector * self._vectors.common_weight(text)
        return row


class DocumentVectors(NamedTuple):
    """The vectors of a document's passages, a row each; `first` is the number of the first."""

    path: str
    first: int
    rows: PackedVectors


class PassageVectors:
    """The vectors of all passages of an index, and those of their documents, less their mean."""

    def __init__(self, documents: Sequence[DocumentVectors]) -> None:
        documents = documents[: bisect.bisect(_running_sizes(documents), MAX_PASSAGES)]
        self._paths = [document.path for document in documents]
        self._counts = np.array([len(document.rows) for document in documents], np.int64)
        parts = [document.rows for document in documents]
        self._rows = np.concatenate(parts) if parts else np.zeros((0, DIMENSIONS), np.int8)
        self._numbers = np.concatenate(
            [document.first + np.arange(len(document.rows)) for document in documents]
            or [np.zeros(0, np.int64)]
        )
        sums = np.stack([part.sum(0, dtype=np.float32) for part in parts] or [_no_vector()])
        self._mean: Vectors = (sums.sum(0) / max(1, len(self._rows))).astype(np.float32)
        squares = np.concatenate(
            [np.einsum("ij,ij->i", block, block) for _, block in self._blocks()] or [_no_vector()]
        )[: len(self._rows)]
        squares += float(self._mean @ self._mean) - 2 * self._dot_rows(self._mean)
        self._lengths: Vectors = np.sqrt(np.maximum(squares, 1.0))
        self._documents: Vectors = sums[: len(parts)] - self._counts[:, None] * self._mean
        lengths = np.linalg.norm(self._documents, axis=1, keepdims=True)
        self._documents /= np.maximum(lengths, 1e-6)

    def compare_passages(
        self, question: Vectors, document_share: float, factors: Callable[[str], float]
    ) -> ComparedPassages:
        """Return how near each passage is to a question, its document included, times what a path
        counts.
        """
        vector: Vectors = question - self._mean / np.float32(127)
        vector /= np.float32(np.linalg.norm(vector) or 1.0)
        own = (self._dot_rows(vector) - float(self._mean @ vector)) / self._lengths
        whole = self._documents @ vector
        worth = np.array([factors(path) for path in self._paths], np.float32)
        near = (1 - document_share) * own + document_share * np.repeat(whole, self._counts)
        return ComparedPassages(self._numbers, np.maximum(near, 0) * np.repeat(worth, self._counts))

    def _dot_rows(self, vector: Vectors) -> Vectors:
        found = np.empty(len(self._rows), np.float32)
        for first, block in self._blocks():
            found[first : first + len(block)] = block @ vector
        return found

    def _blocks(self) -> Iterator[tuple[int, Vectors]]:
        for first in range(0, len(self._rows), BLOCK_ROWS):
            yield first, self._rows[first : first + BLOCK_ROWS].astype(np.float32)


class ComparedPassages(NamedTuple):
    """How near passages are to a question, from 0 to 1, by their numbers in order."""

    numbers: npt.NDArray[np.int64]
    nearness: Vectors

    def nearest(self, limit: int) -> list[int]:
        """Return the numbers of the nearest passages."""
        chosen = np.argsort(-self.nearness)[:limit]
        return [int(self.numbers[row]) for row in chosen if self.nearness[row] > 0]

    def nearness_of(self, number: int) -> float:
        """Return how near one passage is; 0 where it has no vector."""
        row = int(self.numbers.searchsorted(number))
        known = row < len(self.numbers) and self.numbers[row] == number
        return float(self.nearness[row]) if known else 0.0


def _running_sizes(documents: Sequence[DocumentVectors]) -> list[int]:
    return list(accumulate(len(document.rows) for document in documents))


def _no_vector() -> Vectors:
    return np.zeros(DIMENSIONS, np.float32)


@cache
def load_word_vectors(package: str = PACKAGE) -> WordVectors | None:
    """Return the table, or None where its package is not installed."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        weights, vocabulary = Path(folder, WEIGHTS), Path(folder, VOCABULARY)
        if os.path.exists(weights) and os.path.exists(vocabulary):
            return WordVectors(weights, vocabulary)
    return None


def words_in(text: str) -> list[str]:
    """Return the words of a text that have vectors, in lower case."""
    return [word.decode("ascii") for word in _WORD.findall(text.lower().encode("utf-8"))]
