from __future__ import annotations

from collections.abc import Callable

import pytest

from rlm_mcp.corpus.code.symbol_uses import SymbolDefinition, SymbolUse
from rlm_mcp.errors import BadRequest
from tests.project import OpenProject, Work

Make = Callable[..., OpenProject]

CORE = '''"""Core."""
import json

LIMIT = 10


class Store:
    def load(self, name):
        return parse(self.read(name))

    def read(self, name):
        return name


def parse(text):
    """parse is the word."""
    return json.loads(text)
'''
USER = """from pkg.core import Store, parse
from . import core

def main():
    store = Store()
    handler = parse
    return parse(store.load("x"))
"""
TEST = """from pkg.core import parse

def test_parse():
    assert parse("1") == 1
"""


@pytest.fixture
def code(work: Work, catalog_of: Make) -> OpenProject:
    work.commit(
        "one",
        pkg____init___dot_py="",
        pkg__core_dot_py=CORE,
        pkg__user_dot_py=USER,
        tests__test_core_dot_py=TEST,
        readme_dot_md="# Use parse\n",
    )
    work.write("pkg/__init__.py", "")
    return catalog_of(work.path)


def _symbols(code: OpenProject, *args: str, **kwargs: str) -> list[SymbolDefinition]:
    found = code.call_method("repo", "symbols", args, kwargs)
    assert all(isinstance(item, SymbolDefinition) for item in found)
    return list(found)


def _uses(code: OpenProject, method: str, *args: str) -> list[SymbolUse]:
    return list(code.call_method("repo", method, args, {}))


def test_symbols_gives_the_whole_span_of_a_definition(code: OpenProject) -> None:
    found = _symbols(code, "Store")
    assert [(item.ref, item.kind) for item in found] == [("repo:pkg/core.py#L7-L12", "class")]
    assert code.full_text(found[0].ref).startswith("class Store:")


def test_symbols_can_be_asked_by_owner_star_and_kind(code: OpenProject) -> None:
    assert [item.owner for item in _symbols(code, "Store.load")] == ["Store"]
    assert _symbols(code, "Other.load") == []
    assert [item.name for item in _symbols(code, "*ar*e")] == ["parse", "test_parse"]
    assert [item.name for item in _symbols(code, "*", kind="class")] == ["Store"]
    assert [item.kind for item in _symbols(code, "LIMIT")] == ["constant"]


def test_references_say_what_each_line_is(code: OpenProject) -> None:
    found = _uses(code, "references", "parse")
    assert [(use.path, use.line, use.kind) for use in found] == [
        ("pkg/core.py", 9, "call"),
        ("pkg/core.py", 16, "mention"),
        ("pkg/user.py", 1, "import"),
        ("pkg/user.py", 6, "mention"),
        ("pkg/user.py", 7, "call"),
        ("tests/test_core.py", 1, "import"),
        ("tests/test_core.py", 4, "call"),
    ]


def test_callers_name_the_definition_around_a_call(code: OpenProject) -> None:
    found = _uses(code, "callers", "parse")
    assert [use.inside for use in found] == ["Store.load", "main", "test_parse"]


def test_importers_understand_absolute_and_relative_imports(code: OpenProject) -> None:
    found = _uses(code, "importers", "pkg/core.py")
    assert [(use.path, use.line) for use in found] == [
        ("pkg/user.py", 1),
        ("pkg/user.py", 2),
        ("tests/test_core.py", 1),
    ]
    with pytest.raises(BadRequest, match=r"Did you mean pkg/core\.py"):
        code.call_method("repo", "importers", ["pkg/cores.py"], {})


def test_a_map_shows_what_is_used_most_within_its_budget(code: OpenProject) -> None:
    text = code.call_method("repo", "map", [], {"tokens": 200})
    assert "repo:pkg/core.py" in text
    assert "def parse(text):" in text
    assert "test_parse" not in text
    assert len(text) < 200 * 5


def test_an_edit_is_parsed_anew(code: OpenProject, work: Work) -> None:
    assert len(_symbols(code, "parse")) == 1
    work.write("pkg/more.py", "def parse():\n    pass\n")
    work.write("pkg/core.py", CORE.replace("def parse", "def reparse"))
    import time

    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        paths = [item.path for item in _symbols(code, "parse")]
        if paths == ["pkg/more.py"]:
            break
    assert paths == ["pkg/more.py"]


