"""What a definition calls, and which definition each call means."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rlm_mcp.corpus.code.symbol_uses import OutgoingCall
from tests.project import OpenProject, Work

Make = Callable[..., OpenProject]

BASE = """class Base:
    def save(self):
        pass
"""
MAIN = """import json
from outside import strange
from app.base import Base
from app import tools
from .tools import clean as wash, trim

class Store(Base):
    def put(self, item):
        self.save()
        self.check(item)
        item.save()
        trim(item)
        tools.clean(item)
        len(item)
        only_here()
        strange()
        trim = item
        return json.dumps(local())

    def check(self, item):
        return [twice(x) for x in item]

def local():
    twice = local
    return twice()
"""
TOOLS = """def clean(text): pass
def trim(text): pass
def twice(x): pass
"""


@pytest.fixture
def code(work: Work, catalog_of: Make) -> OpenProject:
    work.write("app/__init__.py", "")
    work.write("app/base.py", BASE)
    work.write("app/main.py", MAIN)
    work.write("app/tools.py", TOOLS)
    work.write("lib/far.py", "def only_here(): pass\ndef len(x): pass\ndef strange(): pass\n")
    work.write("lib/far.js", "function only_here() {}\n")
    return catalog_of(work.path)


def calls(catalog: OpenProject, name: str) -> list[OutgoingCall]:
    return list(catalog.call_method("repo", "callees", [name], {}))


def test_each_call_inside_a_definition_is_given_with_what_it_means(code: OpenProject) -> None:
    assert [(one.line, one.name, one.target) for one in calls(code, "Store.put")] == [
        (9, "save", "repo:app/base.py#L2-L3"),
        (10, "check", "repo:app/main.py#L20-L21"),
        (11, "save", ""),
        (12, "trim", ""),
        (13, "clean", "repo:app/tools.py#L1"),
        (14, "len", ""),
        (15, "only_here", "repo:lib/far.py#L1"),
        (16, "strange", ""),
        (18, "dumps", ""),
        (18, "local", "repo:app/main.py#L23-L25"),
    ]


def test_a_class_calls_what_its_methods_call(code: OpenProject) -> None:
    found = calls(code, "Store")
    assert {one.inside for one in found} == {"Store.put", "Store.check"}
    assert (found[-1].name, found[-1].target) == ("twice", "repo:app/tools.py#L3")
    assert found[-1].text == "return [twice(x) for x in item]"


def test_a_name_that_a_function_binds_itself_has_no_target(code: OpenProject) -> None:
    assert [(one.name, one.target) for one in calls(code, "local")] == [("twice", "")]


SAMPLES = {
    "js": ("a.js", "import {far} from './b'\nfunction main() { far(); near() }\n"
           "function near() {}\n",
           "b.js", "export function far() {}\n"),
    "go": ("p/a.go", "package p\nfunc main() { far(); near() }\nfunc near() {}\n",
           "p/b.go", "package p\nfunc far() {}\n"),
    "rust": ("src/a.rs", "use crate::b::far;\nfn main() { far(); near() }\nfn near() {}\n",
             "src/b.rs", "pub fn far() {}\n"),
    "java": ("p/A.java", "class A { void main() { B.far(); near(); } void near() {} }\n",
             "p/B.java", "class B { static void far() {} }\n"),
    "c": ("a.c", "int near(void) { return 1; }\nint main(void) { return far() + near(); }\n",
          "b.c", "int far(void)\n{\n  return 1;\n}\n"),
    "ruby": ("a.rb", "require_relative 'b'\ndef main\n  far()\n  near()\nend\ndef near; end\n",
             "b.rb", "def far; end\n"),
    "php": ("a.php", "<?php\nfunction main() { far(); near(); }\nfunction near() {}\n",
            "b.php", "<?php\nfunction far() {}\n"),
    "bash": ("a.sh", "near() { :; }\nmain() {\n  far\n  near\n}\n", "b.sh", "far() { :; }\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_calls_of_other_documents_are_found_in_each_language(
    name: str, work: Work, catalog_of: Make
) -> None:
    here, text, there, other = SAMPLES[name]
    work.write(here, text)
    work.write(there, other)
    found = {one.name: one.target.partition("#")[0] for one in calls(catalog_of(work.path), "main")}
    assert found == {"far": f"repo:{there}", "near": f"repo:{here}"}


def test_a_limit_leaves_the_total(code: OpenProject) -> None:
    found = code.call_method("repo", "callees", ["Store.put"], {"limit": 2})
    assert (len(found), found.total) == (2, 10)


def test_very_many_calls_with_long_names_are_looked_up(work: Work, catalog_of: Make) -> None:
    names = [f"step_{number}_{'with_a_very_long_name' * 5}" for number in range(150)]
    work.write("a.py", "def main():\n" + "".join(f"    {name}()\n" for name in names))
    work.write("b.py", "".join(f"def {name}(): pass\n" for name in names))
    found = calls(catalog_of(work.path), "main")
    assert [one.target for one in found] == [f"repo:b.py#L{line}" for line in range(1, 151)]
