"""Which classes inherit from a class: in each language, through steps, among equal names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rlm_mcp.corpus.code.symbol_uses import Subclass
from rlm_mcp.errors import BadRequest
from tests.project import OpenProject, Work

Make = Callable[..., OpenProject]


def heirs(catalog: OpenProject, name: str, limit: int = 200) -> list[Subclass]:
    return list(catalog.call_method("repo", "subclasses", [name], {"limit": limit}))


SAMPLES = {
    "a.py": "class Base: pass\nclass One(Base): pass\nclass Two(One, metaclass=Meta): pass\n",
    "a.js": "class Base {}\nclass One extends Base {}\nconst Two = class extends One {}\n",
    "a.ts": "interface Base<T> {}\ninterface One extends Base<string> {}\n"
    "abstract class Two implements One {}\n",
    "a.tsx": "class Base {}\nclass One extends Base {}\nclass Two extends One {}\n",
    "a.go": "package a\ntype Base interface{ F() }\ntype One interface{ Base; G() }\n"
    "type Two struct { One\n n int }\n",
    "a.rs": "trait Base {}\ntrait One: Base {}\nimpl One for Two {}\n",
    "A.java": "interface Base<T> {}\nabstract class One implements Base<String> {}\n"
    "class Two extends One {}\n",
    "a.cpp": "struct Base {};\ntemplate <class T> class One : public Base {};\n"
    "class Two : private One<int> {};\n",
    "a.cs": "interface Base {}\nclass One<T> : Base {}\nclass Two : One<int> {}\n",
    "a.rb": "class Base; end\nclass One < Base; end\nTwo = Class.new(One)\n",
    "a.php": "<?php\ninterface Base {}\nclass One implements Base {}\nclass Two extends One {}\n",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_heirs_are_found_in_each_language_through_steps(
    name: str, work: Work, catalog_of: Make
) -> None:
    work.write(name, SAMPLES[name])
    found = heirs(catalog_of(work.path), "Base")
    assert [(one.name, one.base, one.depth) for one in found] == [
        ("One", "Base", 1),
        ("Two", "One", 2),
    ]
    assert all(one.name in one.text for one in found)


def test_a_module_of_ruby_and_a_trait_of_php_have_those_that_take_them_in(
    work: Work, catalog_of: Make
) -> None:
    work.write("a.rb", "module Loud\nend\nclass Dog\n  include Loud\nend\n")
    work.write("a.php", "<?php\ntrait Quiet {}\nclass Cat {\n  use Quiet;\n}\n")
    catalog = catalog_of(work.path)
    assert [one.name for one in heirs(catalog, "Loud")] == ["Dog"]
    assert [one.name for one in heirs(catalog, "Quiet")] == ["Cat"]


@pytest.fixture
def fields(work: Work, catalog_of: Make) -> OpenProject:
    """Two classes of one name in packages that hand them on, as Django has them."""
    for package in ("models", "forms"):
        work.write(f"app/{package}/base.py", f"class Field:\n    {package} = 1\n")
        work.write(f"app/{package}/__init__.py", f"from app.{package}.base import Field\n")
    work.write("app/__init__.py", "")
    work.write("app/a.py", "from app import models\n\nclass Char(models.Field):\n    pass\n")
    work.write("app/b.py", "from .forms import Field\n\nclass Text(Field):\n    pass\n")
    work.write("app/c.py", "from app.a import Char\n\nclass Email(Char):\n    pass\n")
    work.write("app/d.py", "from somewhere import *\n\nclass Free(Field):\n    pass\n")
    work.write("app/e.py", "import other\n\nclass Strange(other.Field):\n    pass\n")
    work.write("app/Field.java", "class Field {}\nclass Java extends Field {}\n")
    return catalog_of(work.path)


def test_an_owner_tells_apart_classes_of_one_name(fields: OpenProject) -> None:
    found = heirs(fields, "models.Field")
    assert [(one.name, one.depth, one.basis) for one in found] == [
        ("Char", 1, "module"),
        ("Free", 1, "name"),
        ("Email", 2, "module"),
    ]
    assert [one.name for one in heirs(fields, "app.forms.Field")] == ["Text", "Free"]


def test_without_an_owner_all_classes_of_the_name_are_meant(fields: OpenProject) -> None:
    assert [one.name for one in heirs(fields, "Field")] == ["Java", "Char", "Text", "Free", "Email"]


def test_heirs_of_a_class_that_is_not_here_are_found_by_its_name(
    work: Work, catalog_of: Make
) -> None:
    work.write("a.py", "import abc\nclass Shape(abc.ABC): pass\nclass Round(Shape): pass\n")
    found = heirs(catalog_of(work.path), "abc.ABC")
    assert [(one.name, one.basis) for one in found] == [("Shape", "name"), ("Round", "class")]


def test_a_circle_of_classes_ends(work: Work, catalog_of: Make) -> None:
    work.write("a.py", "class A(C): pass\nclass B(A): pass\nclass C(B): pass\nclass D(D): pass\n")
    catalog = catalog_of(work.path)
    assert [one.name for one in heirs(catalog, "A")] == ["B", "C", "A"]
    assert heirs(catalog, "D") == []


def test_a_limit_leaves_the_total(work: Work, catalog_of: Make) -> None:
    work.write("a.py", "class A: pass\n" + "".join(f"class B{n}(A): pass\n" for n in range(300)))
    catalog = catalog_of(work.path)
    found = catalog.call_method("repo", "subclasses", ["A"], {"limit": 7})
    assert (len(found), found.total, found.exact) == (7, 300, True)
    assert catalog.call_method("repo", "subclasses", ["Nowhere"], {}) == []


def test_very_many_heirs_with_long_names_are_followed(work: Work, catalog_of: Make) -> None:
    names = [f"Heir{number}{'WithAVeryLongName' * 5}" for number in range(300)]
    work.write("a.py", "class A: pass\n" + "".join(f"class {one}(A): pass\n" for one in names))
    work.write(
        "b.py", "from a import *\n" + "".join(f"class X{one}({one}): pass\n" for one in names)
    )
    found = heirs(catalog_of(work.path), "A", 1_000)
    assert (len(found), found[-1].depth) == (600, 2)


def test_a_pattern_in_place_of_a_name_is_refused(work: Work, catalog_of: Make) -> None:
    work.write("a.py", "class A: pass\n")
    with pytest.raises(BadRequest, match="no name"):
        heirs(catalog_of(work.path), "A*")


def test_types_with_every_method_of_a_go_interface_implement_it(
    work: Work, catalog_of: Make
) -> None:
    interface = "package a\ntype Shape interface {\n\tArea() int\n\tName() string\n}\n"
    work.write("a/shape.go", interface + "type Empty interface{}\n")
    work.write("a/box.go", "package a\ntype Box struct{}\nfunc (b *Box) Area() int { return 1 }\n")
    work.write("a/more.go", 'package a\nfunc (b *Box) Name() string { return "box" }\n')
    half = "package b\ntype Dot struct{}\nfunc (d Dot) Area() int { return 0 }\n"
    work.write("b/dot.go", half + "type Line int\n")
    both = 'func (l Line) Area() int { return 0 }\nfunc (l Line) Name() string { return "" }\n'
    work.write("b/line.go", "package b\n" + both)
    work.write("b/dots.py", "class Dot:\n    def Area(self): pass\n    def Name(self): pass\n")
    work.git("add", ".")
    found = heirs(catalog_of(work.path), "Shape")
    assert [(one.name, one.path, one.base, one.depth, one.basis) for one in found] == [
        ("Box", "a/box.go", "Shape", 1, "methods"),
        ("Line", "b/dot.go", "Shape", 1, "methods"),
    ]
    assert heirs(catalog_of(work.path), "Empty") == []
