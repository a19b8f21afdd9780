"""Chunks cover everything once and do not cut what fits."""

from __future__ import annotations

import ast
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlm_mcp.corpus.code.chunker import CHUNK_KINDS, DocumentPart, chunk_documents
from rlm_mcp.corpus.store import open_corpus
from rlm_mcp.corpus.store.corpus import Corpus
from rlm_mcp.errors import BadRequest
from rlm_mcp.refs import CharSpan, LineSpan
from rlm_mcp.tokens import actual_kind, estimate_tokens, token_bytes

HERE = Path(__file__).parents[3]


def packed(cache: Path, texts: dict[str, bytes]) -> Corpus:
    return open_corpus.pack_texts(texts.items(), cache=cache, name="t")


@pytest.mark.parametrize("by", CHUNK_KINDS)
@given(
    lines=st.lists(st.text(alphabet="ab #=-\t}{é@", max_size=30), max_size=60),
    size=st.integers(1, 60),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_parts_cover_each_line_once_in_order(
    tmp_path_factory: pytest.TempPathFactory, by: str, lines: list[str], size: int
) -> None:
    texts = {"a.py": "\n".join(lines).encode(), "b.md": ("\n".join(lines) + "\n").encode()}
    corpus = packed(tmp_path_factory.mktemp("c"), texts)
    for path, text in texts.items():
        limit = int(size * token_bytes(actual_kind(text, "code")))
        cover(corpus, path, chunk_documents(corpus, [path], by, size), max(1, limit))
    corpus.close()


def cover(corpus: Corpus, path: str, parts: list[DocumentPart], limit: int) -> None:
    """Check that the parts give a document once, in order, each within a limit of bytes."""
    data = corpus.document_bytes(path)
    text = data.decode("utf-8", "replace")
    line, at = 1, 0
    starts = [0]
    for one in text.removesuffix("\n").split("\n"):
        starts.append(starts[-1] + len(one) + 1)
    for part in parts:
        if part.chars is None:
            assert (part.start, at) == (line, 0) and part.end >= part.start
            size = len(b"\n".join(corpus.line_bytes(path, part.start, part.end)))
            assert size <= limit
            line = part.end + 1
        else:
            assert part.start == part.end == line
            assert part.chars.start == starts[line - 1] + at
            inside = text[part.chars.start : part.chars.end]
            assert len(inside) == 1 or len(inside.encode()) <= limit
            at += len(inside)
            if part.chars.end >= starts[line] - 1:
                line, at = line + 1, 0
    assert (line, at) == (corpus.line_count(path) + 1, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 50_000,
        b"short\n" + b'{"a": [1, 2], "b": "c d"},' * 2_000 + b"\nshort",
        "\u6f22\u5b57, ".encode() * 5_000 + b"\r\n" + b"y" * 900,
        b"\xff\xfe\xf0" * 5_000 + b"\nend\n",
        b"one\r\n\r\ntwo\r\n" * 3_000,
        b"a\x0bb\x0cc\x85d\xe2\x80\xa8e " * 3_000,
        b"\n" * 5_000,
        b'{"t": 1}\n{broken\n\n' * 1_000 + b'{"t": "' + b"z" * 9_000 + b'"}',
    ],
)
@pytest.mark.parametrize("by", CHUNK_KINDS)
def test_no_byte_is_lost_and_no_part_is_too_large(cache: Path, by: str, data: bytes) -> None:
    corpus = packed(cache, {"a.md": data, "b.py": data})
    limit = int(300 * token_bytes(actual_kind(data, "code")))
    for path in ("a.md", "b.py"):
        cover(corpus, path, chunk_documents(corpus, [path], by, 300), limit)
    corpus.close()


def test_a_long_line_is_cut_where_a_word_or_a_value_ends(cache: Path) -> None:
    text = '{"name":"value"},' * 3_000
    corpus = packed(cache, {"a.json": text.encode()})
    parts = chunk_documents(corpus, None, "auto", 300)
    assert all(text[: part.chars.end].endswith(",") for part in parts if part.chars)
    assert len(parts) > 30


