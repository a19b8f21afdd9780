"""What a client's hooks say around a compaction. Text only; no model is asked.

Where the session was not read in time, the text is shorter: it says what it was made from and what
it leaves out.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from rlm_mcp.sessions import activity, audit, brief
from rlm_mcp.sessions import audit as claims
from rlm_mcp.sessions.locate import short_id
from rlm_mcp.tokens import estimate_tokens

if TYPE_CHECKING:
    from rlm_mcp.sessions.session import Session


HOOK_TOKENS = 900
"""Tokens that a hook's text may have."""
_FOOT_TOKENS = 16
"""Tokens kept free for the count of what does not fit."""


@dataclass(frozen=True, slots=True)
class ActiveFacts:
    """The user's rules in force and the open tasks, as lines with refs, after so many turns."""

    rules: Sequence[str]
    tasks: Sequence[str]
    turns: int


def active_facts(session: Session) -> ActiveFacts:
    """Return what holds now; the session was refreshed."""
    view = session.view
    rules = [f"- {fact.quote} [{fact.ref}]" for fact in brief.active_rules(view)]
    tasks = [
        f"- {task['task']} [{task['last']}]"
        for task in activity.tasks(view)
        if task["status"] in ("open", "active")
    ]
    return ActiveFacts(rules, tasks, view.index.thread_states()[""].turns)


def contradiction_lines(session: Session) -> list[str] | None:
    """Return what the newest summary states against the evidence, as lines with refs.

    None where it is not in the transcript yet: Claude Code 2.1 runs the hook before it writes the
    summary, and an older one must not be taken for it.
    """
    view = session.view
    every = audit.compactions(view)
    said = view.index.query_rows(
        "SELECT max(n) FROM turns WHERE doc=1 AND live=1 AND origin IN ('human', 'agent')"
    )[0][0]
    if not every or every[-1]["turn"] < (said or 0):
        return None
    return [
        f"- The summary says {item['claim']!r}, but {item['evidence']} [{item['ref'] or 'audit()'}]"
        for item in audit.check_last_summary(view)
    ]


def prefetch_hooks(session: Session) -> ActiveFacts:
    """Read what both hooks need, so that they find it read."""
    claims.prefetch_evidence(session.view)
    return active_facts(session)


def before_compaction_text(
    name: str,
    native: str,
    known: ActiveFacts | None,
    *,
    late: bool = False,
    tokens: int = HOOK_TOKENS,
) -> str:
    """Return the summariser's instructions; `late` says that `known` may be behind."""
    foot = (
        f"State that every earlier turn stays readable, verbatim, as the context variable "
        f"`{name}` of the rlm tools: peek('{name}:{native}#<turn>.<block>'), "
        f"grep(pattern, ref='{name}'). Do not claim that tests pass or work is done "
        "without the ref of the run that shows it."
    )
    if known is None:
        head = (
            "The session was not read in time to list the user's rules here. Keep every rule, "
            "preference and correction of the user in the summary word for word."
        )
        return f"{head}\n{foot}"
    head = (
        "Keep these in the summary word for word, each with its ref in brackets; they are the "
        "user's own rules and corrections and stay in force:"
    )
    behind = (
        f"(This list ends with turn {known.turns}; what came later was not read in time: keep the "
        "user's later rules and corrections word for word, too.)"
    )
    last = "\n".join([behind, foot]) if late else foot
    lines = [head, *(known.rules or ["- (none found)"])]
    return "\n".join(
        [*_fit_lines(lines, known.tasks, tokens - estimate_tokens(last, "code")), last]
    )


def after_compaction_text(
    name: str,
    native: str,
    known: ActiveFacts | None,
    wrong: Sequence[str] | None,
    *,
    late: bool = False,
    tokens: int = HOOK_TOKENS,
) -> str:
    """Return what the model is told; `wrong` is None where the summary was not checked."""
    head = (
        f"The conversation was compacted. Everything before it is still readable, verbatim, as "
        f"the context variable `{name}` (rlm tools): grep(pattern, ref='{name}'), "
        f"peek('{name}:{native}#<turn>.<block>'), and in execute: "
        f"{name}.brief(), .audit(), .files(), .errors(), .commands(). Look there before "
        "asking the user again or repeating work."
    )
    lines = [head]
    if known is None:
        lines.append(f"The user's rules were not read in time: {name}.brief() lists them.")
    else:
        until = f", up to turn {known.turns} ({name}.brief() has later ones)" if late else ""
        lines.append(f"The user's rules in force, verbatim{until}:")
        lines += known.rules or ["- (none found)"]
    if wrong is None:
        lines.insert(1, f"The summary was not checked against the record; {name}.audit() does.")
    return "\n".join(_fit_lines(lines, wrong or (), tokens))


