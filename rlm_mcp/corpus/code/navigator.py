"""Questions about code that need its structure: who defines, uses, calls, imports, matters.

A name is looked up in the text first, so only documents that contain it are parsed. References
are every line with the name; the parse says what each one is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rlm_mcp.corpus.code import pagerank, qualified_names, subclasses
from rlm_mcp.corpus.code.callees import CallResolver, CallSite, calls_in, definition_pattern
from rlm_mcp.corpus.code.callers import NAME, OTHER, ModuleResolver, OwnerResolver, UsageLine
from rlm_mcp.corpus.code.imports import ImportResolver
from rlm_mcp.corpus.code.language import (
    CODE_LANGUAGES,
    is_build_output,
    is_doc_path,
    is_test_path,
    language_of,
)
from rlm_mcp.corpus.code.subclasses import FoundSubclass, SubclassFinder
from rlm_mcp.corpus.code.symbol_uses import (
    OutgoingCall,
    Subclass,
    SymbolDefinition,
    SymbolUse,
    basis_order,
    path_order,
)
from rlm_mcp.corpus.code.symbols import SymbolIndex
from rlm_mcp.corpus.search import GrepHit, Query, grep_corpus
from rlm_mcp.errors import BadRequest, did_you_mean
from rlm_mcp.methods import ResultList
from rlm_mcp.refs import LineSpan, Ref
from rlm_mcp.tokens import estimate_tokens

if TYPE_CHECKING:
    from rlm_mcp.corpus.code.grammar import Definition, ParsedDocument
    from rlm_mcp.corpus.store import Corpus

MAX_LINES = 20_000
"""Lines with a name that are looked at."""
_MAX_WORDS_CHARS = 2_000
"""Characters of the words that are looked for at a time: a pattern has a limit."""
MAX_MAPPED_DOCUMENTS = 8_000
"""Documents that a map is drawn from."""


_CLASS_KEYWORDS = "class|struct|interface|trait|impl|enum|module|record|object|type"
"""Words that a class is defined with, in one language or another."""


class _LineMatches(NamedTuple):
    """Lines that were found, and whether these are all."""

    hits: Sequence[GrepHit]
    exact: bool
    note: str


class CodeNavigator:
    """The structure of a corpus, under a variable's name."""

    def __init__(self, name: str, corpus: Corpus, cache: Path) -> None:
        self._name = name
        self._corpus = corpus
        self._symbols = SymbolIndex(corpus, cache)
        self._rated: tuple[tuple[int, list[str]], list[pagerank.RatedDefinition]] | None = None
        """What was rated last, for which state and documents of the corpus."""

        self._known: tuple[int, ImportResolver] | None = None
        """What imports mean, for which state of the corpus."""

    @property
    def methods(self) -> Mapping[str, Callable[..., object]]:
        return {
            "symbols": self.symbols,
            "references": self.references,
            "callers": self.callers,
            "callees": self.callees,
            "subclasses": self.subclasses,
            "importers": self.importers,
            "map": self.map,
        }

    def close(self) -> None:
        self._symbols.close()

    def definitions_in(self, path: str) -> list[Definition]:
        """Return what one document defines, in order."""
        return self._symbols.parse_path(path).definitions

    def definition_line(self, path: str, item: Definition) -> str:
        """Return the line that names a definition: in C a type may stand on the line before."""
        last = min(item.stop, item.line + 3)
        raw = self._corpus.line_bytes(path, item.line, last)
        texts = [line.decode("utf-8", "replace").strip() for line in raw]
        named = next((text for text in texts if item.name in text), "")
        return (named or (texts[0] if texts else ""))[:200]

    def symbols(self, name: str, kind: str = "", limit: int = 50) -> ResultList[SymbolDefinition]:
        """symbols(name, kind="", limit=50) -> definitions; get_* and Class.name work"""
        wanted = qualified_names.name_matcher(name)
        paths, looked = self._documents_with([qualified_names.longest_piece(name)])
        found = [
            self._make_symbol(path, item)
            for path, known in self._symbols.parse_paths(paths).items()
            for item in known.definitions
            if wanted(item) and (item.kind == kind or (not kind and item.kind != "heading"))
        ]
        return ResultList.truncate_to(
            sorted(found, key=path_order), limit, looked.exact, looked.note
        )

    def references(self, name: str, limit: int = 200) -> ResultList[SymbolUse]:
        """references(name, limit=200) -> lines that use a name (or Class.name), and how"""
        uses, looked = self._find_uses(name)
        kept = [use for use in uses if use.kind != "definition"]
        return ResultList.truncate_to(
            sorted(kept, key=basis_order), limit, looked.exact, looked.note
        )

    def callers(self, name: str, limit: int = 100) -> ResultList[SymbolUse]:
        """callers(name, limit=100) -> lines that call a name, and the definition around each;
        for Class.name or module.name those of another owner are left out, and `basis` says how the
        owner is known, surest first ("name": by nothing but the name)"""
        uses, looked = self._find_uses(name)
        kept = [use for use in uses if use.kind == "call"]
        return ResultList.truncate_to(
            sorted(kept, key=basis_order), limit, looked.exact, looked.note
        )

    def callees(self, name: str, limit: int = 200) -> ResultList[OutgoingCall]:
        """callees(name, limit=200) -> calls inside the definitions of a name (or Class.name), by
        line; `target` is the ref of what is called, where the text tells"""
        wanted = qualified_names.name_matcher(name)
        paths, looked = self._documents_with([qualified_names.longest_piece(name)])
        parsed = self._symbols.parse_paths(paths)
        within = [
            (path, item) for path, known in parsed.items() for item in known.definitions
            if wanted(item)
        ]  # fmt: skip
        within.sort(key=lambda one: path_order(self._make_symbol(*one)))
        places = dict.fromkeys(
            place for path, item in within for place in calls_in(path, parsed[path], item)
        )
        shown = list(places)[: max(0, limit)]
        targets = CallResolver(
            self._current_imports(),
            self._symbols.parse_paths,
            self._parse_definers,
            self._lines_text,
        ).resolve_calls(shown, parsed)
        calls = [
            self._make_call(place, parsed[place.path], target)
            for place, target in zip(shown, targets, strict=True)
        ]
        return ResultList(calls, len(places), looked.exact, looked.note)

    def subclasses(self, name: str, limit: int = 200) -> ResultList[Subclass]:
        """subclasses(name, limit=200) -> classes that extend or implement a class (or
        module.Class), directly (depth 1) or through others, the nearest first; of a Go interface
        the types with all its methods (basis "methods")"""
        *_, last = qualified_names.name_parts(name)
        if "*" in last:
            raise BadRequest(f"subclasses: {name!r} is no name; only symbols and callees take a *.")
        looked: list[_LineMatches] = []

        def parse_among(words: Sequence[str]) -> Mapping[str, ParsedDocument]:
            paths, seen = self._documents_with(words, whole=True)
            looked.append(seen)
            return self._symbols.parse_paths(paths)

        finder = SubclassFinder(self._current_imports(), parse_among, self._line_text)
        every = [
            *finder.find_subclasses(qualified_names.owner_of(name), last),
            *subclasses.find_implementers(parse_among, last),
        ]
        found = list(
            {
                (one.path, one.item.line): self._make_subclass(one) for one in reversed(every)
            }.values()
        )
        found.sort(key=lambda one: (one.depth, path_order(one)))
        notes = dict.fromkeys(one.note for one in looked if one.note)
        return ResultList.truncate_to(
            found, limit, all(one.exact for one in looked), " ".join(notes)
        )

    def importers(self, path: str, limit: int = 200) -> ResultList[SymbolUse]:
        """importers(path, limit=200) -> lines that import a document"""
        paths = self._corpus.document_paths()
        if self._corpus.find_document(path) is None:
            raise BadRequest(f"{self._name} has no document {path!r}.{did_you_mean(path, paths)}")
        known = self._current_imports()
        modules = [item.name for item in self.definitions_in(path) if item.kind == "module"]
        found = []
        words = [*known.import_words(path), *modules]
        others, looked = self._documents_with(words)
        for other, parsed in self._symbols.parse_paths(others).items():
            lines = {
                line
                for text, places in parsed.uses.get("import", {}).items()
                if known.resolves_to(other, text, path, modules)
                for line in places
            }
            found += [self._make_use(other, line, "import", parsed) for line in sorted(lines)]
        return ResultList.truncate_to(
            sorted(found, key=path_order), limit, looked.exact, looked.note
        )

    def map(self, tokens: int = 2000, path: str = "") -> str:
        """map(tokens=2000, path="") -> the most used definitions, by document, within a budget"""
        folder = path.rstrip("/") + "/" if path else ""
        paths = [known for known in self._corpus.document_paths() if known.startswith(folder)]
        return self._draw_map(*self.rank_definitions(paths), tokens)

    def rank_definitions(self, paths: Sequence[str]) -> tuple[list[pagerank.RatedDefinition], str]:
        """Return the definitions of some documents by how much they are used, and what was left.

        Tests are looked at last, and named only where there is nothing else. What was built or
        installed is left out beside what was written.
        """
        code = [path for path in paths if language_of(path) in CODE_LANGUAGES]
        code = [path for path in code if not is_build_output(path)] or code
        kept = sorted(code, key=lambda path: (is_test_path(path), is_doc_path(path)))[
            :MAX_MAPPED_DOCUMENTS
        ]
        left = f"Drawn from {len(kept):,} of {len(code):,} documents, tests last."
        now = (self._corpus.generation, kept)
        if self._rated is None or self._rated[0] != now:
            rated = pagerank.rate_definitions(self._symbols.parse_paths(kept))
            named = [item for item in rated if not is_test_path(item.path)] or rated
            self._rated = (now, named)
        return self._rated[1], left if len(kept) < len(code) else ""

    def _draw_map(self, rated: Sequence[pagerank.RatedDefinition], note: str, budget: int) -> str:
        """Return a map as text: each document with its most used definitions."""
        chosen: dict[str, list[str]] = {}
        spent = estimate_tokens(note)
        for item in rated:
            line = item.definition.line
            text = f"  {line} {self.definition_line(item.path, item.definition)}"
            head = "" if item.path in chosen else str(Ref(self._name, item.path))
            spent += estimate_tokens(f"{head}\n{text}\n")
            if spent > budget:
                break
            chosen.setdefault(item.path, []).append(text)
        lines = [note] if note else []
        for path, texts in chosen.items():
            lines.append(str(Ref(self._name, path)))
            lines += sorted(texts, key=lambda text: int(text.split()[0]))
        return "\n".join(lines)

    def _current_imports(self) -> ImportResolver:
        """Return what imports mean in the corpus as it is now."""
        now = self._corpus.generation
        if self._known is None or self._known[0] != now:
            self._known = (
                now,
                ImportResolver(self._corpus.document_paths(), self._corpus.document_bytes),
            )
        return self._known[1]

    def _find_uses(self, name: str) -> tuple[list[SymbolUse], _LineMatches]:
        word = qualified_names.name_parts(name)[-1]
        if not word:
            return [], _LineMatches((), True, "")
        alone = re.compile(rf"(?<![\w$]){re.escape(word)}(?![\w$])")
        looked = self._match_lines(qualified_names.whole_word(word))
        parsed = self._symbols.parse_paths(dict.fromkeys(hit.path for hit in looked.hits))
        uses = []
        kinds = {path: qualified_names.use_kinds(item, word) for path, item in parsed.items()}
        for hit in looked.hits:
            kind = kinds.get(hit.path, {}).get(hit.line, "mention")
            spoken = language_of(hit.path)
            if kind == "mention" and spoken not in CODE_LANGUAGES:
                continue
            if (
                spoken in qualified_names.DOLLAR_LANGUAGES
                and not hit.cut
                and not alone.search(hit.text)
            ):
                continue
            uses.append(self._make_use(hit.path, hit.line, kind, parsed[hit.path], hit.text))
        owner = qualified_names.owner_of(name)
        return (self._owned_uses(owner, word, uses, parsed) if owner else uses), looked

    def _match_lines(self, pattern: str) -> _LineMatches:
        """Find the lines of a pattern, at most MAX_LINES of them."""
        found = grep_corpus(self._corpus, Query(pattern, limit=MAX_LINES), None)
        note = found.note
        if found.total > len(found.hits):
            note = f"Only the first {MAX_LINES:,} of {found.total:,} lines were looked at."
        return _LineMatches(found.hits, found.exact and not note, note)

    def _owned_uses(
        self, owner: str, word: str, uses: Sequence[SymbolUse], parsed: Mapping[str, ParsedDocument]
    ) -> list[SymbolUse]:
        """Return the uses of a name that may be those of its owner, with what speaks for it."""
        classes = OwnerResolver(owner, word, self._parse_classes)
        classes.add_classes(parsed)
        judge: OwnerResolver | ModuleResolver = classes
        if not classes.is_known:
            judge = ModuleResolver(owner, word, self._current_imports(), parsed)
        told = [use for use in uses if judge.is_known and use.kind in ("call", "mention")]
        texts = {
            path: self._corpus.document_bytes(path).decode("utf-8", "replace").split("\n")
            for path in {use.path for use in told}
        }
        lines = [UsageLine(use.path, use.line, parsed[use.path], texts[use.path]) for use in told]
        basis = dict(
            zip(((use.path, use.line) for use in told), judge.judge_lines(lines), strict=True)
        )
        marked = [replace(use, basis=basis.get((use.path, use.line), NAME)) for use in uses]
        return [use for use in marked if use.basis != OTHER]

    def _parse_classes(self, names: Sequence[str]) -> Mapping[str, ParsedDocument]:
        """Parse the documents that define classes of these names."""
        return self._parse_matching(
            rf"\b(?:{_CLASS_KEYWORDS})\s+(?:{'|'.join(map(re.escape, some))})\b"
            for some in _word_batches(names)
        )

    def _parse_definers(self, names: Sequence[str]) -> Mapping[str, ParsedDocument]:
        """Parse the documents that seem to define one of these names."""
        return self._parse_matching(map(definition_pattern, _word_batches(names)))

    def _parse_matching(self, patterns: Iterable[str]) -> Mapping[str, ParsedDocument]:
        """Parse the documents of code that have a line of one of these patterns."""
        hits = (hit for pattern in patterns for hit in self._match_lines(pattern).hits)
        return self._symbols.parse_paths(
            dict.fromkeys(hit.path for hit in hits if language_of(hit.path) in CODE_LANGUAGES)
        )

    def _make_use(
        self, path: str, line: int, kind: str, parsed: ParsedDocument, text: str | None = None
    ) -> SymbolUse:
        ref = str(Ref(self._name, path, "", LineSpan(line, line)))
        shown = self._stripped_line(path, line) if text is None else text.strip()
        return SymbolUse(ref, kind, path, line, qualified_names.enclosing_name(parsed, line), shown)

    def _make_symbol(self, path: str, item: Definition) -> SymbolDefinition:
        text = self.definition_line(path, item)
        return SymbolDefinition(
            self._definition_ref(path, item),
            item.name,
            item.kind,
            item.owner,
            path,
            item.line,
            text,
        )

    def _make_call(
        self, place: CallSite, parsed: ParsedDocument, target: tuple[str, Definition] | None
    ) -> OutgoingCall:
        path, name, line = place
        ref = str(Ref(self._name, path, "", LineSpan(line, line)))
        inside = qualified_names.enclosing_name(parsed, line)
        known = self._definition_ref(*target) if target else ""
        return OutgoingCall(ref, name, path, line, inside, self._stripped_line(path, line), known)

    def _make_subclass(self, found: FoundSubclass) -> Subclass:
        path, item = found.path, found.item
        return Subclass(
            self._definition_ref(path, item),
            qualified_names.full_name(item),
            item.kind,
            path,
            item.line,
            self.definition_line(path, item),
            found.base,
            found.depth,
            found.basis,
        )

    def _definition_ref(self, path: str, item: Definition) -> str:
        return str(Ref(self._name, path, "", LineSpan(item.line, item.stop)))

    def _line_text(self, path: str, line: int) -> str:
        return "".join(self._lines_text(path, line, line))

    def _lines_text(self, path: str, first: int, last: int) -> list[str]:
        raw = self._corpus.line_bytes(path, first, last)
        return [line.decode("utf-8", "replace") for line in raw]

    def _stripped_line(self, path: str, line: int) -> str:
        return self._line_text(path, line).strip()[:200]

    def _documents_with(
        self, words: Sequence[str], whole: bool = False
    ) -> tuple[list[str], _LineMatches]:
        """Return the documents that contain one of these words, also within a longer one."""
        some = [word for word in words if word]
        if not some:
            every = [
                path
                for path in self._corpus.document_paths()
                if language_of(path) in CODE_LANGUAGES
            ]
            return every, _LineMatches((), True, "")
        paths: dict[str, None] = {}
        exact, notes = True, {}
        for few in _word_batches(some):
            pattern = "|".join(map(qualified_names.whole_word if whole else re.escape, few))
            # The first line of each document is enough, so as many are asked for as there are.
            query = Query(f"(?:{pattern})", limit=0, spread=True)
            count = grep_corpus(self._corpus, query, None).documents
            found = grep_corpus(self._corpus, replace(query, limit=count), None)
            paths.update(dict.fromkeys(hit.path for hit in found.hits))
            exact = exact and found.exact
            notes.update(dict.fromkeys([found.note] if found.note else []))
        return list(paths), _LineMatches((), exact, " ".join(notes))


def _word_batches(words: Sequence[str]) -> Iterator[list[str]]:
    """Give words in groups that are looked for together."""
    batch: list[str] = []
    size = 0
    for word in words:
        if batch and size + len(word) > _MAX_WORDS_CHARS:
            yield batch
            batch, size = [], 0
        batch.append(word)
        size += len(word) + 4
    if batch:
        yield batch
