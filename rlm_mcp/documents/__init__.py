"""Documents by lines: windows cut out of them, and refs that know what stood there.

Every window's ref gives the same text when it is opened again. Secrets are taken out before a
window is cut, so none shows a part of itself.
"""

from typing import TYPE_CHECKING

from rlm_mcp.lazy_door import load_lazily

if TYPE_CHECKING:
    from rlm_mcp.documents.stale_refs import IssuedRefs
    from rlm_mcp.documents.window import (
        BytesDocument,
        PackedDocument,
        WindowDocument,
        cut_window,
        decode_utf8,
        packed_document,
        ref_text,
        shown_text,
    )
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "BytesDocument": "window",
            "IssuedRefs": "stale_refs",
            "PackedDocument": "window",
            "WindowDocument": "window",
            "cut_window": "window",
            "decode_utf8": "window",
            "packed_document": "window",
            "ref_text": "window",
            "shown_text": "window",
        },
    )

__all__ = [
    "BytesDocument",
    "IssuedRefs",
    "PackedDocument",
    "WindowDocument",
    "cut_window",
    "decode_utf8",
    "packed_document",
    "ref_text",
    "shown_text",
]
