"""Open refs on behalf of one run or agent: its own variables first, then handles, then contexts.

Synchronous and thread-safe: it is used in the threads of environments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from rlm_mcp.corpus.search import Query
from rlm_mcp.engine import redaction
from rlm_mcp.engine.handles import Handles, missing_handle
from rlm_mcp.errors import BadRequest, RlmError, did_you_mean
from rlm_mcp.methods import call_checked, to_wire
from rlm_mcp.redact import window
from rlm_mcp.refs import Ref, parse_ref, rev_as_path
from rlm_mcp.tool_table import DEFAULT_NAMES
from rlm_mcp.variable import (
    ChangingVariable,
    ContextChunk,
    ContextHit,
    ContextPassage,
    HitPage,
    Outline,
    Variable,
)

PART_TOKENS = 8_000
"""Size of a ref from which it is asked about in chunks instead of whole."""
MAX_PARTS = 5_000


_T = TypeVar("_T")
_WORD = re.compile(r"[A-Za-z_]\w*")
_HANDLE = re.compile(r"(?:r|h+)[0-9]+\Z")
_UNKNOWN = re.compile(r"NameError: name '(\w+)' is not defined\Z")


class ContextCatalog(Protocol):
    """What is used of the catalog."""

    def open_context(self, source: str, name: str = "", *, fetch: bool = True) -> Variable: ...
    def get_variable(self, name: str) -> Variable: ...
    def open_names(self) -> Sequence[str]: ...
    def openable_defaults(self) -> Sequence[tuple[str, str]]: ...
    def handle_hook(self, event: str, transcript: str) -> str: ...
    def close(self) -> None: ...


class TextFactory(Protocol):
    """Makes a variable of a plain text."""

    def __call__(self, name: str, source: str, items: Sequence[tuple[str, bytes]]) -> Variable: ...


class RefReader:
    """Everything that one run can open."""

    def __init__(
        self,
        contexts: ContextCatalog,
        handles: Sequence[Handles],
        own: Mapping[str, Variable],
        texts: TextFactory,
        allowed: frozenset[str] | None = None,
    ) -> None:
        self.contexts, self.handles, self.own = contexts, handles, own
        self._texts = texts
        self._allowed = allowed
        """Contexts that may be opened; None: all."""
        self._opened: dict[str, Variable] = {}
        self._waiting: list[str] | None = None

    @property
    def main_name(self) -> str:
        """What is meant where no ref is given: what a run is about, else the repository."""
        return "context" if "context" in self.own else "repo"

    def get_variable(self, name: str) -> Variable:
        """Return a variable, up to date. Raises BadRequest with a did-you-mean, or Denied."""
        found = self._find_variable(name)
        found.refresh()
        return found

    def _find_variable(self, name: str) -> Variable:
        if name in self.own:
            return self.own[name]
        if handles := self._handles_with(name):
            return self._opened.get(name) or self._open_handle(name, handles)
        if _HANDLE.match(name) and name not in self.contexts.open_names():
            raise missing_handle(
                name, [kept for handles in self.handles for kept in handles.handle_names()]
            )
        if self._allowed is not None and name not in self._allowed:
            raise BadRequest(
                f"{name!r} is not among the variables of this run: "
                f"{', '.join(sorted({*self._allowed, *self.own}))}."
            )
        return self.contexts.get_variable(name)

    def peek(self, text: str, limit: int) -> ContextPassage:
        """Return a window. Raises an RlmError."""
        ref = parse_ref(text)
        if ref.variable not in self.own and (handles := self._handles_with(ref.variable)):
            return handles.peek(ref, limit)
        found = self._on_variable(ref, lambda variable, at: variable.peek(at, limit))
        return replace(found, text=window(found.text, 0, len(found.text)))  # a listing has some too

    def full_text(self, text: str | Ref) -> str:
        """Return the whole text of a ref. Raises an RlmError."""
        ref = parse_ref(text) if isinstance(text, str) else text
        if ref.variable not in self.own and (handles := self._handles_with(ref.variable)):
            return handles.full_text(ref)
        return self._on_variable(ref, lambda variable, at: variable.full_text(at))

    def stale_note(self, ref: Ref) -> str:
        """Return what has become of lines that a ref was given for; nothing where they stand."""
        if ref.variable not in self.own and self._handles_with(ref.variable):
            return ""
        variable = self._find_variable(ref.variable)
        return variable.stale_note(ref) if isinstance(variable, ChangingVariable) else ""

    def grep(self, query: Query, text: str) -> HitPage:
        """Return matching lines."""
        found = self._on_variable(parse_ref(text), lambda variable, at: variable.grep(query, at))
        return replace(found, hits=redaction.hide_in_hits(found.hits, self.full_text))

    def search(self, question: str, text: str, limit: int) -> Sequence[ContextHit]:
        """Return the passages that best fit a question."""
        found = self._on_variable(
            parse_ref(text), lambda variable, at: variable.search(question, at, limit)
        )
        return redaction.hide_in_hits(found, self.full_text)

    def outline(self, text: str, limit: int) -> Outline:
        """Return the structure of a scope."""
        return self._on_variable(parse_ref(text), lambda variable, at: variable.outline(at, limit))

    def chunk(self, text: str, by: str, tokens: int) -> Sequence[ContextChunk]:
        """Return the parts of a scope."""
        return self._on_variable(
            parse_ref(text), lambda variable, at: variable.chunk(at, by, tokens)
        )

    def call_method(
        self, name: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Call a variable's method; returns JSON types."""
        found = self.method_result(name, method, args, kwargs)
        if isinstance(found, list) and any(isinstance(item, ContextHit) for item in found):
            found[:] = redaction.hide_in_hits(found, self.full_text)
            return to_wire(found)
        return redaction.hide_in_answer(to_wire(found), self.full_text)

    def method_result(
        self, name: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Return what a variable's method gives. Raises BadRequest with a did-you-mean."""
        variable = self.get_variable(name)
        known = variable.methods
        if method not in known:
            raise BadRequest(
                f"{name} ({variable.kind}) has no method {method!r}."
                f"{did_you_mean(method, known)} It has: {', '.join(known)}."
            )
        return call_checked(f"{name}.{method}", known[method], args, kwargs)

    def expand_lists(self, refs: Sequence[str]) -> tuple[str, ...]:
        """Return refs with the lists behind handles opened up."""
        found: dict[str, None] = {}
        for text in refs:
            found.update(dict.fromkeys(self._listed_refs(text) or [text]))
        return tuple(found)

    def split_parts(self, refs: Sequence[str], tokens: int = PART_TOKENS) -> list[str]:
        """Return the refs to ask about one by one: lists opened up, large scopes in chunks."""
        parts: dict[str, None] = {}
        for text in refs:
            ref = parse_ref(text)
            handles = None if ref.variable in self.own else self._handles_with(ref.variable)
            if listed := self._listed_refs(text):
                parts.update(dict.fromkeys(listed))
            elif handles and len(handles.full_text(ref)) <= 4 * tokens:
                parts[text] = None
            else:
                chunks = self.chunk(text, "auto", tokens)
                parts.update(dict.fromkeys(chunk.ref for chunk in chunks))
            if len(parts) > MAX_PARTS:
                raise BadRequest(
                    f"That makes more than {MAX_PARTS:,} parts; narrow the scope or give "
                    "chunk() a larger size."
                )
        return list(parts)

    def citable_names(self) -> frozenset[str]:
        """Return the names that refs of an answer may begin with."""
        named = {*self.own, *self._known_names()}
        return frozenset(named.union(*(handles.handle_names() for handles in self.handles)))

    def close(self) -> None:
        """Close what was opened for handles."""
        for variable in self._opened.values():
            variable.close()
        self._opened.clear()

    def open_names(self) -> list[str]:
        """Return the variables that are open, those of the run itself first."""
        names = [name for name in self.contexts.open_names() if name not in self.own]
        if self._allowed is not None:
            names = [name for name in names if name in self._allowed]
        return [*self.own, *names]

    def openable_defaults(self) -> list[tuple[str, str]]:
        """Return (name, sentence) for what opens itself on first use."""
        found = [item for item in self.contexts.openable_defaults() if item[0] not in self.own]
        return [item for item in found if self._allowed is None or item[0] in self._allowed]

    def _known_names(self) -> set[str]:
        if self._waiting is None:  # it looks at the disk: once for each run or tool call
            self._waiting = [name for name, _ in self.contexts.openable_defaults()]
        known = {*self.contexts.open_names(), *self._waiting}
        return known if self._allowed is None else known & self._allowed

    def mentioned_variables(self, code: str) -> dict[str, Variable]:
        """Return the variables whose names occur in `code`, opened."""
        known = {*self.own, *self._known_names()}
        words = set(_WORD.findall(code))
        return {name: self.get_variable(name) for name in sorted(known & words)}

    def explain_error(self, error: str) -> str:
        """Return a cell's error; of a context variable that is not there, with the reason."""
        match = _UNKNOWN.search(error)
        if match is None or match[1] not in DEFAULT_NAMES:
            return error
        try:
            self.get_variable(match[1])
        except RlmError as why:
            return f"{error}. {why}"
        return error

    def _listed_refs(self, text: str) -> tuple[str, ...]:
        """Return the refs that a handle lists; nothing for any other ref."""
        ref = parse_ref(text)
        handles = None if ref.variable in self.own else self._handles_with(ref.variable)
        return handles.get_result(ref.variable).refs if handles and ref.span is None else ()

    def _handles_with(self, name: str) -> Handles | None:
        return next((handles for handles in self.handles if name in handles), None)

    def _open_handle(self, name: str, handles: Handles) -> Variable:
        data = handles.get_result(name).full_text().encode("utf-8", "surrogatepass")
        self._opened[name] = self._texts(name, f"handle {name}", [(name, data)])
        return self._opened[name]

    def _on_variable(self, ref: Ref, work: Callable[[Variable, Ref], _T]) -> _T:
        variable = self.get_variable(ref.variable)
        try:
            return work(variable, ref)
        except BadRequest:
            if not ref.rev:
                raise
            try:
                return work(variable, rev_as_path(ref))
            except BadRequest:
                pass
            raise
