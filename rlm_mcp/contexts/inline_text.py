"""Texts that were handed over, not opened from a path: a prompt, a kept result."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlm_mcp.config import cache_dir
from rlm_mcp.confine import Confine

if TYPE_CHECKING:
    from rlm_mcp.variable import Variable


def open_texts(name: str, source: str, items: Sequence[tuple[str, bytes]]) -> Variable:
    """Return a variable over texts at hand, as (path, content)."""
    from rlm_mcp.contexts.text import TextVariable  # numpy and RE2 cost 100 ms
    from rlm_mcp.corpus.store import pack_texts

    digest = hashlib.blake2b(digest_size=12)
    for path, data in items:
        digest.update(f"{name}\0{path}\0{len(data)}\0".encode("utf-8", "surrogateescape") + data)
    corpus = pack_texts(items, cache=cache_dir(), name=digest.hexdigest())
    return TextVariable(name, source, corpus, Confine(()), None)
