"""A view answers as the str of the same text does, over any bytes and any spans."""

from __future__ import annotations

import re
import tempfile
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlm_mcp.sandbox import mapped as mapping
from rlm_mcp.sandbox.facades import crossing, regex
from rlm_mcp.sandbox.mapped import MappedBytes
from rlm_mcp.sandbox.text_view import TextView

WORDS = st.text(st.sampled_from("ab\n é\u20ac😀"), max_size=3)
BYTES = st.lists(
    st.sampled_from([b"a", b"b", b"\n", b"\r", b" ", b"ab\n", "é".encode(), "€".encode(),
                     "😀".encode(), b"\xff", b"\x80", b"\xe2\x82", b"\xf0\x9f", b"\xc3", b"\x1c"]),
    max_size=40,
).map(b"".join)  # fmt: skip
PLAIN = st.text(st.sampled_from("ab\n 1"), max_size=60).map(str.encode)
BOUND = st.none() | st.integers(-45, 45)


def view(data: bytes, cuts: list[int] | None = None) -> TextView:
    """Map bytes whose spans lie apart in a file, in pieces at `cuts`."""
    borders = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts or ())})
    spans, stored = [], b"--"
    for start, end in pairwise(borders):
        spans.append((len(stored), end - start))
        stored += data[start:end] + b"##"
    with tempfile.TemporaryFile() as file:
        file.write(stored)
        file.flush()
        held = MappedBytes(file.fileno(), len(stored), *mapping.merge_spans(spans))
    return TextView("t", "text", "a text", held, {}, lambda *call: call)


