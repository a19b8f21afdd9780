"""Text packed into one file that is mapped read-only, and kept as fresh as its source.

The functions that open a corpus say what it is made from; `Corpus` gives its documents, and a
`Snapshot` is one state of it, for searching.
"""

from typing import TYPE_CHECKING

from rlm_mcp.lazy_door import load_lazily

if TYPE_CHECKING:
    from rlm_mcp.corpus.store.corpus import Corpus
    from rlm_mcp.corpus.store.line_file import LineFile
    from rlm_mcp.corpus.store.open_corpus import (
        open_folder,
        open_revision,
        open_spans,
        open_staged,
        open_tree,
        pack_texts,
    )
    from rlm_mcp.corpus.store.packed_text import TextWriter
    from rlm_mcp.corpus.store.snapshot import SearchScope, Snapshot
    from rlm_mcp.corpus.store.span_source import DocumentSpan
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "Corpus": "corpus",
            "DocumentSpan": "span_source",
            "LineFile": "line_file",
            "SearchScope": "snapshot",
            "Snapshot": "snapshot",
            "TextWriter": "packed_text",
            "open_folder": "open_corpus",
            "open_revision": "open_corpus",
            "open_spans": "open_corpus",
            "open_staged": "open_corpus",
            "open_tree": "open_corpus",
            "pack_texts": "open_corpus",
        },
    )

__all__ = [
    "Corpus",
    "DocumentSpan",
    "LineFile",
    "SearchScope",
    "Snapshot",
    "TextWriter",
    "open_folder",
    "open_revision",
    "open_spans",
    "open_staged",
    "open_tree",
    "pack_texts",
]
