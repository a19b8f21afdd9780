"""Minds by name: which script answers which model."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence

from tests.sim import oracles, policies
from tests.sim.call import Call, Mind, Refused, Say

MODELS = [
    {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
    for name in ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "sim-leaf")
]


def of(mind: Mind | Sequence[Say | str] | None) -> Mind:
    """Return a mind: as given, a list used in order, or by the model's name."""
    if mind is None:
        return by_model
    return mind if callable(mind) else in_order(mind)


def in_order(replies: Sequence[Say | str]) -> Mind:
    """Return a mind that says `replies` in the order of the calls, then refuses."""
    left, lock = iter(list(replies)), threading.Lock()

    def mind(call: Call) -> Say | str:
        with lock:
            for reply in itertools.islice(left, 1):
                return reply
        raise Refused(f"the script has no reply for call {call.number}", 400)

    return mind


def by_model(call: Call) -> Say | str:
    """Answer as the model's name says: sim-root:<policy>, sim-leaf:<oracle>, else an oracle."""
    kind, _, name = call.model.partition(":")
    if kind == "sim-root":
        return policies.named(name, call)
    return oracles.named(name if kind == "sim-leaf" else "", call)
