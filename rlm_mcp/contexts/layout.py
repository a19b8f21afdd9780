"""What a folder or a document holds, as an outline or a listing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rlm_mcp.plurals import count_noun
from rlm_mcp.refs import LineSpan, Ref
from rlm_mcp.variable import ContextPassage, Outline, OutlineItem

if TYPE_CHECKING:
    from rlm_mcp.corpus.code import CodeNavigator, Definition
    from rlm_mcp.corpus.store import Corpus

MAX_EXPANDED = 40
"""Documents up to which an outline of a folder goes into each of them."""
MAX_RANKED = 400
"""Documents up to which an outline of a folder also names what is used most."""


def document_outline(code: CodeNavigator, path: str, scope: Ref, limit: int) -> Outline:
    """Return the definitions or headings of one document, the outer ones where there are many."""
    found = [item for item in code.definitions_in(path) if item.kind != "field"]
    if isinstance(scope.span, LineSpan):
        first, last = scope.span.start, scope.span.end
        found = [item for item in found if item.line <= last and item.stop >= first]
    shown = sorted(found, key=lambda item: item.depth)[:limit]
    items = tuple(
        _outline_item(code, path, scope, item) for item in sorted(shown, key=lambda item: item.line)
    )
    note = "" if found else "This kind of document has no definitions or headings to show."
    return Outline(items, len(found), note)


def folder_outline(
    corpus: Corpus, code: CodeNavigator, paths: Sequence[str], scope: Ref, limit: int
) -> Outline:
    """Return the entries of a folder, the heaviest first; what they define where they are few."""
    base = _common_folder(paths)
    spans = dict(zip(corpus.document_paths(), corpus.document_spans(), strict=True))
    entries: dict[str, list[int]] = {}
    for path in paths:
        head, slash, _ = path[len(base) :].partition("/")
        entry = entries.setdefault(base + head + slash, [0, 0])
        entry[0] += 1
        entry[1] += spans[path][1]
    ordered = sorted(entries.items(), key=lambda entry: -entry[1][1])
    items: list[OutlineItem] = []
    for path, (count, size) in ordered:
        inside = path.endswith("/")
        detail = (
            f"{count_noun(count, 'document')}, {count_noun(size, 'byte')}"
            if inside
            else count_noun(size, "byte")
        )
        kind = "folder" if inside else "document"
        ref = str(Ref(scope.variable, path, scope.rev))
        items.append(OutlineItem(ref, kind, path[len(base) :], 0, detail))
        if len(paths) <= MAX_EXPANDED and not inside:
            outer = [item for item in code.definitions_in(path) if item.depth == 0]
            items += [_outline_item(code, path, scope, item, 1) for item in outer]
    note = f"{count_noun(len(paths), 'document')} below {base or 'the top'}."
    if MAX_EXPANDED < len(paths) <= MAX_RANKED:
        items += _most_used(code, paths, scope, max(0, limit - len(items)))
    elif len(paths) > MAX_RANKED:
        note += f" {scope.variable}.map() in a cell ranks what they define."
    return Outline(tuple(items[:limit]), len(items), note)


def folder_listing(paths: Sequence[str], ref: Ref, limit: int) -> ContextPassage:
    """Return the entries of a folder, or the paths that a glob chose."""
    whole = any(char in ref.path for char in "*?[")
    base = ref.path.rstrip("/") + "/" if ref.path and not whole else ""
    names: dict[str, int] = {}
    for path in paths:
        head, slash, _ = path[len(base) :].partition("/")
        name = path if whole else head + slash
        names[name] = names.get(name, 0) + 1
    lines = [
        f"{name}  ({count_noun(count, 'document')})" if name.endswith("/") else name
        for name, count in sorted(names.items())
    ]
    note = f"A listing, not text; {count_noun(len(paths), 'document')} in all."
    return ContextPassage(str(ref), "\n".join(lines[:limit]), None, len(lines), "", note)


def _most_used(
    code: CodeNavigator, paths: Sequence[str], scope: Ref, room: int
) -> Iterator[OutlineItem]:
    rated, _ = code.rank_definitions(paths)
    for one in rated[:room]:
        if one.weight > 0:
            yield _outline_item(code, one.path, scope, one.definition, 0)


def _outline_item(
    code: CodeNavigator, path: str, scope: Ref, item: Definition, deeper: int = 0
) -> OutlineItem:
    text = code.definition_line(path, item)[:160]
    ref = str(Ref(scope.variable, path, scope.rev, LineSpan(item.line, item.stop)))
    return OutlineItem(ref, item.kind, item.name, item.depth + deeper, text)


def _common_folder(paths: Sequence[str]) -> str:
    folders = [path.rpartition("/")[0] for path in paths]
    shared = os.path.commonpath(folders) if folders and all(folders) else ""
    return f"{shared}/" if shared else ""
