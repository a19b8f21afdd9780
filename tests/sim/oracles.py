"""Leaf models that know nothing but the text they were sent."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.sim.call import Call, Refused, Say

_NEEDLE = re.compile(r"(?:magic|secret) (?:number|word) (?:for|of) (\S+) is:? (\S+?)[.\s]", re.I)
_LABEL = re.compile(r"\|\| Label: ([\w ]+)")


def named(name: str, call: Call) -> Say | str:
    """Answer a call by an oracle's name; without one, by the first that has an answer."""
    if name:
        oracle = ORACLES.get(name)
        if oracle is None:
            raise Refused(f"model: sim-leaf:{name}", 404, "not_found_error")
        return oracle(call)
    return needle(call) or echo(call)


def needle(call: Call) -> str:
    """Return what the text says about the thing asked for, or an empty string."""
    found = dict(_NEEDLE.findall(call.last + "\n"))
    asked = [key for key in found if len(re.findall(re.escape(key), call.last)) > 1]
    return "; ".join(f"{key}: {found[key]}" for key in asked)


def count(call: Call) -> str:
    """Return how often the quoted word of the question stands in the text after it."""
    word = re.search(r"[\"'`]([^\"'`\n]+)[\"'`]", call.last)
    if word is None:
        return "0"
    return str(call.last.count(word[1]) - 1)


def labels(call: Call) -> str:
    """Return the labels in the text with how many lines carry each."""
    found = _LABEL.findall(call.last)
    return ", ".join(f"{label.strip()}: {found.count(label)}" for label in sorted(set(found)))


def lines(call: Call) -> str:
    """Return how many lines the text has."""
    return str(len(call.last.splitlines()))


def echo(call: Call) -> str:
    """Return the beginning of the text."""
    return "I was sent: " + call.last.strip()[:200]


ORACLES: dict[str, Callable[[Call], str]] = {
    "needle": needle,
    "count": count,
    "labels": labels,
    "lines": lines,
    "echo": echo,
}
