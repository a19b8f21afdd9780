"""Sources as people write them, in every language, beside what they define and use.

`samples/<name>.txt` is a source, `samples/<name>.tags` was read and corrected by hand: a line for
each definition (lines, kind, owner and name), then one for each use (line, kind, name).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from rlm_mcp.corpus.code.grammar import LANGUAGES, ParsedDocument, parse_document
from rlm_mcp.corpus.code.language import language_of

SAMPLES = Path(__file__).parent / "samples"
NAMES = sorted(path.stem for path in SAMPLES.glob("*.txt"))


def _lines(parsed: ParsedDocument) -> list[str]:
    found = [
        f"{item.line}-{item.stop} {item.kind} {f'{item.owner}.' if item.owner else ''}{item.name}"
        for item in parsed.definitions
    ]
    uses = sorted(
        {
            (line, kind, name)
            for kind, names in parsed.uses.items()
            for name, lines in names.items()
            for line in lines
        }
    )
    return found + [f"{line} {kind} {name}" for line, kind, name in uses]


def test_there_is_a_sample_for_every_language() -> None:
    # TSX is TypeScript with JSX, which the sample of JavaScript has.
    assert {language_of(name) for name in NAMES} == LANGUAGES - {"tsx"}


@pytest.mark.parametrize("name", NAMES)
def test_a_source_defines_and_uses_what_its_reader_sees(name: str) -> None:
    parsed = parse_document(language_of(name), (SAMPLES / f"{name}.txt").read_bytes())
    assert _lines(parsed) == (SAMPLES / f"{name}.tags").read_text().splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_reads_the_same(name: str) -> None:
    parsed = parse_document(language_of(name), (SAMPLES / f"{name}.txt").read_bytes())
    again = ParsedDocument.from_text(parsed.to_text())
    assert again.definitions == parsed.definitions
    assert again.uses == parsed.uses
    assert list(again.name_counts) == list(parsed.name_counts)
