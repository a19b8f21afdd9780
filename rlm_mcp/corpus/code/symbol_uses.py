"""What questions about code answer with: definitions, and lines that use a name."""

from __future__ import annotations

from dataclasses import dataclass

from rlm_mcp.corpus.code.callers import NAME
from rlm_mcp.corpus.code.language import is_build_output, is_doc_path, is_test_path


@dataclass(frozen=True, slots=True)
class SymbolDefinition:
    """A definition; `text` is its first line."""

    ref: str
    name: str
    kind: str
    owner: str
    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class SymbolUse:
    """A line that uses a name: kind is call, base, type, import or mention."""

    ref: str
    kind: str
    path: str
    line: int
    inside: str
    """The definition that the line stands in, as Class.method."""
    text: str
    basis: str = ""
    """For Owner.name, how it is known that the owner's is meant: class, variable, override, module
    (callers.py), or name: the name fits and nothing else is known."""


@dataclass(frozen=True, slots=True)
class OutgoingCall:
    """A call that a definition makes; `text` is the line, `name` what is called."""

    ref: str
    name: str
    path: str
    line: int
    inside: str
    """The definition that the call stands in, as Class.method."""
    text: str
    target: str
    """The ref of the definition that is called; empty where it is not known, or not of here."""


@dataclass(frozen=True, slots=True)
class Subclass:
    """A class that inherits from another or implements it; `ref` is all of it."""

    ref: str
    name: str
    """As Outer.Inner where it stands inside of something."""
    kind: str
    path: str
    line: int
    text: str
    """The line that names it."""
    base: str
    """What it names as its base: the class that was asked for, or a subclass of it."""
    depth: int
    """Steps from the class that was asked for: 1 names it itself."""
    basis: str
    """How it is known that this base is meant: class (defined beside it, or nowhere else), module
    (imported from there), or name: several classes have that name."""


def path_order(
    item: SymbolDefinition | SymbolUse | OutgoingCall | Subclass,
) -> tuple[bool, bool, bool, str, int]:
    """Sort by path: what people wrote first, tests, prose and what was built behind."""
    path = item.path
    return is_build_output(path), is_test_path(path), is_doc_path(path), path, item.line


def basis_order(use: SymbolUse) -> tuple[bool, tuple[bool, bool, bool, str, int]]:
    """Sort what is known by its name only behind the others."""
    return use.basis == NAME, path_order(use)
