"""Make ready for filing what a reader yields: all that needs no more than the piece itself.

A row has the columns of `filing.BLOCK`; those that depend on what came before are still empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from rlm_mcp.contexts.session.nodes import number
from rlm_mcp.contexts.session.turns import Block, Event, Piece, Usage

Row = list[Any]

ARG = 4_000
"""Characters that are kept of a call's line."""


MOST = 1 << 53
"""The largest number that every reader of JSON takes."""


class Ready(NamedTuple):
    """An event, with the row and the text of each of its blocks."""

    event: Event
    rows: Sequence[Row] = ()
    bodies: Sequence[bytes] = ()
    key: int = 0
    """The number of the piece's native id."""


def ready(event: Event) -> Ready:
    """Return an event as it is filed."""
    if type(event) is not Piece:
        return Ready(event)
    rows, bodies = [], []
    for part, block in enumerate(event.blocks):
        body = block.text.encode("utf-8", "surrogatepass")
        bodies.append(body)
        rows.append([
            0, 0, 0, block.type, block.name, block.kind, block.call, block.status,
            block.exit_code, block.arg[:ARG], _data(block), block.note, event.start, event.end,
            part, event.pointer, block.spill, 0, 0, 0, body.count(b"\n") + 1, digest(body), 0,
        ])  # fmt: skip
    used = event.usage
    if used is not None and (max(used) > MOST or min(used) < -MOST):
        event.usage = Usage(*map(within, used))  # sums of them must not overflow
    return Ready(event, rows, bodies, number(event.native) if event.native else 0)


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
    elif block.ops:
        rows = [(op.path, op.op) for op in block.ops]
    else:
        return ""
    # An encoder would be made anew for each of them.
    return "[" + ", ".join([f"[{', '.join(map(encode_basestring, row))}]" for row in rows]) + "]"
