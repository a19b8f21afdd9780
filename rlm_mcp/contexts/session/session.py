"""The session variable: one transcript with its subagents, by reference, after any compaction.

Every call is answered from the index; `refresh` brings it up to date with what the agent wrote.
Nothing is ever written near the transcript.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rlm_mcp.contexts.session import search
from rlm_mcp.contexts.session.build import interleaved, total
from rlm_mcp.contexts.session.find import locate, short
from rlm_mcp.contexts.session.index import Index
from rlm_mcp.contexts.session.methods import Methods
from rlm_mcp.contexts.session.outline import chunks, outline
from rlm_mcp.contexts.session.readers.database import BEHIND
from rlm_mcp.contexts.session.view import Place, View
from rlm_mcp.contexts.variable import (
    Chunk,
    Description,
    Found,
    Hit,
    Kind,
    Method,
    Outline,
    Passage,
    Query,
    Source,
)
from rlm_mcp.corpus.tokens import estimate
from rlm_mcp.counts import counted
from rlm_mcp.refs import Ref

if TYPE_CHECKING:
    from rlm_mcp.config import Settings


class Session:
    """A transcript as a context variable (see contexts/variable.py for the calls)."""

    kind: Kind = "session"

    def __init__(self, source: str, name: str, settings: Settings) -> None:
        path, key, reader, native = locate(source, settings)
        self.name, self._source, self._settings = name, source, settings
        self.index = Index(path, key, reader)
        self.view = View(self.index, name, short(native))
        self.native = native
        self.index.refresh()
        self._methods = Methods(self.view, settings)

    @property
    def methods(self) -> Mapping[str, Method]:
        return self._methods.table()

    def refresh(self) -> bool:
        return self.index.refresh()

    def describe(self) -> Description:
        states = self.index.states()
        main = states[""]
        turns = self.index.rows("SELECT live, count(*) AS n FROM turns WHERE doc=1 GROUP BY live")
        counts = {row["live"]: row["n"] for row in turns}
        size = sum(
            length for thread in self.view.threads() for _, _, length in self.view.runs(thread)
        )
        reader = self.index.reader
        facts: dict[str, str | int] = {
            "agent": f"{reader.agent} {main.facts.get('version', '')}".strip(),
            "format": f"{reader.layout}, reader {reader.version}",
            "title": main.facts.get("title", ""),
            "project": main.cwds[-1] if main.cwds else "",
            "branch": main.facts.get("gitBranch", ""),
            "models": ", ".join(main.models),
            "from": main.first,
            "to": main.last,
            "turns": main.turns,
            "off the live branch": main.turns - counts.get(1, 0),
            "compactions": main.trunk.segment,
            "subagents": len(states) - 1,
        }
        return Description(
            name=self.name,
            kind="session",
            source=str(self.index.path) + (f"#{self.index.key}" if self.index.key else ""),
            size_bytes=size,
            tokens=estimate(size, "prose"),
            documents=len(states),
            lines=self._lines(),
            freshness="checked on each call",
            ref_example=f"{self.name}:{self.view.id}#12.3",
            facts={key: value for key, value in facts.items() if value not in ("", 0)},
            skipped=dict(total(states.values(), "unknown")),
            notes=tuple(self._notes()),
            methods=tuple(self._methods.help()),
        )

    def source(self) -> Source:
        spans = [span for thread in self.view.threads() for span in self.view.spans(Place(thread))]
        corpus = self.index.corpus
        return Source(corpus.fd, spans, corpus.generation)

    def documents(self, scope: Ref) -> Sequence[str]:
        if not scope.path:
            return [thread.name for thread in self.view.threads()]
        return [place.path for place in self.view.places(scope)]

    def read(self, ref: Ref, limit: int = 80) -> Passage:
        return self.view.read(ref, limit)

    def text(self, ref: Ref) -> str:
        return self.view.text(ref)

    def search(self, query: Query, scope: Ref) -> Found:
        return search.grep(self.view, query, self._scope(scope))

    def rank(self, question: str, scope: Ref, limit: int = 10) -> Sequence[Hit]:
        return search.rank(self.view, question, self._scope(scope), limit)

    def outline(self, scope: Ref, limit: int = 60) -> Outline:
        return outline(self.view, self._scope(scope), limit)

    def chunk(self, scope: Ref, by: str = "auto", tokens: int = 4000) -> Sequence[Chunk]:
        return chunks(self.view, scope, self._scope(scope), by, tokens)

    def close(self) -> None:
        self.index.close()

    def _scope(self, scope: Ref) -> list[Place]:
        """Return the places of a scope; a whole variable is all its threads."""
        if not scope.path and scope.span is None:
            return [Place(thread) for thread in self.view.threads()]
        return self.view.places(scope)

    def _lines(self) -> int:
        snapshot = self.index.corpus.snapshot
        return sum(
            snapshot.document(snapshot.index[path]).lines
            for thread in self.view.threads()
            for path, _, _ in self.view.runs(thread)
        )

    def _notes(self) -> list[str]:
        """Return what a reader has to know: what was broken, repeated or not understood."""
        states = self.index.states().values()
        notes = list(self.index.reader.limits)
        sentences = {
            "broken": ("line", "could not be parsed and left out"),
            "unfinished": ("unfinished line", "at the end (still being written, or cut off)"),
            "repeated": ("record", "repeated, counted once"),
            "large": ("line", "over 1 MB, with long strings cut"),
            "missing": ("file", "with what was said before this one missing"),
        }
        for kind, (noun, words) in sentences.items():
            if count := sum(total(states, kind).values()):
                notes.append(f"{counted(count, noun)} {words}.")
        if note := interleaved(states):
            notes.append(note)
        if total(states, "behind"):
            notes.append(f"{BEHIND}.")
        if unknown := total(states, "unknown"):
            kinds = ", ".join(f"{name} {count}" for name, count in unknown.most_common(8))
            notes.append(f"Record types that this reader does not know, kept out: {kinds}.")
        return notes
