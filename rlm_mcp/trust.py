"""Which folders of tools and prompts are read, and which of their files may be used.

Ours and the user's own (config folder) are always read. A project's .rlm/tools and .rlm/prompts
are not, until `rlm-mcp trust`: a docstring can carry an injection. Trust is given to contents,
not to names: a file that changed by one byte is off again. What is read is what was compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rlm_mcp.config import config_dir
from rlm_mcp.errors import Unavailable
from rlm_mcp.files import read_limited, replace_file

ContentKind = Literal["tools", "prompts"]
ContentOrigin = Literal["rlm-mcp", "user", "project"]

SUFFIX: Mapping[ContentKind, str] = {"tools": ".py", "prompts": ".md"}
MAX_FILE_BYTES = 200_000
"""Bytes that one tool or prompt file may have."""


@dataclass(frozen=True, slots=True)
class ContentFolder:
    """A folder of tools or prompts. `pins` (file name -> SHA-256) limits it to those contents."""

    path: Path
    origin: ContentOrigin = "user"
    pins: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ContentFile:
    """One file that may be used, as it was read."""

    name: str
    """The file's name without its suffix."""
    text: str
    path: Path
    origin: ContentOrigin


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """A file of a project's .rlm folder, and whether it is in use."""

    file: str
    """For instance tools/summarise.py."""
    sha256: str
    state: Literal["trusted", "new", "changed"]
    text: str


def content_folders(kind: ContentKind, project: Path | None = None) -> list[ContentFolder]:
    """Return the folders of `kind`, weakest first: ours, the user's, the project's."""
    found = [
        ContentFolder(builtin_folder(kind), "rlm-mcp"),
        ContentFolder(config_dir() / kind, "user"),
    ]
    if project is not None:
        pins = {
            file.removeprefix(f"{kind}/"): sha256
            for file, sha256 in _read_pins().get(_project_key(project), {}).items()
            if file.startswith(f"{kind}/")
        }
        found.append(ContentFolder(project / ".rlm" / kind, "project", pins))
    return found


def builtin_folder(kind: ContentKind) -> Path:
    """Return the folder that came with us: in the package, or beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / kind
    return inside if inside.is_dir() else package.parent / kind


def usable_files(folder: ContentFolder, kind: ContentKind) -> tuple[list[ContentFile], list[str]]:
    """Return the usable files of a folder in order of name, and a sentence on each other one."""
    found: list[ContentFile] = []
    problems: list[str] = []
    for path in _list_files(folder.path, SUFFIX[kind]):
        data = _read_limited(path)
        if data is None:
            problems.append(
                f"{path} was left out: not a plain file of at most {MAX_FILE_BYTES:,} bytes."
            )
            continue
        if folder.pins is not None and folder.pins.get(path.name) != _sha256_hex(data):
            problems.append(f"{path} is off until you allow it with `rlm-mcp trust`.")
            continue
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            problems.append(f"{path} was left out: it is not UTF-8.")
            continue
        found.append(ContentFile(path.stem, text, path, folder.origin))
    return found, problems


def review_project(project: Path) -> list[ProjectFile]:
    """Return every file that a project offers, with its state now."""
    pins = _read_pins().get(_project_key(project), {})
    entries = []
    for kind, suffix in SUFFIX.items():
        for path in _list_files(project / ".rlm" / kind, suffix):
            data = _read_limited(path)
            if data is None:
                continue
            file, sha256 = f"{kind}/{path.name}", _sha256_hex(data)
            known = pins.get(file)
            state: Literal["trusted", "new", "changed"] = (
                "trusted" if known == sha256 else "new" if known is None else "changed"
            )
            entries.append(ProjectFile(file, sha256, state, data.decode("utf-8", "replace")))
    return entries


def trust_files(project: Path, entries: Iterable[ProjectFile]) -> None:
    """Trust exactly these contents, and nothing else, of a project."""
    pins = _read_pins()
    pins[_project_key(project)] = {entry.file: entry.sha256 for entry in entries}
    _write_pins(pins)


def revoke_trust(project: Path) -> bool:
    """Take a project's trust away; say whether it had any."""
    pins = _read_pins()
    had = bool(pins.pop(_project_key(project), None))
    if had:
        _write_pins(pins)
    return had


def _list_files(folder: Path, suffix: str) -> Sequence[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return ()
    return [
        path for path in paths if path.suffix == suffix and not path.name.startswith((".", "_"))
    ]


def _read_limited(path: Path) -> bytes | None:
    try:
        return read_limited(path, MAX_FILE_BYTES)
    except OSError:
        return None


def _sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _project_key(project: Path) -> str:
    return str(project.resolve())


def _pins_path() -> Path:
    return config_dir() / "trusted.json"


def _read_pins() -> dict[str, dict[str, str]]:
    try:
        values = json.loads(_pins_path().read_text("utf-8"))
        return {
            str(project): {str(file): str(sha256) for file, sha256 in files.items()}
            for project, files in values["projects"].items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise Unavailable(
            f"Cannot read what you trust in {_pins_path()} ({type(error).__name__}); "
            "mend the file or delete it and run `rlm-mcp trust` again."
        ) from error


def _write_pins(pins: Mapping[str, Mapping[str, str]]) -> None:
    store = _pins_path()
    store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = json.dumps({"version": 1, "projects": pins}, indent=2, sort_keys=True) + "\n"
    replace_file(store, text.encode("utf-8"))
