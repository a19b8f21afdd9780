"""The embedded model: no network, no key, no cost. It finds and quotes; it does not understand.

As a root model it writes one cell that looks for the names in the question, their definitions,
the passages that rank best and, where the question asks for it, the history; the cell sets the
answer to quotations under their refs. As a sub-model it ranks the lines of the text that it was
given (BM25) and quotes the best. Both say that no model was used. The same request always gets
the same reply.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rlm_mcp.models.extractive import cell
from rlm_mcp.models.extractive.names import words_of
from rlm_mcp.models.extractive.question import parse
from rlm_mcp.models.model import ModelReply, ModelRequest, Price, TokenUsage
from rlm_mcp.tokens import reserve_tokens

NOTICE = "No model was used: this was found by searching, and is quoted word for word."
NOTHING = "No model was used, and nothing in the given text shares a word with the question."
NOTHING_OPEN = "No model was used, and nothing that is open shares a word with the question."

NOTHING_HERE = "No model was used, and there is nothing to search: no text was given, none is open."

AGAIN = """\
if not answer["content"]:
    answer["content"] = {said!r}
answer["ready"] = True"""

QUOTED_LINES = 8
"""Lines that a sub-model's reply quotes at most."""

_QUESTION = (
    re.compile(r"<question>\s*(.*?)\s*</question>", re.DOTALL | re.IGNORECASE),
    re.compile(
        r"^\W*question\W*:\W*?(.+?)(?:\n\s*\n|\Z)", re.DOTALL | re.IGNORECASE | re.MULTILINE
    ),
)
_LIMITS = re.compile(
    r"^The question is about: (.+?)(?: and [\d,]+ more; \S+ lists all of them)?\.$", re.M
)
_PART = re.compile(r'<part ref="([^"]*)">\n(.*?)\n</part>', re.DOTALL)
_VARIABLE = re.compile(r"^\W{0,4}([A-Za-z_]\w{0,60})`? \((repo|history|text|session|logs)\b", re.M)


@dataclass(frozen=True, slots=True)
class Extractive:
    """The embedded model. It holds nothing, so one serves every run."""

    spec: str = "extractive:"
    window_tokens: int = 10_000_000
    price: Price | None = Price(0.0, 0.0, 0.0, 0.0, "no charge")  # noqa: RUF009
    concurrency: int | None = None

    async def check_ready(self) -> None:
        """Need nothing."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Return a cell (as a root model) or quotations (as a sub-model)."""
        text = root(request) if request.purpose == "root" else sub(request)
        usage = TokenUsage(await self.count_tokens(request), reserve_tokens(text))
        return ModelReply(text, usage, "extractive", 0.0)

    async def count_tokens(self, request: ModelRequest) -> int:
        """Return the size of `request`, estimated as for any model."""
        return request.estimate_tokens()

    async def close(self) -> None:
        """Hold nothing, so release nothing."""


def question_of(text: str) -> tuple[str, str]:
    """Return the question in a prompt, and the rest; without a mark, the whole is both."""
    for pattern in _QUESTION:
        found = pattern.search(text)
        if found:
            return found[1].strip(), text[: found.start()] + text[found.end() :]
    return text.strip(), text


def root(request: ModelRequest) -> str:
    """Return the turn of a root model: a cell at first, then what is left to say."""
    question, rest = question_of(request.messages[0].text)
    places = list(dict.fromkeys(_VARIABLE.findall(rest)))
    if len(request.messages) > 1:
        said = request.messages[-1].text
        problem = next((line.strip() for line in said.splitlines() if "Error" in line), "")
        ended = f"No model was used, and the search ended early: {problem[:200] or 'no result'}"
        told = ended if places or problem else NOTHING_HERE
        return f"```repl\n{AGAIN.format(said=told)}\n```"
    limits = _LIMITS.search(rest)
    refs = limits[1].split(", ") if limits else []
    nothing = NOTHING_OPEN if places else NOTHING_HERE
    code = cell.write(parse(question, refs=refs), places, NOTICE, nothing)
    return f"No model is at hand; this cell searches and quotes.\n```repl\n{code}\n```"


def sub(request: ModelRequest) -> str:
    """Return the lines of the given text that fit its question best, under their refs."""
    given = "\n\n".join(message.text for message in request.messages if message.role == "user")
    question, text = question_of(given)
    if text == given:
        question, text = _parted(given)
    lines = list(_lines(text))
    scores = rank([words_of(line) for _, line in lines], set(words_of(question)))
    best = sorted(range(len(lines)), key=lambda number: (-scores[number], number))
    kept = sorted(number for number in best[:QUOTED_LINES] if scores[number] > 0)
    if not kept:
        return NOTHING
    said = [NOTICE]
    for number in kept:
        ref, line = lines[number]
        said.append(f"{ref}\n> {line}" if ref else f"> {line}")
    return "\n".join(said)


def _parted(text: str) -> tuple[str, str]:
    """Return the question of an unmarked prompt, and the rest: its first or last paragraph."""
    head, _, below = text.strip().partition("\n\n")
    above, _, tail = text.strip().rpartition("\n\n")
    if not below:
        head, _, below = text.strip().partition("\n")
        return head, below
    asked_last = "?" in tail and ("?" not in head or len(tail) < len(head))
    return (tail, above) if asked_last else (head, below)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Yield (ref of the line or nothing, line) for the lines of a prompt's parts, or of all."""
    parts = _PART.findall(text)
    for ref, body in parts or [("", text)]:
        head, mark, span = ref.partition("#L")
        first = int(re.match(r"[0-9]*", span)[0] or 0) if mark else 0  # type: ignore[index]
        for number, line in enumerate(body.split("\n")):
            if line.strip():
                yield (f"{head}#L{first + number}" if mark else ref), line


def rank(documents: list[list[str]], wanted: set[str]) -> list[float]:
    """Return the BM25 score of each document (k1 1.2, b 0.75; Robertson and Zaragoza 2009)."""
    if not documents:
        return []
    average = sum(map(len, documents)) / len(documents) or 1.0
    holding = Counter(word for words in documents for word in wanted.intersection(words))
    weight = {
        word: math.log(1 + (len(documents) - count + 0.5) / (count + 0.5))
        for word, count in holding.items()
    }
    scores = []
    for words in documents:
        counts = Counter(word for word in words if word in weight)
        norm = 1.2 * (0.25 + 0.75 * len(words) / average)
        scores.append(sum(weight[w] * n * 2.2 / (n + norm) for w, n in sorted(counts.items())))
    return scores
