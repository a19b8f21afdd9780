"""What the server asks of a protocol: read a request, send a reply, say an error."""

from __future__ import annotations

from typing import Any, Protocol

from tests.sim.call import Call, Logged, Say, tokens
from tests.sim.faults import Fault
from tests.sim.http import Wire


class Dialect(Protocol):
    """One protocol."""

    def read(self, body: Any, number: int) -> Call: ...
    def error(self, kind: str, message: str) -> dict[str, Any]: ...
    async def send(
        self, wire: Wire, call: Call, say: Say, log: Logged, fault: Fault | None
    ) -> bool: ...


def truncate(say: Say, max_tokens: int) -> Say:
    """Return what fits into the output limit, cut as the service cuts."""
    if max_tokens and tokens(say.text) > max_tokens:
        cut = say.text.encode()[: 4 * max_tokens].decode("utf-8", "ignore")
        return Say(cut, (), "max_tokens", say.thinking, say.delay_s)
    return say
