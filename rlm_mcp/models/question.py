"""What a question asks for, read from its words alone: names of code, files, and what about them.

These are rules for English questions about code, logs and history. A question that they do not
understand is still ranked by its words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"[A-Za-z0-9_]+")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_CODE = re.compile(r"`([^`\n]{2,80})`|[\"']([A-Za-z_][\w.]{1,79})[\"']")
_NAME = re.compile(
    r"\b(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|[A-Za-z]\w*_\w+|__\w+__|[A-Z][a-z0-9]+(?:[A-Z]\w*)+"
    r"|[a-z]+[A-Z]\w*|[A-Z]{2,}[a-z]\w*|[A-Z][A-Z0-9]{4,}|TODO|HACK)\b"
)
_ENDINGS = (
    "bash|bat|c|cc|cfg|clj|cmake|conf|cpp|cs|css|csv|cxx|dart|env|erl|ex|exs|go|gradle|h|hpp|hs"
    "|html|ini|ipynb|java|jl|js|json|jsonl|jsx|kt|less|lock|log|lua|m|md|mjs|ml|php|pl|properties"
    "|proto|ps1|py|pyi|r|rb|rs|rst|sass|scala|scss|sh|sql|svelte|swift|tex|tf|toml|ts|tsv|tsx|txt"
    "|vb|vue|xml|yaml|yml|zig"
)
_FILE = re.compile(
    rf"(?<![\w./-])(?:[\w.@+-]+/)*[\w@+-][\w.@+-]*\.(?:{_ENDINGS})(?![\w/-])"
    r"|(?<![\w./:-])(?:[\w.@+-]+/)+[\w.@+-]*[\w@+]"
)
_CAPITAL = re.compile(r"\b[A-Z]\w{2,}\b")
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
_LISTING = re.compile(
    r"\b(?:list|show|find|give)\b.{0,40}\b(?:all|every|each)\b"
    r"|\b(?:all|every|each)\b.{0,20}\b(?:places?|lines?|comments?|usages?|occurrences?)\b"
    r"|\boccurrences? of\b",
    re.IGNORECASE,
)
_WHOLE = (
    r"(?:this |the |our )?(?:whole |entire )?"
    r"(?:code ?base|repo(?:sitory)?|project|code|package|library|app(?:lication)?)"
)
_OVERVIEW = re.compile(
    r"\b(?:architecture|overview)\b|\bwhere (?:do|should) I start\b"
    rf"|\b(?:structure|parts|layout|purpose) of {_WHOLE}\b"
    rf"|\bhow is {_WHOLE} (?:organi[sz]ed|structured|laid out)\b"
    rf"|\bwhat (?:is|does) {_WHOLE}(?: do| about)?\s*\?"
    rf"|\b(?:summari[sz]e|explain|describe) {_WHOLE}\s*[.?!]?\s*$",
    re.IGNORECASE,
)
_RECALLED = {
    "preferences": r"\brules?\b|\bprefer|\binsist|\bconventions?\b|\bstanding\b",
    "decisions": r"\bdeci(?:de|sion)|\bchose|\bchoices?\b|\breject",
    "corrections": r"\bcorrect(?:ed|ions?)?\b",
    "tasks": r"\btasks?\b|\btodos?\b|\bleft to do\b|\bremain|\bunfinished\b|\bdone\b",
    "errors": r"\berrors?\b|\bfail(?:s|ed|ures?|ing)?\b|\bexceptions?\b|\bwent wrong\b",
    "commands": r"\bcommands?\b|\bran\b",
    "files": r"\bfiles?\b",
    "prompts": r"\b(?:user|person|i|human)\b.*\b(?:ask|asked|want|wanted|said|typed)|\bprompts?\b",
}
"""What a session's variable lists by itself, and the words that ask for it."""
_FAULTS = re.compile(
    r"\berrors?\b|\bexceptions?\b|\bfail(?:s|ed|ures?|ing)?\b|\bcrash|\bwrong\b|\bproblems?\b"
    r"|\b(?P<warn>warn(?:ings?|s|ed)?)\b",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"\b(?:\d{4}-\d\d-\d\d[T ])?\d{1,2}:\d\d(?::\d\d)?\b")
