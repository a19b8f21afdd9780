from __future__ import annotations

import pytest

from rlm_mcp.corpus.code.text_outline import outline_document

SAMPLES = {
    "a.py": ("class A:\n    def f(self): pass\nasync def g(): pass\n", ["A", "f", "g"]),
    "a.js": ("export function f() {}\nclass A {}\nconst x = 1\n", ["f", "A", "x"]),
    "a.ts": ("export interface I {}\nexport type T = 1\nenum E {}\n", ["I", "T", "E"]),
    "a.go": ("package a\nfunc (r *T) M() {}\ntype T struct {}\n", ["M", "T"]),
    "a.rs": ("pub fn f() {}\nstruct S;\nimpl S { fn g() {} }\n", ["f", "S", "S"]),
    "a.java": ("public class A {\n  public int f(int a) {\n  }\n}\n", ["A", "f"]),
    "a.c": ("static int\nfoo(int a)\n{\n}\nint bar(void)\n{\n}\nstruct s {\n", ["foo", "bar", "s"]),
    "a.cpp": ("class A {\n};\nint A::f() {\n}\n", ["A", "A::f"]),
    "a.cs": ("public class A {\n  private void F(int x)\n  {\n}\n", ["A", "F"]),
    "a.rb": ("module M\n  class A\n    def f?\n", ["M", "A", "f?"]),
    "a.php": ("<?php\nclass A {\n  public function f() {}\n", ["A", "f"]),
    "a.sh": ("f() {\n}\nfunction g {\n}\n", ["f", "g"]),
    "a.kt": ("class A {\n  fun f() {}\n", ["A", "f"]),
    "a.sql": ("CREATE TABLE IF NOT EXISTS t (x int);\n", ["t"]),
    "a.md": ("# One\n```\n# not\n```\n## Two\n", ["One", "Two"]),
    "a.rst": ("Title\n=====\n\nPart\n----\n", ["Title", "Part"]),
    "a.toml": ("[a]\nx = 1\n[[b]]\n", ["a", "b"]),
}


@pytest.mark.parametrize("path", SAMPLES)
def test_definitions_and_headings_are_found(path: str) -> None:
    text, names = SAMPLES[path]
    assert [symbol.name for symbol in outline_document(path, text.encode())] == names


def test_lines_count_from_one_and_spans_nest() -> None:
    text = b"\nclass A:\n    def f(self):\n        pass\n\n    def g(self):\n        pass\nx = 1\n"
    found = [(item.name, item.line, item.depth) for item in outline_document("a.py", text)]
    assert found == [("A", 2, 0), ("f", 3, 1), ("g", 6, 1)]


def test_headings_have_their_level_and_end_before_the_next() -> None:
    found = outline_document("a.md", b"# A\ntext\n## B\ntext\n# C\ntext\n")
    assert [(item.name, item.depth, item.line, item.end) for item in found] == [
        ("A", 0, 1, 4),
        ("B", 1, 3, 4),
        ("C", 0, 5, 6),
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_headings_of_markdown_are_those_that_are_rendered(ending: str) -> None:
    text = (
        "---\ntitle: x\n---\n# One #1\n\nTwo\n===\n\n````md\n# no\n```\n# no\n````\n"
        "~~~\n# no\n```\n~~~\n### Three\n- item\n---\n\nFour\n---\n"
    ).replace("\n", ending)
    found = [(item.name, item.depth, item.line) for item in outline_document("a.md", text.encode())]
    assert found == [("One #1", 0, 4), ("Two", 0, 6), ("Three", 2, 18), ("Four", 1, 22)]


def test_underlined_headings_of_other_texts_stand_windows_lines() -> None:
    found = outline_document("a.rst", b"Title\r\n=====\r\n\r\nPart\r\n----\r\n")
    assert [(item.name, item.line) for item in found] == [("Title", 1), ("Part", 4)]


@pytest.mark.parametrize("path", ["a.bin", "a.xyz", "noext", "a.json"])
def test_other_kinds_have_nothing_and_no_error(path: str) -> None:
    assert outline_document(path, b"\x00\xff whatever\ndef f(): pass\n") == []


def test_hostile_text_is_no_error_and_no_wait() -> None:
    for path in SAMPLES:
        outline_document(path, b"\xff\x00" * 10_000)
        outline_document(path, b"(" * 200_000)
        outline_document(path, b"class " * 50_000)
        outline_document(path, b"")


def test_a_script_is_known_by_its_first_line() -> None:
    assert [
        item.name for item in outline_document("run", b"#!/usr/bin/env python3\ndef f(): pass\n")
    ] == ["f"]
