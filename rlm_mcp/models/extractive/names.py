"""The words of a question: names of code, files, and what is left when filler is taken out."""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Za-z0-9_]+")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_CODE = re.compile(r"`([^`\n]{2,80})`|[\"']([A-Za-z_][\w.]{1,79})[\"']")
_NAME = re.compile(
    r"\b(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|[A-Za-z]\w*_\w+|_+[A-Za-z]\w+|[A-Z][a-z0-9]+(?:[A-Z]\w*)+"
    r"|[a-z]+[A-Z]\w*|[A-Z]{2,}[a-z]\w*|[A-Z][A-Z0-9]{4,}|TODOs?|HACK)\b"
)
_ENDINGS = (
    "bash|bat|c|cc|cfg|clj|cmake|conf|cpp|cs|css|csv|cxx|dart|env|erl|ex|exs|go|gradle|h|hpp|hs"
    "|html|ini|ipynb|java|jl|js|json|jsonl|jsx|kt|less|lock|log|lua|m|md|mjs|ml|php|pl|properties"
    "|proto|ps1|py|pyi|r|rb|rs|rst|sass|scala|scss|sh|sql|svelte|swift|tex|tf|toml|ts|tsv|tsx|txt"
    "|vb|vue|xml|yaml|yml|zig"
)
_FILE = re.compile(
    rf"(?<![\w./-])(?:[\w.@+-]+/)*(?:[\w@+-][\w.@+-]*\.(?:{_ENDINGS})|(?:Make|Docker|Gem|Rake"
    r"|Proc|Jenkins)file|go\.mod)(?![\w/-])"
    r"|(?<![\w./:-])(?:[\w.@+-]+/)+(?:[\w.@+-]*[\w@+])?"
)
_PHRASE = re.compile(r"[\"“]([^\"“”\n]{3,120})[\"”]|(?<!\w)'([^'\n]{3,120}\s[^'\n]{1,80})'(?!\w)")
_CAPITAL = re.compile(r"\b[A-Z]\w{2,}\b")
_FILLER = """
a about all an and any are as at be been being between but by can code come could defined
depend depends
describe did do does doing each explain file files find for from get gets give given had has
have how i if implemented in into is it its line lines list locate located me may more most
many much must my name named no not of on one only or other our out please say see should show
so some
such tell than that the their them then there these they this those to under us use used uses
using was way we were what when where which who whose why will with work works would you your
class function method module commit commits happen happens quote
"""
KINDS = (
    "class|function|method|struct|interface|trait|type|enum|module|macro|constant|variable|setting"
    "|option|command|exception|decorator|table|field|flag"
)
_NAMED = (
    re.compile(rf"\b(?:{KINDS})\s+(?:named\s+|called\s+)?([A-Za-z_]\w+)"),
    re.compile(rf"\b(?:{KINDS})e?s\s+(?:(?:named|called)\s+([A-Za-z_]\w+)|([A-Z_]\w+))"),
    re.compile(rf"\b([A-Z]\w+|\w+_\w+)\s+(?:{KINDS})\b"),
    re.compile(r"\b([A-Za-z_]\w*)\(\)"),
    re.compile(r"\b[Ww]here (?:is|are) (?:the )?([A-Za-z_]\w*) (?:defined|declared)\b"),
)
_MENTIONED = re.compile(
    r"\b(?:mentions?|contains?|holds?|says?) (?:the (?:word|text|name) )?(\w{2,})"
)
STOP = frozenset(_FILLER.split())
_VERBS = frozenset(
    {"call", "invoke", "import", "use", "extend", "inherit", "implement", "override", "set"}
)
ARTICLES = frozenset(KINDS.split("|")) | {"a", "the", "other", "its", "their", "these"}
"""Words before a name that are none."""


def files_in(question: str) -> list[str]:
    """Return what looks like a file or a folder: with a known ending, or with a slash in it."""
    return list(dict.fromkeys(found[0].rstrip("/") for found in _FILE.finditer(question)))[:4]


def without_files(question: str) -> str:
    """Return a question without the files that it names."""
    return _FILE.sub(" ", question)


def phrases_in(question: str) -> list[str]:
    """Return what is quoted and is no name: a message, a line of code."""
    found = (a or b for a, b in _PHRASE.findall(question))
    return list(dict.fromkeys(text for text in found if not re.fullmatch(r"[\w.]+", text)))[:3]


def capitals_in(question: str) -> list[str]:
    """Return words with a capital that may be names where something is defined by them."""
    return [word for word in dict.fromkeys(_CAPITAL.findall(question)) if word.lower() not in STOP]


def names_in(question: str) -> list[str]:
    """Return what looks like a name of code: quoted, dotted, snake or camel case, after "class"."""
    found = [a or b for a, b in _CODE.findall(question)]
    found += _NAME.findall(question)
    for pattern in _NAMED:
        said = ("".join(groups) for groups in pattern.findall(question))
        found += [name for name in said if _can_be_name(name)]
    found += [word for word in _MENTIONED.findall(question) if word.lower() not in STOP]
    names = [name.strip("(){}[];:,.") for name in found]
    names = ["TODO" if name == "TODOs" else name for name in names]
    return list(dict.fromkeys(name for name in names if name))[:6]


def _can_be_name(word: str) -> bool:
    """Say whether a word beside "class" or "function" is a name and not a verb or filler."""
    plain = word.islower() and "_" not in word
    verb = plain and (word in _VERBS or word.endswith(("s", "ed", "ing")))
    return (len(word) == 1 or bool(words_of(word))) and not verb and word.lower() not in ARTICLES


def words_of(text: str) -> list[str]:
    """Return the words worth matching: lower case, names split into their parts, no filler."""
    words = []
    for word in _WORD.findall(text):
        parts = [part.lower() for part in _PARTS.findall(word)]
        whole = word.lower()
        words.extend([whole] if parts == [whole] else [whole, *parts])
    return [stem(word) for word in words if len(word) > 1 and word not in STOP]


def stem(word: str) -> str:
    """Return a word without the ending of a plural or of a verb."""
    for ending in ("ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word
