"""Refs are read and written as `rlm_mcp.refs` says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp.errors import BadRequest
from rlm_mcp.refs import (
    CharSpan,
    LineSpan,
    Ref,
    TurnSpan,
    parse_ref,
    quote_path,
    rev_as_path,
    unquote_path,
)

paths = st.binary(min_size=1, max_size=40).map(lambda b: b.decode("utf-8", "surrogateescape"))
spans = st.one_of(
    st.none(),
    st.tuples(st.integers(1, 10**6), st.integers(0, 10**6)).map(lambda t: LineSpan(t[0], sum(t))),
    st.tuples(st.integers(0, 10**9), st.integers(0, 10**6)).map(lambda t: CharSpan(t[0], sum(t))),
    st.builds(TurnSpan, st.integers(0, 10**6), st.one_of(st.none(), st.integers(0, 999))),
)


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("repo", Ref("repo")),
        ("repo:src/", Ref("repo", "src/")),
        ("repo:src/a.py#L10-L42", Ref("repo", "src/a.py", "", LineSpan(10, 42))),
        ("repo:src/a.py#L10-42", Ref("repo", "src/a.py", "", LineSpan(10, 42))),
        ("repo:src/a.py#L7", Ref("repo", "src/a.py", "", LineSpan(7, 7))),
        ("repo:src/a.py@1f3c9ab#L1-L9", Ref("repo", "src/a.py", "1f3c9ab", LineSpan(1, 9))),
        ("repo:a.py@HEAD~3", Ref("repo", "a.py", "HEAD~3")),
        ("repo@v1.0", Ref("repo", "", "v1.0")),
        ("repo:min.js#C0-C5000", Ref("repo", "min.js", "", CharSpan(0, 5000))),
        ("history:1f3c9ab", Ref("history", "1f3c9ab")),
        ("session:5f0c-77#12.3", Ref("session", "5f0c-77", "", TurnSpan(12, 3))),
        ("session:5f0c#12", Ref("session", "5f0c", "", TurnSpan(12))),
        ("logs:app.log#L100-L120", Ref("logs", "app.log", "", LineSpan(100, 120))),
        ("r7#L1-L80", Ref("r7", "", "", LineSpan(1, 80))),
        ("  repo:a b.py ", Ref("repo", "a b.py")),
    ],
)
def test_parse_reads_every_form(text: str, ref: Ref) -> None:
    assert parse_ref(text) == ref


@pytest.mark.parametrize(
    "text",
    ["", "   ", "/etc/passwd", "1x:a", "repo:a#", "repo:a#L0", "repo:a#L9-L3", "repo:a#C5-C2",
     "repo:a#x", "repo@--exec:a", "repo@-x", "repo@a b:c", "#L1"],
)  # fmt: skip
def test_parse_refuses_what_is_no_ref_with_a_sentence(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_ref(text)
    assert str(caught.value).endswith((".", ")"))


@given(path=paths, span=spans)
def test_a_written_ref_reads_back_the_same(
    path: str, span: LineSpan | CharSpan | TurnSpan | None
) -> None:
    ref = Ref("repo", path, "", span)
    written = str(ref)
    assert written.isprintable()
    assert parse_ref(written) == ref


@given(path=paths)
def test_quote_is_undone_by_unquote(path: str) -> None:
    assert unquote_path(quote_path(path)) == path


def test_a_revision_is_never_an_option() -> None:
    assert parse_ref("repo:a@--upload-pack=x").rev == ""


def test_literal_reads_the_revision_as_a_part_of_the_path() -> None:
    ref = parse_ref("repo:node_modules/@types/node/index.d.ts#L1")
    assert ref == Ref("repo", "node_modules/", "types/node/index.d.ts", LineSpan(1, 1))
    assert rev_as_path(ref) == Ref(
        "repo", "node_modules/@types/node/index.d.ts", "", LineSpan(1, 1)
    )


def test_folders_and_patterns_name_several_documents() -> None:
    assert Ref("repo").is_glob
    assert Ref("repo", "src/").is_glob
    assert Ref("repo", "src/*.py").is_glob
    assert not Ref("repo", "src/a.py").is_glob
