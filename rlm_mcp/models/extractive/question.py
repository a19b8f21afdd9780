"""What a question asks for, read from its words alone: names of code, files, and what about them.

These are rules for English questions about code, logs, sessions and history. A question that they
do not understand is still ranked by its words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from rlm_mcp.models.extractive import names as naming
from rlm_mcp.models.extractive import times

_WHOLE = (
    r"(?:this |the |our )?(?:whole |entire )?"
    r"(?:code ?base|repo(?:sitory)?|project|code|package|library|app(?:lication)?)"
)
_ME = r"(?: (?:I|we|you|one|someone|people|developers))?"
_MOVED = r"(?:chang|commit|edit|modif|touch)\w*"
_ABOUT = {
    "listing": r"\b(?:list|show|find|give)\b.{0,40}\b(?:all|every|each)\b"
    r"|\b(?:all|every|each)\b.{0,20}\b(?:places?|lines?|comments?|usages?|occurrences?)\b"
    r"|\boccurrences? of\b",
    "counting": r"\b(?:how (?:many|often|much)|count|number of)\b",
    "overview": r"\b(?:architecture|overview)\b|\bwhere (?:do|should) I start\b"
    rf"|\b(?:structure|parts|layout|purpose) of {_WHOLE}\b"
    rf"|\bhow is {_WHOLE} (?:organi[sz]ed|structured|laid out)\b"
    rf"|\bwhat (?:is|does) {_WHOLE}(?: do| about)?\s*\?"
    rf"|\b(?:summari[sz]e|explain|describe) {_WHOLE}\s*[.?!]?\s*$",
    "running": rf"\bhow (?:do|can|should|could|would|to)\b{_ME}(?: to)? (?:run|build|install|test"
    r"|start|compile|set ?up|develop|contribute|lint|release|deploy|publish|format)\b",
    "dependencies": r"\bdependenc(?:y|ies)\b|\b(?:third[- ]party|external) (?:librar|packag|modul)"
    rf"|\bwhat does {_WHOLE} depend on\b",
    "entry": r"\bentry ?points?\b|\bmain (?:function|file|module|program|method)\b"
    rf"|\bwhere does (?:it|execution|the program|{_WHOLE}) (?:start|begin)\b",
    "environment": r"\benv(?:ironment)? ?var(?:iable)?s?\b",
    "largest": r"\b(?:largest|biggest|longest|huge)\b.{0,20}\b(?:files?|documents?|modules?)\b"
    r"|\b(?:files?|documents?|modules?)\b.{0,20}\b(?:largest|biggest|longest|most lines)\b",
    "routes": r"\b(?:routes|endpoints)\b|\burls? patterns?\b",
    "options": r"\b(?:command[- ]line|cli) (?:options|flags|arguments|switches)\b"
    r"|\b(?:options|flags)\b.{0,30}\bcommand line\b",
    "licence": r"\blicen[cs]ed?\b",
    "version": rf"\b(?:what|which|current)(?: \w+)? versions?\b|\bversion (?:of|is) {_WHOLE}\b",
    "filing": r"\b(?:list|show)\b.{0,15}\b(?:files|documents|modules)\b.{0,8}\b(?:in|of|under)\b"
    r"|\b(?:which|what) (?:files|documents|modules) (?:are|exist)\b",
    "languages": r"\bprogramming languages?\b|\b(?:what|which) languages?\b.*\b(?:written|used)\b",
    "pending": r"\buncommitted\b|\bnot (?:yet )?(?:committed|staged)\b|\b(?:un)?staged\b"
    r"|\b(?:to be|ready to be|about to be) committed\b|\bgit (?:diff|status)\b"
    r"|\b(?:my|our|local|pending|current) (?:\w+ )?(?:changes|edits|diff|modifications)\b"
    r"|\bwhat (?:did|have) (?:I|we) (?:just )?chang(?:e|ed)\s*\?|\b(?:dirty|untracked) files\b"
    r"|\bfiles (?:are|were|have been|did I) (?:modified|changed?|edited|untracked)\s*\??\s*$"
    r"|\b(?:diff|changes?|changed|modified)\b.{0,20}\bworking (?:tree|copy|directory)\b"
    r"|\bworking (?:tree|copy|directory)\b.{0,20}\b(?:diff|chang|modif|dirty|clean)",
    "together": rf"\b{_MOVED} (?:together|along)\b|\bco-?chang|\bcoupled\b",
    "churn": rf"\b(?:most|more) (?:often|frequently)?\s*{_MOVED}"
    rf"|\b{_MOVED} (?:the )?(?:most|often)\b"
    r"|\bhot ?spots?\b|\bchurn\b|\bmost (?:commits|changes)\b",
    "authors": r"\bwho (?:wrote|maintains?|owns?|knows|work(?:s|ed)|contribute[sd]?|created|develop"
    r"(?:s|ed)|has|made|did)\b|\b(?:contributors?|committers?|maintainers?)\b"
    r"|\bauthors? of\b|\b(?:list|show|main|top|how many|all)\b.{0,12}\bauthors\b",
    "latest": r"\b(?:latest|last|recent|newest)\b.{0,20}\b(?:commits?|changes?|changed)\b"
    r"|\bchanged? (?:recently|lately)\b|\brecently changed\b|\bwhat(?:'s| is) new\b",
    "releases": r"\b(?:last|latest|newest|current|recent) (?:\w+ )?(?:releases?|tags?)\b",
    "first": r"\b(?:first|initial|oldest) commits?\b"
    rf"|\b(?:when|how old)\b.{{0,20}}\b{_WHOLE}\b(?: (?:start|creat|beg[au]n|born|found)\w*)?\s*\?",
}
"""What a question is about, beside names and files."""
_PAST = re.compile(
    r"\bcommit(?:s|ted)?\b|\bblamed?\b|\b(?:git|commit|change) history\b|\bhistory of\b"
    r"|\bwho (?:last |first )?(?:added|wrote|changed|removed|introduced|deleted|renamed|fixed|broke"
    r"|touched|edited|reverted|implemented)\b|\b(?:when|why) (?:was|were|did|has|have)\b"
    r"|\bintroduced\b|\breverted\b|\bwhat(?: has| have)?(?: been)? changed\b"
    r"|\bwhat did \w+(?: \w+)? (?:change|do|commit|fix|add|remove|work|write)\b"
    r"|\b(?:changes?|changed|modified|added|removed|fixed|done) (?:by|since|between|during"
    r"|in (?:19|20)\d\d)\b|\breleased?\b.{0,20}\d"
    r"|\b(?:added|removed|changed|fixed|new|deprecated|broke|broken) in v?\d+\.\d|\bhappened in\b"
    r"|\bwhich (?:release|version|tag)\b.*\b(?:add|introduc|has|fix)",
    re.IGNORECASE,
)
_WORKING = re.compile(
    r"^\W*(?:how (?:does|is|are|did|do(?! (?:I|we|you|one)\b)|can(?! (?:I|we|you|one)\b))"
    r"|why (?:do|does|is|are|can|must|should)"
    r"|what (?:happens|decides|makes|causes|stops|triggers|controls|determines|handles|keeps)"
    r"|(?:which|what) (?:part|place|piece)s? of)\b",
    re.IGNORECASE,
)
"""How a question begins that asks how something works: no table answers it, passages do."""
_KEPT = frozenset({"overview", "counting", "listing"})
_RECORDED = re.compile(
    r"\bcommit(?:s|ted)?\b|\bblamed?\b|\bhistory\b|\b(?:since|between|in) v?\d"
    r"|\breleased?\b.{0,20}\d",
    re.IGNORECASE,
)
"""What asks for commits even where a question begins like one about how something works."""
_TOLD = frozenset(
    {
        "dependencies", "entry", "environment", "largest", "routes", "options", "licence",
        "version", "filing", "languages",
    }
)  # fmt: skip
"""What is answered by looking one thing up, so only where little else is asked."""
_PLACES = frozenset({"place", "part", "package", "component", "directly", "test", "throw", "type"})
"""Words of a question about relations that choose none of them."""
MOST_LEFT = 2
"""Words beside those that a rule reads up to which a question is taken as understood."""
_HISTORICAL = frozenset({"together", "churn", "authors", "latest", "first", "releases"})
_RECALLED = {
    "preferences": r"\brules?\b|\bprefer|\binsist|\bconventions?\b|\bstanding\b",
    "decisions": r"\bdeci(?:de|sion)|\bchose|\bchoices?\b|\breject",
    "corrections": r"\bcorrect(?:ed|ions?)?\b",
    "tasks": r"\btasks?\b|\btodos?\b|\bleft to do\b|\bremain|\bunfinished\b|\bdone\b",
    "errors": r"\berrors?\b|\bfail(?:s|ed|ures?|ing)?\b|\bexceptions?\b|\bwent wrong\b",
    "commands": r"\bcommands?\b|\bran\b",
    "files": r"\bfiles?\b",
    "prompts": r"\b(?:user|person|i|human)\b.*\b(?:ask|asked|want|wanted|sa(?:y|id)|typed|told?)\b"
    r"|\bprompts?\b"
    r"|\b(?:user|person|human)(?:'s|s)? (?:requests?|questions?|messages?|instructions?)\b",
    "compactions": r"\bcompact(?:ion|ed|ions)?\b"
    r"|\bsummary\b.{0,20}\b(?:lo[st]\w+|forg[eo]t\w*|drop\w*|miss\w*|wrong)\b"
    r"|\b(?:lost|forgotten|dropped|missing|wrong)\b.{0,20}\bsummary\b",
    "turns": r"\bturns?\b",
    "usage": r"\btokens?\b|\bcosts?\b|\busage\b|\bspen[td]\b",
}
"""What a session's variable lists by itself, and the words that ask for it."""
_STORY = re.compile(
    r"\b(?:summar(?:y|i[sz]e)|brief|recap|hand ?off|catch me up|where (?:did|were) we"
    r"|overview|what (?:happened|was done|is the (?:state|status|goal)"
    r"|did (?:we|you|it|the agent|claude) do))",
    re.IGNORECASE,
)
_FAULTS = re.compile(
    r"\berrors?\b|\bexceptions?\b|\bfail(?:s|ed|ures?|ing)?\b|\bcrash|\bwrong\b|\bproblems?\b"
    r"|\b(?P<warn>warn(?:ings?|s|ed)?)\b",
    re.IGNORECASE,
)
_COUNTED = {
    "class": "class(?:es)?", "function": "functions?", "method": "methods?", "struct": "structs?",
    "interface": "interfaces?", "trait": "traits?", "enum": "enum(?:eration)?s?",
    "test": "tests?(?: cases?| functions?)?", "file": "(?:source )?files?|documents?|modules?",
    "line": "lines?(?: of code)?|loc", "commit": "commits?", "author": "authors?|contributors?"
    "|committers?|people|developers?",
}  # fmt: skip
"""What can be counted as a whole."""
_NAME = r"`?([A-Za-z_$][\w.$:]*\w)`?"
_KIND = rf"(?:(?:(?:the|a|an) )?(?:{naming.KINDS}) |(?:the|a|an) (?-i:(?=\S*[A-Z_.]\S*\w)))?"
"""What may stand before a name; a plain word with an article is none: "calls the model"."""
_MEMBERS = "(?:methods|fields|members|attributes|properties|functions)"
_RELATIONS = {
    "call": r"\b(?:call(?:s|ed|ers?|ing)?|invok(?:e|es|ed|ing))\b",
    "import": r"\bimport(?:s|ed|ers?|ing)?\b|\bdepends? on\b|\brequir(?:es?|ed|ing)\b",
    "extend": r"\b(?:extend(?:s|ed|ing)?|inherit(?:s|ed|ing)?|(?:sub|child )class(?:es|ed|ing)?"
    r"|deriv(?:e|es|ed|ing)|implement(?:s|ing|ers?|ations? of)?|descendants? of)\b",
    "test": r"\btest(?:s|ed|ing)?\b|\bcover(?:s|ed|ing|age)?\b",
    "throw": r"\b(?:throw(?:s|n|ing)?|rais(?:e|es|ed|ing))\b",
    "member": rf"\b{_MEMBERS}\b(?=.{{0,20}}\b(?:of|does|do|in|on|has|have|are)\b)",
    "use": r"\b(?:us(?:e|es|ed|ers?|ages?)|referenc(?:e|es|ed|ing)|breaks?|affect(?:s|ed)?"
    r"|impact(?:s|ed)?|rel(?:y|ies))\b",
}
"""How a question may relate code to a name; each is looked up in the parsed source."""
_TO = re.compile(
    r"\b(?:calls?|invokes?|throws?|raises?|imports?|importing|depends? on|importers? of|callers? of"
    r"|covers?|covering|tests? (?:for|of)"
    r"|extends?|extending|inherits?(?: from)?|inheriting(?: from)?|subclass(?:es)?(?: of)?"
    rf"|derived? from|implements?|implementing|implementations? of) {_KIND}{_NAME}"
    rf"|\b{_MEMBERS} (?:(?:are |there are )?(?:of|in|on|does|do)|has|have) {_KIND}{_NAME}"
    rf"|\b(?:is|are|gets?) {_KIND}{_NAME}(?:\(\))? "
    r"(?:called|used|thrown|raised|invoked|imported|extended|subclassed|tested|implemented|referenced)\b",
    re.IGNORECASE,
)
_FROM = re.compile(
    rf"\b(?:do|does|did|can|will) {_KIND}{_NAME}(?:\(\))?(?: (?:{naming.KINDS}))?"
    rf" (?:call|invoke|use|import|depend on|extend|inherit|subclass|implement|throw|raise)\b"
    rf"(?! {_KIND}[A-Z_]\w)"
    rf"|\b(?:called|invoked) (?:by|from|in|inside|within) {_KIND}{_NAME}"
    rf"|\b(?:callees|calls (?:made )?(?:of|in|by|from|inside)) {_KIND}{_NAME}",
    re.IGNORECASE,
)
"""A name that is itself what calls, uses or extends."""
_FILE_IMPORTS = re.compile(r"\b(?:do|does)\s.{1,80}\b(?:import|depend on)\b|\bimports? of\b", re.I)


