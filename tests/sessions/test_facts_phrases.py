"""The sieve in front of the phrases changes nothing of what they find."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from rlm_mcp.sessions import facts
from rlm_mcp.sessions.facts import PhraseSet

STATEMENTS = Path(__file__).with_name("data") / "statements.jsonl"
NAMES = sorted(name for name, value in vars(facts).items() if isinstance(value, PhraseSet))
JOINTS = [" ", ", ", " \u2014 ", "\t", " |", "\u00e9 ", "\x0b", "\u3002", "\u2019", "(", " not "]


def sentences() -> list[str]:
    """Return the statements, and halves of them joined by what may stand between words."""
    said = [json.loads(line)["text"] for line in STATEMENTS.read_text("utf-8").splitlines()]
    dice = random.Random(7)
    mixed = []
    for _ in range(3_000):
        one, other = dice.choice(said), dice.choice(said)
        cut = dice.randrange(len(one) + 1)
        mixed.append(one[:cut] + dice.choice(JOINTS) + dice.choice((str, str.upper))(other))
    return said + mixed


@pytest.mark.parametrize("name", NAMES)
def test_the_sieve_lets_all_pass_that_a_phrase_stands_in(name: str) -> None:
    one = getattr(facts, name)
    for sentence in sentences():
        found = one._bound.match(sentence) or one._free.search(sentence)
        assert one.found_in(sentence) is (found is not None), sentence


def test_most_sentences_of_a_reply_are_looked_at_only_once() -> None:
    reply = "The parser reads one record after the other and counts what it leaves out."
    assert not facts._candidate_sets(reply)
