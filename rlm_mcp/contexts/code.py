"""Questions about code that need its structure: who defines, uses, calls, imports, matters.

A name is looked up in the text first, so only documents that contain it are parsed. References
are every line with the name; the parse says what each one is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rlm_mcp.contexts import implementers, qualified
from rlm_mcp.contexts.callees import Place, Targets, called, definition_pattern
from rlm_mcp.contexts.heirs import Found, Heirs
from rlm_mcp.contexts.modules import Modules
from rlm_mcp.contexts.owners import NAME, OTHER, Line, Owners
from rlm_mcp.contexts.symbol import Call, Heir, Symbol, Use, order, surest
from rlm_mcp.contexts.variable import Listed
from rlm_mcp.corpus import graph, tokens
from rlm_mcp.corpus import search as searching
from rlm_mcp.corpus.grammar import Definition, Parsed
from rlm_mcp.corpus.imports import Imports
from rlm_mcp.corpus.language import CODE, is_built, is_doc, is_test, language
from rlm_mcp.corpus.pack import Corpus
from rlm_mcp.corpus.symbols import Symbols
from rlm_mcp.errors import BadRequest, did_you_mean
from rlm_mcp.refs import Lines, Ref

MAX_LINES = 20_000
"""Lines with a name that are looked at."""
_TOGETHER = 2_000
"""Characters of the words that are looked for at a time: a pattern has a limit."""
MAX_MAPPED = 8_000
"""Documents that a map is drawn from."""


_CLASSES = "class|struct|interface|trait|impl|enum|module|record|object|type"
"""Words that a class is defined with, in one language or another."""


class _Looked(NamedTuple):
    """Lines that were found, and whether these are all."""

    hits: Sequence[searching.Match]
    exact: bool
    note: str


class Code:
    """The structure of a corpus, under a variable's name."""

    def __init__(self, name: str, corpus: Corpus, cache: Path) -> None:
        self._name = name
        self._corpus = corpus
        self._symbols = Symbols(corpus, cache)
        self._rated: tuple[tuple[int, list[str]], list[graph.Rated]] | None = None
        """What was rated last, for which state and documents of the corpus."""

        self._known: tuple[int, Imports] | None = None
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

    def definitions(self, path: str) -> list[Definition]:
        """Return what one document defines, in order."""
        return self._symbols.one(path).definitions

    def headline(self, path: str, item: Definition) -> str:
        """Return the line that names a definition: in C a type may stand on the line before."""
        last = min(item.stop, item.line + 3)
        raw = self._corpus.line_bytes(path, item.line, last)
        texts = [line.decode("utf-8", "replace").strip() for line in raw]
        named = next((text for text in texts if item.name in text), "")
        return (named or (texts[0] if texts else ""))[:200]

    def symbols(self, name: str, kind: str = "", limit: int = 50) -> Listed[Symbol]:
        """symbols(name, kind="", limit=50) -> definitions; get_* and Class.name work"""
        wanted = qualified.pattern(name)
        paths, looked = self._containing([qualified.longest(name)])
        found = [
            self._symbol(path, item)
            for path, known in self._symbols.parsed(paths).items()
            for item in known.definitions
            if wanted(item) and (item.kind == kind or (not kind and item.kind != "heading"))
        ]
        return Listed.cut(sorted(found, key=order), limit, looked.exact, looked.note)

    def references(self, name: str, limit: int = 200) -> Listed[Use]:
        """references(name, limit=200) -> lines that use a name (or Class.name), and how"""
        uses, looked = self._uses(name)
        kept = [use for use in uses if use.kind != "definition"]
        return Listed.cut(sorted(kept, key=surest), limit, looked.exact, looked.note)

    def callers(self, name: str, limit: int = 100) -> Listed[Use]:
        """callers(name, limit=100) -> lines that call a name, and the definition around each;
        for Class.name or module.name those of another owner are left out, and `basis` says how the
        owner is known, surest first ("name": by nothing but the name)"""
        uses, looked = self._uses(name)
        kept = [use for use in uses if use.kind == "call"]
        return Listed.cut(sorted(kept, key=surest), limit, looked.exact, looked.note)

    def callees(self, name: str, limit: int = 200) -> Listed[Call]:
        """callees(name, limit=200) -> calls inside the definitions of a name (or Class.name), by
        line; `target` is the ref of what is called, where the text tells"""
        wanted = qualified.pattern(name)
        paths, looked = self._containing([qualified.longest(name)])
        parsed = self._symbols.parsed(paths)
        within = [
            (path, item) for path, known in parsed.items() for item in known.definitions
            if wanted(item)
        ]  # fmt: skip
        within.sort(key=lambda one: order(self._symbol(*one)))
        places = dict.fromkeys(
            place for path, item in within for place in called(path, parsed[path], item)
        )
        shown = list(places)[: max(0, limit)]
        targets = Targets(
            self._imports(), self._symbols.parsed, self._defining_any, self._lines
        ).find(shown, parsed)
        calls = [
            self._call(place, parsed[place.path], target)
            for place, target in zip(shown, targets, strict=True)
        ]
        return Listed(calls, len(places), looked.exact, looked.note)

    def subclasses(self, name: str, limit: int = 200) -> Listed[Heir]:
        """subclasses(name, limit=200) -> classes that extend or implement a class (or
        module.Class), directly (depth 1) or through others, the nearest first; of a Go interface
        the types with all its methods (basis "methods")"""
        *_, last = qualified.parts(name)
        if "*" in last:
            raise BadRequest(f"subclasses: {name!r} is no name; only symbols and callees take a *.")
        looked: list[_Looked] = []

        def among(words: Sequence[str]) -> Mapping[str, Parsed]:
            paths, seen = self._containing(words, whole=True)
            looked.append(seen)
            return self._symbols.parsed(paths)

        heirs = Heirs(self._imports(), among, self._line)
        every = [*heirs.find(qualified.owner_of(name), last), *implementers.find(among, last)]
        found = list(
            {(one.path, one.item.line): self._heir(one) for one in reversed(every)}.values()
        )
        found.sort(key=lambda one: (one.depth, order(one)))
        notes = dict.fromkeys(one.note for one in looked if one.note)
        return Listed.cut(found, limit, all(one.exact for one in looked), " ".join(notes))

    def importers(self, path: str, limit: int = 200) -> Listed[Use]:
        """importers(path, limit=200) -> lines that import a document"""
        paths = self._corpus.paths()
        if self._corpus.document(path) is None:
            raise BadRequest(f"{self._name} has no document {path!r}.{did_you_mean(path, paths)}")
        known = self._imports()
        modules = [item.name for item in self.definitions(path) if item.kind == "module"]
        found = []
        words = [*known.words(path), *modules]
        others, looked = self._containing(words)
        for other, parsed in self._symbols.parsed(others).items():
            lines = {
                line
                for text, places in parsed.uses.get("import", {}).items()
                if known.means(other, text, path, modules)
                for line in places
            }
            found += [self._use(other, line, "import", parsed) for line in sorted(lines)]
        return Listed.cut(sorted(found, key=order), limit, looked.exact, looked.note)

    def map(self, tokens: int = 2000, path: str = "") -> str:
        """map(tokens=2000, path="") -> the most used definitions, by document, within a budget"""
        folder = path.rstrip("/") + "/" if path else ""
        paths = [known for known in self._corpus.paths() if known.startswith(folder)]
        return self._draw(*self.rated(paths), tokens)

    def rated(self, paths: Sequence[str]) -> tuple[list[graph.Rated], str]:
        """Return the definitions of some documents by how much they are used, and what was left.

        Tests are looked at last, and named only where there is nothing else. What was built or
        installed is left out beside what was written.
        """
        code = [path for path in paths if language(path) in CODE]
        code = [path for path in code if not is_built(path)] or code
        kept = sorted(code, key=lambda path: (is_test(path), is_doc(path)))[:MAX_MAPPED]
        left = f"Drawn from {len(kept):,} of {len(code):,} documents, tests last."
        now = (self._corpus.generation, kept)
        if self._rated is None or self._rated[0] != now:
            rated = graph.rate(self._symbols.parsed(kept))
            named = [item for item in rated if not is_test(item.path)] or rated
            self._rated = (now, named)
        return self._rated[1], left if len(kept) < len(code) else ""

    def _draw(self, rated: Sequence[graph.Rated], note: str, budget: int) -> str:
        """Return a map as text: each document with its most used definitions."""
        chosen: dict[str, list[str]] = {}
        spent = tokens.estimate(note)
        for item in rated:
            line = item.definition.line
            text = f"  {line} {self.headline(item.path, item.definition)}"
            head = "" if item.path in chosen else str(Ref(self._name, item.path))
            spent += tokens.estimate(f"{head}\n{text}\n")
            if spent > budget:
                break
            chosen.setdefault(item.path, []).append(text)
        lines = [note] if note else []
        for path, texts in chosen.items():
            lines.append(str(Ref(self._name, path)))
            lines += sorted(texts, key=lambda text: int(text.split()[0]))
        return "\n".join(lines)

    def _imports(self) -> Imports:
        """Return what imports mean in the corpus as it is now."""
        now = self._corpus.generation
        if self._known is None or self._known[0] != now:
            self._known = (now, Imports(self._corpus.paths(), self._corpus.data))
        return self._known[1]

    def _uses(self, name: str) -> tuple[list[Use], _Looked]:
        word = qualified.parts(name)[-1]
        if not word:
            return [], _Looked((), True, "")
        alone = re.compile(rf"(?<![\w$]){re.escape(word)}(?![\w$])")
        looked = self._look(qualified.whole_word(word))
        parsed = self._symbols.parsed(dict.fromkeys(hit.path for hit in looked.hits))
        uses = []
        kinds = {path: qualified.kinds(item, word) for path, item in parsed.items()}
        for hit in looked.hits:
            kind = kinds.get(hit.path, {}).get(hit.line, "mention")
            spoken = language(hit.path)
            if kind == "mention" and spoken not in CODE:
                continue
            if spoken in qualified.DOLLARS and not hit.cut and not alone.search(hit.text):
                continue
            uses.append(self._use(hit.path, hit.line, kind, parsed[hit.path], hit.text))
        owner = qualified.owner_of(name)
        return (self._owned(owner, word, uses, parsed) if owner else uses), looked

    def _look(self, pattern: str) -> _Looked:
        """Find the lines of a pattern, at most MAX_LINES of them."""
        found = searching.search(self._corpus, searching.Query(pattern, limit=MAX_LINES), None)
        note = found.note
        if found.total > len(found.hits):
            note = f"Only the first {MAX_LINES:,} of {found.total:,} lines were looked at."
        return _Looked(found.hits, found.exact and not note, note)

    def _owned(
        self, owner: str, word: str, uses: Sequence[Use], parsed: Mapping[str, Parsed]
    ) -> list[Use]:
        """Return the uses of a name that may be those of its owner, with what speaks for it."""
        classes = Owners(owner, word, self._defining)
        classes.add(parsed)
        judge: Owners | Modules = classes
        if not classes.known:
            judge = Modules(owner, word, self._imports(), parsed)
        told = [use for use in uses if judge.known and use.kind in ("call", "mention")]
        texts = {
            path: self._corpus.data(path).decode("utf-8", "replace").split("\n")
            for path in {use.path for use in told}
        }
        lines = [Line(use.path, use.line, parsed[use.path], texts[use.path]) for use in told]
        basis = dict(zip(((use.path, use.line) for use in told), judge.judge(lines), strict=True))
        marked = [replace(use, basis=basis.get((use.path, use.line), NAME)) for use in uses]
        return [use for use in marked if use.basis != OTHER]

    def _defining(self, names: Sequence[str]) -> Mapping[str, Parsed]:
        """Parse the documents that define classes of these names."""
        return self._matching(
            rf"\b(?:{_CLASSES})\s+(?:{'|'.join(map(re.escape, some))})\b"
            for some in _batches(names)
        )

    def _defining_any(self, names: Sequence[str]) -> Mapping[str, Parsed]:
        """Parse the documents that seem to define one of these names."""
        return self._matching(map(definition_pattern, _batches(names)))

    def _matching(self, patterns: Iterable[str]) -> Mapping[str, Parsed]:
        """Parse the documents of code that have a line of one of these patterns."""
        hits = (hit for pattern in patterns for hit in self._look(pattern).hits)
        return self._symbols.parsed(
            dict.fromkeys(hit.path for hit in hits if language(hit.path) in CODE)
        )

    def _use(self, path: str, line: int, kind: str, parsed: Parsed, text: str | None = None) -> Use:
        ref = str(Ref(self._name, path, "", Lines(line, line)))
        shown = self._first_line(path, line) if text is None else text.strip()
        return Use(ref, kind, path, line, qualified.around(parsed, line), shown)

    def _symbol(self, path: str, item: Definition) -> Symbol:
        text = self.headline(path, item)
        return Symbol(
            self._ref(path, item), item.name, item.kind, item.owner, path, item.line, text
        )

    def _call(self, place: Place, parsed: Parsed, target: tuple[str, Definition] | None) -> Call:
        path, name, line = place
        ref = str(Ref(self._name, path, "", Lines(line, line)))
        inside = qualified.around(parsed, line)
        known = self._ref(*target) if target else ""
        return Call(ref, name, path, line, inside, self._first_line(path, line), known)

    def _heir(self, found: Found) -> Heir:
        path, item = found.path, found.item
        return Heir(
            self._ref(path, item), qualified.full(item), item.kind, path, item.line,
            self.headline(path, item), found.base, found.depth, found.basis,
        )  # fmt: skip

    def _ref(self, path: str, item: Definition) -> str:
        return str(Ref(self._name, path, "", Lines(item.line, item.stop)))

    def _line(self, path: str, line: int) -> str:
        return "".join(self._lines(path, line, line))

    def _lines(self, path: str, first: int, last: int) -> list[str]:
        raw = self._corpus.line_bytes(path, first, last)
        return [line.decode("utf-8", "replace") for line in raw]

    def _first_line(self, path: str, line: int) -> str:
        return self._line(path, line).strip()[:200]

    def _containing(self, words: Sequence[str], whole: bool = False) -> tuple[list[str], _Looked]:
        """Return the documents that contain one of these words, also within a longer one."""
        some = [word for word in words if word]
        if not some:
            every = [path for path in self._corpus.paths() if language(path) in CODE]
            return every, _Looked((), True, "")
        paths: dict[str, None] = {}
        exact, notes = True, {}
        for few in _batches(some):
            pattern = "|".join(map(qualified.whole_word if whole else re.escape, few))
            # The first line of each document is enough, so as many are asked for as there are.
            query = searching.Query(f"(?:{pattern})", limit=0, spread=True)
            count = searching.search(self._corpus, query, None).documents
            found = searching.search(self._corpus, replace(query, limit=count), None)
            paths.update(dict.fromkeys(hit.path for hit in found.hits))
            exact = exact and found.exact
            notes.update(dict.fromkeys([found.note] if found.note else []))
        return list(paths), _Looked((), exact, " ".join(notes))


def _batches(words: Sequence[str]) -> Iterator[list[str]]:
    """Give words in groups that are looked for together."""
    batch: list[str] = []
    size = 0
    for word in words:
        if batch and size + len(word) > _TOGETHER:
            yield batch
            batch, size = [], 0
        batch.append(word)
        size += len(word) + 4
    if batch:
        yield batch
