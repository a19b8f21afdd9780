"""Which definitions a map puts first: those that other documents of the project use."""

from __future__ import annotations

from rlm_mcp.corpus.code.grammar import Definition, ParsedDocument, UsesByKind
from rlm_mcp.corpus.code.language import builtin_names
from rlm_mcp.corpus.code.pagerank import rate_definitions


def _document(
    defines: list[str], calls: list[str], imports: list[str] | None = None
) -> ParsedDocument:
    found = [Definition(name, "function", n + 1, n + 1, 0, "") for n, name in enumerate(defines)]
    uses: UsesByKind = {"call": {name: [50] for name in calls}}
    uses["import"] = {name: [1] for name in imports or []}
    return ParsedDocument.from_text(ParsedDocument.from_definitions(found, uses).to_text())


def _first(documents: dict[str, ParsedDocument], count: int = 1) -> list[tuple[str, str]]:
    return [(item.path, item.definition.name) for item in rate_definitions(documents)[:count]]


def test_what_is_used_most_comes_first() -> None:
    documents = {f"u{n}.py": _document([], ["helper", "rare"][: 1 + (n == 0)]) for n in range(9)}
    documents["lib.py"] = _document(["rare", "helper"], [])
    assert _first(documents, 2) == [("lib.py", "helper"), ("lib.py", "rare")]


def test_a_name_that_the_language_has_says_nothing() -> None:
    documents = {f"u{n}.py": _document([], ["super", "print", "mine"][n > 0 :]) for n in range(9)}
    documents["odd.py"] = _document(["super", "print"], [])
    documents["lib.py"] = _document(["mine"], [])
    assert _first(documents) == [("lib.py", "mine")]
    assert (
        "super" in builtin_names("python")
        and "push" in builtin_names("tsx")
        and "x" not in builtin_names("")
    )


def test_it_is_no_name_of_another_language_and_counts_where_it_is_imported() -> None:
    documents = {f"u{n}.py": _document([], ["push"]) for n in range(9)}
    documents["lib.py"] = _document(["push"], [])
    assert _first(documents) == [("lib.py", "push")]
    documents = {f"u{n}.py": _document([], ["open"], ["pkg.files.open"]) for n in range(9)}
    documents["pkg/files.py"] = _document(["open"], [])
    documents["other.py"] = _document(["open"], [])
    assert _first(documents) == [("pkg/files.py", "open")]


def test_an_imported_name_leads_to_its_module_or_nowhere() -> None:
    documents = {f"u{n}.py": _document([], ["quote"], ["urllib.parse.quote"]) for n in range(9)}
    documents["u9.py"] = _document([], ["mine", "quote"], ["pkg.text.quote"])
    documents["admin/utils.py"] = _document(["quote"], [])
    documents["pkg/text/__init__.py"] = _document(["quote"], [])
    documents["lib.py"] = _document(["mine"], [])
    rated = {(item.path, item.definition.name): item.weight for item in rate_definitions(documents)}
    assert rated["pkg/text/__init__.py", "quote"] > rated["lib.py", "mine"] > 0
    assert rated["admin/utils.py", "quote"] == 0


def test_documents_that_use_nothing_are_listed_in_order() -> None:
    assert _first({"a.py": _document(["one", "two"], [])}, 2) == [("a.py", "one"), ("a.py", "two")]
    assert rate_definitions({}) == []
