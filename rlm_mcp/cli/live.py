"""Progress of a run on stderr: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import click

from rlm_mcp.cli.exit_codes import escape_controls, stderr_is_terminal
from rlm_mcp.marks import mark_label
from rlm_mcp.plurals import count_noun

if TYPE_CHECKING:
    from rlm_mcp.engine import Event


class ProgressView(Protocol):
    """What is told of every event; called from the event loop, so it must be quick."""

    def on_event(self, event: Event) -> None: ...
    def stopped_note(self) -> str:
        """Return what is left of a run that was stopped."""
        ...


class RunFigures:
    """What a run has done so far, counted from its events."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.run = ""
        self.turns = self.calls = self.cached = 0
        self.cost = 0.0
        self.all_priced = True
        self.last_step = "opening"

    def on_event(self, event: Event) -> None:
        """Count one event."""
        data = event.data
        self.run = self.run or event.run
        if event.type == "turn":
            self.turns += 1
            self.last_step = f"turn {self.turns}"
        elif event.type == "call":
            self._count_call(data)
            self.last_step = "asking sub-models"
        elif event.type == "cell":
            self.last_step = f"cell {_first_line(data.get('code'))}"
        elif event.type == "child":
            self.last_step = "child run"

    def _count_call(self, data: Any) -> None:
        if data.get("cached"):
            self.cached += 1
            return
        self.calls += 1
        cost = data.get("cost_usd")
        if isinstance(cost, (int, float)):
            self.cost += cost
        elif "failure" not in data:
            self.all_priced = False

    def progress_line(self) -> str:
        """Return the figures as one line."""
        cost = f"${self.cost:.4f}" if self.all_priced else f"${self.cost:.4f} and more"
        cached = f" ({self.cached} cached)" if self.cached else ""
        return (
            f"turn {self.turns} · {count_noun(self.calls, 'call')}{cached} · {cost} · "
            f"{time.monotonic() - self.begun:.0f} s · {self.last_step}"
        )

    def stopped_note(self) -> str:
        if not self.run:
            return "Nothing was kept."
        return (
            f"Kept: the trajectory of run {self.run} (`rlm-mcp runs show {self.run}`) and every "
            "answer that was paid for; the same question goes on from there."
        )


class PlainProgress(RunFigures):
    """A line an event that matters, for logs and pipes."""

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        if event.type in ("turn", "child"):
            click.echo(escape_controls(mark_label(self.progress_line())), err=True)


class LiveProgress(RunFigures):
    """One line on a terminal that is written over."""

    def __init__(self, status: Any) -> None:
        super().__init__()
        self._status = status

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        self._status.update(escape_controls(mark_label(self.progress_line())))


@contextlib.contextmanager
def show_progress(silent: bool) -> Iterator[ProgressView]:
    """Give a view that fits where stderr goes."""
    if silent:
        yield RunFigures()
    elif not stderr_is_terminal():
        yield PlainProgress()
    else:
        # rich costs 60 ms, and only a person sees it.
        from rich.console import Console

        console = Console(file=sys.stderr, highlight=False, markup=False)
        with console.status("opening") as status:
            yield LiveProgress(status)


def _first_line(code: object) -> str:
    text = str(code or "").strip().partition("\n")[0]
    return text if len(text) <= 60 else f"{text[:59]}…"