def test_only_the_span_that_is_asked_for_is_cut(cache: Path) -> None:
    text = "".join(f"line {n}\n" for n in range(1, 401))
    corpus = packed(cache, {"a.txt": text.encode()})
    parts = chunk_documents(corpus, None, "auto", 100, within=LineSpan(11, 20))
    assert [(part.start, part.end) for part in parts] == [(11, 20)]
    assert parts[0].tokens == estimate_tokens(80)
    parts = chunk_documents(corpus, None, "auto", 100, within=LineSpan(301, 9_999))
    assert (parts[0].start, parts[-1].end) == (301, 400)
    parts = chunk_documents(corpus, None, "auto", 100, within=CharSpan(100, 1_000))
    spans = [part.chars for part in parts if part.chars]
    assert spans[0].start == 100 and spans[-1].end == 1_000 and len(spans) > 2
    assert all(one.end == two.start for one, two in pairwise(spans))
    assert all(text[span.end - 1] == "\n" for span in spans[:-1])


def test_fenced_code_and_front_matter_have_no_headings(cache: Path) -> None:
    section = (
        "Title {n}\n---\n\ntext text text\n\n````sh\n# no heading\n```\n\n# nor this\n````\n\n"
        "~~~\n## no\n```\n~~~\n\n"
    )
    text = "---\ntitle: x\n---\n" + "".join(section.format(n=n) for n in range(30))
    for ending in ("\n", "\r\n"):
        corpus = packed(cache, {"a.md": text.replace("\n", ending).encode()})
        parts = chunk_documents(corpus, None, "headings", 70)
        titles = [part.title for part in parts]
        assert all(title.startswith(("Title", "---")) for title in titles), titles
        assert len(parts) > 10
        corpus.close()


def test_functions_that_fit_are_not_cut(cache: Path) -> None:
    sources = {
        str(path.relative_to(HERE)): path.read_bytes() for path in HERE.glob("rlm_mcp/**/*.py")
    }
    corpus = packed(cache, sources)
    limit, fit, cut = 700, 0, 0
    starts: dict[str, list[int]] = {}
    for part in chunk_documents(corpus, None, "auto", limit):
        starts.setdefault(part.path, []).append(part.start)
    for path, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno is not None
                first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
                size = sum(map(len, source.splitlines(True)[first - 1 : node.end_lineno]))
                if size <= limit * 3.5:
                    fit += 1
                    cut += any(first < start <= node.end_lineno for start in starts[path])
    assert fit > 300
    assert cut <= fit * 0.01


def test_headings_are_borders_in_prose(cache: Path) -> None:
    section = "word " * 30
    markdown = "".join(f"# H{n}\n\n{section}\n\n## S{n}\n\n{section}\n" for n in range(6))
    rst = "".join(f"Title {n}\n=======\n\n{section}\n\n" for n in range(6))
    corpus = packed(cache, {"a.md": markdown.encode(), "b.rst": rst.encode()})
    parts = chunk_documents(corpus, ["a.md"], "auto", 120)
    assert [part.title for part in parts] == [f"# H{n}" for n in range(6)]
    assert {part.title for part in chunk_documents(corpus, ["b.rst"], "auto", 70)} == {
        f"Title {n}" for n in range(6)
    }


def test_decorators_and_comments_go_with_what_follows(cache: Path) -> None:
    one = "# why\n@wraps\ndef f{}():\n    return 1\n\n\n"
    corpus = packed(cache, {"a.py": "".join(one.format(n) for n in range(40)).encode()})
    for part in chunk_documents(corpus, None, "symbols", 40):
        assert corpus.line_bytes("a.py", part.start, part.start) == [b"# why"]


