from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rlm_mcp.corpus.code import parse_pool
from rlm_mcp.corpus.code.grammar import LANGUAGES, parse_document
from rlm_mcp.corpus.code.symbols import SymbolIndex
from rlm_mcp.corpus.store import open_corpus
from rlm_mcp.corpus.store.corpus import Corpus

SAMPLES = {
    "a.py": b"class A(B):\n    def f(self):\n        return g(h)\n",
    "a.js": b"class A extends B { f() { g(); } }\n",
    "a.ts": b"abstract class A extends B { f(): void { g(); } }\n",
    "a.tsx": b"class A extends B { f() { return <p>{g()}</p>; } }\n",
    "a.go": b"package a\ntype A struct{}\nfunc (a A) f() { g() }\n",
    "a.rs": b"struct A;\nimpl B for A { fn f(&self) { g(); } }\n",
    "a.java": b"class A extends B { void f() { g(); } }\n",
    "a.c": b"struct A { int x; };\nstatic int *\nf(int x)\n{\n  return g(x);\n}\n",
    "a.cpp": b"class A : public B { int f() { return g(); } };\n",
    "a.cs": b"class A : B { void f() { g(); } }\n",
    "a.rb": b"class A < B\n  def f\n    g(1)\n  end\nend\n",
    "a.php": b"<?php\nclass A extends B { function f() { g(); } }\n",
    "a.sh": b"A=1\nf() { g; }\n",
}


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    folder = tmp_path / "tree"
    folder.mkdir()
    for name, data in SAMPLES.items():
        (folder / name).write_bytes(data)
    (folder / "notes.md").write_text("# Heading\n")
    made = open_corpus.open_folder(folder, cache=tmp_path / "cache")
    yield made
    made.close()


@pytest.fixture
def symbols(corpus: Corpus, tmp_path: Path) -> Iterator[SymbolIndex]:
    made = SymbolIndex(corpus, tmp_path / "cache")
    yield made
    made.close()


def test_there_is_a_sample_for_every_language() -> None:
    from rlm_mcp.corpus.code.language import language_of

    assert {language_of(name) for name in SAMPLES} == LANGUAGES


@pytest.mark.parametrize("path", SAMPLES)
def test_definitions_and_calls_of_every_language(symbols: SymbolIndex, path: str) -> None:
    parsed = symbols.parse_path(path)
    assert {"A", "f"} <= set(parsed.names)
    assert "g" in parsed.uses["call"]
    if path not in ("a.go", "a.c", "a.sh"):
        assert "B" in parsed.uses["base"]


def test_a_document_without_a_grammar_has_its_outline(symbols: SymbolIndex) -> None:
    assert list(symbols.parse_path("notes.md").names) == ["Heading"]
    assert symbols.parse_path("no such document").definitions == []


def test_spans_cover_whole_definitions(symbols: SymbolIndex) -> None:
    found = {item.name: (item.line, item.stop) for item in symbols.parse_path("a.c").definitions}
    assert found["f"] == (2, 6)
    assert {item.name: item.owner for item in symbols.parse_path("a.py").definitions}["f"] == "A"


def test_what_is_known_is_not_parsed_again(
    symbols: SymbolIndex, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: item.columns for path, item in symbols.parse_paths(SAMPLES).items()}

    def never(*_: object, **__: object) -> Iterator[tuple[str, str]]:
        raise AssertionError("parsed again")

    monkeypatch.setattr(parse_pool, "parse_all", never)
    other = SymbolIndex(corpus, tmp_path / "cache")
    assert {path: item.columns for path, item in other.parse_paths(SAMPLES).items()} == before
    other.close()


def test_a_changed_document_is_parsed_again(
    symbols: SymbolIndex, corpus: Corpus, tmp_path: Path
) -> None:
    symbols.parse_path("a.py")
    (tmp_path / "tree" / "a.py").write_bytes(b"def other(): pass\n" * 3)
    corpus.refresh()
    assert set(symbols.parse_path("a.py").names) == {"other"}


def test_a_broken_cache_is_made_again(corpus: Corpus, tmp_path: Path) -> None:
    first = SymbolIndex(corpus, tmp_path / "cache")
    first.parse_path("a.py")
    first.close()
    for path in (tmp_path / "cache").glob("symbols-*"):
        path.write_bytes(b"not a database at all" * 100)
    again = SymbolIndex(corpus, tmp_path / "cache")
    assert "A" in again.parse_path("a.py").names
    again.close()


def test_a_worker_that_dies_costs_one_document(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path(os.fspath(corpus.snapshot.text.name))
    spans = dict(zip(corpus.document_paths(), corpus.document_spans(), strict=True))
    good = parse_pool.ParseJob("good", "python", *spans["a.py"])
    # A language that the worker does not know ends it, as a crash would.
    bad = parse_pool.ParseJob("bad", "nonsense", *spans["a.py"])
    answers = dict(parse_pool.parse_all(text, [good, bad, replace(good, key="last")]))
    assert answers["bad"] == ""
    assert answers["good"] and answers["last"]


def test_a_document_that_takes_too_long_is_given_up(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parse_pool, "DOCUMENT_LIMIT_S", 0.001)
    text = Path(os.fspath(corpus.snapshot.text.name))
    job = parse_pool.ParseJob("slow", "python", *corpus.document_spans()[0])
    assert dict(parse_pool.parse_all(text, [job])) == {"slow": ""}


def test_no_worker_is_left_behind(corpus: Corpus) -> None:
    text = Path(os.fspath(corpus.snapshot.text.name))
    jobs = [parse_pool.ParseJob(str(n), "python", *corpus.document_spans()[0]) for n in range(300)]
    made = parse_pool.parse_all(text, jobs)
    next(iter(made))
    made.close()  # type: ignore[attr-defined]
    assert _children("rlm_mcp.corpus.code.parse_pool") == []


def test_deep_and_broken_code_is_no_error() -> None:
    for language in sorted(LANGUAGES):
        for data in (b"(" * 3_000, b"\x00\xff" * 500, b"class A {" * 500, b""):
            parse_document(language, data)


def _children(word: str) -> list[str]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                status = Path(f"/proc/{entry}/status").read_text()
                line = Path(f"/proc/{entry}/cmdline").read_text()
            except OSError:
                continue
            if f"PPid:\t{os.getpid()}\n" in status and word in line and "State:\tZ" not in status:
                found.append(line)
    return found
