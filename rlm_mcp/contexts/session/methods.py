"""The further calls that a cell may make on a session, with their help."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rlm_mcp.contexts.session import search
from rlm_mcp.contexts.session.find import sessions, short
from rlm_mcp.contexts.session.turns import ABANDONED, BRANCHES, LIVE, SUPERSEDED
from rlm_mcp.contexts.session.view import Place, View, rows_of
from rlm_mcp.contexts.variable import Method, Query, wire
from rlm_mcp.errors import BadRequest
from rlm_mcp.refs import parse

if TYPE_CHECKING:
    import sqlite3

    from rlm_mcp.config import Settings

_BRANCHES: Mapping[str, Sequence[int]] = {
    "live": (LIVE,),
    "abandoned": (ABANDONED,),
    "superseded": (SUPERSEDED,),
    "all": (LIVE, ABANDONED, SUPERSEDED),
}


class Methods:
    """Calls by name. Each takes and gives plain JSON."""

    def __init__(self, view: View, settings: Settings) -> None:
        self._view, self._settings = view, settings

    def table(self) -> dict[str, Method]:
        """Return the calls by name."""
        return {
            name: getattr(self, name)
            for name in vars(type(self))
            if not name.startswith("_") and name not in ("table", "help")
        }

    def help(self) -> Iterator[str]:
        """Yield each call's signature and purpose."""
        for name, method in self.table().items():
            signature = str(inspect.signature(method, eval_str=True)).partition(" ->")[0]
            yield f"{name}{signature}: {(method.__doc__ or '').splitlines()[0]}"

    def sessions(
        self, project: str = "", agent: str = "", since: str = "", q: str = "", limit: int = 50
    ) -> list[dict[str, Any]]:
        """List this project's sessions of every agent, newest first (project="*": everywhere)."""
        found = sessions(self._settings, project, agent, since, q)
        return [
            {
                "id": item.native, "open": f"session:{short(item.native)}", "agent": item.agent,
                "project": item.project, "title": item.title, "started": item.started,
                "bytes": item.size, "path": item.path,
            }
            for item in found[:limit]
        ]  # fmt: skip

    def turns(self, start: int = 1, end: int = 0, branch: str = "live") -> list[dict[str, Any]]:
        """List turns `start` to `end` with role, origin, branch, time and their blocks' refs."""
        rows = rows_of(
            self._view,
            f"b.doc=1 AND b.n>=? AND b.n<=? AND t.live IN ({_in(branch)})",
            (start, end or 1 << 40),
        )
        found: dict[int, dict[str, Any]] = {}
        for row in rows:
            turn = found.setdefault(
                row["n"],
                {
                    "turn": row["n"], "role": row["role"], "origin": row["origin"],
                    "branch": BRANCHES[row["live"]], "segment": row["segment"], "at": row["ts"],
                    "blocks": [],
                },
            )  # fmt: skip
            turn["blocks"].append(self._block(row))
        return list(found.values())

    def get(self, ref: str, limit: int = 400) -> dict[str, Any]:
        """Open a ref of this session: text verbatim, with next_ref."""
        passage: dict[str, Any] = wire(self._view.read(parse(ref), limit))
        return passage

    def grep(
        self,
        pattern: str,
        role: str = "",
        kind: str = "",
        branch: str = "live",
        file: str = "",
        limit: int = 30,
        ignore_case: bool = False,
        cursor: str = "",
    ) -> dict[str, Any]:
        """Search lines by role, block type or tool kind, branch and touched file."""
        view = self._view
        _in(branch)

        def keep(row: sqlite3.Row) -> bool:
            if kind and kind not in (row["type"], row["kind"], row["name"]):
                return False
            if file and file not in f"{row['arg']}\n{row['data']}":
                return False
            return not role or role in _roles(view, row)

        query = Query(pattern, limit=limit, ignore_case=ignore_case, cursor=cursor)
        found = search.grep(
            view,
            query,
            [Place(thread) for thread in view.threads()],
            branches=_BRANCHES[branch],
            keep=keep if role or kind or file else None,
        )
        result: dict[str, Any] = wire(found)
        return result

    def search(self, question: str, limit: int = 10) -> list[dict[str, Any]]:
        """Return the passages of this session that best fit a question."""
        places = [Place(thread) for thread in self._view.threads()]
        hits: list[dict[str, Any]] = wire(search.rank(self._view, question, places, limit))
        return hits

    def prompts(self) -> list[dict[str, Any]]:
        """List what the person typed, verbatim; nothing of the harness or a summary."""
        where = "b.doc=1 AND t.live=1 AND t.role='user' AND t.origin='human' AND b.type='text'"
        return [
            {"ref": self._view.ref(row), "at": row["ts"], "text": self._view.body(row)}
            for row in rows_of(self._view, where)
        ]

    def _block(self, row: sqlite3.Row) -> dict[str, Any]:
        entry = {"ref": self._view.ref(row), "type": row["type"], "bytes": row["len"]}
        for key in ("name", "kind", "status", "arg", "note"):
            if row[key]:
                entry[key] = row[key]
        return entry


def _roles(view: View, row: sqlite3.Row) -> tuple[str, str]:
    turn = view.index.rows(
        "SELECT role, origin FROM turns WHERE doc=? AND n=?", (row["doc"], row["n"])
    )[0]
    return turn["role"], turn["origin"]


def _in(branch: str) -> str:
    if branch not in _BRANCHES:
        raise BadRequest(f"Unknown branch {branch!r}; use one of {', '.join(_BRANCHES)}.")
    return ",".join(map(str, _BRANCHES[branch]))
