"""The door of a room whose modules are heavy: each name is imported when it is first used.

A door names its modules twice: for the type checker in a block under `TYPE_CHECKING`, and for
`load_lazily`. tests/house/test_rooms.py holds that both say the same.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def load_lazily(room: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a room; `homes` maps its names to its modules."""

    def load_name(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{room}.{homes[name]}"), name)

    return load_name
