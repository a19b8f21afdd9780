"""One warm zygote for the tests of this room; it ends with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rlm_mcp.sandbox import Sandbox, SandboxLimits

Make = Callable[..., Sandbox]


@pytest.fixture
def make() -> Iterator[Make]:
    """Return a maker of environments that are closed after the test."""
    made: list[Sandbox] = []

    def maker(**options: Any) -> Sandbox:
        options.setdefault("limits", SandboxLimits(seconds=10))
        made.append(Sandbox(**options))
        return made[-1]

    yield maker
    for sandbox in made:
        sandbox.close()
