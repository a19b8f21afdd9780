"""A facade: the named exports of a module, and nothing that leads to the module itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from rlm_mcp.errors import did_you_mean
from rlm_mcp.sandbox import guards


class Facade:
    """Shows the exports of one module; raw `getattr` sees no more than a guard would."""

    __slots__ = ("_exports", "_label")
    shown_as = guards.ClassLabel("module")

    def __init__(self, label: str, exports: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_label", label)
        object.__setattr__(self, "_exports", dict(exports))

    def __getattr__(self, name: str) -> Any:
        exports = object.__getattribute__(self, "_exports")
        if name in exports:
            return exports[name]
        label = object.__getattribute__(self, "_label")
        raise AttributeError(
            f"module {label!r} has no attribute {name!r} here."
            f"{_ADVICE.get(label) or did_you_mean(name, exports)}"
        )

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("modules are read-only here")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<module {object.__getattribute__(self, '_label')!r}>"

    def __dir__(self) -> list[str]:
        return sorted(object.__getattribute__(self, "_exports"))


_facades: dict[str, Facade] = {}


def provide_module(name: str, exports: Mapping[str, Any]) -> Facade:
    """Make a module importable; `a.b` becomes an export of `a` too."""
    facade = Facade(name, exports)
    _facades[name] = facade
    parent, _, child = name.rpartition(".")
    if parent:
        if parent not in _facades:
            provide_module(parent, {})
        object.__getattribute__(_facades[parent], "_exports")[child] = facade
    return facade


def known_modules() -> list[str]:
    """Return the names of all modules that can be imported."""
    return sorted(_facades)


def find_facade(name: str) -> Facade:
    """Return a facade, or raise ImportError with advice."""
    if name in _facades:
        return _facades[name]
    advice = _ADVICE.get(name.partition(".")[0], "")
    raise ImportError(
        f"module {name!r} is not available here.{advice or did_you_mean(name, _facades)}"
    )


def exports_of(facade: Facade) -> dict[str, Any]:
    """Return a copy of what a facade exports."""
    return dict(object.__getattribute__(facade, "_exports"))


_FILES = " Files are read through the context variables: peek(ref), grep(pattern), repo, logs."
_PROCESS = " Cells start no processes and reach no network."
_ADVICE = {
    "os": _FILES,
    "pathlib": _FILES,
    "glob": _FILES,
    "shutil": _FILES,
    "tempfile": _FILES,
    "subprocess": _PROCESS,
    "socket": _PROCESS,
    "requests": _PROCESS,
    "httpx": _PROCESS,
    "urllib3": _PROCESS,
    "threading": " Use concurrent.futures or llm_query_batched for many calls at once.",
    "multiprocessing": " Use concurrent.futures or llm_query_batched for many calls at once.",
    "numpy": " Use statistics, math, collections and itertools.",
    "pandas": " Use csv, collections and statistics.",
    "pickle": " Use json.",
}


guards.keep_internal(Facade)
