"""Make ready for filing what a reader yields: all that needs no more than the piece itself.

A row has the columns of `filing.BLOCK`; those that depend on what came before are still empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Any

from rlm_mcp.contexts.session.nodes import number
from rlm_mcp.contexts.session.turns import Block, Event, Piece, Usage

Row = list[Any]

ARG = 4_000
"""Characters that are kept of a call's line."""


MOST = 1 << 53
"""The largest number that every reader of JSON takes."""


Ready = tuple[Event, Sequence[Row], int]
"""An event, a row for each of its blocks, and the number of a piece's native id."""


def ready(event: Event) -> Ready:
    """Return an event as it is filed. Behind the columns of a row stands the block's text."""
    if type(event) is not Piece:
        return event, (), 0
    rows = []
    for part, block in enumerate(event.blocks):
        body = block.text.encode("utf-8", "surrogatepass")
        rows.append([
            0, 0, 0, block.type, block.name, block.kind, block.call, block.status,
            block.exit_code, block.arg[:ARG], _data(block) if block.ops or block.plan else "",
            block.note, event.start, event.end, part, event.pointer, block.spill, 0, 0, 0,
            body.count(b"\n") + 1, sha256(body).hexdigest()[:8], 0, body,
        ])  # fmt: skip
    used = event.usage
    if used is not None and (max(used) > MOST or min(used) < -MOST):
        event.usage = Usage(*map(within, used))  # sums of them must not overflow
    return event, rows, number(event.native) if event.native else 0


def within(value: int) -> int:
    """Return a number, or the nearest that every reader of JSON takes."""
    return max(-MOST, min(value, MOST))


def digest(text: str | bytes) -> str:
    """Return the digest by which a stale citation is told."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return sha256(raw).hexdigest()[:8]


def _data(block: Block) -> str:
    """Return a block's plan or file operations as JSON."""
    rows: list[Sequence[str]]
    if block.plan is not None:
        rows = [(item.text, item.status, item.key) for item in block.plan]
    else:
        rows = [(op.path, op.op) for op in block.ops]
    # An encoder would be made anew for each of them.
    return "[" + ", ".join([f"[{', '.join(map(encode_basestring, row))}]" for row in rows]) + "]"