@pytest.mark.parametrize(
    ("files", "target", "importers"),
    [
        ({"a/x.ts": "export const k=1", "a/y.ts": 'import {k} from "./x"'}, "a/x.ts", ["a/y.ts"]),
        ({"i/index.js": "", "m.js": 'const q = require("./i")'}, "i/index.js", ["m.js"]),
        ({"p/q/q.go": "package q", "m.go": 'package m\nimport "ex.org/p/q"'}, "p/q/q.go", ["m.go"]),
        ({"s/a.h": "", "s/a.c": '#include "a.h"\n', "b.c": "#include <z.h>"}, "s/a.h", ["s/a.c"]),
        ({"s/B.java": "class B{}", "C.java": "import s.B;\nclass C{}"}, "s/B.java", ["C.java"]),
        ({"src/a/b.rs": "", "src/m.rs": "use crate::a::b::C;"}, "src/a/b.rs", ["src/m.rs"]),
        ({"src/b.rs": "", "src/main.rs": "mod b;"}, "src/b.rs", ["src/main.rs"]),
        ({"l/a.rb": "", "l/b.rb": "require_relative 'a'"}, "l/a.rb", ["l/b.rb"]),
        ({"S/A/B.php": "<?php", "c.php": "<?php\nuse App\\A\\B;"}, "S/A/B.php", ["c.php"]),
        ({"N.cs": "namespace N.M { }", "P.cs": "using N.M;"}, "N.cs", ["P.cs"]),
        ({"lib.sh": "", "m.sh": "source ./lib.sh\n"}, "lib.sh", ["m.sh"]),
        ({"N.cs": "namespace N.M;\nclass N {}", "P.cs": "using static N.M.N;"}, "N.cs", ["P.cs"]),
        ({"i/c.php": "<?php", "m.php": "<?php\nrequire 'i/c.php';"}, "i/c.php", ["m.php"]),
        ({"A/M/U.php": "<?php", "m.php": "<?php\nuse A\\M\\{U, V};"}, "A/M/U.php", ["m.php"]),
        ({"src/a/b.rs": "", "src/m.rs": "use crate::{x::Y, a::{b}};"}, "src/a/b.rs", ["src/m.rs"]),
        ({"src/a/b.rs": "", "src/a/c.rs": "use super::b::T;"}, "src/a/b.rs", ["src/a/c.rs"]),
        ({"c/U.java": "", "D.java": "import static c.U.of;\nclass D{}"}, "c/U.java", ["D.java"]),
        ({"l/u.sh": "", "m.sh": '. "$(dirname "$0")/l/u.sh"\n'}, "l/u.sh", ["m.sh"]),
        ({"a/x.ts": "", "a/y.ts": 'import x = require("./x");'}, "a/x.ts", ["a/y.ts"]),
        ({"src/p/m.py": "", "src/p/__init__.py": "", "t.py": "import p.m"}, "src/p/m.py", ["t.py"]),
    ],
)  # fmt: skip
def test_importers_in_every_language(
    work: Work, catalog_of: Make, files: dict[str, str], target: str, importers: list[str]
) -> None:
    for name, text in files.items():
        work.write(name, text + "\n")
    work.commit("one")
    catalog = catalog_of(work.path)
    found = catalog.call_method("repo", "importers", [target], {})
    assert [use.path for use in found] == importers


