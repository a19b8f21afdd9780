"""What kind of text something is, for estimating its tokens."""

from __future__ import annotations

from rlm_mcp.contexts.variable import Variable
from rlm_mcp.corpus.language import language
from rlm_mcp.corpus.tokens import BYTES_PER_TOKEN, LEAST, MOST, kind_of, use
from rlm_mcp.refs import Ref

__all__ = ["BYTES_PER_TOKEN", "LEAST", "MOST", "kind_of_part", "kind_of_path", "token_kind", "use"]


def kind_of_part(variable: Variable, ref: Ref, text: str) -> str:
    """Return the kind of a part that a ref names, by its variable, its path and its script."""
    if variable.kind == "logs":
        return kind_of(text, "logs")
    if variable.kind in ("history", "session"):
        return kind_of(text, "prose")
    return kind_of(text, kind_of_path(ref.path)) if ref.path else ""


def kind_of_path(path: str) -> str:
    """Return the kind of text of a file by its name."""
    return token_kind(language(path) or "other")


def token_kind(name: str) -> str:
    """Return the kind of text that a language is, for estimating tokens."""
    if name in ("markdown", "rst", "asciidoc", "text"):
        return "prose"
    return {"json": "json", "po": "other"}.get(name, "code")