_BASES = {
    "added": "add", "removed": "remove", "renamed": "rename", "fixed": "fix", "reverted": "revert",
    "deprecated": "deprecate", "introduced": "add", "deleted": "remove",
}  # fmt: skip
"""What a commit's message says of what a question tells as done."""
_GONE = frozenset({"added", "introduc", "wrote", "chang", "remov", "revert", "history", "author"})
"""What says that a question is about commits and is in none of them."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a question asks for."""

    topic: str
    """The question, without the words that only say that it is about commits."""
    text: str
    names: list[str]
    """What looks like a name of code."""
    perhaps: list[str]
    """Words that are names where something is defined by them."""
    phrases: list[str]
    """What is quoted and is no name: a message, a line of code."""
    files: list[str]
    """Files and folders, as far as they are given."""
    relations: list[tuple[str, str]]
    """How, and a name: call, import, extend, test, use (who does that with it), callee."""
    words: list[str]
    """The other words that count, without their endings."""
    about: list[str]
    """Keys of `_ABOUT`, and past (commits), imports (those of a file), importers (of a file)."""
    counted: list[str]
    """Keys of `_COUNTED`: what is to be counted as a whole."""
    recalled: list[str]
    """What it asks of a session: decisions, errors, files and so on; story for all of it."""
    level: str
    """The level of the log lines that it asks for, or an empty string."""
    clock: list[str]
    """Times of day that it names."""
    since: str
    until: str
    """The first and the last day, month or year that it is about, in ISO form."""
    versions: list[str]
    refs: list[str]
    """What it is limited to by whoever asks, beside its words."""