_COUNTING = re.compile(r"\b(how (?:many|often|much)|count|number of)\b", re.IGNORECASE)
_KINDS = (
    "class|function|method|struct|interface|trait|type|enum|module|macro|constant|variable|setting"
    "|option|command|exception|decorator|table|field|flag"
)
_NAMED = (
    re.compile(rf"\b(?:{_KINDS})\s+(?:named\s+|called\s+)?([A-Za-z_]\w+)"),
    re.compile(rf"\b(?:{_KINDS})e?s\s+(?:(?:named|called)\s+([A-Za-z_]\w+)|([A-Z_]\w+))"),
    re.compile(rf"\b([A-Z]\w+|\w+_\w+)\s+(?:{_KINDS})\b"),
    re.compile(r"\b([A-Za-z_]\w*)\(\)"),
)
_MENTIONED = re.compile(
    r"\b(?:mentions?|contains?|holds?|says?) (?:the (?:word|text|name) )?(\w{2,})"
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
class Question:
    """What a question asks for."""

    topic: str
    """The question, without the words that only say that it is about commits."""
    names: list[str]
    """What looks like a name of code, a phrase in quotes."""
    perhaps: list[str]
    """Words that are names where something is defined by them."""
    files: list[str]
    """Files and folders, as far as they are given."""
    relations: list[tuple[str, str]]
    """(call, import or use; a name): who does that with a name."""
    words: list[str]
    """The other words that count, without their endings."""
    past: bool
    counting: bool
    listing: bool
    overview: bool
    importing: bool
    """Whether it asks who imports the files that it names."""
    recalled: list[str]
    """What it asks of a session: decisions, errors, files and so on."""
    level: str
    """The level of the log lines that it asks for, or an empty string."""
    clock: list[str]
    """Times of day that it names."""


def parse(text: str) -> Question:
    """Return what a question asks for."""
    files = files_in(text)
    rest = _FILE.sub(" ", text)
    names = names_in(rest)
    past = bool(_HISTORY.search(text))
    faults = _FAULTS.search(text)
    used = {word for name in names for word in words_of(name)}
    return Question(
        topic=topic(text) if past else text[:2_000],
        names=names,
        perhaps=[
            word
            for word in dict.fromkeys(_CAPITAL.findall(rest))
            if word not in names and word.lower() not in _STOP
        ][:6],
        files=files,
        relations=relations_in(rest, names),
        words=[w for w in dict.fromkeys(words_of(rest)) if w not in used | _PAST][:24],
        past=past,
        counting=bool(_COUNTING.search(text)),
        listing=bool(_LISTING.search(text)),
        overview=bool(_OVERVIEW.search(text)) and not names and not files,
        importing=bool(files) and bool(_RELATIONS["import"].search(text)),
        recalled=[kind for kind, words in _RECALLED.items() if re.search(words, text, re.I)][:3],
        level="" if faults is None else "warn" if faults["warn"] else "error",
        clock=_CLOCK.findall(text)[:2],
    )


def files_in(question: str) -> list[str]:
    """Return what looks like a file or a folder: with a known ending, or with a slash in it."""
    return list(dict.fromkeys(found[0] for found in _FILE.finditer(question)))[:4]


def names_in(question: str) -> list[str]:
    """Return what looks like a name of code: quoted, dotted, snake or camel case, after "class"."""
    found = [a or b for a, b in _CODE.findall(question)]
    found += _NAME.findall(question)
    for pattern in _NAMED:
        said = ("".join(groups) for groups in pattern.findall(question))
        found += [name for name in said if _can_be_name(name)]
    found += [word for word in _MENTIONED.findall(question) if word.lower() not in _STOP]
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
    if any(pattern.fullmatch(word) for pattern in _RELATIONS.values()):
        return False
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


def topic(question: str) -> str:
    """Return a question about the past without the words that only say so."""
    kept = [
        word
        for word in re.findall(r"[\w.]+", question[:2_000])
        if word.lower() not in _STOP and _stem(word.lower()) not in _PAST
    ]
    return " ".join(kept) or question[:2_000]
