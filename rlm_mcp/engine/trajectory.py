"""The record of a run: `runs/<id>.jsonl`, one event a line, written as it happens.

Events of child runs stand in the file of the run that started them, under ids of their own
(`<id>.1`, `<id>.1.2`). Every text is redacted before it is written. Prompts of sub-calls are kept
as digest, length and a preview; replies, cells and what the root was shown are kept whole, which
is what a replay needs. docs/trajectory.md describes every field.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlm_mcp import redact
from rlm_mcp.errors import BadRequest, did_you_mean

log = logging.getLogger("rlm_mcp")

TRAJECTORY_VERSION = 1
PREVIEW_CHARS = 120
"""Characters of a text that is kept by its digest."""
MAX_WHOLE_CHARS = 20_000
"""Characters up to which an answer is kept whole."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line. `run` is the id of the run or child that it belongs to; `t` is unix time."""

    run: str
    n: int
    t: float
    type: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_json_line(self) -> str:
        """Return the event as one line of JSON."""
        head = {"v": TRAJECTORY_VERSION, "run": self.run, "n": self.n, "t": round(self.t, 4)}
        return json.dumps(
            {**head, "type": self.type, **self.data}, ensure_ascii=False, separators=(",", ":")
        )


Listener = Callable[[Event], None]


def new_run_id() -> str:
    """Return an id that sorts by time: 1121-095103-3f9a2c."""
    return f"{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def text_digest(text: str) -> dict[str, Any]:
    """Return a text by digest, length and preview."""
    data = text.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(data, digest_size=8).hexdigest()
    return {"hash": digest, "chars": len(text), "preview": text[:PREVIEW_CHARS]}


class Recorder:
    """Writes the events of one run and its children; without a folder they are only told.

    Lines are redacted on their way to the file and to the listeners.
    """

    def __init__(self, folder: Path | None, run: str, listeners: tuple[Listener, ...] = ()) -> None:
        self.run = run
        self._path = None if folder is None else folder / f"{run}.jsonl"
        self._listeners = listeners
        self._fd = -1
        self._n = 0

    def write_event(self, type: str, run: str = "", **data: Any) -> Event:
        """Add one event; it is in the file (not only in a buffer) when this returns."""
        event = Event(run or self.run, self._n, time.time(), type, _redact_values(data))
        self._n += 1
        try:
            self._append_line(event.to_json_line() + "\n")
        except OSError as error:
            # A run is worth more than its record; what is missing is said.
            log.warning("The record of run %s ends at event %d: %s.", self.run, event.n, error)
            self.close()
        for listener in self._listeners:
            listener(event)
        return event

    def close(self) -> None:
        """Close the file for good; what comes later is only told."""
        self._path, fd, self._fd = None, self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _append_line(self, line: str) -> None:
        if self._fd < 0 and self._path is not None:
            self._fd = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        data = line.encode("utf-8", "replace")
        while data and self._fd >= 0:
            data = data[os.write(self._fd, data) :]


def _redact_values(value: Any) -> Any:
    if isinstance(value, str):
        return redact.redact(value)
    if isinstance(value, Mapping):
        return {key: _redact_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redact_values(item) for item in value]
    return value


def read_events(path: Path) -> Iterator[Event]:
    """Yield the events of a file. A torn last line (a killed run) is left out.

    Raises BadRequest for a file that is no trajectory of a version known here.
    """
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            try:
                values = json.loads(line)
                head = {name: values.pop(name) for name in ("v", "run", "n", "t", "type")}
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                if not line.endswith("\n"):
                    return
                raise BadRequest(f"{path.name}, line {number}: not an event.") from error
            if head.pop("v") != TRAJECTORY_VERSION:
                raise BadRequest(f"{path.name}, line {number}: of a version not known here.")
            yield Event(**head, data=values)


def find_trajectory(folder: Path, run: str) -> Path:
    """Return the file of a run (or of the run that a child belongs to); a unique start is enough.

    Raises BadRequest with a did-you-mean.
    """
    wanted = run.strip().partition(".")[0]
    names = sorted(path.stem for path in folder.glob("*.jsonl"))
    close = [name for name in names if wanted and name.startswith(wanted)]
    if wanted in names:
        return folder / f"{wanted}.jsonl"
    if len(close) != 1:
        hint = did_you_mean(wanted, names) if not close else f" {len(close):,} runs begin so."
        raise BadRequest(f"There is no run {run!r}.{hint} `rlm-mcp runs list` names them.")
    return folder / f"{close[0]}.jsonl"
