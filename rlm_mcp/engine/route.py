"""Choose how a question is answered, and say why.

    direct        one call that holds the whole scope: for what fits comfortably
    environment   a root model with code and no sub-calls: for a needle in a haystack
    recursive     the same with sub-calls and child runs: for what must be read, not searched

The choice is by size and by the words of the question (what must be counted goes to code at any
size); a run that ends without an answer in a
cheaper mode is tried once more in a dearer one, within the same budget.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from rlm_mcp.errors import BadRequest, did_you_mean

Mode = Literal["auto", "direct", "environment", "recursive"]
MODES: tuple[Mode, ...] = ("auto", "direct", "environment", "recursive")

DIRECT_TOKENS = 24_000
"""Size up to which reading everything at once costs less than two turns of a root model."""

COUNTED_TOKENS = 2_000
"""Size from which no model counts, lists or joins reliably by eye."""
_COUNTED = re.compile(
    r"\b(how many|how often|number of|count\w*|list (?:all|every|each)|all (?:the )?pairs|pairs of|"
    r"(?:most|least) (?:common|frequent|often)|average|median|in total|"
    r"total (?:number|count|of)|sum of|percent\w*|"
    r"per (?:file|day|hour|user|month|year)|distribution|rank(?:ed|ing)?|top \d+|which .{0,40}both|"
    r"compare (?:all|each|every)|"
    r"wie ?viele?|wie oft|anzahl|combien|cu[aá]nt[oa]s|quantos)\b",
    re.IGNORECASE,
)
_DENSE = re.compile(
    r"\b(all|every|each|list|count|how many|summari[sz]e|summary|compare|classify|categori[sz]e|"
    r"overall|across|throughout|trend|themes?|most common|review|audit|explain|describe|why|"
    r"difference|contradict\w*|inconsisten\w*)\b",
    re.IGNORECASE,
)
_NEEDLE = re.compile(
    r"\b(where|which (?:file|line|function|class|commit|module|test)|find|locate|when|who|"
    r"what is the (?:value|name|number|line|default|version|id|key|path)|defined|definition|"
    r"what does \S+ (?:return|raise)|grep|look up|first|last)\b",
    re.IGNORECASE,
)


class Route(NamedTuple):
    """A mode, and the sentence that says why."""

    mode: Literal["direct", "environment", "recursive"]
    reason: str


def check_mode(mode: str) -> Mode:
    """Return `mode` as it is. Raises BadRequest."""
    for known in MODES:
        if mode == known:
            return known
    raise BadRequest(
        f"Unknown mode {mode!r}; it is one of {', '.join(MODES)}.{did_you_mean(mode, MODES)}"
    )


def choose_route(mode: Mode, question: str, tokens: int, window: int, sub_calls: bool) -> Route:
    """Return the route for a question over a scope of `tokens`. Raises BadRequest."""
    room = min(DIRECT_TOKENS, window // 4)
    if mode == "direct" and tokens > window // 2:
        raise BadRequest(
            f"Mode direct sends everything in one call, and ~{tokens:,} tokens do not fit a "
            f"window of {window:,}; narrow the refs, or use mode auto."
        )
    if mode != "auto":
        return Route(mode, "as asked")
    counted = tokens > COUNTED_TOKENS and _COUNTED.search(question) is not None
    if 0 < tokens <= room and counted:
        mode = "recursive" if sub_calls else "environment"
        return Route(mode, "the question asks for a count or a list over much text: code, not eyes")
    if 0 < tokens <= room:
        return Route("direct", f"~{tokens:,} tokens fit one call")
    if not sub_calls:
        return Route("environment", "sub-calls are not allowed by the budget")
    if _NEEDLE.search(question) and not _DENSE.search(question):
        return Route("environment", "the question asks for a place or a value: search, not reading")
    return Route("recursive", f"~{tokens:,} tokens, and the question may need reading by meaning")


def escalate_route(route: Route, problem: str) -> Route | None:
    """Return the dearer route to try after `problem`, if there is one."""
    after: dict[str, Literal["environment", "recursive"]] = {
        "direct": "recursive",
        "environment": "recursive",
    }
    if route.mode not in after:
        return None
    return Route(after[route.mode], f"{route.reason}; then {route.mode} gave {problem}")


def fallback_route(route: Route, tried: Route, why: str) -> Route:
    """Return the cheaper route again, whose forced answer is more than none."""
    said = f"{route.reason}; then {tried.mode} gave no answer ({why.rstrip('.')})"
    return Route(route.mode, said)
