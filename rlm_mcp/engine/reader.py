"""Open refs on behalf of one run or agent: its own variables first, then handles, then contexts.

Synchronous and thread-safe: it is used in the threads of environments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from rlm_mcp.contexts import names
from rlm_mcp.contexts.catalog import DEFAULTS
from rlm_mcp.contexts.kinds import kind_of_part
from rlm_mcp.contexts.variable import (
    Chunk,
    Found,
    Hit,
    Living,
    Outline,
    Passage,
    Query,
    Variable,
    wire,
)
from rlm_mcp.engine import redaction
from rlm_mcp.engine.handles import Handles, missing
from rlm_mcp.errors import BadRequest, RlmError
from rlm_mcp.redact import window
from rlm_mcp.refs import Ref, literal, parse

PART_TOKENS = 8_000
"""Size of a ref from which it is asked about in chunks instead of whole."""
MOST_PARTS = 5_000


_T = TypeVar("_T")
_WORD = re.compile(r"[A-Za-z_]\w*")
_HANDLE = re.compile(r"(?:r|h+)[0-9]+\Z")
_UNKNOWN = re.compile(r"NameError: name '(\w+)' is not defined\Z")


class Contexts(Protocol):
    """What is used of the catalog."""

    def open(self, source: str, name: str = "") -> Variable: ...
    def get(self, name: str) -> Variable: ...
    def names(self) -> Sequence[str]: ...
    def openable(self) -> Sequence[tuple[str, str]]: ...
    def hook(self, event: str, transcript: str) -> str: ...
    def close(self) -> None: ...


class Texts(Protocol):
    """Makes a variable of a plain text."""

    def __call__(self, name: str, source: str, items: Sequence[tuple[str, bytes]]) -> Variable: ...


class Reader:
    """Everything that one run can open."""

    def __init__(
        self,
        contexts: Contexts,
        handles: Sequence[Handles],
        own: Mapping[str, Variable],
        texts: Texts,
        allowed: frozenset[str] | None = None,
    ) -> None:
        self.contexts, self.handles, self.own = contexts, handles, own
        self._texts = texts
        self._allowed = allowed
        """Contexts that may be opened; None: all."""
        self._opened: dict[str, Variable] = {}
        self._waiting: list[str] | None = None

    @property
    def main(self) -> str:
        """What is meant where no ref is given: what a run is about, else the repository."""
        return "context" if "context" in self.own else "repo"

    def variable(self, name: str) -> Variable:
        """Return a variable, up to date. Raises BadRequest with a did-you-mean, or Denied."""
        found = self._find(name)
        found.refresh()
        return found

    def _find(self, name: str) -> Variable:
        if name in self.own:
            return self.own[name]
        if handles := self._handles(name):
            return self._opened.get(name) or self._open(name, handles)
        if _HANDLE.match(name) and name not in self.contexts.names():
            raise missing(name, [kept for handles in self.handles for kept in handles.names()])
        if self._allowed is not None and name not in self._allowed:
            raise BadRequest(
                f"{name!r} is not among the variables of this run: "
                f"{', '.join(sorted({*self._allowed, *self.own}))}."
            )
        return self.contexts.get(name)

    def read(self, text: str, limit: int) -> Passage:
        """Return a window. Raises an RlmError."""
        ref = parse(text)
        if ref.variable not in self.own and (handles := self._handles(ref.variable)):
            return handles.read(ref, limit)
        found = self._on(ref, lambda variable, at: variable.read(at, limit))
        return replace(found, text=window(found.text, 0, len(found.text)))  # a listing has some too

    def text(self, text: str | Ref) -> str:
        """Return the whole text of a ref. Raises an RlmError."""
        ref = parse(text) if isinstance(text, str) else text
        if ref.variable not in self.own and (handles := self._handles(ref.variable)):
            return handles.text(ref)
        return self._on(ref, lambda variable, at: variable.text(at))

    def stale(self, ref: Ref) -> str:
        """Return what has become of lines that a ref was given for; nothing where they stand."""
        if ref.variable not in self.own and self._handles(ref.variable):
            return ""
        variable = self._find(ref.variable)
        return variable.stale(ref) if isinstance(variable, Living) else ""

    def kind(self, text: str, content: str) -> str:
        """Return the kind of text that a ref's content is, or nothing where it is not known."""
        ref = parse(text)
        if ref.variable not in self.own and self._handles(ref.variable):
            return ""
        return kind_of_part(self._find(ref.variable), ref, content)

    def search(self, query: Query, text: str) -> Found:
        """Return matching lines."""
        found = self._on(parse(text), lambda variable, at: variable.search(query, at))
        return replace(found, hits=redaction.hide_in_hits(found.hits, self.text))

    def rank(self, question: str, text: str, limit: int) -> Sequence[Hit]:
        """Return the passages that best fit a question."""
        found = self._on(parse(text), lambda variable, at: variable.rank(question, at, limit))
        return redaction.hide_in_hits(found, self.text)

    def outline(self, text: str, limit: int) -> Outline:
        """Return the structure of a scope."""
        return self._on(parse(text), lambda variable, at: variable.outline(at, limit))

    def chunk(self, text: str, by: str, tokens: int) -> Sequence[Chunk]:
        """Return the parts of a scope."""
        return self._on(parse(text), lambda variable, at: variable.chunk(at, by, tokens))

    def call(self, name: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call a variable's method; returns JSON types."""
        variable = self.variable(name)
        if method not in variable.methods:
            raise BadRequest(
                f"{name} has no method {method!r}; it has: {', '.join(variable.methods)}."
            )
        found = names.call(f"{name}.{method}", variable.methods[method], args, kwargs)
        if isinstance(found, list) and any(isinstance(item, Hit) for item in found):
            found[:] = redaction.hide_in_hits(found, self.text)
            return wire(found)
        return redaction.hide_in_answer(wire(found), self.text)

    def spread(self, refs: Sequence[str]) -> tuple[str, ...]:
        """Return refs with the lists behind handles opened up."""
        found: dict[str, None] = {}
        for text in refs:
            found.update(dict.fromkeys(self._listed(text) or [text]))
        return tuple(found)

    def parts(self, refs: Sequence[str], tokens: int = PART_TOKENS) -> list[str]:
        """Return the refs to ask about one by one: lists opened up, large scopes in chunks."""
        parts: dict[str, None] = {}
        for text in refs:
            ref = parse(text)
            handles = None if ref.variable in self.own else self._handles(ref.variable)
            if listed := self._listed(text):
                parts.update(dict.fromkeys(listed))
            elif handles and len(handles.text(ref)) <= 4 * tokens:
                parts[text] = None
            else:
                chunks = self.chunk(text, "auto", tokens)
                parts.update(dict.fromkeys(chunk.ref for chunk in chunks))
            if len(parts) > MOST_PARTS:
                raise BadRequest(
                    f"That makes more than {MOST_PARTS:,} parts; narrow the scope or give "
                    "chunk() a larger size."
                )
        return list(parts)

    def names(self) -> frozenset[str]:
        """Return the names that refs of an answer may begin with."""
        named = {*self.own, *self._known()}
        return frozenset(named.union(*(handles.names() for handles in self.handles)))

    def close(self) -> None:
        """Close what was opened for handles."""
        for variable in self._opened.values():
            variable.close()
        self._opened.clear()

    def opened(self) -> list[str]:
        """Return the variables that are open, those of the run itself first."""
        names = [name for name in self.contexts.names() if name not in self.own]
        if self._allowed is not None:
            names = [name for name in names if name in self._allowed]
        return [*self.own, *names]

    def openable(self) -> list[tuple[str, str]]:
        """Return (name, sentence) for what opens itself on first use."""
        found = [item for item in self.contexts.openable() if item[0] not in self.own]
        return [item for item in found if self._allowed is None or item[0] in self._allowed]

    def _known(self) -> set[str]:
        if self._waiting is None:  # it looks at the disk: once for each run or tool call
            self._waiting = [name for name, _ in self.contexts.openable()]
        known = {*self.contexts.names(), *self._waiting}
        return known if self._allowed is None else known & self._allowed

    def mentioned(self, code: str) -> dict[str, Variable]:
        """Return the variables whose names occur in `code`, opened."""
        known = {*self.own, *self._known()}
        words = set(_WORD.findall(code))
        return {name: self.variable(name) for name in sorted(known & words)}

    def explained(self, error: str) -> str:
        """Return a cell's error; of a context variable that is not there, with the reason."""
        match = _UNKNOWN.search(error)
        if match is None or match[1] not in DEFAULTS:
            return error
        try:
            self.variable(match[1])
        except RlmError as why:
            return f"{error}. {why}"
        return error

    def _listed(self, text: str) -> tuple[str, ...]:
        """Return the refs that a handle lists; nothing for any other ref."""
        ref = parse(text)
        handles = None if ref.variable in self.own else self._handles(ref.variable)
        return handles.get(ref.variable).refs if handles and ref.span is None else ()

    def _handles(self, name: str) -> Handles | None:
        return next((handles for handles in self.handles if name in handles), None)

    def _open(self, name: str, handles: Handles) -> Variable:
        data = handles.get(name).whole().encode("utf-8", "surrogatepass")
        self._opened[name] = self._texts(name, f"handle {name}", [(name, data)])
        return self._opened[name]

    def _on(self, ref: Ref, work: Callable[[Variable, Ref], _T]) -> _T:
        variable = self.variable(ref.variable)
        try:
            return work(variable, ref)
        except BadRequest:
            if not ref.rev:
                raise
            try:
                return work(variable, literal(ref))
            except BadRequest:
                pass
            raise
