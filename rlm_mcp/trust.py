"""Which folders of tools and prompts are read, and which of their files may be used.

Ours and the user's own (config folder) are always read. A project's .rlm/tools and .rlm/prompts
are not, until `rlm-mcp trust`: a docstring can carry an injection. Trust is given to contents,
not to names: a file that changed by one byte is off again. What is read is what was compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rlm_mcp.config import config_dir
from rlm_mcp.errors import Unavailable

Kind = Literal["tools", "prompts"]
Origin = Literal["rlm-mcp", "user", "project"]

SUFFIX: Mapping[Kind, str] = {"tools": ".py", "prompts": ".md"}
LARGEST = 200_000
"""Bytes that one tool or prompt file may have."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of tools or prompts. `pins` (file name -> SHA-256) limits it to those contents."""

    path: Path
    origin: Origin = "user"
    pins: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One file that may be used, as it was read."""

    name: str
    """The file's name without its suffix."""
    text: str
    path: Path
    origin: Origin


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a project's .rlm folder, and whether it is in use."""

    file: str
    """For instance tools/summarise.py."""
    sha256: str
    state: Literal["trusted", "new", "changed"]
    text: str


def folders(kind: Kind, project: Path | None = None) -> list[Folder]:
    """Return the folders of `kind`, weakest first: ours, the user's, the project's."""
    found = [Folder(builtin(kind), "rlm-mcp"), Folder(config_dir() / kind, "user")]
    if project is not None:
        pins = {
            file.removeprefix(f"{kind}/"): sha256
            for file, sha256 in _pins().get(_key(project), {}).items()
            if file.startswith(f"{kind}/")
        }
        found.append(Folder(project / ".rlm" / kind, "project", pins))
    return found


def builtin(kind: Kind) -> Path:
    """Return the folder that came with us: in the package, or beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / kind
    return inside if inside.is_dir() else package.parent / kind


def pages(folder: Folder, kind: Kind) -> tuple[list[Page], list[str]]:
    """Return the usable files of a folder in order of name, and a sentence on each other one."""
    found: list[Page] = []
    problems: list[str] = []
    for path in _files(folder.path, SUFFIX[kind]):
        data = _read(path)
        if data is None:
            problems.append(f"{path} was left out: not a plain file of at most {LARGEST:,} bytes.")
            continue
        if folder.pins is not None and folder.pins.get(path.name) != _digest(data):
            problems.append(f"{path} is off until you allow it with `rlm-mcp trust`.")
            continue
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            problems.append(f"{path} was left out: it is not UTF-8.")
            continue
        found.append(Page(path.stem, text, path, folder.origin))
    return found, problems


def review(project: Path) -> list[Entry]:
    """Return every file that a project offers, with its state now."""
    pins = _pins().get(_key(project), {})
    entries = []
    for kind, suffix in SUFFIX.items():
        for path in _files(project / ".rlm" / kind, suffix):
            data = _read(path)
            if data is None:
                continue
            file, sha256 = f"{kind}/{path.name}", _digest(data)
            known = pins.get(file)
            state: Literal["trusted", "new", "changed"] = (
                "trusted" if known == sha256 else "new" if known is None else "changed"
            )
            entries.append(Entry(file, sha256, state, data.decode("utf-8", "replace")))
    return entries


def allow(project: Path, entries: Iterable[Entry]) -> None:
    """Trust exactly these contents, and nothing else, of a project."""
    pins = _pins()
    pins[_key(project)] = {entry.file: entry.sha256 for entry in entries}
    _write(pins)


def forget(project: Path) -> bool:
    """Take a project's trust away; say whether it had any."""
    pins = _pins()
    had = bool(pins.pop(_key(project), None))
    if had:
        _write(pins)
    return had


def _files(folder: Path, suffix: str) -> Sequence[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return ()
    return [
        path for path in paths if path.suffix == suffix and not path.name.startswith((".", "_"))
    ]


def _read(path: Path) -> bytes | None:
    try:
        # O_NONBLOCK: opening a pipe that a project planted must not hang the server.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return None
    with os.fdopen(handle, "rb") as file:
        data = file.read(LARGEST + 1)
    return data if len(data) <= LARGEST else None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _key(project: Path) -> str:
    return str(project.resolve())


def _store() -> Path:
    return config_dir() / "trusted.json"


def _pins() -> dict[str, dict[str, str]]:
    try:
        values = json.loads(_store().read_text("utf-8"))
        return {
            str(project): {str(file): str(sha256) for file, sha256 in files.items()}
            for project, files in values["projects"].items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise Unavailable(
            f"Cannot read what you trust in {_store()} ({type(error).__name__}); "
            "mend the file or delete it and run `rlm-mcp trust` again."
        ) from error


def _write(pins: Mapping[str, Mapping[str, str]]) -> None:
    store = _store()
    store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = json.dumps({"version": 1, "projects": pins}, indent=2, sort_keys=True) + "\n"
    with tempfile.NamedTemporaryFile("w", dir=store.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    os.replace(file.name, store)
