from __future__ import annotations

import numpy as np
import pytest

from rlm_mcp.corpus.code.word_vectors import (
    DocumentVectors,
    PassageEmbedder,
    PassageVectors,
    WordVectors,
    load_word_vectors,
    words_in,
)


@pytest.fixture(scope="module")
def table() -> WordVectors:
    found = load_word_vectors()
    assert found is not None, "wordllama is not installed: make setup"
    return found


def embed(table: WordVectors, *texts: str) -> PassageVectors:
    embedder = PassageEmbedder(table)
    rows = [embedder.embed_passages(b"", [b""], [text.encode()]) for text in texts]
    return PassageVectors(
        [DocumentVectors(f"{n}.txt", 10 * n + 1, row) for n, row in enumerate(rows)]
    )


def asked(table: WordVectors, question: str) -> np.ndarray:
    return table.embed_weighted(dict.fromkeys(words_in(question), 1.0))


def test_words_of_one_meaning_are_near_each_other(table: WordVectors) -> None:
    def near(one: str, other: str) -> float:
        first, second = table.word_vector(one), table.word_vector(other)
        return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))

    assert near("delete", "remove") > 2 * max(0.05, near("delete", "banana"))


def test_a_word_that_is_no_piece_of_its_own_is_made_of_pieces(table: WordVectors) -> None:
    assert np.linalg.norm(table.word_vector("zyzzyvaquokka")) > 0


def test_the_passage_on_a_subject_is_the_nearest(table: WordVectors) -> None:
    vectors = embed(table, "boil the soup in a pot", "the lawyer spoke in court", "rain and snow")
    compared = vectors.compare_passages(asked(table, "cooking a meal"), 0.0, lambda _: 1.0)
    assert compared.nearest(1) == [1]
    assert compared.nearness_of(1) > compared.nearness_of(11)
    assert compared.nearness_of(7) == 0.0


def test_a_path_that_counts_nothing_is_never_near(table: WordVectors) -> None:
    vectors = embed(table, "boil the soup", "fry the fish")
    compared = vectors.compare_passages(
        asked(table, "cooking"), 0.0, lambda path: float(path == "1.txt")
    )
    assert set(compared.nearest(5)) <= {11}


def test_a_passage_without_words_has_no_meaning_and_fails_nothing(table: WordVectors) -> None:
    vectors = embed(table, "", "12 + 34", "soup")
    compared = vectors.compare_passages(asked(table, "soup"), 0.5, lambda _: 1.0)
    assert compared.nearest(1) == [21]
    empty = PassageVectors([]).compare_passages(asked(table, "soup"), 0.5, lambda _: 1.0)
    assert empty.nearest(3) == [] and empty.nearness_of(1) == 0.0


def test_without_the_package_there_is_no_table() -> None:
    assert load_word_vectors("no_such_package_as_this") is None
