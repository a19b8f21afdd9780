"""Chunks of a variable: their refs open exactly what was asked for, once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rlm_mcp.refs import CharSpan, parse_ref
from rlm_mcp.tokens import estimate_tokens
from tests.project import OpenProject, Work

Make = Callable[..., OpenProject]


@pytest.fixture
def repo(work: Work, catalog_of: Make) -> OpenProject:
    lines = "".join(f"line {n} of the text\n" for n in range(1, 2_001))
    work.write("long.txt", lines)
    work.write("one.json", '{"k": "\u00e9", "v": [1, 2, 3]}, ' * 2_000)
    work.commit("one")
    return catalog_of(work.path)


def test_lines_that_are_asked_for_are_one_part_where_they_fit(repo: OpenProject) -> None:
    parts = repo.chunk("repo:long.txt#L500-L520", tokens=4_000)
    assert [part.ref for part in parts] == ["repo:long.txt#L500-L520"]
    assert parts[0].tokens < 200


def test_characters_that_are_asked_for_are_cut_as_characters(repo: OpenProject) -> None:
    whole = repo.full_text("repo:one.json#C100-C9000")
    parts = [
        repo.full_text(part.ref) for part in repo.chunk("repo:one.json#C100-C9000", tokens=500)
    ]
    assert len(parts) > 3
    assert "".join(parts) == whole


def test_a_file_of_one_line_is_cut(repo: OpenProject) -> None:
    parts = repo.chunk("repo:one.json", tokens=500)
    assert all(isinstance(parse_ref(part.ref).span, CharSpan) for part in parts)
    texts = [repo.full_text(part.ref) for part in parts]
    assert "".join(texts) == repo.full_text("repo:one.json")
    assert max(len(text.encode()) for text in texts) <= 2_000


def test_lines_of_a_commit_are_cut_alone(repo: OpenProject) -> None:
    refs = [part.ref for part in repo.chunk("history:HEAD#L3-L8", tokens=4_000)]
    assert [ref.partition("#")[2] for ref in refs] == ["L3-L8"]


def test_the_tokens_of_other_scripts_are_told_by_their_bytes(work: Work, catalog_of: Make) -> None:
    text = (
        "\u0412\u0441\u0435 \u043f\u0440\u0430\u0432\u0438\u043b\u0430 \u0442\u0443\u0442.\n" * 500
    )
    work.write("rules.md", text)
    work.write("kana.py", "# \u3059\u3079\u3066\u306e\u30eb\u30fc\u30eb\n" * 500)
    work.commit(text[:400])
    catalog = catalog_of(work.path)
    sizes = [len(catalog.full_text(f"repo:{name}").encode()) for name in ("rules.md", "kana.py")]
    said = catalog.describe("repo").tokens
    assert said == sum(estimate_tokens(size, "other") for size in sizes) - 1
    parts = catalog.chunk("repo", tokens=100_000)
    assert abs(sum(part.tokens for part in parts) - said) < 3
    assert catalog.describe("history").tokens < 400