@pytest.fixture(autouse=True, params=[5, 1 << 16], ids=["small blocks", "large blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Try every rule with blocks and windows so small that borders fall everywhere."""
    size: int = request.param
    monkeypatch.setattr(mapping, "BLOCK_BYTES", size)
    monkeypatch.setattr(mapping, "WINDOW_BYTES", size)
    return size


QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(BYTES, st.lists(st.integers(0, 99), max_size=3), BOUND, BOUND, st.integers(-3, 3))
def test_slices_are_those_of_the_decoded_text(
    data: bytes, cuts: list[int], start: int | None, stop: int | None, step: int
) -> None:
    text = data.decode("utf-8", "replace")
    found = view(data, cuts)
    assert found[start:stop] == text[start:stop]
    assert len(found) == len(text)
    if step:
        assert found[start:stop:step] == text[start:stop:step]
    for index in (start, stop):
        if index is not None:
            try:
                expected: Any = text[index]
            except IndexError:
                with pytest.raises(IndexError, match="string index out of range"):
                    found[index]
            else:
                assert found[index] == expected


@QUICK
@given(BYTES, st.lists(st.integers(0, 99), max_size=3), WORDS, BOUND, BOUND)
def test_searches_are_those_of_the_decoded_text(
    data: bytes, cuts: list[int], word: str, start: int | None, end: int | None
) -> None:
    text = data.decode("utf-8", "replace")
    found = view(data, cuts)
    assert (word in found) == (word in text)
    for name in ("find", "rfind", "count"):
        assert getattr(found, name)(word, start, end) == getattr(text, name)(word, start, end), name
        assert getattr(found, name)(word) == getattr(text, name)(word), name
    assert found.startswith(word) == text.startswith(word)
    assert found.endswith((word, "zz")) == text.endswith((word, "zz"))
    assert found.startswith(word, start or 0) == text.startswith(word, start or 0)


@QUICK
@given(BYTES, st.lists(st.integers(0, 99), max_size=3), WORDS.filter(bool))
def test_parts_are_those_of_the_decoded_text(data: bytes, cuts: list[int], word: str) -> None:
    text = data.decode("utf-8", "replace")
    found = view(data, cuts)
    assert found.split(word) == text.split(word)
    assert found.split() == text.split()
    assert found.split(word, 1) == text.split(word, 1)
    assert found.splitlines() == text.splitlines()
    assert found.splitlines(True) == text.splitlines(True)
    lines = text.split("\n")
    expected = lines if lines[-1] else lines[:-1]
    assert list(found) == [line[:-1] if line.endswith("\r") else line for line in expected]


PATTERNS = [
    r"a", r"a+", r"[ab]+", r"^a", r"a$", r"(?m)^.", r"(?m)b$", r".", r"(?s).", r"\s", r"\S+",
    r"\w+",
    r"\W", r"\d", r"\b\w", r"\B.", r"(a)(b)?", r"(?P<x>a)|b", r"", r"x*", r"(?<=a)b", r"(?<!a)b",
    r"a(?=b)", r"a(?!b)", r"\n", r"a\nb?", r"[^a]", r"[^a\n]", r"\A.", r".\Z", r"(?i)A", r"é",
    r"[^\S]",
    r"(.)\1", r"a{2,3}?", r"(?<=\n)a", r"(?:a|b\n)+", r"[\s]a", r"\x61", r"(?x) a  b",
]  # fmt: skip


@QUICK
@given(BYTES | PLAIN, st.lists(st.integers(0, 99), max_size=2), st.sampled_from(PATTERNS))
def test_patterns_match_as_they_do_in_the_decoded_text(
    data: bytes, cuts: list[int], pattern: str
) -> None:
    text = data.decode("utf-8", "replace")
    found = view(data, cuts)
    expected = list(re.finditer(pattern, text))
    got = list(regex.compile(pattern).finditer(found))
    assert [m.span() for m in got] == [m.span() for m in expected]
    assert [m.groups() for m in got] == [m.groups() for m in expected]
    assert [m.group() for m in got] == [m.group() for m in expected]
    assert [m.groupdict() for m in got] == [m.groupdict() for m in expected]
    compiled = regex.compile(pattern)
    assert compiled.findall(found) == re.findall(pattern, text)
    assert compiled.split(found) == re.split(pattern, text)
    assert compiled.sub("<>", found) == re.sub(pattern, "<>", text)
    first, wanted = compiled.search(found), re.search(pattern, text)
    assert (first and first.span()) == (wanted and wanted.span())
    for name in ("match", "fullmatch"):
        one, other = getattr(compiled, name)(found), getattr(re.compile(pattern), name)(text)
        assert (one and one.span()) == (other and other.span())


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_that_is_said_to_stay_in_a_line_never_matches_a_line_end(pattern: str) -> None:
    if not crossing.can_match_newline(pattern, re.compile(pattern).flags):
        texts = ["a\nb\n", "\n\n", "ab\naab", " \n1\n"]
        assert not any("\n" in m.group() for text in texts for m in re.finditer(pattern, text))


@pytest.mark.parametrize(
    ("pattern", "same"),
    [(r"\u00e9", False), ("é", False), (r"[\S]", False), (r"\s[\s]\S", True), (r"[]\s]", True)],
)
def test_only_patterns_that_mean_the_same_are_tried_on_bytes(pattern: str, same: bool) -> None:
    source = crossing.bytes_pattern(pattern)
    assert (source is not None) == same
    if source is not None:
        text = "".join(map(chr, range(128))) + " ] \x1c\x1c"
        over = [m.span() for m in re.finditer(source, text.encode())]
        assert over == [m.span() for m in re.finditer(pattern, text)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_an_empty_view_is_matched_as_an_empty_text(pattern: str) -> None:
    got = regex.compile(pattern).finditer(view(b""))
    assert [m.span() for m in got] == [m.span() for m in re.finditer(pattern, "")]


def test_a_large_view_is_never_copied_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from rlm_mcp.sandbox import text_view as module

    monkeypatch.setattr(module, "COPY_LIMIT_BYTES", 10)
    found = view("a line\nnaïve\n".encode() * 10)
    assert found.find("naïve") == 7 and "line" in found and len(list(found)) == 20
    assert len(regex.compile("na.ve").findall(found)) == 10
    for work in (
        lambda: found.upper(),
        lambda: found + "x",
        lambda: str(found),
        lambda: hash(found),
    ):
        with pytest.raises(MemoryError, match="slice it"):
            work()
    with pytest.raises(MemoryError, match="across lines"):
        regex.compile(r"line\sna").findall(found)


@QUICK
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=12), st.booleans())
def test_adjacent_spans_are_merged_and_none_is_lost(
    spans: list[tuple[int, int]], in_order: bool
) -> None:
    if in_order:
        place, laid = 0, []
        for gap, size in spans:
            place += gap % 3
            laid.append((place, size))
            place += size
        spans = laid
    places, sizes = mapping.merge_spans(spans)
    covered = [at for o, n in zip(places, sizes, strict=True) for at in range(o, o + n)]
    assert covered == [at for o, n in spans for at in range(o, o + n)]
    following = [o + n for o, n in zip(places, sizes, strict=True)]
    assert all(end != start for end, start in zip(following, places[1:], strict=False))


@pytest.mark.parametrize("word", ["", "a", "é"])
def test_searches_between_any_bounds_are_those_of_the_text(word: str) -> None:
    text = "aéa"
    found = view(text.encode())
    bounds = [None, *range(-5, 6)]
    for name in ("find", "rfind", "count"):
        for start in bounds:
            for end in bounds:
                expected = getattr(text, name)(word, start, end)
                assert getattr(found, name)(word, start, end) == expected, (name, start, end)


def test_spans_outside_of_the_file_are_refused() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"abc")
        file.flush()
        with pytest.raises(ValueError, match="outside"):
            MappedBytes(file.fileno(), 3, [2], [2])


def test_a_method_is_called_with_its_name_and_arguments() -> None:
    found = view(b"abc")
    made = TextView("v", "repo", "d", found._mapped, {"syms": "syms(x): all"}, lambda *call: call)
    assert made.syms(1, a=2) == ("v", "syms", [1], {"a": 2})
    assert "syms" in dir(made) and repr(made.syms) == "<v.syms(x): all>"
    with pytest.raises(AttributeError, match="Did you mean syms"):
        made.sym  # noqa: B018
