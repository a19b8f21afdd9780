"""What is open, by name; and how a source becomes a context variable.

`repo`, `history`, `session` and `logs` open themselves on first use where they exist under the
first root. What reads by ref, and handles (r7), belong to the engine.
"""

from __future__ import annotations

import json
import keyword
import re
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.confine import Confine
from rlm_mcp.errors import BadRequest, RlmError, did_you_mean
from rlm_mcp.tool_table import DEFAULT_NAMES, RESERVED_NAMES, TOOL_ROWS

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.sessions import SessionPrefetcher
    from rlm_mcp.variable import Description, Variable

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

    def open_context(self, source: str, name: str = "", *, fetch: bool = True) -> Variable:
        """Open a source (see `sources.open`) and return its variable.

        The same source gives the same variable, made fresh. Without `fetch` no other machine is
        reached: that is how code opens. Raises BadRequest, Denied,
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
                variable = open_source.open_context(
                    source, wanted, self.settings, self.confine, fetch=fetch
                )
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


_TAKEN_NAMES = RESERVED_NAMES.union(TOOL_ROWS)
"""Names that mean something else in an environment; the default variables keep theirs."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
"""What agents call their transcripts."""
_HANDLE = re.compile(r"r[0-9]+\Z")


def check_name(name: str) -> None:
    """Raise BadRequest for a name that a variable cannot have."""
    if not _NAME.match(name) or keyword.iskeyword(name):
        raise BadRequest(f"{name!r} is no usable name; write letters, digits and _, as docs2.")
    if name in DEFAULT_NAMES:
        raise BadRequest(f"The name {name!r} is the project's own; choose another, as my_{name}.")
    if _HANDLE.match(name) or name in _TAKEN_NAMES:
        raise BadRequest(f"The name {name!r} means something else; choose another, as my_{name}.")


def derive_name(source: str, taken: Container[str]) -> str:
    """Return a free name for a source: its last telling word, numbered where it is taken."""
    text = source.split("://", 1)[-1].rstrip("/*").removesuffix(".git")
    ranged = ".." in text.strip("./")
    text = text if ranged else re.split(r"[/\\:]", text)[-1]
    folder, slash, last = source.rpartition("/")
    if slash and any(char in last for char in "*?["):
        text = folder.rsplit("/", 1)[-1]
    named = ranged or "@" in text  # a revision, whose numbers tell
    stem = (
        text
        if named
        else re.sub(r"\.(?:txt|md|log|json|jsonl|csv|gz|bz2|xz|zst|[0-9]+)(?=\.|\Z)", "", text)
    )
    if _UUID.match(stem):
        stem = f"session_{stem[:8]}"
    name = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_").lower()[:40]
    if not name or not name[0].isalpha():
        name = f"text_{name}".rstrip("_")
    if _HANDLE.match(name) or keyword.iskeyword(name) or name in _TAKEN_NAMES:
        name += "_"
        name += "context" if name + "context" not in taken else "2"
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate
