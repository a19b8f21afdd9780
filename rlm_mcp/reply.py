"""The limiter: what every reply to an agent passes, whatever made it.

Secrets are replaced first, then the text is cut to the cap. What was cut is kept whole under a
handle, and the reply says exactly how much is shown and how to read on. Nothing leaves with more
than LARGEST characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from rlm_mcp.encodings import without_surrogates
from rlm_mcp.errors import RlmError
from rlm_mcp.marks import mark_controls, mark_quoted
from rlm_mcp.plurals import count_noun
from rlm_mcp.redact import redact

MAX_REPLY_CHARS = 20_000
"""Characters that no reply exceeds: clients put longer ones into files, or refuse them."""
MIN_REPLY_CHARS = 400
"""A cap below this has no room for the line that says how to read on."""

_ONWARD = re.compile(r"(?:more|next|whole|not answered): |\(\d")
_LAST_LINE_CHARS = 300
"""A last line of at most so many characters that says how to go on, or what was spent, stays."""


def limit_reply(text: str, cap: int, keep: Callable[[str], str], *, raw: bool = False) -> str:
    """Return `text` without secrets and in at most `cap` characters.

    `keep` stores the whole and returns its handle; it is called only when something is cut.
    Characters that steer a display are marked, but for a `raw` text.
    """
    text = redact(clean_text(text))
    text = text if raw else mark_controls(text)
    cap = max(MIN_REPLY_CHARS, min(cap, MAX_REPLY_CHARS))
    if len(text) <= cap:
        return text
    try:
        handle = keep(text)
        note = ""
    except (RlmError, OSError) as error:
        handle, note = "", f" The rest could not be kept: {_cut_text(str(error), 120)}"
    body, last = text, ""
    cut = text.rstrip("\n").rfind("\n") + 1
    if cut > 0 and len(text) - cut <= min(_LAST_LINE_CHARS, cap // 3) and _ONWARD.match(text, cut):
        body, last = text[:cut], text[cut:].rstrip("\n")
    room = cap - len(last) - 1 - _footer_room(text) - len(note)
    end = body.rfind("\n", 0, room) + 1
    whole_lines = end > room // 2
    head = body[:end] if whole_lines else body[:room]
    footer = _cut_footer(
        text, len(head) + len(last), head if whole_lines else "", handle, len(head)
    )
    parts = [head.rstrip("\n") if whole_lines else head, footer + note, last]
    return "\n".join(part for part in parts if part)


def clean_text(text: str) -> str:
    """Return `text` as valid Unicode: half characters become U+FFFD, NUL is shown."""
    return without_surrogates(text.replace("\x00", "\u2400"))


def error_sentence(error: BaseException) -> str:
    """Return an error's sentence without secrets, at most 2,000 characters."""
    said = mark_quoted(mark_controls(redact(clean_text(str(error)))))
    return _cut_text(said, 2_000) or type(error).__name__


def _cut_footer(text: str, shown: int, head: str, handle: str, chars: int) -> str:
    total = len(text)
    size = f"{shown:,} of {total:,} characters shown"
    lines = head.count("\n")
    if lines:
        size += f", {lines:,} of {count_noun(_count_lines(text), 'line')}"
    if not handle:
        return f"[{size}.]"
    onward = f"{handle}#L{lines + 1}" if lines else f"{handle}#C{chars}-C{min(total, 2 * chars)}"
    return f'[{size}. The whole is {handle}; read on with peek("{onward}").]'


def _footer_room(text: str) -> int:
    return 130 + 4 * len(f"{len(text):,}")


def _count_lines(text: str) -> int:
    return text.count("\n") + (not text.endswith("\n"))


def _cut_text(text: str, cap: int) -> str:
    return text if len(text) <= cap else f"{text[: cap - 1]}…"
