"""What is open, by name; and how a source becomes a context variable.

`repo`, `history`, `session` and `logs` open themselves on first use where they exist under the
first root. Every call by ref makes the variable fresh first, so that an answer is right for bytes
written before it. Handles (r7) belong to the engine.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm_mcp import refs
from rlm_mcp.confine import Confine
from rlm_mcp.contexts.variable_names import DEFAULT_NAMES, check_name, derive_name
from rlm_mcp.errors import BadRequest, RlmError, did_you_mean
from rlm_mcp.methods import call_checked

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.corpus.search import Query
    from rlm_mcp.refs import Ref
    from rlm_mcp.sessions import SessionPrefetcher
    from rlm_mcp.variable import (
        ContextChunk,
        ContextHit,
        ContextPassage,
        Description,
        HitPage,
        Outline,
        Variable,
    )

ABSENT_REASONS = {
    "history": "There is no history: {root} is in no git repository.",
    "session": "There is no session: no coding agent has a transcript of {root}.",
    "logs": "There are no logs: no log files were found under {root}.",
}
"""Why a default variable cannot open itself."""
MAX_SOURCE_CHARS = 2_000
"""Characters of a source."""
_CURRENT_SESSION = "session:current"
HOOK_EVENTS = ("prompt", "before-compaction", "after-compaction")


class Catalog:
    """The open context variables of one process. Safe from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.confine = Confine(settings.roots, secrets=settings.secrets)
        self._open: dict[str, Variable] = {}
        self._sources: dict[str, str] = {}
        self._lock = threading.RLock()
        self._turns: dict[str, threading.RLock] = {}
        self._coming: set[str] = set()
        self._closed = False
        self._running: Path | None = None
        """The transcript that a client's hook named last."""
        self._ahead: SessionPrefetcher | None = None

    def open_context(self, source: str, name: str = "") -> Variable:
        """Open a source (see `sources.open`) and return its variable.

        The same source gives the same variable, made fresh. Raises BadRequest, Denied,
        Unavailable; then nothing has changed.
        """
        source = source.strip()
        if not source:
            raise BadRequest(
                "The source is empty; give a path, a glob, a revision range, session:latest, …"
            )
        if len(source) > MAX_SOURCE_CHARS:
            raise BadRequest(
                f"The source has {len(source):,} characters; {MAX_SOURCE_CHARS:,} are enough."
            )
        if name:
            check_name(name)
        key = self._source_key(source)
        with self._opening_turn(key):
            with self._lock:
                self._check_open()
                known = self._find_open(source, key, name)
            if known is not None:
                known.refresh()
                return known
            if not name and source in DEFAULT_NAMES:
                found = self._open_default(source)
                if found is not None:
                    return found
            from rlm_mcp.contexts import open_source  # numpy, RE2 and sqlite3 cost 150 ms

            with self._reserve_name(source, name) as wanted:
                variable = open_source.open_context(source, wanted, self.settings, self.confine)
                self._add_variable(wanted, variable, key)
            return variable

    def get_variable(self, name: str) -> Variable:
        """Return an open variable; the default names open themselves where they can."""
        with self._lock:
            self._check_open()
            if name in self._open:
                return self._open[name]
        if name in DEFAULT_NAMES:
            with self._opening_turn(name):
                variable = self._open_default(name)
            if variable is not None:
                return variable
        known = {*self._open, *(name for name, _ in self.openable_defaults())}
        listed = ", ".join(sorted(known)) or "none"
        why = ABSENT_REASONS.get(name, "There is no context {name!r}.").format(
            name=name, root=self.confine.roots[0]
        )
        raise BadRequest(
            f"{why}{did_you_mean(name, known)} Known: {listed}; open_context(source) opens more."
        )

    def handle_hook(self, event: str, transcript: str) -> str:
        """Take a client's word that `transcript` is the running session: `session` is that one now.

        `prompt` costs no more than that: reading begins in the background. `before-compaction`
        returns what a summary should keep, `after-compaction` what the model should know then;
        both wait five seconds at most. Raises BadRequest, Denied, Unavailable.
        """
        from rlm_mcp import sessions

        if event not in HOOK_EVENTS:
            raise BadRequest(f"There is no hook {event!r}.{did_you_mean(event, HOOK_EVENTS)}")
        current = sessions.note_current(Path(transcript).stem, transcript, self.settings)
        with self._lock:
            self._check_open()
            if current != self._running and "session" in self._open:
                self.close_context("session")
            self._running = current
            self._ahead = ahead = self._ahead or sessions.session_prefetcher(
                lambda: self.get_variable("session")
            )
        ahead.follow_path(current)
        if event == "prompt":
            return "session is the running one"
        if event == "before-compaction":
            return ahead.compaction_brief("session")
        # Claude Code takes a summariser's instructions as text, but adds to a window only this.
        said = ahead.after_compaction("session")
        added = {"hookEventName": "SessionStart", "additionalContext": said}
        return json.dumps({"hookSpecificOutput": added}, ensure_ascii=False)

    def open_names(self) -> list[str]:
        """Return the names of the open variables, in the order of opening."""
        with self._lock:
            return list(self._open)

    def openable_defaults(self) -> list[tuple[str, str]]:
        """Return (name, sentence) for each default variable that exists and is not open yet."""
        from rlm_mcp.contexts import open_source  # numpy, RE2 and sqlite3 cost 150 ms

        with self._lock:
            waiting = [name for name in DEFAULT_NAMES if name not in self._open]
        return open_source.openable_defaults(waiting, self.settings, self.confine)

    def close(self) -> None:
        """Close every variable; each later call is refused."""
        with self._lock:
            self._closed = True
            variables = list(self._open.values())
            self._open.clear()
            self._sources.clear()
            if self._ahead is not None:
                self._ahead.close()
        for variable in variables:
            variable.close()

    def close_context(self, name: str) -> None:
        """Close one variable and free its name; raises BadRequest for one that is not open."""
        with self._lock:
            variable = self._open.pop(name, None)
            self._sources = {key: known for key, known in self._sources.items() if known != name}
        if variable is None:
            raise BadRequest(f"There is no context {name!r}.")
        variable.close()

    def describe(self, name: str) -> Description:
        """Return the fresh description of a variable."""
        variable = self.get_variable(name)
        variable.refresh()
        return variable.describe()

    def peek(self, ref: str, limit: int = 80) -> ContextPassage:
        """Return a window of a ref."""
        if limit < 1:
            raise BadRequest(f"limit is {limit}; ask for at least one line.")
        variable, scope = self._resolve_ref(ref)
        return variable.peek(scope, limit)

    def full_text(self, ref: str) -> str:
        """Return the whole text of a ref, verbatim."""
        variable, scope = self._resolve_ref(ref)
        return variable.full_text(scope)

    def grep(self, query: Query, ref: str) -> HitPage:
        """Search the scope that a ref names."""
        variable, scope = self._resolve_ref(ref)
        return variable.grep(query, scope)

    def search(self, question: str, ref: str, limit: int = 10) -> Sequence[ContextHit]:
        """Return the passages under a ref that best fit a question."""
        variable, scope = self._resolve_ref(ref)
        return variable.search(question, scope, limit)

    def outline(self, ref: str, limit: int = 60) -> Outline:
        """Return the structure of a ref."""
        variable, scope = self._resolve_ref(ref)
        return variable.outline(scope, limit)

    def chunk(self, ref: str, by: str = "auto", tokens: int = 4000) -> Sequence[ContextChunk]:
        """Return the parts of a ref on natural borders."""
        if tokens < 1:
            raise BadRequest(f"tokens is {tokens}; a chunk has at least one.")
        variable, scope = self._resolve_ref(ref)
        return variable.chunk(scope, by, tokens)

    def call_method(
        self, name: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Call a method of a variable for a cell; raises BadRequest with a did-you-mean."""
        variable = self.get_variable(name)
        variable.refresh()
        known = variable.methods
        if method not in known:
            raise BadRequest(
                f"{name} ({variable.kind}) has no method {method!r}."
                f"{did_you_mean(method, known)} It has: {', '.join(sorted(known))}."
            )
        return call_checked(f"{name}.{method}", known[method], args, kwargs)

    def _resolve_ref(self, text: str) -> tuple[Variable, Ref]:
        ref = refs.parse_ref(text)
        variable = self.get_variable(ref.variable)
        variable.refresh()
        return variable, ref

    def _check_open(self) -> None:
        if self._closed:
            raise BadRequest("The server is closing; nothing can be opened.")

    def _source_key(self, source: str) -> str:
        """Return what makes two sources the same: the resolved path where it is one."""
        try:
            return str(self.confine.resolve_path(source))
        except RlmError:
            return source

    def _find_open(self, source: str, key: str, name: str) -> Variable | None:
        """Return what is already open under this source or name; raises where they disagree."""
        if not name and source in self._open:
            return self._open[source]
        known = self._sources.get(key)
        if known is not None and (not name or name == known):
            return self._open[known]
        if name in self._open:
            raise BadRequest(
                f"The name {name!r} is taken by {self._open[name].describe().source}; "
                "choose another."
            )
        return None

    def _open_default(self, name: str) -> Variable | None:
        from rlm_mcp.contexts import open_source  # numpy, RE2 and sqlite3 cost 150 ms

        with self._lock:
            if name in self._open:
                return self._open[name]
            running = self._running
        variable: Variable | None
        if name == "session" and running is not None:
            # The agent may keep it under another project than the first root.
            variable = open_source.open_context(_CURRENT_SESSION, name, self.settings, self.confine)
        else:
            variable = open_source.open_default(name, self.settings, self.confine)
        with self._lock:
            overtaken = name == "session" and running != self._running
            if variable is not None and not overtaken:
                self._add_variable(name, variable, "")
        if not overtaken:
            return variable
        if variable is not None:
            variable.close()
        return self._open_default(name)

    def _add_variable(self, name: str, variable: Variable, key: str) -> None:
        with self._lock:
            if not self._closed:
                self._open[name] = variable
                if key:
                    self._sources[key] = name
                return
        variable.close()
        self._check_open()

    @contextmanager
    def _opening_turn(self, key: str) -> Iterator[None]:
        """Let one thread at a time open a source; a slow clone holds up nothing else."""
        with self._lock:
            turn = self._turns.setdefault(key, threading.RLock())
        with turn:
            yield

    @contextmanager
    def _reserve_name(self, source: str, name: str) -> Iterator[str]:
        """Give the name for a source, and keep it from others while the source is opened."""
        with self._lock:
            taken = {*self._open, *self._coming}
            if name in taken:
                raise BadRequest(f"The name {name!r} is taken; choose another.")
            wanted = name or derive_name(source, taken)
            self._coming.add(wanted)
        try:
            yield wanted
        finally:
            with self._lock:
                self._coming.discard(wanted)
