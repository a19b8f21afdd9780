"""Which identifiers a cell may use, and which attribute names are never plain data.

One table for the compile-time checks and for the run-time guards, so that they cannot disagree.
"""

from __future__ import annotations

import re

from RestrictedPython.transformer import INSPECT_ATTRIBUTES

HIDDEN_NAMES = frozenset(INSPECT_ATTRIBUTES) | frozenset(
    {
        "tb_lasti", "tb_lineno", "f_lasti", "f_lineno", "f_trace_lines", "f_trace_opcodes",
        "gi_running", "gi_suspended", "cr_running", "cr_suspended", "ag_running", "ag_suspended",
        "co_consts", "co_names", "co_varnames", "co_cellvars", "co_freevars", "co_filename",
        "co_positions", "co_lines", "func_globals", "func_code", "im_func", "im_self",
    }
)  # fmt: skip
"""Attributes of frames, code, generators: never names of anything in a cell."""

GUARDED_NAMES = frozenset({"format", "format_map", "join", "mro", "register", "obj"})
"""Attributes whose value depends on who asks; reached through the guard alone."""

SPECIAL_METHODS = frozenset(
    f"__{name}__"
    for name in [
        "init",
        "new",
        "post_init",
        "repr",
        "str",
        "bytes",
        "format",
        "hash",
        "bool",
        "int",
        "float",
        "index",
        "complex",
        "round",
        "trunc",
        "floor",
        "ceil",
        "len",
        "length_hint",
        "iter",
        "next",
        "reversed",
        "contains",
        "getitem",
        "setitem",
        "delitem",
        "missing",
        "call",
        "enter",
        "exit",
        "aenter",
        "aexit",
        "await",
        "aiter",
        "anext",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "neg",
        "pos",
        "abs",
        "invert",
        "add",
        "sub",
        "mul",
        "matmul",
        "truediv",
        "floordiv",
        "mod",
        "divmod",
        "pow",
        "lshift",
        "rshift",
        "and",
        "or",
        "xor",
        "radd",
        "rsub",
        "rmul",
        "rmatmul",
        "rtruediv",
        "rfloordiv",
        "rmod",
        "rdivmod",
        "rpow",
        "rlshift",
        "rrshift",
        "rand",
        "ror",
        "rxor",
        "iadd",
        "isub",
        "imul",
        "imatmul",
        "itruediv",
        "ifloordiv",
        "imod",
        "ipow",
        "ilshift",
        "irshift",
        "iand",
        "ior",
        "ixor",
        "getattr",
        "setattr",
        "delattr",
        "dir",
        "init_subclass",
        "class_getitem",
        "set_name",
        "get",
        "set",
        "delete",
        "copy",
        "deepcopy",
    ]
)
"""Special methods that a class of a cell may define."""

SUNDER_NAMES = frozenset(
    {"_missing_", "_ignore_", "_generate_next_value_", "_order_", "_value_", "_name_"}
)
"""What an Enum reads under single underscores."""

CLASS_NAMES = SPECIAL_METHODS | SUNDER_NAMES | {"__slots__", "__match_args__", "__doc__"}
"""Special names that the body of a class may bind or read."""

READABLE_METHODS = frozenset(
    f"__{name}__"
    for name in [
        "init",
        "repr",
        "str",
        "hash",
        "bool",
        "len",
        "iter",
        "next",
        "contains",
        "getitem",
        "call",
        "enter",
        "exit",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "add",
        "sub",
        "mul",
        "truediv",
        "mod",
        "floordiv",
        "post_init",
        "missing",
        "format",
        "reversed",
        "aenter",
        "aexit",
        "await",
    ]
)
"""Special methods that may be read as attributes (`super().__init__`, `d.__getitem__`)."""

SUPER_METHODS = READABLE_METHODS | {
    "__new__",
    "__setitem__",
    "__delitem__",
    "__init_subclass__",
    "__setattr__",
}
"""Those that may be read from `super()` besides; never the ones that take attribute names."""

LABEL_NAMES = frozenset({"__name__", "__qualname__", "__doc__", "__module__"})
"""Special attributes that are answered with a string."""

TUPLE_NAMES = frozenset({"_asdict", "_replace", "_fields", "_make", "_field_defaults"})
"""What a namedtuple offers under an underscore."""

_ONLY_UNDERSCORES = re.compile(r"_+\Z")
_TEMPORARY = re.compile(r"_tmp[0-9]*\Z")


def name_fault(name: str) -> str | None:
    """Say why a cell may not bind or read `name` as a variable, or None."""
    if name in HIDDEN_NAMES:
        return f'"{name}" is a reserved name'
    if not name.startswith("_") or _ONLY_UNDERSCORES.match(name):
        return None
    if name.startswith("__"):
        return f'the special name "{name}" is not available here'
    if name.endswith("_") or _TEMPORARY.match(name):
        return f'"{name}" is a reserved name; rename it'
    return None


def attribute_fault(name: str) -> str | None:
    """Say why `name` can never be the name of an attribute, or None."""
    if name in HIDDEN_NAMES:
        return f'the attribute "{name}" is not available here'
    if name.startswith("__") and not _ONLY_UNDERSCORES.match(name):
        return f'the special attribute "{name}" is not available here'
    if name in SUNDER_NAMES:
        return None
    if name.startswith("_") and name.endswith("_") and not _ONLY_UNDERSCORES.match(name):
        return f'"{name}" is a reserved name; rename it'
    return None


def mangled_name(name: str, class_name: str | None) -> str:
    """Return the name that Python gives a private attribute (`__x` in class C is `_C__x`)."""
    private = name.startswith("__") and not name.endswith("__")
    stem = (class_name or "").lstrip("_")
    return f"_{stem}{name}" if private and stem else name
