"""Questions about code that need its structure: who defines, uses, calls, imports, matters.

A name is looked up in the text first, so only documents that contain it are parsed. References
are every line with the name; the parse says what each one is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rlm_mcp.contexts.modules import Modules
from rlm_mcp.contexts.owners import NAME, OTHER, Line, Owners
from rlm_mcp.corpus import graph, imports, tokens
from rlm_mcp.corpus import search as searching
from rlm_mcp.corpus.grammar import Definition, Parsed
from rlm_mcp.corpus.language import CODE, is_built, is_doc, is_test, language
from rlm_mcp.corpus.pack import Corpus
from rlm_mcp.corpus.symbols import Symbols
from rlm_mcp.errors import BadRequest, did_you_mean
from rlm_mcp.refs import Lines, Ref

MAX_LINES = 20_000
"""Lines with a name that are looked at."""
MAX_MAPPED = 8_000
"""Documents that a map is drawn from."""


_CLASSES = "class|struct|interface|trait|impl|enum|module|record|object|type"
"""Words that a class is defined with, in one language or another."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A definition; `text` is its first line."""

    ref: str
    name: str
    kind: str
    owner: str
    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Use:
    """A line that uses a name: kind is call, base, type, import or mention."""

    ref: str
    kind: str
    path: str
    line: int
    inside: str
    """The definition that the line stands in, as Class.method."""
    text: str
    basis: str = ""
    """For Owner.name, how it is known that the owner's is meant: class, variable, override, module
    (owners.py), or name: the name fits and nothing else is known."""


