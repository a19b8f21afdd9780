"""Show hostile text as what it is: characters that steer a display, and lines that look like ours.

Content keeps its line ends; what is no content (a name, a ref, a title, an error) is one line.
Control pictures stand for the old controls (␛), `<U+202E>` for all else that is not seen.
"""

from __future__ import annotations

import re

_STEERING = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f"
)
"""Controls, marks of direction, invisible characters and tags."""
_IN_CONTENT = re.compile(f"\\r(?!\\n)|(?!\\r)[{_STEERING}]")
_IN_LABELS = re.compile(f"[\\t\\n\u00ad\u115f\u1160\u180e\u200c\u200d\u3164\uffa0{_STEERING}]")
_LIKE_OURS = re.compile(
    r"^(?=[^\S\n]*(?:(?:next|more|whole|not answered|by folder|note|variables|why|status)\s*:|"
    r"(?:not )?verified\b|these refs or|\[[^\]\n]{0,80}(?:shown|left out|verified)|=> |"
    r"\([0-9,]+ model call|\S+ \(of [0-9]|r[0-9]+:|[0-9,]+ [a-z ]+;? [0-9,]+ shown|"
    r"\w+:\S*#[LC]?[0-9]))",
    re.IGNORECASE | re.MULTILINE,
)
QUOTE_MARK = "¦ "
"""Stands before a line of content that begins as a line of ours does."""


def mark_controls(text: str) -> str:
    """Return content with the characters made visible that would steer a terminal or a reader."""
    return text if _is_plain(text) else _IN_CONTENT.sub(_mark, text)


def mark_label(text: str) -> str:
    """Return what is no content as one line without unseen characters."""
    if text.isascii() and text.isprintable():
        return text
    return _IN_LABELS.sub(_mark, text)


def mark_quoted(text: str) -> str:
    """Return content that stands at the beginning of lines, told from our own lines."""
    return _LIKE_OURS.sub(QUOTE_MARK, text)


def _is_plain(text: str) -> bool:
    return text.isascii() and text.replace("\n", "").replace("\t", "").isprintable()


def _mark(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"<U+{code:04X}>"
