"""What text means: symbols and who uses them, imports, chunks, passages that fit a question.

`CodeNavigator` answers the questions about code; the rest is for every kind of text.
"""

from typing import TYPE_CHECKING

from rlm_mcp.lazy_door import load_lazily

if TYPE_CHECKING:
    from rlm_mcp.corpus.code.chunker import chunk_documents
    from rlm_mcp.corpus.code.grammar import Definition
    from rlm_mcp.corpus.code.language import kind_of_path, language_of, token_kind
    from rlm_mcp.corpus.code.navigator import CodeNavigator
    from rlm_mcp.corpus.code.ranking import RankedPassage, find_definitions, rank_passages
    from rlm_mcp.corpus.code.words import QuestionTerm, cheap_stem, split_question
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "CodeNavigator": "navigator",
            "Definition": "grammar",
            "QuestionTerm": "words",
            "RankedPassage": "ranking",
            "cheap_stem": "words",
            "chunk_documents": "chunker",
            "find_definitions": "ranking",
            "kind_of_path": "language",
            "language_of": "language",
            "rank_passages": "ranking",
            "split_question": "words",
            "token_kind": "language",
        },
    )

__all__ = [
    "CodeNavigator",
    "Definition",
    "QuestionTerm",
    "RankedPassage",
    "cheap_stem",
    "chunk_documents",
    "find_definitions",
    "kind_of_path",
    "language_of",
    "rank_passages",
    "split_question",
    "token_kind",
]
