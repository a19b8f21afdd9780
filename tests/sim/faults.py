"""Failures to inject: which, and into which calls."""

from __future__ import annotations

import json
import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

FaultKind = Literal[
    "rate",  # 429, with retry-after where given
    "overloaded",  # 529
    "error",  # 500
    "auth",  # 401
    "stall",  # says nothing at all until the client leaves
    "stall_stream",  # begins a stream, or a JSON body, and falls silent
    "drip_stream",  # sends the rest of either a byte at a time
    "drop",  # closes before the reply
    "drop_stream",  # closes in the middle of a stream, or of a JSON body
    "error_stream",  # sends an error event in the middle of a stream
    "malformed",  # a body that is not JSON
    "misshapen",  # JSON that is not a message
    "body",  # 200, and `body` as it stands, under `content_type`
]

DRIP_S = 0.2
"""Time between two bytes of a dripping reply: shorter than any time-out of silence."""

STATUS = {"rate": 429, "overloaded": 529, "error": 500, "auth": 401}
TYPE = {
    "rate": "rate_limit_error",
    "overloaded": "overloaded_error",
    "error": "api_error",
    "auth": "authentication_error",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure for the calls numbered in `at`, or that say `said`, or for a share of all calls."""

    kind: FaultKind
    at: Collection[int] = ()
    share: float = 0.0
    retry_after_s: float | None = None
    retry_after: str = ""
    """The header as it stands, where it is no number of seconds."""
    said: str = ""
    body: Any = None
    """JSON, or bytes to send as they stand."""
    content_type: str = "application/json"


@dataclass
class Faults:
    """All failures of a server; the first that fits a call is taken."""

    faults: Collection[Fault] = ()
    seed: int = 0

    def of(self, number: int, body: Any = None) -> Fault | None:
        """Return the failure of a call, the same for the same seed, number and body."""
        for place, fault in enumerate(self.faults):
            if number in fault.at or (fault.said and fault.said in json.dumps(body)):
                return fault
            if (
                fault.share
                and random.Random(f"{self.seed}/{place}/{number}").random() < fault.share
            ):
                return fault
        return None
