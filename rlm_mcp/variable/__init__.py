"""What a context variable is: one protocol, and the values that its calls answer with.

Repo, history, text, session and logs obey it; the engine, tools and cells know nothing else of
them. Nothing here reads a source.
"""

from typing import TYPE_CHECKING

from rlm_mcp.lazy_door import load_lazily

if TYPE_CHECKING:
    from rlm_mcp.variable.protocol import (
        ChangingVariable,
        ContextChunk,
        ContextHit,
        ContextPassage,
        Description,
        HitPage,
        Kind,
        MappedText,
        Outline,
        OutlineItem,
        SourceVariable,
        Variable,
    )
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "ChangingVariable": "protocol",
            "ContextChunk": "protocol",
            "ContextHit": "protocol",
            "ContextPassage": "protocol",
            "Description": "protocol",
            "HitPage": "protocol",
            "Kind": "protocol",
            "MappedText": "protocol",
            "Outline": "protocol",
            "OutlineItem": "protocol",
            "SourceVariable": "protocol",
            "Variable": "protocol",
        },
    )

__all__ = [
    "ChangingVariable",
    "ContextChunk",
    "ContextHit",
    "ContextPassage",
    "Description",
    "HitPage",
    "Kind",
    "MappedText",
    "Outline",
    "OutlineItem",
    "SourceVariable",
    "Variable",
]
