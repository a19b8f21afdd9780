"""What a search finds, and how it counts and pages."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlm_mcp.corpus.search import grep
from rlm_mcp.corpus.search.grep import Query
from rlm_mcp.corpus.store import open_corpus
from rlm_mcp.errors import BadRequest
from tests.corpus.conftest import Tree, lines_of, packed

Make = Callable[..., Tree]


def test_lines_count_from_one_and_a_line_counts_once(cache: Path, engine: str) -> None:
    corpus = packed(cache, a="x\nfoo foo\nfoo\n", b="bar\n", c="no\nfoo")
    found = grep.grep_corpus(corpus, Query("foo"))
    assert lines_of(found) == [("a", 2), ("a", 3), ("c", 2)]
    assert (found.total, found.documents, found.exact, found.cursor) == (3, 2, True, "")
    assert found.hits[0].text == "foo foo"


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        (r"^foo$", [1]), (r"foo\s+bar", [2]), (r"foo\sbar", [2]), (r"\bbar\b", [2, 5]),
        (r"[^a-z]$", [4, 7]), (r"^$", [6]), (r"o{2}", [1, 2, 3, 4]), (r"foo|bar", [1, 2, 3, 4, 5]),
        (r"(?i)FOO$", [1, 3, 4]), (r"fo+\.", []), (r"\Qa.b\E", [7]), (r"^", list(range(1, 8))),
        (r"a?", list(range(1, 8))), (r".*", list(range(1, 8))), (r"\S+", [1, 2, 3, 4, 5, 7]),
        (r"foo(?:)", [1, 2, 3, 4]), (r"[[:upper:]]", [4]), (r"\x66oo$", [1, 3]), (r"o\z", []),
        (r"\Afoo", [1]), (r"\)\z", [7]), (r"foo\n", [1, 3]), (r"\Bar", [2, 5]), (r"o\b.*r", [2]),
    ],
)  # fmt: skip
def test_patterns_match_by_line(cache: Path, engine: str, pattern: str, wanted: list[int]) -> None:
    corpus = packed(cache, t="foo\nfoo bar\nxfoo\nFOO foo_\nbar\n\na.b (x)")
    if pattern == r"(?i)FOO$":
        wanted = [1, 3]
    found = grep.grep_corpus(corpus, Query(pattern))
    assert [hit.line for hit in found.hits] == wanted


def test_no_match_runs_from_one_document_into_the_next(cache: Path, engine: str) -> None:
    corpus = packed(cache, a="foo", b="bar\n", c="foo\n", d="bar")
    for pattern in (r"foo\s*bar", r"foo[^x]bar", r"(?s)foo.bar", r"foo\nbar"):
        assert grep.grep_corpus(corpus, Query(pattern)).total == 0
        assert grep.grep_corpus(corpus, Query(pattern, multiline=True)).total == 0
    assert grep.grep_corpus(corpus, Query(r"foo|bar")).documents == 4


@given(
    text=st.lists(st.text(alphabet="ab01 _.\t\rX-é", max_size=12), max_size=12),
    pattern=st.recursive(
        st.sampled_from(
            ["a", "b", "X", ".", r"\w", r"\d", r"\s", r"\W", r"\S", r"\b", "^", "$", "[ab]",
             "[^a]", r"[\w-]", "ab", r"\.", "0", r"[^\s]"]
        ),
        lambda inner: st.one_of(
            st.builds("{}{}".format, inner, inner),
            st.builds("(?:{}|{})".format, inner, inner),
            st.builds("({}){}".format, inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}"])),
        ),
        max_leaves=8,
    ),
    fold=st.booleans(),
)  # fmt: skip
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_lines_are_those_that_pythons_re_finds(
    tmp_path_factory: pytest.TempPathFactory, text: list[str], pattern: str, fold: bool
) -> None:
    corpus = packed(tmp_path_factory.mktemp("c"), t="\n".join(text))
    try:
        found = grep.grep_corpus(corpus, Query(pattern, limit=100, ignore_case=fold))
    except BadRequest:
        return  # RE2 does not repeat what is empty in all the ways that Python does.
    data = "\n".join(text).encode()
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    regex = re.compile(pattern.encode(), re.IGNORECASE if fold else 0)
    # Python's $ matches before a last newline only; a line has none.
    wanted = [number for number, line in enumerate(lines, 1) if regex.search(line)]
    assert [hit.line for hit in found.hits] == wanted
    assert found.total == len(wanted)
    corpus.close()


def test_ignore_case_literal_and_unicode(cache: Path, engine: str) -> None:
    corpus = packed(cache, t="Naïve\nNAÏVE\na.c\nabc\nжизнь 7\ncafé\n٣\n")

    def count(pattern: str, **named: bool) -> int:
        return grep.grep_corpus(corpus, Query(pattern, **named)).total  # type: ignore[arg-type]

    assert count("naïve") == 0
    assert count("Naïve") == 1
    assert count("naïve", ignore_case=True) == 2
    assert count("a.c") == 2
    assert count("a.c", literal=True) == 1
    assert count("A.C", literal=True, ignore_case=True) == 1
    assert count(r"^\w+$") == 1
    assert count(r"^\w+$", unicode=True) == 5
    assert count(r"^\d$") == 0
    assert count(r"^\d$", unicode=True) == 1
    assert count(r"\p{Cyrillic}+ \d") == 1
    assert count(r"^caf.$", unicode=True) == 1
    with pytest.raises(BadRequest, match="cannot stand inside"):
        count(r"[\W]", unicode=True)


def test_pages_follow_each_other_and_cover_everything_once(cache: Path, engine: str) -> None:
    corpus = packed(cache, **{f"d{n}": "hit\nno\nhit\n" * (n + 1) for n in range(6)})
    for spread in (False, True):
        every: list[tuple[str, int]] = []
        cursor = ""
        while True:
            page = grep.grep_corpus(corpus, Query("hit", limit=5, spread=spread, cursor=cursor))
            assert page.total == 42
            every += lines_of(page)
            cursor = page.cursor
            grep._recent_hits.clear()
            if not cursor:
                break
        assert len(every) == len(set(every)) == 42
    first = grep.grep_corpus(corpus, Query("hit", limit=6, spread=True))
    assert [hit.path for hit in first.hits] == [f"d{n}" for n in range(6)]


def test_a_cursor_of_another_search_or_state_is_refused(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a": "x\n" * 10})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    cursor = grep.grep_corpus(corpus, Query("x", limit=3)).cursor
    assert grep.grep_corpus(corpus, Query("x", limit=4, cursor=cursor)).hits[0].line == 4
    with pytest.raises(BadRequest, match="another search"):
        grep.grep_corpus(corpus, Query("y", cursor=cursor))
    for bad in ("!!", "abc", "é", "AAAA"):
        with pytest.raises(BadRequest, match="not a cursor"):
            grep.grep_corpus(corpus, Query("x", cursor=bad))
    tree.write({"b": "x\n"})
    corpus.refresh()
    with pytest.raises(BadRequest, match="content changed"):
        grep.grep_corpus(corpus, Query("x", cursor=cursor))


def test_context_lines_stay_in_the_document(cache: Path, engine: str) -> None:
    corpus = packed(cache, a="1\n2\nhit\n4\n5", b="hit\n")
    first, second = grep.grep_corpus(corpus, Query("hit", before=5, after=1)).hits
    assert (first.before, first.after) == (("1", "2"), ("4",))
    assert (second.before, second.after) == ((), ())


def test_long_lines_are_cut_around_the_match(cache: Path, engine: str) -> None:
    corpus = packed(cache, a="é" * 5000 + "NEEDLE" + "x" * 5000 + "\nshort NEEDLE\n")
    long, short = grep.grep_corpus(corpus, Query("NEEDLE")).hits
    assert long.cut and "NEEDLE" in long.text and len(long.text) == 300
    assert not short.cut and short.text == "short NEEDLE"
    wide = grep.grep_corpus(corpus, Query("é.*x")).hits[0]
    assert len(wide.text) == 300


def test_paths_limit_the_scope_and_folders_are_counted(cache: Path, engine: str) -> None:
    names = {"src/a/x.py": "hit\n", "src/b/y.py": "hit\nhit\n", "src/z.py": "hit\n", "top": "hit\n"}
    corpus = open_corpus.pack_texts(
        [(n, t.encode()) for n, t in names.items()], cache=cache, name="t"
    )
    found = grep.grep_corpus(corpus, Query("hit"))
    assert found.per_folder == {"src/": 4, ".": 1}
    below = grep.grep_corpus(corpus, Query("hit"), [n for n in names if n.startswith("src/")])
    assert below.total == 4
    assert below.per_folder == {"src/a/": 1, "src/b/": 2, "src/": 1}
    assert grep.grep_corpus(corpus, Query("hit"), []).total == 0
    assert grep.grep_corpus(corpus, Query("hit"), ["gone", "top"]).total == 1
    assert lines_of(grep.grep_corpus(corpus, Query("hit"), ["src/z.py", "src/a/x.py"])) == [
        ("src/a/x.py", 1), ("src/z.py", 1),
    ]  # fmt: skip


def test_changed_documents_are_found_in_reading_order(make_tree: Make, cache: Path) -> None:
    tree = make_tree({f"f{n}": f"hit {n}\n" for n in range(6)})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    tree.write({"f1": "no\nhit one\n", "f3": "", "f2b": "hit 2b\n"})
    corpus.refresh()
    wanted = [("f0", 1), ("f1", 2), ("f2", 1), ("f2b", 1), ("f4", 1), ("f5", 1)]
    for pattern in ("hit", "h.t", r"(?i)HIT", r"^.*hit"):
        assert lines_of(grep.grep_corpus(corpus, Query(pattern))) == wanted
    assert grep.grep_corpus(corpus, Query(".*")).total == 7


def test_a_byte_order_mark_is_no_part_of_the_first_line(
    make_tree: Make, cache: Path, engine: str
) -> None:
    mark = "\ufeff"
    texts = {"a": f"{mark}one\ntwo\n", "b": f"{mark}", "c": "one\n", "d": f"x\n{mark}one\n"}
    tree = make_tree(texts)
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    both = [("a", 1), ("c", 1)]
    wanted = {
        "^one": both, r"^\W": [("d", 2)], r"\Bone": [], r"^one(?=$)": both, r"^(?!t|x)\w": both,
        r"\Aone\n": both, "^$": [("b", 1)], r"(?<=\W)one": [("d", 2)],
    }  # fmt: skip
    for pattern, lines in wanted.items():
        assert lines_of(grep.grep_corpus(corpus, Query(pattern))) == lines, pattern
        first = grep.grep_corpus(corpus, Query(pattern, limit=1, totals=False))
        assert lines_of(first) == lines[:1], pattern
    tree.write({"a": "one\n", "c": f"{mark}x\n"})
    corpus.refresh()
    assert lines_of(grep.grep_corpus(corpus, Query("^[^o]"))) == [("c", 1), ("d", 1), ("d", 2)]


def test_what_lies_behind_the_first_hits_is_not_among_them(cache: Path, engine: str) -> None:
    a = "\ufefftwo\none\n" + "x\n" * 100_000 + "one\n"
    corpus = packed(cache, a=a, b="\ufeffone\n")
    query = Query(r"^\W|^one", limit=2)
    every = lines_of(grep.grep_corpus(corpus, query))
    assert every == [("a", 2), ("a", 100_003)]
    first = grep.grep_corpus(corpus, replace(query, totals=False))
    assert lines_of(first) == every[: len(first.hits)]
    assert first.cursor


def test_a_pattern_with_a_newline_is_matched_across_lines(cache: Path, engine: str) -> None:
    corpus = packed(cache, a="def f():\n    return 1\n\ndef g():\n    pass\n", b="def h():\n")
    found = grep.grep_corpus(corpus, Query(r"def \w+\(\):\n\s+return"))
    assert lines_of(found) == [("a", 1)]
    assert found.hits[0].text == "def f():\n    return 1"
    assert "across lines" in found.note
    found = grep.grep_corpus(corpus, Query(r"\(\):\s+\w+", multiline=True))
    assert lines_of(found) == [("a", 1), ("a", 4)]


def test_across_lines_the_last_line_needs_no_newline(cache: Path, engine: str) -> None:
    corpus = packed(cache, a="x\nlast", b="last\n", c="")
    for pattern in ("last", "l.st", "x\nlast", "t$", r"last\z", r"[^x]t"):
        found = grep.grep_corpus(corpus, Query(pattern, multiline=True))
        once = "x\n" in pattern or pattern.endswith("z")
        assert found.documents == (1 if once else 2), pattern
    assert grep.grep_corpus(corpus, Query("x\nlast", literal=True)).total == 1
    assert grep.grep_corpus(corpus, Query("last", literal=True, multiline=True)).total == 2


def test_first_hits_are_in_reading_order_also_after_an_edit(make_tree: Make, cache: Path) -> None:
    tree = make_tree({f"d{number}": "hit\n" * 2000 for number in range(6)})
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    tree.write({"d1": "hit\n" * 1990})
    corpus.refresh()
    pages, cursor = [], ""
    for _ in range(5):
        found = grep.grep_corpus(corpus, Query("hit", limit=900, totals=False, cursor=cursor))
        pages += lines_of(found)
        cursor = found.cursor
    wanted = [(f"d{n}", line) for n in range(4) for line in range(1, 1991 if n == 1 else 2001)]
    assert pages == wanted[:4500]


def test_without_totals_a_search_stops_early_and_goes_on_by_cursor(
    cache: Path, engine: str
) -> None:
    corpus = packed(cache, **{f"d{n:03}": "hit\n" * 10_000 for n in range(20)})
    found = grep.grep_corpus(corpus, Query("hit", limit=10, totals=False))
    assert len(found.hits) == 10
    assert not found.exact
    assert 10 <= found.total < 20_000
    after = grep.grep_corpus(corpus, Query("hit", limit=5, totals=False, cursor=found.cursor))
    assert [hit.line for hit in after.hits] == [11, 12, 13, 14, 15]
    assert grep.grep_corpus(corpus, Query("hit", seconds=60)).total == 200_000


def test_much_text_is_shared_among_threads_with_the_same_answer(
    cache: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlm_mcp.corpus.search import scan

    texts = {f"d{n:02}": "".join(f"{i} word{i % 7} line\n" for i in range(4000)) for n in range(12)}
    corpus = packed(cache, **texts)
    queries = [
        Query(p, limit=50, seconds=60)
        for p in ("word3", r"word\d line", "7 ", r"[ax]", r"\d+$", "e")
    ]
    alone = [grep.grep_corpus(corpus, query) for query in queries]
    grep._recent_hits.clear()
    monkeypatch.setattr(scan, "THREADED_BYTES", 1)
    monkeypatch.setattr(scan, "BLOCK_BYTES", 30_000)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert [grep.grep_corpus(corpus, query) for query in queries] == alone


def test_block_borders_lose_no_line(
    cache: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlm_mcp.corpus.search import scan

    text = "\n" + "a;\n\n \nb\n\n\n" * 300
    long = "a line that is rather long, longer than a vector\n\n" * 40
    corpus = packed(cache, a=text, b="\n\nx", c=long + "\n")
    for size in (3, 7, 50, 51, 64, 101, 1 << 20):
        monkeypatch.setattr(scan, "BLOCK_BYTES", size)
        grep._recent_hits.clear()
        for pattern, total in ((r"^\s*$", 1244), (r"^$", 944), (r"^[^x]", 940), (r"\S", 641)):
            assert grep.grep_corpus(corpus, Query(pattern)).total == total, (size, pattern)


def test_searches_from_many_threads_agree(cache: Path, engine: str) -> None:
    corpus = packed(cache, **{f"d{n}": "one two\nthree\n" * 100 for n in range(10)})
    failures: list[object] = []

    def work(seed: int) -> None:
        for number in range(30):
            pattern, total = [("one", 1000), (r"t\w+", 2000), (r"(?i)THREE", 1000)][
                (seed + number) % 3
            ]
            grep._recent_hits.clear()
            found = grep.grep_corpus(corpus, Query(pattern))
            if found.total != total:
                failures.append((pattern, found.total))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_ripgrep_finds_the_same_lines(make_tree: Make, cache: Path) -> None:
    rg = shutil.which("rg")
    if rg is None:
        pytest.skip("ripgrep is not on PATH; bench/same_as_ripgrep.py compares real trees")
    from bench import same_as_ripgrep as oracle

    here = Path(__file__).parents[3]
    sources = {
        str(path.relative_to(here)): path.read_bytes()
        for path in sorted((here / "rlm_mcp").rglob("*.py"))
    }
    tree = make_tree(sources)
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    folder = cache / "copy"
    folder.mkdir()
    copy = oracle.copied(corpus, tree.folder, folder)
    for pattern, fold in oracle.patterns(oracle.words_of(corpus), 160):
        if "\\Q" in pattern:
            continue  # ripgrep does not know it.
        assert oracle.difference(corpus, rg, copy, pattern, fold) == "", pattern
