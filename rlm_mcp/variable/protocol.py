"""What a context variable is: the one protocol that repo, history, text, session and logs obey.

Nothing here reads a source. All calls are synchronous, safe from several threads, and may take
long: callers run them off the event loop. Every result holds refs that `read` opens again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from rlm_mcp.errors import Unavailable
from rlm_mcp.methods import Method, ResultList

if TYPE_CHECKING:
    from rlm_mcp.corpus.search import Query
    from rlm_mcp.refs import Ref

Kind = Literal["repo", "history", "text", "session", "logs"]


@dataclass(frozen=True, slots=True)
class Description:
    """What `contexts()` and a root model are told about a variable."""

    name: str
    kind: Kind
    source: str
    """Where it came from, as the user would write it (a path, a range, an id)."""
    size_bytes: int
    tokens: int
    """Estimated for the kind of text, not counted."""
    documents: int
    freshness: str
    """For instance "watched", "checked on each call", "fixed at 1f3c9ab"."""
    ref_example: str
    lines: int | None = None
    facts: Mapping[str, str | int] = field(default_factory=dict)
    """Further plain facts, worth a line each: branch, agent, format, languages."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """What was not loaded, by reason: binary, too large, denied, unreadable."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know: broken lines, a rebase in progress."""
    methods: tuple[str, ...] = ()
    """Signatures of the calls that a cell may make on it, each with a short purpose."""


@dataclass(frozen=True, slots=True)
class ContextHit:
    """One matching line. `text` is verbatim, cut to 300 characters around the match."""

    ref: str
    path: str
    line: int
    text: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    cut: bool = False
    note: str = ""
    """What limits the answer that the hit is a part of, as one sentence."""


@dataclass(frozen=True, slots=True)
class HitPage:
    """The answer to a search. `total` counts matching lines over the whole scope."""

    hits: tuple[ContextHit, ...]
    total: int
    documents: int
    """How many documents have a match."""
    cursor: str = ""
    """Pass it back to get the hits that follow; empty at the end."""
    exact: bool = True
    """False where a time limit cut the search short; `note` says so."""
    note: str = ""
    per_folder: Mapping[str, int] = field(default_factory=dict)
    ranked: bool = False
    """Whether the hits are the passages that fit a question best, of several lines each."""
    related: tuple[str, ...] = ()
    """Beside passages: the definitions that they name and the lines that call those, with refs."""

    def hit_list(self) -> ResultList[ContextHit]:
        """Return the hits as a list that says how many there are in all.

        Raises Unavailable where there are none because something cut the search short.
        """
        if not self.exact and not self.hits and self.note:
            raise Unavailable(self.note)
        return ResultList(self.hits, self.total, self.exact, self.note)


@dataclass(frozen=True, slots=True)
class ContextPassage:
    """A verbatim window of a document."""

    ref: str
    """What the window holds, exactly; opening it again gives the same text."""
    text: str
    """Verbatim but for secrets; bytes that are no text are U+FFFD and counted in `note`."""
    first_line: int | None
    """Number of the first line, or None where lines have no meaning (characters, blocks)."""
    total: int
    """Lines (or turns) of the whole document."""
    next_ref: str = ""
    """The window that follows; empty at the end."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class ContextChunk:
    """A part on natural borders; the parts of a scope cover it exactly once, in order."""

    ref: str
    tokens: int
    title: str


@dataclass(frozen=True, slots=True)
class OutlineItem:
    """A line of an outline: a symbol, heading, template, turn or folder."""

    ref: str
    kind: str
    name: str
    depth: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Outline:
    """The structure of a scope, most useful items first where there are too many."""

    items: tuple[OutlineItem, ...]
    total: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class MappedText:
    """The text of a variable as the sandbox maps it: spans of one read-only file.

    `fd` belongs to the variable and stays open while it is open; the sandbox maps it shared and
    read-only, and copies nothing. `spans` lists (offset, length) in bytes, in reading order.
    """

    fd: int
    spans: Sequence[tuple[int, int]]
    generation: int
    """Rises with every change; a worker that holds an older one is given the new one."""


class Variable(Protocol):
    """A named large input.

    Errors: BadRequest (unknown document or revision, with a did-you-mean), Denied, Unavailable.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def methods(self) -> Mapping[str, Method]:
        """Further calls for cells, by name; the first docstring line is their help."""
        ...

    def refresh(self) -> bool:
        """Make every later call right for bytes written by now; say whether anything changed."""
        ...

    def describe(self) -> Description: ...
    def mapped_text(self) -> MappedText:
        """Return the mapping of the whole text."""
        ...

    def documents(self, scope: Ref) -> Sequence[str]:
        """Return the paths that a scope names, in reading order."""
        ...

    def peek(self, ref: Ref, limit: int = 80) -> ContextPassage:
        """Return at most `limit` lines (or turns) from the start of `ref`."""
        ...

    def full_text(self, ref: Ref) -> str:
        """Return the whole text of `ref`, verbatim but for secrets: for prompts of sub-models and
        checking quotes.
        """
        ...

    def grep(self, query: Query, scope: Ref) -> HitPage: ...
    def search(self, question: str, scope: Ref, limit: int = 10) -> Sequence[ContextHit]:
        """Return the passages that best fit a question, best first (full-text ranking)."""
        ...

    def outline(self, scope: Ref, limit: int = 60) -> Outline: ...
    def chunk(self, scope: Ref, by: str = "auto", tokens: int = 4000) -> Sequence[ContextChunk]: ...
    def close(self) -> None: ...


@runtime_checkable
class SourceVariable(Protocol):
    """A variable of source: its index knows what is defined where."""

    @property
    def name(self) -> str: ...
    def find_definitions(self, names: Sequence[str]) -> Sequence[ContextHit]:
        """Return the lines that define these names, source first; each hit's note is the name."""
        ...


@runtime_checkable
class ChangingVariable(Protocol):
    """A variable whose documents may change under the refs that it has given out."""

    def stale_note(self, ref: Ref) -> str:
        """Return what has become of lines that a ref was given for; nothing where they stand."""
        ...
