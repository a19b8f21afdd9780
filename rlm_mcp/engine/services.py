"""What all runs of one process share."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp import models
from rlm_mcp.errors import Denied

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.engine.calls import ModelCalls
    from rlm_mcp.engine.handles import Handles
    from rlm_mcp.engine.ref_reader import ContextCatalog, TextFactory
    from rlm_mcp.engine.repl import Repl
    from rlm_mcp.engine.trajectory import Listener
    from rlm_mcp.models import Model

REPLS_PER_DEPTH = 16
"""Runs of one depth that may have an environment at a time. A run waits only for deeper ones, so
a bound for each depth can never make runs wait for each other in a circle."""

LENT_PREFIXES = ("bridge:", "sampling:")
"""Models whose calls somebody else pays, at a price that nobody says."""


@dataclass
class Services:
    """The parts of a workspace that runs, cells and tools work with."""

    settings: Settings
    contexts: ContextCatalog
    open_texts: TextFactory
    calls: ModelCalls
    handles: Handles
    tools: Mapping[str, str]
    prompts: Mapping[str, str]
    state_folder: Path
    loop: asyncio.AbstractEventLoop
    listeners: tuple[Listener, ...] = ()
    loaded_models: dict[str, Model] = field(default_factory=dict)
    choose_model: Callable[[str, Settings], Model] = models.choose_model
    depth_slots: defaultdict[int, asyncio.Semaphore] = field(
        default_factory=lambda: defaultdict(lambda: asyncio.Semaphore(REPLS_PER_DEPTH))
    )

    closing: set[asyncio.Task[None]] = field(default_factory=set)
    """Environments that are being closed: nobody waits for them but the workspace's end."""

    def close_later(self, environment: Repl) -> None:
        """Close an environment that is no longer used, without making anyone wait."""
        task = asyncio.ensure_future(environment.close())
        self.closing.add(task)
        task.add_done_callback(self.closing.discard)

    def get_model(self, spec: str) -> Model:
        """Return the model that a spec names; empty: the default. Raises BadRequest."""
        if spec not in self.loaded_models:
            self.loaded_models[spec] = self.choose_model(spec, self.settings)
        return self.loaded_models[spec]

    def permitted_model(self, spec: str) -> Model:
        """Return a model that somebody else than the user names: an agent, a client over HTTP.

        Only configured models, and others whose price is known. Raises Denied or BadRequest.
        """
        spec = spec.strip()
        if spec in (self.settings.model, self.settings.sub_model):
            return self.get_model(spec)
        if "@" in spec or spec.partition(":")[0] in ("fake", "openai"):
            raise Denied(
                f"The model {spec!r} names an address or a file; only the user's own configuration "
                "can do that (model, sub_model)."
            )
        if spec.startswith(LENT_PREFIXES):
            raise Denied(
                f"{spec!r} is lent by somebody else at a price that is not known, so no budget in "
                "USD would hold; only the user's own configuration can name it (model, sub_model)."
            )
        model = self.get_model(spec)
        if model.price is None and spec.startswith(("anthropic:", "claude-cli:")):
            raise Denied(
                f"The price of {spec!r} is not known, so no budget in USD would hold; the user can "
                "give one in prices.toml, or set the model in their own configuration."
            )
        return model

    def model_pair(self, root: str, sub: str) -> tuple[Model, Model]:
        """Return root model and sub-model for these specs (empty: as set)."""
        first = self.get_model(root or self.settings.model)
        second = sub or (self.settings.sub_model if not root else "")
        return first, self.get_model(second) if second else first
