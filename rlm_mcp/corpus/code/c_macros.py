"""Mend C and C++ that only the preprocessor makes whole.

A grammar reads the text before the preprocessor does: `class API_EXPORT Name : Base {` is no class
to it, and a brace that both branches of an `#if` open is open twice. Where a parse has errors
outside of function bodies, words near them that look like macros, and the second branches that hold
half of something, are blanked: lines and columns stay. What makes no error less is taken back.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Parser, Tree

PREPROCESSED_LANGUAGES = frozenset({"c", "cpp"})
"""Languages with a preprocessor."""

_INNER = rb"\( (?: [^()\n] | \( (?: [^()\n] | \([^()\n]*\) )* \) )* \)"
_ARGUMENTS = rb"""\( (?: [^()"\n] | "[^"\n]*" | %b )* \)""" % _INNER
_MACRO = re.compile(
    rb"""(?<![\w.>#"'])
    (?: (?: [A-Z][A-Z0-9]*_[A-Z0-9_]* | _[A-Z]\w*_[A-Z0-9_]+ )\b      # API_EXPORT, _Py_HOT_FUNCTION
        (?: [ \t]* %b (?= \s+ [A-Za-z_~*:\[#/] | \s*:[^:] | \s*\Z )
          | (?= \s+ [A-Za-z_~*{:\[#/] | \s*[;{=] | \s*:[^:] | \s*\Z ) )
      | (?<= [\w\])]\s )
        (?<! return\s | static\s | extern\s | inline\s ) (?<! const\s ) (?<! else\s )
        [A-Z][A-Z0-9]*_[A-Z0-9_]* %b (?= \s*; )                          # GUARDED_BY(lock)
      | __(?!attribute|asm|builtin|typeof|extension|int\d|[usbl]e?\d|func|VA_)[a-z]\w*\b  # __init
        (?= \s+ [A-Za-z_~*{:\[] | \s*[;{=] )
      | (?<= \)\s ) __[a-z]\w+ %b                                       # __acquires(lock)
      | noexcept\s* %b )
    """
    % ((_ARGUMENTS,) * 4),
    re.VERBOSE,
)
"""A macro where a declaration goes on behind it, and a condition that is no part of a name."""
_COMMENT = re.compile(rb"/\*.*?\*/")
"""A comment; inside of a macro's definition it ends the definition for a grammar."""
_DIRECTIVE = re.compile(rb"(?m)^[ \t]*#[ \t]*(if|ifdef|ifndef|elif|else|endif)\b")
_LINES_BEFORE, _LINES_AFTER = 30, 1
"""Lines before an error, if it is one statement, and behind its end that may be its cause."""
_LONG_ERROR_LINES = 60
"""Lines of an error above which only its beginning is looked at."""
_MAX_LINE_BYTES = 2_000
"""Bytes of a line above which it is left as it is."""
_MAX_BRANCH_LINES = 200
"""Lines of a conditional group above which it is left as it is."""
_MAX_ERRORS, _MAX_SPANS = 2_000, 5_000
"""Errors, and blanked spans, above which a document is left as it is."""
_BODY_NODES = ("compound_statement", "field_initializer_list")

_RowRange = tuple[int, int]
_RowSpan = tuple[int, int, int]
"""Row, first byte, and the byte behind the last."""


def reparse_without_macros(parser: Parser, data: bytes, tree: Tree) -> Tree:
    """Return the tree of a document, parsed anew where that leaves fewer errors."""
    if tree.root_node.has_error:
        mending = _MacroBlanker(parser, data, tree)
        mending.try_blanking(_macro_spans)
        if mending.try_blanking(_branch_spans):
            mending.try_blanking(_macro_spans)
        return mending.tree
    return tree


class _MacroBlanker:
    """A document with errors, and what has been blanked of it so far."""

    def __init__(self, parser: Parser, data: bytes, tree: Tree) -> None:
        self.tree = tree
        self._parser, self._data = parser, data
        self._outer, self._count = _parse_errors(tree)
        starts = [0, *accumulate(len(line) + 1 for line in data.split(b"\n"))]
        self._starts = [*starts[:-1], len(data)]

    def try_blanking(
        self, find: Callable[[bytes, Sequence[int], Sequence[_RowRange]], Iterator[_RowSpan]]
    ) -> bool:
        """Blank what `find` gives, and say whether fewer errors are left; else nothing changes."""
        few = 0 < len(self._outer) <= _MAX_ERRORS
        spans = list(find(self._data, self._starts, self._outer)) if few else []
        if not 0 < len(spans) <= _MAX_SPANS:
            return False
        text, tree = bytearray(self._data), self.tree.copy()
        for row, start, end in spans:
            text[start:end] = re.sub(rb"[^\n]", b" ", text[start:end])
            points = (row, start - self._starts[row]), (row, end - self._starts[row])
            tree.edit(start, end, end, points[0], points[1], points[1])
        tree = self._parser.parse(bytes(text), tree)
        outer, count = _parse_errors(tree)
        if count >= self._count:
            return False
        self.tree, self._data, self._outer, self._count = tree, bytes(text), outer, count
        return True


def _parse_errors(tree: Tree) -> tuple[list[_RowRange], int]:
    """Return the rows of what did not parse outside of bodies, and the count of all that did not.

    Where a definition is not parsed, what is inside of it may look like a body.
    """
    outer, count = [], 0
    todo = [(tree.root_node, False)]
    while todo:
        node, inside = todo.pop()
        if node.is_error or node.is_missing:
            count += 1
            if not inside:
                outer.append((node.start_point.row, node.end_point.row))
        inside = inside or node.type in _BODY_NODES
        todo += [(child, inside) for child in node.children if child.has_error]
    return outer, count


def _macro_spans(
    data: bytes, starts: Sequence[int], errors: Sequence[_RowRange]
) -> Iterator[_RowSpan]:
    """Give the words near errors that look like macros, and comments in macros' definitions."""
    near: set[int] = set()
    for first, last in errors:
        end = last if last - first <= _LONG_ERROR_LINES else first + _LINES_AFTER
        near.update(range(_statement_row(data, starts, first), end + _LINES_AFTER + 1))
    for row in sorted(near.intersection(range(len(starts) - 1))):
        start, end = starts[row], starts[row + 1]
        if end - start > _MAX_LINE_BYTES:
            continue
        if row and data[starts[row - 1] : start].rstrip().endswith(b"\\"):
            for match in _COMMENT.finditer(data, start, end):
                yield row, match.start(), match.end()
            continue
        if data[start:end].lstrip().startswith(b"#"):
            continue
        # The next lines are looked at too, since what follows a macro may stand there.
        for match in _MACRO.finditer(data, start, starts[min(row + 4, len(starts) - 1)]):
            if match.start() < end:
                yield row, match.start(), match.end()


def _statement_row(data: bytes, starts: Sequence[int], row: int) -> int:
    """Return the row where the statement begins that an error in this row may belong to."""
    for above in range(row - 1, max(-1, row - _LINES_BEFORE - 1), -1):
        line = data[starts[above] : starts[above + 1]].strip()
        if line in (b"}", b"};") or line.startswith(b"#"):
            return above + 1
    return max(0, row - _LINES_BEFORE)


def _branch_spans(
    data: bytes, starts: Sequence[int], errors: Sequence[_RowRange]
) -> Iterator[_RowSpan]:
    """Give directives, and second branches, of groups whose first branch holds half a thing."""
    touched = bytearray(len(starts))
    for first, last in errors:
        touched[first : last + 1] = b"\1" * (last + 1 - first)
    for rows in _conditional_groups(data, starts):
        first, last = rows[0], rows[-1]
        held = data[starts[first + 1] : starts[rows[1]]]
        half = held.count(b"{") != held.count(b"}") or not re.search(rb"[;{}]", held)
        if half and last - first <= _MAX_BRANCH_LINES and 1 in touched[first : last + 1]:
            for row in (first, *range(rows[1], last + 1)):
                yield row, starts[row], starts[row + 1]


def _conditional_groups(data: bytes, starts: Sequence[int]) -> Iterator[list[int]]:
    """Give the rows of the directives of each conditional group, from its #if to its #endif."""
    open_groups: list[list[int]] = []
    for match in _DIRECTIVE.finditer(data):
        row, word = bisect_right(starts, match.start()) - 1, match[1]
        if word.startswith(b"if"):
            open_groups.append([row])
        elif open_groups:
            open_groups[-1].append(row)
            if word == b"endif":
                yield open_groups.pop()
