"""Context variables: named large inputs, kept outside every window and read by reference.

The `Catalog` opens them by source and holds them by name: a repository, its history, folders and
files, and what sessions and logs offer.
"""

from typing import TYPE_CHECKING

from rlm_mcp.lazy_door import load_lazily

if TYPE_CHECKING:
    from rlm_mcp.contexts.catalog import Catalog
    from rlm_mcp.contexts.inline_text import open_texts
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "Catalog": "catalog",
            "open_texts": "inline_text",
        },
    )

__all__ = [
    "Catalog",
    "open_texts",
]