def _fit_lines(first: Sequence[str], then: Sequence[str], tokens: int) -> list[str]:
    """Return the lines that fit; what does not is counted."""
    kept: list[str] = []
    used = 0
    for line in [*first, *then]:
        cost = estimate_tokens(line + "\n", "code")
        if used + cost <= tokens - _FOOT_TOKENS:
            kept.append(line)
            used += cost
    left = len(first) + len(then) - len(kept)
    return [*kept, f"({left} more: brief())"] if left else kept


T = TypeVar("T")

WAIT_S = 5.0
"""How long a hook waits: a compaction takes much longer, and the user's rules are worth it."""
POLL_S = 3.0
"""How often the transcript is looked at."""
PREFETCH_MIN_BYTES = 64 << 10
"""Bytes of a transcript from which it is prefetched; a smaller one is read at once."""
PREFETCH_STEP_BYTES = 64 << 10
"""Bytes by which it has to have grown."""

_log = logging.getLogger(__name__)


class SessionPrefetcher:
    """Follows one transcript at a time. `open` gives its variable, and may be slow."""

    def __init__(self, open: Callable[[], Session], wait_s: float) -> None:
        self._open, self.wait_s = open, wait_s
        self._jobs: SimpleQueue[tuple[Callable[[Session], Any], Future[Any]] | None]
        self._jobs = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._path = Path()
        self._size = 0
        self._known: ActiveFacts | None = None
        self._closed = False

    def follow_path(self, path: Path) -> None:
        """Prefetch `path` from now on."""
        with self._lock:
            if path != self._path:
                self._path, self._size, self._known = path, 0, None
        self._start_thread()
        self._jobs.put(None)

    def compaction_brief(self, name: str) -> str:
        """Return what to hand the client's summariser."""

        known = self._wait_for(active_facts)
        native = short_id(self._path.stem)
        return before_compaction_text(name, native, known or self._known, late=known is None)

    def after_compaction(self, name: str) -> str:
        """Return what to tell the model after the compaction."""

        found = self._wait_for(
            lambda session: (active_facts(session), contradiction_lines(session))
        )
        native = short_id(self._path.stem)
        if found is None:
            return after_compaction_text(name, native, self._known, None, late=True)
        return after_compaction_text(name, native, *found)

    def close(self) -> None:
        """End the thread as soon as it has done what it is at."""
        self._closed = True
        self._jobs.put(None)

    def _wait_for(self, make: Callable[[Session], T]) -> T | None:
        """Return what `make` gives for the fresh session, None where that takes too long."""
        self._start_thread()
        future: Future[T] = Future()
        self._jobs.put((make, future))
        try:
            return future.result(self.wait_s)
        except TimeoutError:
            future.cancel()
            return None

    def _start_thread(self) -> None:
        with self._lock:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=self._run_jobs, name="rlm-hooks", daemon=True
                )
                self._thread.start()

    def _run_jobs(self) -> None:
        while not self._closed:
            job = None
            with contextlib.suppress(Empty):
                job = self._jobs.get(timeout=POLL_S)
            if job is not None:
                self._run_job(*job)
            elif not self._closed and self._has_grown():
                self._prefetch_facts()

    def _run_job(self, make: Callable[[Session], Any], future: Future[Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(make(self._fresh_session()))
        except BaseException as error:
            future.set_exception(error)

    def _prefetch_facts(self) -> None:
        """Read what was added, and remember what holds now."""

        path = self._path
        try:
            known = prefetch_hooks(self._fresh_session())
        except Exception as error:  # the next hook meets it again, and says it
            _log.info("The running session was not read ahead: %s", error)
            return
        with self._lock:
            if path == self._path:
                self._known = known

    def _fresh_session(self) -> Session:
        session = self._open()
        session.refresh()
        return session

    def _has_grown(self) -> bool:
        """Say whether the transcript has grown enough to be read, or was rewritten."""
        try:
            size = os.stat(self._path).st_size
        except OSError:
            return False
        if size < PREFETCH_MIN_BYTES or 0 <= size - self._size < PREFETCH_STEP_BYTES:
            return False
        self._size = size
        return True
