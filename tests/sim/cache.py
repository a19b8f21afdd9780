"""An honest prompt cache: it hits only where Anthropic's would.

A prefix is everything up to a block that carries `cache_control`, in the order tools, system,
messages. It is kept per model when it has at least 1,024 tokens, and it can be read only after
the reply of the request that wrote it has begun, for five minutes since its last use. A request
reads the longest kept prefix that ends at most 20 blocks before one of its own marks.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.sim.call import tokens

LEAST_TOKENS = 1_024
LIFE_S = 300.0
LOOK_BACK = 20
MOST_MARKS = 4


@dataclass(frozen=True, slots=True)
class Prefix:
    """A prompt up to one of its blocks."""

    digest: bytes
    tokens: int
    marked: bool


@dataclass(frozen=True, slots=True)
class Billing:
    """What a request's input costs in tokens, and which prefixes it will leave behind."""

    input: int
    read: int
    written: int
    keep: tuple[bytes, ...]


@dataclass
class PromptCache:
    """The prefixes that were kept, with the time until which each can be read."""

    life_s: float = LIFE_S
    until: dict[bytes, float] = field(default_factory=dict)

    def bill(self, body: Mapping[str, Any]) -> Billing:
        """Return how the input of a request divides into read, written and plain tokens."""
        prefixes = prefixes_of(body)
        total = prefixes[-1].tokens if prefixes else 0
        marks = [number for number, prefix in enumerate(prefixes) if prefix.marked]
        now, read = time.monotonic(), 0
        for mark in marks:
            for prefix in prefixes[max(0, mark - LOOK_BACK) : mark + 1]:
                if self.until.get(prefix.digest, 0.0) > now and prefix.tokens > read:
                    read = prefix.tokens
                    self.until[prefix.digest] = now + self.life_s
        kept = [prefixes[mark] for mark in marks if prefixes[mark].tokens >= LEAST_TOKENS]
        covered = max([read, *(prefix.tokens for prefix in kept)])
        return Billing(total - covered, read, covered - read, tuple(p.digest for p in kept))

    def begin(self, billing: Billing) -> None:
        """Make a request's prefixes readable: its reply has begun."""
        for digest in billing.keep:
            self.until[digest] = time.monotonic() + self.life_s


def prefixes_of(body: Mapping[str, Any]) -> list[Prefix]:
    """Return the prefix that ends at each block of a Messages request."""
    digest = hashlib.blake2b(str(body.get("model")).encode(), digest_size=16)
    prefixes, total = [], 0
    for place, block in blocks_of(body):
        marked = bool(block.get("cache_control"))
        plain = {name: value for name, value in block.items() if name != "cache_control"}
        text = json.dumps([place, plain], sort_keys=True)
        digest.update(text.encode())
        total += tokens(block["text"] if block.get("type") == "text" else text)
        prefixes.append(Prefix(digest.digest(), total, marked))
    return prefixes


def blocks_of(body: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return every block of a request in the order of its prompt, with its place."""
    blocks: list[tuple[str, dict[str, Any]]] = [("tool", tool) for tool in body.get("tools") or []]
    blocks += [("system", block) for block in _content(body.get("system") or [])]
    for message in body.get("messages") or []:
        blocks += [(message["role"], block) for block in _content(message["content"])]
    return blocks


def _content(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
