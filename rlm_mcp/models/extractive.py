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

from rlm_mcp.models import estimate
from rlm_mcp.models.extractive_cell import BIND, CELL
from rlm_mcp.models.model import Price, Reply, Request, Usage

NOTICE = "No model was used: this was found by searching, and is quoted word for word."
NOTHING = "No model was used, and nothing in the given text shares a word with the question."
NOTHING_OPEN = "No model was used, and nothing that is open shares a word with the question."

AGAIN = """\
if not answer["content"]:
    answer["content"] = "No model was used, and the search ended early: " + {problem!r}
answer["ready"] = True"""

QUOTED_LINES = 8
"""Lines that a sub-model's reply quotes at most."""

_WORD = re.compile(r"[A-Za-z0-9_]+")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_CODE = re.compile(r"`([^`\n]{2,80})`|[\"']([A-Za-z_][\w.]{1,79})[\"']")
_NAME = re.compile(
    r"\b(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|[A-Za-z]\w*_\w+|__\w+__|[A-Z][a-z0-9]+(?:[A-Z]\w*)+"
    r"|[a-z]+[A-Z]\w*|[A-Z]{2,}[a-z]\w*|[A-Z][A-Z0-9]{4,})\b"
)
_QUESTION = (
    re.compile(r"<question>\s*(.*?)\s*</question>", re.DOTALL | re.IGNORECASE),
    re.compile(
        r"^\W*question\W*:\W*?(.+?)(?:\n\s*\n|\Z)", re.DOTALL | re.IGNORECASE | re.MULTILINE
    ),
)
_PURPOSE = re.compile(r"<asked_in_order_to_answer>.*?</asked_in_order_to_answer>", re.DOTALL)
_PART = re.compile(r'<part ref="([^"]*)">\n(.*?)\n</part>', re.DOTALL)
_VARIABLE = re.compile(r"^\W{0,4}([A-Za-z_]\w{0,60})`? \((repo|history|text|session|logs)\b", re.M)
_FILLER = """
a about all an and any are as at be been being between but by can code come could defined
depend depends
describe did do does doing each explain file files find for from get gets give given had has
have how i if implemented in into is it its line lines list locate located me may more most much
must my name named no not of on one only or other our out please say see should show so some
such tell than that the their them then there these they this those to under us use used uses
using was way we were what when where which who whose why will with work works would you your
class function method module commit commits happen happens quote
"""
_COUNTING = re.compile(r"\b(how (?:many|often|much)|count|number of)\b", re.IGNORECASE)
_KINDS = (
    "class|function|method|struct|interface|trait|type|enum|module|macro|constant|variable|setting"
    "|option|command|exception|decorator|table|field|flag"
)
_NAMED = (
    re.compile(rf"\b(?:{_KINDS})s?\s+(?:named\s+|called\s+)?([A-Za-z_]\w+)"),
    re.compile(rf"\b([A-Z]\w+|\w+_\w+)\s+(?:{_KINDS})\b"),
    re.compile(r"\b([A-Za-z_]\w*)\(\)"),
)
_RELATIONS = {
    "call": re.compile(r"\b(?:call(?:s|ed|ers?|ing)?|invok(?:e|es|ed|ing))\b", re.IGNORECASE),
    "import": re.compile(r"\bimport(?:s|ed|ers?|ing)?\b|\bdepends? on\b", re.IGNORECASE),
    "use": re.compile(r"\b(?:us(?:e|es|ed|ers?|ages?)|referenc(?:e|es|ed|ing))\b", re.IGNORECASE),
}
"""How a question may relate code to a name; each is looked up in the parsed source."""
_RELATED = re.compile(
    r"\b(?:calls?|invokes?|imports?|importing|depends? on|importers? of|callers? of)"
    r"\s+(?:the\s+|a\s+)?([A-Za-z_][\w.]*\w)",
    re.IGNORECASE,
)
_STOP = frozenset(_FILLER.split())
_ARTICLES = frozenset(_KINDS.split("|")) | {"a", "the", "other", "its", "their", "these"}
_PAST = frozenset({"added", "introduc", "wrote", "chang", "remov", "revert", "history", "author"})
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

    async def ready(self) -> None:
        """Need nothing."""

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
    """Return what looks like a name of code: quoted, dotted, snake or camel case, after "class"."""
    found = [a or b for a, b in _CODE.findall(question)]
    found += _NAME.findall(question)
    for pattern in _NAMED:
        found += [name for name in pattern.findall(question) if _can_be_name(name)]
    names = [name.strip("(){}[];:,.") for name in found]
    return list(dict.fromkeys(name for name in names if name))[:6]


def relations_in(question: str, names: list[str]) -> list[tuple[str, str]]:
    """Return (call, import or use; a name) for a question about who does that with a name."""
    kinds = [kind for kind, pattern in _RELATIONS.items() if pattern.search(question)]
    if "use" in kinds[1:]:
        kinds.remove("use")  # "Which callers use ..." asks for the calls.
    said = [name for name in _RELATED.findall(question) if name.lower() not in _STOP | _ARTICLES]
    wanted = dict.fromkeys([*names, *(said if kinds else [])])
    return [(kind, name) for name in wanted for kind in kinds][:6]


def _can_be_name(word: str) -> bool:
    """Say whether a word beside "class" or "function" is a name and not a verb or filler."""
    plain = word.islower() and "_" not in word
    return bool(words_of(word)) and not (plain and word.endswith(("s", "ed", "ing")))


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
    if len(request.messages) > 1:
        said = request.messages[-1].text
        problem = next((line.strip() for line in said.splitlines() if "Error" in line), "no result")
        return f"```repl\n{AGAIN.format(problem=problem[:200])}\n```"
    first = request.messages[0].text
    question, rest = question_of(first)
    places = list(dict.fromkeys(_VARIABLE.findall(rest)))
    names = names_in(question)
    past = bool(_HISTORY.search(question))
    used = {word for name in names for word in words_of(name)}
    cell = CELL.format(
        question=_topic(question) if past else question[:2_000],
        names=names,
        relations=relations_in(question, names),
        words=[w for w in dict.fromkeys(words_of(question)) if w not in used | _PAST][:24],
        past=past,
        counting=bool(_COUNTING.search(question)),
        places=places,
        bind="\n".join(BIND.format(name=name) for name, _ in places),
        notice=NOTICE,
        nothing=NOTHING_OPEN,
    )
    return f"No model is at hand; this cell searches and quotes.\n```repl\n{cell}\n```"


def _topic(question: str) -> str:
    """Return a question about the past without the words that only say so."""
    kept = [
        word
        for word in re.findall(r"[\w.]+", question[:2_000])
        if word.lower() not in _STOP and _stem(word.lower()) not in _PAST
    ]
    return " ".join(kept) or question[:2_000]


def sub(request: Request) -> str:
    """Return the lines of the given text that fit its question best, under their refs."""
    given = "\n\n".join(message.text for message in request.messages if message.role == "user")
    question, text = question_of(_PURPOSE.sub("", given))
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
