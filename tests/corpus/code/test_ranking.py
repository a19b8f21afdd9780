from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp.corpus.code import fulltext, ranking
from rlm_mcp.corpus.code.fulltext import split_passages
from rlm_mcp.corpus.code.ranking import rank_passages
from rlm_mcp.corpus.code.words import (
    cheap_stem,
    separate_identifiers,
    split_identifier,
    split_question,
)
from rlm_mcp.corpus.store import open_corpus
from rlm_mcp.corpus.store.corpus import Corpus
from rlm_mcp.errors import Unavailable

FILES = {
    "src/session.py": '''"""Sessions."""
from store import Store


class SessionStore(Store):
    """Keeps sessions in memory."""

    def expireOldSessions(self, now):
        for key in list(self.items):
            if self.items[key].deadline < now:
                del self.items[key]


def open_session(user):
    return SessionStore()
''',
    "src/cache.py": '''"""Caching of compiled templates."""


def get_template(name):
    """Return the compiled template, compiling and caching it on first use."""
    if name not in _cache:
        _cache[name] = compile_template(name)
    return _cache[name]
''',
    "src/user.py": "from session import open_session\n\ndef login(u):\n    open_session(u)\n",
    "tests/test_session.py": "def test_open_session():\n    assert open_session('a')\n" * 3,
    "docs/session.md": "# Sessions\n\nopen_session opens a session. open_session is simple.\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    for name, text in FILES.items():
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return made


@pytest.fixture
def corpus(folder: Path, tmp_path: Path) -> Iterator[Corpus]:
    made = open_corpus.open_folder(folder, cache=tmp_path / "cache")
    yield made
    made.close()


def test_identifiers_are_split_by_case_and_underscore() -> None:
    assert split_identifier("getHTTPResponse_code2") == ("get", "http", "response", "code2")
    assert separate_identifiers(b"loadFile HTTPServer snake_case ABC").text == (
        b"load File HTTP Server snake_case ABC"
    )


def test_numbers_stay_with_their_word_and_single_characters_go() -> None:
    assert split_identifier("SHA256_transformX") == ("sha256", "transform")
    assert separate_identifiers(b"SHA256(x) + utf8 - a1").text == b"SHA256( ) + utf8 - a1"
    assert (split_identifier("x"), split_identifier("aB")) == (("x",), ("a", "b"))
    assert separate_identifiers("é ü x".encode()).text.decode() == "é ü  "


@given(
    st.text("abXYZ19_. \n\u00e9\u6f22", max_size=40).filter(
        lambda text: len(text.split()) < 2 and text
    )
)
def test_a_question_is_split_as_the_text_is(word: str) -> None:
    """The parts of a word are the words of the same text in the index, so that phrases fit."""
    text, places = separate_identifiers(word.encode())
    indexed = re.findall(r"[^\W_]+", text.decode().lower())
    assert not indexed or split_identifier(word) == tuple(indexed)
    assert len(text) == len(word.encode()) + len(places)


def test_a_question_is_reduced_to_its_telling_words() -> None:
    assert [
        term.text for term in split_question("Where is the `open_session` function defined?")
    ] == ["open_session"]
    assert [term.text for term in split_question("How does caching of templates work?")] == [
        "caching",
        "templates",
    ]
    assert split_question("") == []
    assert [term.text for term in split_question("where is it")] == ["where"]


def test_a_definition_comes_before_its_mentions(corpus: Corpus) -> None:
    found = rank_passages(corpus, "where is open_session defined?")
    assert (found[0].path, found[0].text) == ("src/session.py", "def open_session(user):")
    order = [item.path for item in found]
    assert order.index("src/user.py") < order.index("tests/test_session.py")


def test_tests_and_documents_come_first_when_they_are_asked_for(corpus: Corpus) -> None:
    assert rank_passages(corpus, "tests of open_session")[0].path == "tests/test_session.py"
    assert rank_passages(corpus, "documentation of open_session")[0].path == "docs/session.md"


def test_words_fit_in_any_form_and_case(corpus: Corpus) -> None:
    assert rank_passages(corpus, "how are templates cached?")[0].path == "src/cache.py"
    assert rank_passages(corpus, "expire old sessions")[0].symbol == "expireOldSessions"
    assert rank_passages(corpus, "expire_old_sessions")[0].symbol == "expireOldSessions"


def test_the_line_is_verbatim_and_inside_its_passage(corpus: Corpus) -> None:
    for item in rank_passages(corpus, "session deadline cache"):
        lines = corpus.line_bytes(item.path, item.start, item.end)
        assert lines[item.line - item.start].decode() == item.text


def test_a_scope_narrows(corpus: Corpus) -> None:
    found = rank_passages(corpus, "open_session", ["docs/session.md"])
    assert {item.path for item in found} == {"docs/session.md"}


def test_a_change_is_found_at_once_and_what_is_gone_is_not(corpus: Corpus, folder: Path) -> None:
    rank_passages(corpus, "open_session")
    (folder / "src/new.py").write_text("def zebra_crossing():\n    pass\n")
    (folder / "docs/session.md").unlink()
    corpus.refresh()
    assert rank_passages(corpus, "zebra_crossing")[0].path == "src/new.py"
    assert "docs/session.md" not in {item.path for item in rank_passages(corpus, "open_session")}


def test_the_index_survives_the_process(folder: Path, tmp_path: Path) -> None:
    first = open_corpus.open_folder(folder, cache=tmp_path / "cache")
    before = rank_passages(first, "open_session")
    first.close()
    assert list((tmp_path / "cache" / "ranked").iterdir())
    second = open_corpus.open_folder(folder, cache=tmp_path / "cache")
    assert rank_passages(second, "open_session") == before
    second.close()


def test_a_broken_index_is_made_again(folder: Path, tmp_path: Path) -> None:
    first = open_corpus.open_folder(folder, cache=tmp_path / "cache")
    before = rank_passages(first, "open_session")
    first.close()
    del first
    import gc

    gc.collect()
    for path in (tmp_path / "cache" / "ranked").iterdir():
        path.write_bytes(b"no database" * 1000)
    second = open_corpus.open_folder(folder, cache=tmp_path / "cache")
    assert rank_passages(second, "open_session") == before
    second.close()


@pytest.mark.parametrize(
    "question",
    ['"', "'; drop table body; --", "AND OR NOT", "NEAR(a b)", "*", "a" * 10_000, "é ñ 漢字"],
)
def test_a_question_is_never_syntax(corpus: Corpus, question: str) -> None:
    rank_passages(corpus, question)


def test_passages_cover_every_line_once() -> None:
    text = "".join(f"def f{n}():\n" + "    x = 1\n" * (n % 130) for n in range(200))
    pieces = split_passages("a.py", text.encode())
    assert (pieces.starts[0], pieces.starts[-1]) == (1, text.count("\n") + 1)
    assert all(1 <= stop - start <= 80 for start, stop in pairwise(pieces.starts))
    assert len(pieces.symbols) == len(pieces.edges) == len(pieces.starts) - 1
    assert pieces.symbols[:2] == ["f0", "f2"]
    words = b"".join(pieces.text.split())
    assert pieces.edges[-1] == len(pieces.text) and b"def" in words


def test_an_index_that_is_not_complete_says_how_far_it_came_and_goes_on(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "BUILD_S", 0.0)
    monkeypatch.setattr(fulltext, "DEADLINE_STEP", 1)
    with pytest.raises(Unavailable, match=r"0 of 5 documents.*ask again"):
        rank_passages(corpus, "session store")
    monkeypatch.setattr(ranking, "BUILD_S", 60.0)
    assert [item.note for item in rank_passages(corpus, "session store")][:1] == [""]


def test_hits_of_a_partial_index_carry_the_note(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fulltext, "DEADLINE_STEP", 1)
    clock = iter(range(1_000))
    monkeypatch.setattr(fulltext, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    monkeypatch.setattr(ranking, "BUILD_S", 3.0)
    first = rank_passages(corpus, "session store")
    assert first and all("3 of 5 documents" in item.note for item in first)
    assert all(not item.note for item in rank_passages(corpus, "session store"))


@pytest.mark.parametrize(
    "related",
    [
        ("quantize", "quantization", "quantizing", "quantizer"),
        ("serialize", "serialization", "serializer", "serialized"),
        ("validate", "validation", "validator"),
        ("run", "runs", "running", "runner"),
        ("file", "files"),
    ],
)
def test_related_words_share_a_stem(related: tuple[str, ...]) -> None:
    assert len({cheap_stem(word) for word in related}) == 1


def _first_paths(folder: Path, cache: Path, files: dict[str, str], question: str) -> list[str]:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    corpus = open_corpus.open_folder(folder, cache=cache)
    return list(dict.fromkeys(hit.path for hit in rank_passages(corpus, question)))


@pytest.mark.parametrize(
    "path",
    [
        "vendor/slots.py", "legacy/slots.py", "v1/slots.py", "tests/test_slots.py",
        ".agents/skills/slots.md", "AGENTS.md", "generated/slots.py", "docs/slots.md",
    ],
)  # fmt: skip
def test_what_is_seldom_asked_for_is_ranked_down_and_not_out(tmp_path: Path, path: str) -> None:
    text = "def reserve_slot(pool):\n    return pool.reserve_one()\n"
    files = {path: text, "zz/slots.py": text}
    found = _first_paths(tmp_path / "a", tmp_path / "b", files, "How is a slot reserved?")
    assert found == ["zz/slots.py", path]


def test_a_file_named_by_the_question_comes_first(tmp_path: Path) -> None:
    files = {
        "quantization.py": "def shrink(weights):\n    return weights.astype('int8')\n",
        "model.py": "def load(weights):\n    model = weights\n    return model\n",
        "train.py": "def fit(model):\n    weights = model.weights\n    return weights\n",
    }
    asked = "How are weights quantized?"
    assert _first_paths(tmp_path / "a", tmp_path / "b", files, asked)[0] == "quantization.py"


def test_two_readers_of_one_index_do_not_fail_each_other(corpus: Corpus, folder: Path) -> None:
    readers = [fulltext.FullTextIndex(corpus), fulltext.FullTextIndex(corpus)]
    for _ in range(2):
        for reader in readers * 2:
            assert reader.update_index(corpus.snapshot, 10.0).is_complete
            assert reader.match_passages('"session"', 10)
        (folder / "src" / "late.py").write_text("def late():\n    return session\n")
        corpus.refresh()
    for reader in readers:
        reader.close()


def test_a_question_finds_what_shares_no_word_with_it(corpus: Corpus, folder: Path) -> None:
    (folder / "src" / "mail.py").write_text(
        '"""Sending."""\n\n\ndef deliver(letter, address):\n    """Post a letter."""\n'
        "    return carrier.take(letter, address)\n"
    )
    corpus.refresh()
    question = "How does an e-mail reach its recipient?"
    assert not {"deliver", "letter", "address", "carrier", "take"} & set(question.lower().split())
    assert rank_passages(corpus, question, limit=1)[0].path == "src/mail.py"


def test_words_that_occur_count_for_more_than_what_they_mean(corpus: Corpus) -> None:
    assert rank_passages(corpus, "where is the template compiled")[0].symbol == "get_template"


def test_a_scope_holds_for_what_is_near_in_meaning(corpus: Corpus) -> None:
    found = rank_passages(corpus, "How long may a visitor stay?", ["docs/session.md"])
    assert {hit.path for hit in found} <= {"docs/session.md"}


def test_a_word_that_means_nothing_finds_nothing(corpus: Corpus) -> None:
    assert rank_passages(corpus, "Zyzzyva quokka?") == []


def test_what_is_found_by_meaning_alone_says_so(corpus: Corpus) -> None:
    found = rank_passages(corpus, "Does the webpage remember my visit?")
    assert found and {hit.note for hit in found} == {ranking.MEANT_ONLY}
