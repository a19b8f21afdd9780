"""Progress of a run on stderr: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import click

from rlm_mcp.cli.exits import printable, stderr_is_terminal
from rlm_mcp.counts import counted

if TYPE_CHECKING:
    from rlm_mcp.engine import Event


class View(Protocol):
    """What is told of every event; called from the event loop, so it must be quick."""

    def event(self, event: Event) -> None: ...
    def kept(self) -> str:
        """Return what is left of a run that was stopped."""
        ...


class Figures:
    """What a run has done so far, counted from its events."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.run = ""
        self.turns = self.calls = self.cached = 0
        self.cost = 0.0
        self.priced = True
        self.last = "opening"

    def event(self, event: Event) -> None:
        """Count one event."""
        data = event.data
        self.run = self.run or event.run
        if event.type == "turn":
            self.turns += 1
            self.last = f"turn {self.turns}"
        elif event.type == "call":
            self._pay(data)
            self.last = "asking sub-models"
        elif event.type == "cell":
            self.last = f"cell {_first_line(data.get('code'))}"
        elif event.type == "child":
            self.last = "child run"

    def _pay(self, data: Any) -> None:
        if data.get("cached"):
            self.cached += 1
            return
        self.calls += 1
        cost = data.get("cost_usd")
        if isinstance(cost, (int, float)):
            self.cost += cost
        elif "failure" not in data:
            self.priced = False

    def line(self) -> str:
        """Return the figures as one line."""
        cost = f"${self.cost:.4f}" if self.priced else f"${self.cost:.4f} and more"
        cached = f" ({self.cached} cached)" if self.cached else ""
        return (
            f"turn {self.turns} · {counted(self.calls, 'call')}{cached} · {cost} · "
            f"{time.monotonic() - self.begun:.0f} s · {self.last}"
        )

    def kept(self) -> str:
        if not self.run:
            return "Nothing was kept."
        return (
            f"Kept: the trajectory of run {self.run} (`rlm-mcp runs show {self.run}`) and every "
            "answer that was paid for; the same question goes on from there."
        )


class Plain(Figures):
    """A line an event that matters, for logs and pipes."""

    def event(self, event: Event) -> None:
        super().event(event)
        if event.type in ("turn", "child"):
            click.echo(printable(self.line()), err=True)


class Live(Figures):
    """One line on a terminal that is written over."""

    def __init__(self, status: Any) -> None:
        super().__init__()
        self._status = status

    def event(self, event: Event) -> None:
        super().event(event)
        self._status.update(printable(self.line()))


@contextlib.contextmanager
def watching(silent: bool) -> Iterator[View]:
    """Give a view that fits where stderr goes."""
    if silent:
        yield Figures()
    elif not stderr_is_terminal():
        yield Plain()
    else:
        # rich costs 60 ms, and only a person sees it.
        from rich.console import Console

        console = Console(file=sys.stderr, highlight=False, markup=False)
        with console.status("opening") as status:
            yield Live(status)


def _first_line(code: object) -> str:
    text = str(code or "").strip().partition("\n")[0]
    return text if len(text) <= 60 else f"{text[:59]}…"
