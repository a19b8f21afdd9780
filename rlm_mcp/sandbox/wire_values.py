"""The values that cross the sandbox's public face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_VALUE_BYTES = 8 << 20
"""Bytes of plain values that are kept of one environment, to be given back after a kill."""
MAX_SNAPSHOT_BYTES = MAX_VALUE_BYTES + (4 << 20)
"""Bytes of a snapshot, definitions included."""


class HostFunctionError(Exception):
    """Raised by a host function: the cell sees a RuntimeError with this sentence."""


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one cell may use, and how much of its output is passed on."""

    seconds: float = 30.0
    """Wall-clock time of a cell; stands still while the host works for it."""
    memory_mb: int = 512
    """Private memory of the worker, above the mapped text of contexts."""
    output_chars: int = 20_000
    """Characters of what a cell printed, and of its last value, that are passed on."""
    wire_bytes: int = 1 << 20
    """Bytes that a cell may send in one answer: what it printed, its last value, a variable."""
    call_bytes: int = 32 << 20
    """Bytes of arguments in one call of a host function: a batch of prompts is large."""


LONG_ANSWER_NAME = "_answer_text"
"""The text variable that holds the content of an answer too large for a cell's reply."""


@dataclass(frozen=True, slots=True)
class AfterCell:
    """What there was after a cell that was asked to tell."""

    names: list[dict[str, Any]]
    """The variables that cells have bound: name, type, size, preview."""
    copied: bool
    """Whether `value` is the variable that was asked for; else there is none that fits here."""
    value: Any = None
    ready: bool | None = None
    """Of an answer that does not fit: whether it is ready; its content is the text `LONG`."""


@dataclass(frozen=True, slots=True)
class SandboxOutcome:
    """How a cell went. `error` is None only for one that ran to its end."""

    stdout: str
    """What it printed: head and tail of too much, with counts between them."""
    value_repr: str | None
    """Its last value, as `repr` shows it."""
    error: str | None
    """The lines that led to an error, and its text; or why the cell was stopped."""
    killed: bool
    """Whether its worker had to be replaced."""
    seconds: float
    lost: tuple[str, ...]
    """Variables that a replaced worker could not be given back."""
    value: Any = None
    """The last value as JSON types, or None where it is something else or too large."""
    shown: str | None = None
    """The last value as an agent should see it (its `shown`, else its `repr`)."""
    stdout_chars: int = 0
    """Characters that it printed in all."""
    interrupted: bool = False
    """Whether it was stopped in place; what it had set until then is kept."""
    after: AfterCell | None = None
    """What there was after it, where that was asked for and its worker lives."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A context variable for a sandbox."""

    kind: str
    describe: str
    source: tuple[int, Sequence[tuple[int, int]], int] | None
    """Descriptor, (offset, length) of each span, generation; None: it has no text."""
    methods: Mapping[str, str]
    """Name of each call -> its signature and a line of help."""


@dataclass(frozen=True, slots=True)
class BindingAnswer:
    """An answer of a host function that also binds a context variable where it was called."""

    value: Any
    name: str
    attachment: Attachment
