"""What a search may be narrowed to: a branch, a role, a kind. Unknown names are refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import get_args

from rlm_mcp.contexts.session.turns import (
    ABANDONED,
    LIVE,
    SUPERSEDED,
    BlockType,
    Origin,
    Role,
    ToolKind,
)
from rlm_mcp.contexts.session.view import View
from rlm_mcp.errors import BadRequest, did_you_mean

BRANCH: Mapping[str, Sequence[int]] = {
    "live": (LIVE,),
    "abandoned": (ABANDONED,),
    "superseded": (SUPERSEDED,),
    "all": (LIVE, ABANDONED, SUPERSEDED),
}


def check(view: View, role: str, kind: str) -> None:
    """Raise BadRequest for a role or a kind that there is not."""
    _role(role)
    _kind(view, kind)


def is_by(view: View, row: sqlite3.Row, role: str) -> bool:
    """Say whether a block is of a role; summaries and reminders are no user's."""
    turn = view.index.rows(
        "SELECT role, origin FROM turns WHERE doc=? AND n=?", (row["doc"], row["n"])
    )[0]
    if role == "user":
        return bool(turn["origin"] == "human")
    return role in (turn["role"], turn["origin"])


def _role(role: str) -> None:
    known = [*get_args(Role), *get_args(Origin)]
    if role and role not in known:
        hint = did_you_mean(role, known)
        raise BadRequest(f"Unknown role {role!r}; use one of {', '.join(known)}.{hint}")


def _kind(view: View, kind: str) -> None:
    """Raise BadRequest for what is no block's type, no tool's kind and no tool of the session."""
    known = {*get_args(BlockType), *filter(None, get_args(ToolKind))}
    if not kind or kind in known:
        return
    names = {row["name"] for row in view.index.rows("SELECT DISTINCT name FROM blocks")} - {""}
    if kind not in names:
        some = ", ".join(sorted(known) + sorted(names)[:20])
        hint = did_you_mean(kind, known | names)
        raise BadRequest(f"Unknown kind {kind!r}; this session has {some}.{hint}")


def branches(branch: str) -> str:
    """Return the numbers of a branch for a query; BadRequest for an unknown one."""
    if branch not in BRANCH:
        raise BadRequest(f"Unknown branch {branch!r}; use one of {', '.join(BRANCH)}.")
    return ",".join(map(str, BRANCH[branch]))
