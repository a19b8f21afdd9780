"""Arguments of host functions: JSON values that hostile code chose, checked by exact type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rlm_mcp.encodings import without_surrogates
from rlm_mcp.engine.route import Mode
from rlm_mcp.engine.route import check_mode as mode
from rlm_mcp.errors import BadRequest

__all__ = ["Arguments", "Mode", "mode"]

MAX_COUNT = 100_000
"""The largest count, and the most texts, that one call may name."""


class Arguments:
    """The arguments of one call. Every reader raises BadRequest with a sentence."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def get_text(self, name: str, default: str | None = None) -> str:
        """Return a string; None stands for the default."""
        value = self._values.get(name)
        if value is None and default is not None:
            return default
        if type(value) is not str:
            raise _wrong_type(name, "a string", value)
        return value

    def get_texts(self, name: str) -> list[str]:
        """Return a list of strings; nothing is an empty list."""
        return self.optional_texts(name) or []

    def optional_texts(self, name: str) -> list[str] | None:
        """Return a list of strings, or None."""
        value = self._values.get(name)
        if value is None:
            return None
        if type(value) is not list or any(type(item) is not str for item in value):
            raise _wrong_type(name, "a list of strings", value)
        if len(value) > MAX_COUNT:
            raise BadRequest(
                f"{name} has {len(value):,} items; at most {MAX_COUNT:,} fit one call."
            )
        return [without_surrogates(item) for item in value]

    def get_count(self, name: str, default: int) -> int:
        """Return a whole number from 0 (a limit: from 1)."""
        value = self._values.get(name, default)
        if type(value) is not int:
            raise _wrong_type(name, "a whole number", value)
        least = 0 if name in ("before", "after") else 1
        if not least <= value <= MAX_COUNT:
            raise BadRequest(f"{name} is from {least} to {MAX_COUNT:,}, got {value}.")
        return value

    def get_number(self, name: str, default: float) -> float:
        """Return a number from 0."""
        found = self.optional_number(name)
        return default if found is None else found

    def optional_number(self, name: str) -> float | None:
        """Return a number from 0, or None."""
        value = self._values.get(name)
        if value is None:
            return None
        if type(value) not in (int, float) or not (0 <= value < math.inf):
            raise _wrong_type(name, "a number from 0", value)
        return float(value)

    def get_flag(self, name: str) -> bool:
        """Return true or false."""
        value = self._values.get(name, False)
        if type(value) is not bool:
            raise _wrong_type(name, "True or False", value)
        return value

    def get_list(self, name: str) -> list[Any]:
        """Return a list of JSON values."""
        value = self._values.get(name) or []
        if type(value) is not list:
            raise _wrong_type(name, "a list", value)
        return value

    def get_mapping(self, name: str) -> dict[str, Any]:
        """Return a mapping from names to JSON values."""
        value = self._values.get(name) or {}
        if type(value) is not dict or any(type(key) is not str for key in value):
            raise _wrong_type(name, "a mapping", value)
        return value


def _wrong_type(name: str, wanted: str, value: Any) -> BadRequest:
    got = "nothing" if value is None else f"{type(value).__name__} {str(value)[:60]!r}"
    return BadRequest(f"{name} wants {wanted}, got {got}.")
