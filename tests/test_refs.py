"""Refs are read and written as `rlm_mcp.refs` says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp.errors import BadRequest
from rlm_mcp.refs import Block, Chars, Lines, Ref, literal, parse, quote, unquote

paths = st.binary(min_size=1, max_size=40).map(lambda b: b.decode("utf-8", "surrogateescape"))
spans = st.one_of(
    st.none(),
    st.tuples(st.integers(1, 10**6), st.integers(0, 10**6)).map(lambda t: Lines(t[0], sum(t))),
    st.tuples(st.integers(0, 10**9), st.integers(0, 10**6)).map(lambda t: Chars(t[0], sum(t))),
    st.builds(Block, st.integers(0, 10**6), st.one_of(st.none(), st.integers(0, 999))),
)


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("repo", Ref("repo")),
        ("repo:src/", Ref("repo", "src/")),
        ("repo:src/a.py#L10-L42", Ref("repo", "src/a.py", "", Lines(10, 42))),
        ("repo:src/a.py#L10-42", Ref("repo", "src/a.py", "", Lines(10, 42))),
        ("repo:src/a.py#L7", Ref("repo", "src/a.py", "", Lines(7, 7))),
        ("repo:src/a.py@1f3c9ab#L1-L9", Ref("repo", "src/a.py", "1f3c9ab", Lines(1, 9))),
        ("repo:a.py@HEAD~3", Ref("repo", "a.py", "HEAD~3")),
        ("repo@v1.0", Ref("repo", "", "v1.0")),
        ("repo:min.js#C0-C5000", Ref("repo", "min.js", "", Chars(0, 5000))),
        ("history:1f3c9ab", Ref("history", "1f3c9ab")),
        ("session:5f0c-77#12.3", Ref("session", "5f0c-77", "", Block(12, 3))),
        ("session:5f0c#12", Ref("session", "5f0c", "", Block(12))),
        ("logs:app.log#L100-L120", Ref("logs", "app.log", "", Lines(100, 120))),
        ("r7#L1-L80", Ref("r7", "", "", Lines(1, 80))),
        ("  repo:a b.py ", Ref("repo", "a b.py")),
    ],
)
def test_parse_reads_every_form(text: str, ref: Ref) -> None:
    assert parse(text) == ref


@pytest.mark.parametrize(
    "text",
    ["", "   ", "/etc/passwd", "1x:a", "repo:a#", "repo:a#L0", "repo:a#L9-L3", "repo:a#C5-C2",
     "repo:a#x", "repo@--exec:a", "repo@-x", "repo@a b:c", "#L1"],
)  # fmt: skip
def test_parse_refuses_what_is_no_ref_with_a_sentence(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(text)
    assert str(caught.value).endswith((".", ")"))


@given(path=paths, span=spans)
def test_a_written_ref_reads_back_the_same(path: str, span: Lines | Chars | Block | None) -> None:
    ref = Ref("repo", path, "", span)
    written = str(ref)
    assert written.isprintable()
    assert parse(written) == ref


@given(path=paths)
def test_quote_is_undone_by_unquote(path: str) -> None:
    assert unquote(quote(path)) == path


def test_a_revision_is_never_an_option() -> None:
    assert parse("repo:a@--upload-pack=x").rev == ""


def test_literal_reads_the_revision_as_a_part_of_the_path() -> None:
    ref = parse("repo:node_modules/@types/node/index.d.ts#L1")
    assert ref == Ref("repo", "node_modules/", "types/node/index.d.ts", Lines(1, 1))
    assert literal(ref) == Ref("repo", "node_modules/@types/node/index.d.ts", "", Lines(1, 1))


def test_folders_and_patterns_name_several_documents() -> None:
    assert Ref("repo").is_glob
    assert Ref("repo", "src/").is_glob
    assert Ref("repo", "src/*.py").is_glob
    assert not Ref("repo", "src/a.py").is_glob
