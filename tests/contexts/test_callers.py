"""Which lines use the name of an owner: by receivers, inheritance, variables and imports."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rlm_mcp.corpus.code.callers import Receiver, assigned_classes, find_receivers
from tests.project import OpenProject, Work

Make = Callable[..., OpenProject]

SHAPES = """class Shape:
    def area(self):
        return 0

    def show(self):
        return self.area()


class Square(Shape):
    def area(self):
        return super().area() + 1

    def twice(self):
        return 2 * self.area()


class Round(Shape):
    def half(self):
        return self.area() / 2


class Field:
    def area(self):
        return self.area()


class Mixin:
    def more(self):
        return self.area()
"""
USES = """import area
from shapes import Field, Round, Shape, Square


def area():
    return 1


def all_of(thing, shape: Shape, field: "Field"):
    one = Square()
    two = Field()
    shape.area()
    field.area()
    one.area()
    two.area()
    thing.area()
    area()
    Square().area()
    Round().area()
    Shape.area(one)
    area.area()
"""


def _callers(catalog: OpenProject, name: str) -> set[tuple[str, int, str]]:
    return {
        (use.path, use.line, use.basis)
        for use in catalog.call_method("repo", "callers", [name], {})
    }


@pytest.fixture
def shapes(work: Work, catalog_of: Make) -> OpenProject:
    work.write("shapes.py", SHAPES)
    work.write("uses.py", USES)
    return catalog_of(work.path)


def test_callers_of_an_owners_method_leave_out_those_of_others(shapes: OpenProject) -> None:
    assert _callers(shapes, "Shape.area") == {
        ("shapes.py", 6, "class"),
        ("shapes.py", 11, "class"),
        ("shapes.py", 19, "class"),
        ("shapes.py", 29, "name"),
        ("uses.py", 12, "variable"),
        ("uses.py", 16, "name"),
        ("uses.py", 19, "class"),
        ("uses.py", 20, "class"),
    }


def test_a_call_in_a_class_above_may_reach_the_owner(shapes: OpenProject) -> None:
    assert _callers(shapes, "Square.area") == {
        ("shapes.py", 6, "override"),
        ("shapes.py", 14, "class"),
        ("shapes.py", 29, "name"),
        ("uses.py", 12, "override"),
        ("uses.py", 14, "variable"),
        ("uses.py", 16, "name"),
        ("uses.py", 18, "class"),
    }


def test_those_of_the_name_alone_come_last_and_a_plain_name_has_no_basis(
    shapes: OpenProject,
) -> None:
    found = shapes.call_method("repo", "callers", ["Shape.area"], {})
    assert [use.basis for use in found][-2:] == ["name", "name"]
    plain = shapes.call_method("repo", "callers", ["area"], {})
    assert len(plain) == 16 and {use.basis for use in plain} == {""}


def test_an_owner_that_is_not_known_leaves_all_in_by_name(shapes: OpenProject) -> None:
    found = shapes.call_method("repo", "callers", ["Nowhere.area"], {})
    assert {use.basis for use in found} == {"name"} and len(found) == 16


def test_a_function_of_a_module_is_known_by_imports(work: Work, catalog_of: Make) -> None:
    work.write("pkg/__init__.py", "from .text import clean\n")
    work.write("pkg/text.py", "def clean(x):\n    return x\n\ndef both(x):\n    return clean(x)\n")
    work.write("other.py", "def clean(x):\n    return x\n\nclean(1)\n")
    work.write("a.py", "from pkg.text import clean\nclean(1)\nform.clean()\n")
    work.write("b.py", "from pkg import text as t\nimport re\nt.clean(1)\nre.clean(2)\n")
    work.write("c.py", "from pkg import clean\nclean(1)\n")
    work.write("d.py", "from other import clean\nclean(1)\n")
    assert _callers(catalog_of(work.path), "text.clean") == {
        ("pkg/text.py", 5, "module"),
        ("a.py", 2, "module"),
        ("b.py", 3, "module"),
        ("c.py", 2, "module"),
    }


@pytest.mark.parametrize(
    ("file", "text", "asked", "told"),
    [
        (
            "a.java",
            "class A { void f() {}\n void g() { f(); } }\n"
            "class B { void f() {}\n void g() { f(); this.f(); } }\n"
            "class C { void g(A a, B b) {\n a.f();\n b.f();\n }\n}\n",
            "A.f",
            {(2, "class"), (6, "variable")},
        ),
        (
            "a.go",
            "package a\nfunc (s *A) F() {}\nfunc (s *A) G() {\n s.F()\n}\n"
            "func (s *B) F() {}\nfunc (s *B) G() {\n s.F()\n}\nfunc h(x *A) {\n x.F()\n y.F()\n}\n",
            "A.F",
            {(4, "class"), (11, "variable"), (12, "name")},
        ),
        (
            "a.ts",
            "class A { f() {}\n g() { this.f() } }\nclass B { f() {}\n g() { this.f() } }\n"
            "function h(b: B) {\n const a = new A()\n a.f()\n b.f()\n f()\n}\n",
            "A.f",
            {(2, "class"), (7, "variable")},
        ),
        (
            "a.rb",
            "class A\n def f; end\n def g\n  f\n end\nend\n"
            "class B\n def f; end\n def g\n  self.f\n end\nend\nA.new.f\nx = B.new\n",
            "A#f",
            {(4, "class"), (13, "class")},
        ),
        (
            "a.cpp",
            "class A { void f(); };\nvoid A::f() {}\nclass B { void f(); void g(); };\n"
            "void B::g() { this->f(); }\nvoid h(A* a, B& b) {\n a->f();\n b.f();\n}\n",
            "A::f",
            {(6, "variable")},
        ),
    ],
)
def test_owners_in_other_languages(
    work: Work, catalog_of: Make, file: str, text: str, asked: str, told: set[tuple[int, str]]
) -> None:
    work.write(file, text)
    found = _callers(catalog_of(work.path), asked)
    assert {(line, basis) for _, line, basis in found} == told


def test_receivers_are_read_from_the_line() -> None:
    def of(line: str) -> list[Receiver]:
        return list(find_receivers(line, "f"))

    assert of("f(1)") == [Receiver(())]
    assert of("a.b.f()") == [Receiver(("a", "b"))]
    assert of("super(A, self).f(f.x)") == [Receiver(("super",), True), Receiver(())]
    assert of("$this->f(); A::f(); a?.f()") == [
        Receiver(("$this",)),
        Receiver(("A",)),
        Receiver(("a",)),
    ]
    assert of(" .f()") == of("x[0].f()") == of("g().h.f()") == [Receiver(("?",))]
    assert of("off() f1 _f") == []


def test_a_variable_is_what_lines_make_it() -> None:
    assert assigned_classes(["x = m.A(1)", "y = B()"], "x") == {"A"}
    assert assigned_classes(["def f(x: A, y: B):"], "x") == {"A"}
    assert assigned_classes(["x = A()", "x = make()"], "x") == {"A", "?"}
    assert assigned_classes(["const x = new A<B>()"], "x") == {"A"}
    assert assigned_classes(["if x == A():", "ax = A()", "o.x = A()"], "x") == set()
    assert assigned_classes(["self.x = A()"], "self.x") == {"A"}


def test_a_giant_line_is_not_read() -> None:
    assert list(find_receivers("a.f(" * 100_000, "f")) == [Receiver(("?",))]
    assert assigned_classes(["x = A() " * 100_000], "x") == set()