def test_a_comment_of_stars_is_one_with_the_code_below_it(cache: Path) -> None:
    comment = "/**\n * Does one thing.\n *\n * @param a what\n */\n"
    body = "  const value = a + 1;\n  return value * 2;\n}\n\n"
    one = f"{comment}export function f0(a) {{\n{body}"
    code = "import x from 'y';\n\n" + "".join(one.replace("f0", f"f{n}") for n in range(8))
    lines = code.splitlines()
    for size in (60, 100, 150):
        parts = chunk_documents(
            packed(cache / str(size), {"a.js": code.encode()}), None, "symbols", size
        )
        assert {lines[part.start - 1] for part in parts[1:]} == {"/**"}


def test_a_comment_between_a_head_and_its_body_is_no_border(cache: Path) -> None:
    one = (
        "static int\nname{}(void)\n/*[made: output=1]*/\n{{\n    int a = 1;\n    return a;\n}}\n\n"
    )
    code = "".join(one.format(number) for number in range(30))
    lines = code.splitlines()
    for size in (20, 30, 45, 60):
        parts = chunk_documents(
            packed(cache / str(size), {"a.c": code.encode()}), None, "symbols", size
        )
        begins = {lines[part.start - 1] for part in parts}
        assert "/*[made: output=1]*/" not in begins
        assert begins == {"static int"} or size < 30


def test_other_words_and_sizes_are_refused(cache: Path) -> None:
    corpus = packed(cache, {"a": b"x\n"})
    with pytest.raises(BadRequest, match="one of auto"):
        chunk_documents(corpus, None, "pages")
    with pytest.raises(BadRequest, match="at least 1"):
        chunk_documents(corpus, None, "auto", 0)
    assert chunk_documents(corpus, []) == []


def test_tokens_are_estimated_by_bytes_and_kind() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("x" * 350) == 101
    assert estimate_tokens(b"x" * 240, "logs") == 101
    assert estimate_tokens(400, "prose") == 101
    assert estimate_tokens("é" * 160, "prose") == estimate_tokens(320, "other") == 101
    assert estimate_tokens('{"a": 12}' * 10, "json") == estimate_tokens(90, "json") == 30
    numbers = "[1.5, 22.75, 381.25]" * 12
    assert estimate_tokens(numbers, "json") == estimate_tokens(240, "logs") == 101
    assert estimate_tokens("память " * 100, "prose") == estimate_tokens(1_300, "other")


@pytest.mark.parametrize(
    "inner",
    [
        '    @patch(\n        "x",\n    )\n    def f(self):\n        return 1\n',
        '    def f(self):\n        return """\n\nAt the margin.\n\ndef no(): ...\n"""\n',
        "    def f(self):\n        a = 1\n\n##        b = 2\n        return a\n",
        "\tdef f(self):\n\t\t# say\n\t\ta = 1\n\t\t# more\n\t\treturn a\n",
    ],
)
def test_a_function_is_cut_neither_in_its_decorator_nor_in_its_text(
    tmp_path: Path, inner: str
) -> None:
    indent = "\t" if inner.startswith("\t") else "    "
    other = f"{indent}def g(self):\n{indent}{indent}return {'1 + ' * 12}1\n"
    text = "class A:\n" + (other + inner) * 20
    corpus = packed(tmp_path, {"a.py": text.encode()})
    parts = chunk_documents(corpus, None, "symbols", 100)
    lines = text.splitlines()
    firsts = {lines[part.start - 1].strip() for part in parts[1:]}
    assert len(parts) > 5
    assert firsts <= {"def g(self):", inner.splitlines()[0].strip()}
    corpus.close()


def test_a_directive_inside_of_a_function_is_no_border(tmp_path: Path) -> None:
    body = "int f(int a)\n{\n\tg();\n\n#ifdef X\n\th();\n#endif\n\n\treturn a;\n}\n\n"
    corpus = packed(tmp_path, {"a.c": (body * 20).encode()})
    parts = chunk_documents(corpus, None, "symbols", 60)
    assert {corpus.line_bytes("a.c", p.start, p.start)[0] for p in parts} == {b"int f(int a)"}
    corpus.close()