def parse(text: str, today: date | None = None, refs: Sequence[str] = ()) -> Question:
    """Return what a question asks for; `refs` limit it."""
    text = text[:2_000]
    files = naming.files_in(text)
    rest = naming.without_files(text)
    phrases = naming.phrases_in(rest)
    for phrase in phrases:
        rest = rest.replace(phrase, " ")
    names = naming.names_in(rest)
    since, until = times.period(text, today or date.today())
    about = about_in(text, names, files)
    parts = {part for name in names for part in (name, *name.split("."))}
    used = {word for name in names for word in naming.words_of(name)}
    words = [w for w in dict.fromkeys(naming.words_of(rest)) if w not in used | _GONE]
    faults = _FAULTS.search(text)
    return Question(
        topic=topic(text) if "past" in about else text,
        text=text,
        names=names,
        perhaps=[word for word in naming.capitals_in(rest) if word not in parts][:6],
        phrases=phrases,
        files=files,
        relations=relations_in(rest, names),
        words=words[:24],
        about=about,
        counted=_keys(
            _COUNTED, rest, r"\b(?:how many|count|number of|most|fewest)\s+(?:\w+\s+){0,2}?(?:%s)\b"
        ),
        recalled=_keys(_RECALLED, text)[:3] or ["story"] * bool(_STORY.search(text)),
        level="" if faults is None else "warn" if faults["warn"] else "error",
        clock=times.clocks_in(text),
        since=since,
        until=until,
        versions=times.versions_in(rest),
        refs=list(refs),
    )