class Code:
    """The structure of a corpus, under a variable's name."""

    def __init__(self, name: str, corpus: Corpus, cache: Path) -> None:
        self._name = name
        self._corpus = corpus
        self._symbols = Symbols(corpus, cache)
        self._rated: tuple[tuple[int, list[str]], list[graph.Rated]] | None = None
        """What was rated last, for which state and documents of the corpus."""

    @property
    def methods(self) -> Mapping[str, Callable[..., object]]:
        return {
            "symbols": self.symbols,
            "references": self.references,
            "callers": self.callers,
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

    def symbols(self, name: str, kind: str = "", limit: int = 50) -> list[Symbol]:
        """symbols(name, kind="", limit=50) -> definitions; get_* and Class.name work"""
        wanted = _pattern(name)
        parsed = self._symbols.parsed(self._containing(_words(name)))
        found = [
            self._symbol(path, item)
            for path, known in parsed.items()
            for item in known.definitions
            if wanted(item) and (item.kind == kind or (not kind and item.kind != "heading"))
        ]
        return sorted(found, key=_order)[: max(0, limit)]

    def references(self, name: str, limit: int = 200) -> list[Use]:
        """references(name, limit=200) -> lines that use a name (or Class.name), and how"""
        uses = [use for use in self._uses(name) if use.kind != "definition"]
        return sorted(uses, key=_surest)[: max(0, limit)]

    def callers(self, name: str, limit: int = 100) -> list[Use]:
        """callers(name, limit=100) -> lines that call a name, and the definition around each;
        for Class.name or module.name those of another owner are left out, and `basis` says how the
        owner is known, surest first ("name": by nothing but the name)"""
        uses = [use for use in self._uses(name) if use.kind == "call"]
        return sorted(uses, key=_surest)[: max(0, limit)]

    def importers(self, path: str, limit: int = 200) -> list[Use]:
        """importers(path, limit=200) -> lines that import a document"""
        paths = self._corpus.paths()
        if self._corpus.document(path) is None:
            raise BadRequest(f"{self._name} has no document {path!r}.{did_you_mean(path, paths)}")
        known = set(paths)
        modules = [item.name for item in self.definitions(path) if item.kind == "module"]
        found = []
        words = [imports.telling(path), *modules]
        for other, parsed in self._symbols.parsed(self._containing(words)).items():
            kind = language(other)
            lines = {
                line
                for text, places in parsed.uses.get("import", {}).items()
                if imports.means(kind, other, text, path, known, modules)
                for line in places
            }
            found += [self._use(other, line, "import", parsed) for line in sorted(lines)]
        return sorted(found, key=_order)[: max(0, limit)]

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

    def _uses(self, name: str) -> list[Use]:
        word = _parts(name)[-1]
        if not word:
            return []
        alone = re.compile(rf"(?<![\w$]){re.escape(word)}(?![\w$])")
        query = searching.Query(_whole_word(word), limit=MAX_LINES)
        hits = searching.search(self._corpus, query, None).hits
        parsed = self._symbols.parsed(dict.fromkeys(hit.path for hit in hits))
        uses = []
        kinds = {path: _kinds(item, word) for path, item in parsed.items()}
        for hit in hits:
            kind = kinds.get(hit.path, {}).get(hit.line, "mention")
            spoken = language(hit.path)
            if kind == "mention" and spoken not in CODE:
                continue
            if spoken in _DOLLARS and not hit.cut and not alone.search(hit.text):
                continue
            uses.append(self._use(hit.path, hit.line, kind, parsed[hit.path], hit.text))
        owner = ".".join(filter(None, _parts(name)[:-1]))
        return self._owned(owner, word, uses, parsed) if owner else uses

    def _owned(
        self, owner: str, word: str, uses: Sequence[Use], parsed: Mapping[str, Parsed]
    ) -> list[Use]:
        """Return the uses of a name that may be those of its owner, with what speaks for it."""
        classes = Owners(owner, word, self._defining)
        classes.add(parsed)
        judge: Owners | Modules = classes
        if not classes.known:
            judge = Modules(owner, word, self._corpus.paths(), parsed)
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
        some = "|".join(map(re.escape, names))
        query = searching.Query(rf"\b(?:{_CLASSES})\s+(?:{some})\b", limit=MAX_LINES)
        hits = searching.search(self._corpus, query, None).hits
        paths = dict.fromkeys(hit.path for hit in hits if language(hit.path) in CODE)
        return self._symbols.parsed(paths)

    def _use(self, path: str, line: int, kind: str, parsed: Parsed, text: str | None = None) -> Use:
        ref = str(Ref(self._name, path, "", Lines(line, line)))
        shown = self._first_line(path, line) if text is None else text.strip()
        return Use(ref, kind, path, line, _around(parsed, line), shown)

    def _symbol(self, path: str, item: Definition) -> Symbol:
        ref = str(Ref(self._name, path, "", Lines(item.line, item.stop)))
        text = self.headline(path, item)
        return Symbol(ref, item.name, item.kind, item.owner, path, item.line, text)

    def _first_line(self, path: str, line: int) -> str:
        raw = self._corpus.line_bytes(path, line, line)
        return raw[0].decode("utf-8", "replace").strip()[:200] if raw else ""

    def _containing(self, words: Sequence[str]) -> list[str]:
        """Return the code documents that contain one of these words."""
        some = "|".join(re.escape(word) for word in words if word)
        if not some:
            return [path for path in self._corpus.paths() if language(path) in CODE]
        query = searching.Query(f"(?:{some})", limit=MAX_LINES)
        hits = searching.search(self._corpus, query, None).hits
        return list(dict.fromkeys(hit.path for hit in hits))


def _pattern(name: str) -> Callable[[Definition], bool]:
    """Return a test of definitions by name: exact, with `*`, or with an owner (Class.name)."""
    *owners, last = _parts(name)
    owner = ".".join(owners)
    pieces = last.split("*")

    def fits(item: Definition) -> bool:
        if item.name == name:
            return True
        if owner and not f".{item.owner}".endswith(f".{owner}"):
            return False
        if len(pieces) == 1:
            return item.name == last
        return _star(item.name, pieces)

    return fits


def _star(text: str, pieces: Sequence[str]) -> bool:
    """Match `*` in linear time: each piece is found behind the one before it."""
    first, *middle, last = pieces
    if not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return at <= end


def _words(name: str) -> list[str]:
    return [max(_parts(name)[-1].split("*"), key=len)]


def _parts(name: str) -> list[str]:
    """Return a dotted name's parts, whatever its language joins them by."""
    if name.startswith("operator"):
        return [name]
    head, mark, private = name.rpartition("#")  # Ruby's Class#method, but #private in JavaScript
    whole = name if mark and not head else f"{head}.{private}" if mark else name
    return whole.replace("::", ".").replace("\\", ".").replace("->", ".").split(".")


def _whole_word(word: str) -> str:
    """Return a pattern for a name that is not a part of a longer one."""
    # A border of a word is one of ASCII in RE2.
    left = r"\b" if re.match(r"\w", word, re.ASCII) else ""
    right = r"\b" if re.search(r"\w$", word, re.ASCII) else ""
    return f"{left}{re.escape(word)}{right}"


_DOLLARS = frozenset({"javascript", "typescript", "tsx"})
"""Languages in which a name may hold a dollar sign."""
_WEIGHTS = ("type", "import", "call", "base")
"""Kinds of use; where a line has several, the last one says most."""


def _kinds(parsed: Parsed, word: str) -> dict[int, str]:
    """Return what each line of a document does with a word."""
    found: dict[int, str] = {}
    for kind in _WEIGHTS:
        for name, lines in parsed.uses.get(kind, {}).items():
            if _means(kind, name, word):
                found.update(dict.fromkeys(lines, kind))
    for item in parsed.definitions:
        if item.name == word and found.get(item.line) not in ("call", "base"):
            found[item.line] = "definition"
    return found


def _means(kind: str, name: str, word: str) -> bool:
    """Say whether a used name is the word, or holds it as an import or a qualified one does."""
    if name == word:
        return True
    return word in re.split(r"\W+", name) if kind == "import" else name.endswith(f"::{word}")


def _around(parsed: Parsed, line: int) -> str:
    """Return the innermost definition that a line stands in."""
    inside = ""
    for item in parsed.definitions:
        if item.line > line:
            break
        if item.stop >= line and item.kind not in ("constant", "field"):
            inside = f"{item.owner}.{item.name}" if item.owner else item.name
    return inside


def _surest(use: Use) -> tuple[bool, tuple[bool, bool, bool, str, int]]:
    return use.basis == NAME, _order(use)


def _order(item: Symbol | Use) -> tuple[bool, bool, bool, str, int]:
    path = item.path
    return is_built(path), is_test(path), is_doc(path), path, item.line
