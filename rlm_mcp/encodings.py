"""Text or not: what a file is searched and shown as, and UTF-16 told by its first bytes."""

from __future__ import annotations

import codecs
import re

SNIFF_BYTES = 8192
"""Bytes from the start of a file that are searched for a NUL; one there means binary."""
UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
"""What a text in UTF-16 begins with, most times, and its encoding."""
UTF16_SNIFF_BYTES = 64
"""Bytes by which one without it is told: printable ASCII, each beside a NUL."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_PRINTABLE = frozenset(b"\t\r\n" + bytes(range(32, 127)))


def utf16_encoding(head: bytes) -> str:
    """Return the encoding of a text that begins so where that is UTF-16, else nothing."""
    if head[:2] in UTF16:
        return UTF16[head[:2]]
    for number, encoding in enumerate(UTF16.values()):
        chars, nuls = head[number:UTF16_SNIFF_BYTES:2], head[1 - number : UTF16_SNIFF_BYTES : 2]
        if len(nuls) > 3 and not any(nuls) and _PRINTABLE.issuperset(chars):
            return encoding
    return ""


def searchable_text(data: bytes) -> bytes | None:
    """Return a file's text as it is searched and shown; None for one that is binary.

    That is the file's own bytes, or UTF-8 for a text in UTF-16.
    """
    if encoding := utf16_encoding(data[:UTF16_SNIFF_BYTES]):
        try:
            data = data.decode(encoding).removeprefix("\ufeff").encode()
        except UnicodeError:
            return None
    return None if b"\0" in data[:SNIFF_BYTES] else data


def without_surrogates(text: str) -> str:
    """Return text that can be encoded: halves of characters, as JSON can hold, become U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