def about_in(text: str, names: list[str], files: list[str]) -> list[str]:
    """Return what a question is about, beside names and files."""
    found = _keys(_ABOUT, text)
    working = bool(_WORKING.search(text))
    if working:
        recorded = bool(_RECORDED.search(text))
        found = [key for key in found if key in _KEPT or (recorded and key in _HISTORICAL)]
    found = [key for key in found if key not in _TOLD or _is_understood(key, text, files)]
    if "overview" in found and (names or files):
        found.remove("overview")
    past = (_RECORDED if working else _PAST).search(text)
    if "pending" not in found and (past or not _HISTORICAL.isdisjoint(found)):
        found.append("past")
    if files and not working and re.search(_RELATIONS["import"], text, re.IGNORECASE):
        found.append("imports" if _FILE_IMPORTS.search(text) else "importers")
    return found


def _is_understood(key: str, text: str, files: list[str]) -> bool:
    """Say whether the rule of a key reads a whole question, but for a word or two."""
    left = re.sub(_ABOUT[key], " ", text, flags=re.IGNORECASE)
    for name in files:
        left = left.replace(name, " ")
    left = re.sub(_WHOLE, " ", left, flags=re.IGNORECASE)
    return len(naming.words_of(left)) <= MOST_LEFT


def relations_in(question: str, names: list[str]) -> list[tuple[str, str]]:
    """Return (how, a name) for a question about what relates to a name."""
    if _WORKING.search(question):
        names = [name for name in names if not name.islower() or "_" in name or "." in name]
        if not names or "call" not in _keys(_RELATIONS, question):
            return []
    bare = question
    for name in names:
        bare = bare.replace(name, " ")
    kinds = _keys(_RELATIONS, bare)
    left = bare
    for words in _RELATIONS.values():
        left = re.sub(words, " ", left, flags=re.IGNORECASE)
    if len(set(naming.words_of(left)) - _PLACES) > MOST_LEFT:
        return []  # it asks for more than a relation: passages may say it, a table does not
    if "use" in kinds and len(kinds) > 1:
        kinds.remove("use")  # "Which callers use ..." asks for the calls.
    own = [name for groups in _FROM.findall(question) for name in groups if _is_name(name)]
    said = [name for groups in _TO.findall(question) for name in groups if _is_name(name)]
    wanted = dict.fromkeys([*names, *(said if kinds else [])])
    pairs = [("callee", name) for name in own if "call" in kinds or "use" in kinds]
    pairs += [("thrown", name) for name in own if "throw" in kinds]
    pairs += [(kind, name) for name in wanted if name not in own for kind in kinds]
    return pairs[:6]


def topic(question: str) -> str:
    """Return a question about the past without the words that only say so."""
    kept = [
        _BASES.get(word.lower(), word)
        for word in re.findall(r"[\w.]+", question)
        if word.lower() in _BASES
        or (word.lower() not in naming.STOP and naming.stem(word.lower()) not in _GONE)
    ]
    return " ".join(kept) or question


def _is_name(word: str) -> bool:
    plain = word.lower()
    verb = any(re.fullmatch(words, plain) for words in _RELATIONS.values())
    return bool(word) and not verb and plain not in naming.STOP and word not in naming.ARTICLES


def _keys(table: dict[str, str], text: str, frame: str = "%s") -> list[str]:
    """Return the keys of the patterns that a text holds."""
    return [key for key, words in table.items() if re.search(frame % words, text, re.IGNORECASE)]