@pytest.mark.parametrize(
    ("file", "text", "asked", "owner", "callers"),
    [
        ("a.cpp", "void S<T>::push(int v) {}\nvoid f() { s.push(1); }", "S::push", "S", [2]),
        ("a.cpp", "S::~S() {}\n", "S::~S", "S", []),
        ("a.rb", "class A\n  def ok?; end\n  def b; ok?; end\nend", "A#ok?", "A", [3]),
        ("a.js", "class A { #x() {}\n f() { this.#x(); } }", "#x", "A", [2]),
        ("a.php", "<?php class A { function go() {} }\nA::go();", "A::go", "A", [2]),
        ("a.sh", "log::x() { :; }\nlog::x 1\n", "log::x", "log", [2]),
        ("a.rs", "impl<T> P<T> { fn new() {} }\nfn f() { P::<u8>::new(); }", "P::new", "P", [2]),
        ("a.go", "package a\nfunc (s *S[K]) Get() {}\nfunc f() { s.Get() }", "S.Get", "S", [3]),
    ],
)
def test_names_may_be_written_as_their_language_does(
    work: Work, catalog_of: Make, file: str, text: str, asked: str, owner: str, callers: list[int]
) -> None:
    work.write(file, text)
    catalog = catalog_of(work.path)
    assert [item.owner for item in _symbols(catalog, asked)] == [owner]
    assert [use.line for use in _uses(catalog, "callers", asked)] == callers


def test_a_header_of_cpp_is_read_as_cpp(work: Work, catalog_of: Make) -> None:
    work.write("a.h", "#pragma once\nnamespace n {\nclass A {\n  int size() const;\n};\n}\n")
    found = _symbols(catalog_of(work.path), "A.size")
    assert [(item.kind, item.line) for item in found] == [("method", 4)]


def test_a_definition_is_shown_by_the_line_with_its_name(work: Work, catalog_of: Make) -> None:
    work.write("a.c", "static int\nf(int x)\n{\n  return x;\n}\n")
    assert [(i.line, i.text) for i in _symbols(catalog_of(work.path), "f")] == [(1, "f(int x)")]


def test_hostile_names_are_only_text(code: OpenProject) -> None:
    for name in (".*", "(", "a" * 5_000, "*" * 200, "x.y.z.", "\\", "a*b*c*d*e*f*g*h*", ""):
        for method in ("symbols", "references", "callers"):
            assert isinstance(code.call_method("repo", method, [name], {}), list), (method, name)


def test_what_was_built_stands_behind_what_was_written(work: Work, catalog_of: Make) -> None:
    source = "def shape(x):\n    return x\n\n\ndef use():\n    return shape(1)\n"
    work.commit("one", src__a_dot_py=source, dist__a_dot_py=source)
    work.commit("two", b_dot_py="from src.a import shape\n")
    catalog = catalog_of(work.path)
    found = catalog.call_method("repo", "symbols", ["shape"], {})
    assert isinstance(found, list)
    assert [item.path for item in found] == ["src/a.py", "dist/a.py"]
    assert "dist/" not in str(catalog.call_method("repo", "map", [], {}))
    assert "dist/a.py" in str(catalog.call_method("repo", "map", [], {"path": "dist"}))


@pytest.mark.parametrize(
    ("path", "source", "name", "lines"),
    [
        ("a.py", "class A(B):\n    def stop(self): return super().stop()\n", "stop", [2]),
        ("a.py", "def fib(n): return fib(n - 1)\n", "fib", [1]),
        ("a.c", "int twice(int x){return x?twice(x-1):0;}\n", "twice", [1]),
        ("a.py", "def ümlaut():\n    pass\n\n\nümlaut()\n", "ümlaut", [5]),
        ("a.ts", "$load();\nload();\nload$(1);\n", "load", [2]),
    ],
)
def test_calls_are_found_beside_a_definition_and_by_whole_names(
    work: Work, catalog_of: Make, path: str, source: str, name: str, lines: list[int]
) -> None:
    work.commit("one", **{path.replace(".", "_dot_"): source})
    found = catalog_of(work.path).call_method("repo", "callers", [name], {})
    assert isinstance(found, list)
    assert [item.line for item in found] == lines


@pytest.mark.parametrize("name", ["#load", "load", "Store.#load", "Store#load", "Store.load"])
def test_a_private_name_of_javascript_is_found_with_its_mark_and_without(
    name: str, work: Work, catalog_of: Make
) -> None:
    work.write("a.js", "class Store {\n  #load() {}\n  get() { return this.#load() }\n}\n")
    catalog = catalog_of(work.path)
    assert [item.name for item in _symbols(catalog, name)] == ["#load"]
    assert [use.line for use in _uses(catalog, "callers", name)] == [3]
