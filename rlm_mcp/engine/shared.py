"""What all runs of one process share."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rlm_mcp import models
from rlm_mcp.config import Settings
from rlm_mcp.engine.calls import Calls
from rlm_mcp.engine.environment import Environment
from rlm_mcp.engine.handles import Handles
from rlm_mcp.engine.reader import Contexts, Texts
from rlm_mcp.engine.trajectory import Listener
from rlm_mcp.errors import Denied
from rlm_mcp.models.model import Model

ENVIRONMENTS_PER_LEVEL = 16
"""Runs of one depth that may have an environment at a time. A run waits only for deeper ones, so
a bound for each depth can never make runs wait for each other in a circle."""

LENT = ("bridge:", "sampling:")
"""Models whose calls somebody else pays, at a price that nobody says."""


@dataclass
class Shared:
    """The parts of a workspace that runs, cells and tools work with."""

    settings: Settings
    contexts: Contexts
    texts: Texts
    calls: Calls
    handles: Handles
    tools: Mapping[str, str]
    prompts: Mapping[str, str]
    state: Path
    loop: asyncio.AbstractEventLoop
    listeners: tuple[Listener, ...] = ()
    chosen: dict[str, Model] = field(default_factory=dict)
    choose: Callable[[str, Settings], Model] = models.choose
    levels: defaultdict[int, asyncio.Semaphore] = field(
        default_factory=lambda: defaultdict(lambda: asyncio.Semaphore(ENVIRONMENTS_PER_LEVEL))
    )

    closing: set[asyncio.Task[None]] = field(default_factory=set)
    """Environments that are being closed: nobody waits for them but the workspace's end."""

    def let_go(self, environment: Environment) -> None:
        """Close an environment that is no longer used, without making anyone wait."""
        task = asyncio.ensure_future(environment.close())
        self.closing.add(task)
        task.add_done_callback(self.closing.discard)

    def model(self, spec: str) -> Model:
        """Return the model that a spec names; empty: the default. Raises BadRequest."""
        if spec not in self.chosen:
            self.chosen[spec] = self.choose(spec, self.settings)
        return self.chosen[spec]

    def asked_for(self, spec: str) -> Model:
        """Return a model that somebody else than the user names: an agent, a client over HTTP.

        Only configured models, and others whose price is known. Raises Denied or BadRequest.
        """
        spec = spec.strip()
        if spec in (self.settings.model, self.settings.sub_model):
            return self.model(spec)
        if "@" in spec or spec.partition(":")[0] in ("fake", "openai"):
            raise Denied(
                f"The model {spec!r} names an address or a file; only the user's own configuration "
                "can do that (model, sub_model)."
            )
        if spec.startswith(LENT):
            raise Denied(
                f"{spec!r} is lent by somebody else at a price that is not known, so no budget in "
                "USD would hold; only the user's own configuration can name it (model, sub_model)."
            )
        model = self.model(spec)
        if model.price is None and spec.startswith(("anthropic:", "claude-cli:")):
            raise Denied(
                f"The price of {spec!r} is not known, so no budget in USD would hold; the user can "
                "give one in prices.toml, or set the model in their own configuration."
            )
        return model

    def pair(self, root: str, sub: str) -> tuple[Model, Model]:
        """Return root model and sub-model for these specs (empty: as set)."""
        first = self.model(root or self.settings.model)
        second = sub or (self.settings.sub_model if not root else "")
        return first, self.model(second) if second else first
