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
from dataclasses import dataclass

from rlm_mcp.models import estimate
from rlm_mcp.models.extractive_cell import CELL
from rlm_mcp.models.model import Price, Reply, Request, Usage

NOTICE = "No model was used; these passages fit the question best, quoted word for word."
NOTHING = "No model was used, and nothing in the given text shares a word with the question."

QUOTED_LINES = 12
"""Lines that a sub-model's reply quotes at most."""

_WORD = re.compile(r"[A-Za-z0-9_]+")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_CODE = re.compile(r"`([^`\n]{2,80})`|[\"']([A-Za-z_][\w.]{1,79})[\"']")
_NAME = re.compile(
    r"\b(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|[A-Za-z]\w*_\w+|__\w+__|[A-Z][a-z0-9]+(?:[A-Z]\w*)+"
    r"|[a-z]+[A-Z]\w*|[A-Z]{2,}[a-z]\w*)\b"
)
_QUESTION = (
    re.compile(r"<question>\s*(.*?)\s*</question>", re.DOTALL | re.IGNORECASE),
    re.compile(
        r"^\W*question\W*:\W*?(.+?)(?:\n\s*\n|\Z)", re.DOTALL | re.IGNORECASE | re.MULTILINE
    ),
)
_VARIABLE = re.compile(
    r"^\W*`?([A-Za-z_]\w{0,40})`?\W{1,4}(repo|history|text|session|logs)\b", re.M
)
_FILLER = """
a about all an and any are as at be been being between but by can code come could defined
describe did do does doing each explain file files find for from get gets give given had has
have how i if implemented in into is it its line lines list locate located me may more most much
must my name named no not of on one only or other our out please say see should show so some
such tell than that the their them then there these they this those to under us use used uses
using was way we were what when where which who whose why will with work works would you your
class function method module commit commits happen happens quote
"""
_STOP = frozenset(_FILLER.split())
_HISTORY = re.compile(
    r"\b(commits?|committed|history|when was|when did"
    r"|who (?:added|wrote|changed|removed|introduced)"
    r"|introduced|added|removed|renamed|reverted|changed|blame|author)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Extractive:
    """The embedded model. It holds nothing, so one serves every run."""

    spec: str = "extractive:"
    window: int = 10_000_000
    price: Price | None = Price(0.0, 0.0, 0.0, 0.0, "no charge")  # noqa: RUF009
    concurrency: int | None = None

    async def complete(self, request: Request) -> Reply:
        """Return a cell (as a root model) or quotations (as a sub-model)."""
        text = root(request) if request.purpose == "root" else sub(request)
        usage = Usage(await self.count(request), estimate.tokens(text))
        return Reply(text, usage, "extractive", 0.0)

    async def count(self, request: Request) -> int:
        """Return the size of `request`, estimated as for any model."""
        return estimate.request_tokens(request)

    async def close(self) -> None:
        """Hold nothing, so release nothing."""


def question_of(text: str) -> tuple[str, str]:
    """Return the question in a prompt, and the rest; without a mark, the whole is both."""
    for pattern in _QUESTION:
        found = pattern.search(text)
        if found:
            return found[1].strip(), text[: found.start()] + text[found.end() :]
    return text.strip(), text


def names_in(question: str) -> list[str]:
    """Return what looks like a name of code, in order: quoted, dotted, snake or camel case."""
    found = [a or b for a, b in _CODE.findall(question)]
    found += _NAME.findall(question)
    names = [name.strip("(){}[];:,") for name in found]
    return list(dict.fromkeys(name for name in names if name))[:8]


def words_of(text: str) -> list[str]:
    """Return the words worth matching: lower case, names split into their parts, no filler."""
    words = []
    for word in _WORD.findall(text):
        parts = [part.lower() for part in _PARTS.findall(word)]
        whole = word.lower()
        words.extend([whole] if parts == [whole] else [whole, *parts])
    return [_stem(word) for word in words if len(word) > 1 and word not in _STOP]


def _stem(word: str) -> str:
    for ending in ("ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word


def root(request: Request) -> str:
    """Return the turn of a root model: a cell at first, then what is left to say."""
    question, _ = question_of(request.messages[0].text)
    if len(request.messages) > 1:
        return "```repl\nanswer['ready'] = bool(answer['content'])\nprint(answer['content'])\n```"
    given = "\n".join([request.system, request.messages[0].text])
    variables = list(dict.fromkeys(_VARIABLE.findall(given))) or [
        ("repo", "repo"), ("history", "history"), ("logs", "logs"), ("session", "session"),
    ]  # fmt: skip
    cell = CELL.format(
        question=question[:2_000],
        variables=variables,
        names=names_in(question),
        words=list(dict.fromkeys(words_of(question)))[:24],
        past=bool(_HISTORY.search(question)),
        notice=NOTICE,
    )
    return f"No model is at hand; this cell searches and quotes.\n```repl\n{cell}\n```"


def sub(request: Request) -> str:
    """Return the lines of the last message that fit its question best, in their order."""
    question, text = question_of(request.messages[-1].text)
    lines = text.splitlines()
    wanted = set(words_of(question))
    scores = rank([words_of(line) for line in lines], wanted)
    asked = {line.strip() for line in question.splitlines()}
    best = sorted(
        (number for number, score in enumerate(scores) if score > 0),
        key=lambda number: (-scores[number], number),
    )
    kept = sorted([n for n in best if lines[n].strip() not in asked][:QUOTED_LINES])
    if not kept:
        return NOTHING
    return "\n".join([NOTICE, *(lines[number] for number in kept)])


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
