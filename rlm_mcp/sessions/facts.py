"""How people state rules, preferences, corrections and decisions: phrases, language by language.

Most patterns look at the start of a clause: `always` in "it always fails" states nothing, in
"always run it" it does. English is covered best; German, French, Spanish, Chinese and Japanese
by their plainest forms.
"""

from __future__ import annotations

import bisect
import re
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Literal

from rlm_mcp.sessions.schema import CONVERSATION_BEGINS
from rlm_mcp.sessions.sentences import find_anchors, meaning_words, split_sentences
from rlm_mcp.sessions.view import TranscriptView, block_turn_rows

_LEAD = (
    r"^[\W_]*+(?:(?:ok(?:ay)?|fine|alright|all right|right|yes|great|good|so|then|well|hm+|uh|um|"
    r"oh|"
    r"sorry|hey|also|and|but|therefore|thus|hence|for now|after all|hold on|one more thing)\b"
    r"[\W_]*+)*+"
)
_INSIDE = r"(?:[,;:.(]\s*|\b(?:and|but|so|please|also|then|that|you)\s+)(?:please\s+)?"
_VAGUE = (
    r"know|think|understand|worry|mind|see|care|forget|get|need|have|remember|seem|believe|"
    r"like|love|hesitate"
)


def _clause_pattern(rest: str) -> str:
    """Return the pattern of a clause that begins so, at the start of a sentence or within."""
    return rf"{_LEAD}(?:please\s+)?{rest}|{_INSIDE}{rest}"


class PhraseSet:
    """Some patterns, those that are bound to the start of a sentence tried only there."""

    def __init__(self, *patterns: str) -> None:
        every = [part for pattern in patterns for part in _split_alternatives(pattern)]
        self.parts = every
        self._number = len(_ALL_SETS)
        _ALL_SETS.append(self)
        bound = [part for part in every if part.startswith("^")]
        free = [part for part in every if not part.startswith("^")]
        self._bound = re.compile("|".join(bound) or "(?!)", re.IGNORECASE)
        self._free = re.compile("|".join(free) or "(?!)", re.IGNORECASE)

    def found_in(self, sentence: str) -> bool:
        """Say whether any of them stands in the sentence."""
        if self._number not in _candidate_sets(sentence):
            return False
        found = self._bound.match(sentence) or self._free.search(sentence)
        return found is not None


_ALL_SETS: list[PhraseSet] = []


@lru_cache(maxsize=4)
def _candidate_sets(sentence: str) -> Collection[int]:
    """Return the numbers of the phrases that may stand in a sentence; others cannot."""
    if not sentence.isascii():
        sentence = sentence.translate(_MARKS)
    if sentence.isascii() and sentence.isprintable():
        return _phrase_sieve()(sentence.encode())
    return range(len(_ALL_SETS))


@cache
def _phrase_sieve() -> Callable[[bytes], Sequence[int]]:
    from rlm_mcp.corpus.search import compile_prefilter

    return compile_prefilter([phrases.parts for phrases in _ALL_SETS])


_MARKS = dict.fromkeys(map(ord, "\u2013\u2014\u2018\u2019\u201c\u201d\u2022\u2026\u2192"), "|")
"""Marks of which no pattern speaks, and one of ASCII of which none does either."""


def _split_alternatives(pattern: str) -> list[str]:
    """Cut a pattern at those of its bars that are in no group."""
    parts, depth, last = [], 0, 0
    for token in re.finditer(r"\\.|\[(?:\\.|[^\]])*\]|[()|]", pattern):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if token[0] == "|" and depth == 0:
            parts.append(pattern[last : token.start()])
            last = token.end()
    return [*parts, pattern[last:]]


RULE = PhraseSet(
    # What is asked for at the start of a clause.
    _clause_pattern(r"(?:never|always)\s+(?!\w+(?:s|ed)\b(?<!ss)|been|be\b|did|had)[a-z]"),
    _clause_pattern(rf"(?:do not|don'?t)\s+(?:you dare\s+|ever\s+)?(?!(?:{_VAGUE})\b)[a-z]"),
    _clause_pattern(
        r"only\s+(?:ever\s+)?(?:use|touch|edit|change|modify|add|run|write|commit|push|call|read|"
        r"work|test|import|return|log|store|allow|accept|rely|depend)\b"
    ),
    r"^only (?:the )?[\w-]+ (?:may|can|should|must|edit|touch|change|merge|push|deploy|call|"
    r"write)\b",
    rf"{_LEAD}(?:please\s+)?(?:make sure|ensure|avoid|refrain from|stop \w+ing|leave .{{1,60}} "
    r"(?:alone|as (?:it|they) (?:is|are)|as is|untouched|unchanged))\b",
    rf"{_LEAD}(?:please\s+)?(?:use|with|write|prefer|pick) .{{1,60}}?,? "
    r"(?:not|instead of|rather than|over) ",
    r"^use [`\w.@/-]+\.?$",
    rf"{_LEAD}(?:please\s+)?(?:stay|stick) (?:on|to|with|within|under|below|away|out)\b",
    r"^no [\w-]+[.!]?$",
    r"^no (?!no\b|the\b|this\b|that\b|it\b|i\b|not\b|you\b|we\b|need|problem|worries|idea|wait|way|"
    r"thanks|one\b|on\b|luck|changes? (?:needed|required)|errors?\b|tests? (?:ran|failed))"
    r"(?:[\w-]+ ){0,3}[\w-]+s\b(?! (?:are|were|is|was|in the (?:log|output))\b)",
    r"^(?:before (?:you|we) \w.*,|whatever you do\b|nothing gets \w+ed)",
    r"\b(?:nobody|no one) (?:but|except|other than|should|may|must|gets? to|is allowed)\b",
    # What holds for everything of a kind.
    r"^(?:every|each|all|any)\b(?! of (?:it|this|that)).{1,60}? (?:needs?|requires?|gets?|goes|go|"
    r"has to|have to|must|should|shall|stays?|uses?|lives?|is to|are to)\b",
    r"^(?:new|public|exported|generated|shared) [\w -]{2,30} (?:requires?|needs?)\b",
    r"^(?:\w+ ){0,2}\w+ (?:belongs? (?:in|to|under)|goes? (?:in|into|under|through)|go through)\b",
    r"^(?!(?:it|this|that|the|there|they|he|she|these|those|if|when|what|why|"
    r"how)\b)(?:[\w-]+ ){0,3}"
    r"[\w-]+s (?:should|shouldn't|must|mustn't|may not|shall|cannot|can't)\b",
    # What someone must, may not, or does not do here.
    r"(?<!there )\b(?:must(?:n't| not)?|shall(?: not)?)\s+(?!be an?\b|be some|have been|"
    r"have \w+ed\b)"
    r"[a-z]",
    r"\b(?:should|must|can|may|we|to) (?:never|always) (?!\w+ed\b)[a-z]",
    r"\byou (?:can't|cannot|may not|mustn't|shouldn't|should not|should (?:always|never)|"
    r"(?:are|'re) not (?:to|allowed|supposed|permitted)|aren't (?:to|allowed|supposed))\b",
    r"\bwe (?:can't|cannot) (?:use|change|break|touch|add|rely|depend|drop|ship|store|log|"
    r"accept)\b",
    rf"\bwe (?:don't|do not|won't) (?!(?:{_VAGUE})\b)[a-z]",
    r"\bwe no longer\b",
    rf"{_LEAD}(?:you (?:have|need) to|(?:it|\w+) (?:has|have|needs?) to (?:stay|remain))\b",
    r"\b(?:has|have|needs?) to (?:stay|remain|be kept)\b",
    r"\bi (?:don't|do not|never) want\b(?! to (?:mess|know|be rude|bother))",
    # Words that make a rule of what they stand in.
    r"\b(?:hands off|off[- ]limits|under no circumstances|at all times|from now on|from here on|"
    r"going forward|henceforth|without exception|as a rule\b|hard rule|rule:|not supposed to|"
    r"out of bounds|no exceptions|by convention|until further notice)",
    r"\b(?:is|are|be) (?:forbidden|prohibited|mandatory|obligatory|not allowed|required for (?:all|"
    r"every|each))\b|^(?:forbidden|mandatory|required)\b.{3}",
    r"\b(?:it(?:'s| is) (?:very )?(?:important|essential|crucial|vital|critical) (?:that|to))\b",
    r"\bwithout (?:asking|my (?:ok|okay|approval|permission|say-so)|checking with|approval)\b",
    r"\b(?:ask|check with) me (?:first|before)\b",
    # German, French, Spanish.
    r"\b(?:auf keinen fall|unter keinen umständen|unbedingt|ab (?:jetzt|sofort)|niemals)\b",
    r"^(?!(?:ich|es|das|die|der|er|sie)\b).*\b(?:nie|immer)\b",
    r"\b(?:du|ihr|wir|man|\w+en) (?:darf(?:st)?|dürf\w+|muss(?:t)?|müssen|soll\w*) (?:\w+ ){0,3}"
    r"(?:nicht|kein\w*|immer|nur|nie)\b",
    r"\bbitte (?:nicht|kein\w*|nur)\b|\b(?:ist|sind) (?:verboten|pflicht|tabu)\b",
    r"^(?:s'il te plaît,? )?(?:ne |n')\w.* (?:pas|jamais|plus|rien)\b|^jamais\b|^plus jamais\b",
    r"^(?!(?:il|elle|ça|cela|on|je)\b)\w+ toujours\b|\bil (?:faut|ne faut)\b|\b(?:désormais|"
    r"dorénavant)\b",
    r"\btu (?:dois|ne dois)\b|\b(?:interdit|obligatoire)\b",
    r"^(?:por favor,? )?(?:nunca|jamás|siempre)\s+\w|^(?:por favor,? )?no \w{2,}(?:[ae]s|áis|"
    r"éis)\b "
    r"(?!es\b|son\b)",
    r"\b(?:hay que|no se (?:debe|puede)|debes|no debes|tienes que|a partir de ahora|"
    r"queda prohibido|"
    r"está prohibido|obligatorio)\b",
    # Chinese, Japanese.
    r"禁止|必须|不要|千万|只能|务必|总是|不得|不许|不准|一律|切勿|请勿|永远不|始终|以后都",
    r"必ず|絶対に|ないでください|しないで|てはいけ|てはなら|べき|なければなら|のみ(?:を)?使|今後は",
)
ONCE = PhraseSet(
    r"\b(?:this|that) (?:once|one time|time)\b(?! (?:on|forth)\b)|\b(?:just|only) once\b",
    r"\b(?:after|before|with|for|in) (?:this|that|the (?:next|last)) (?:edit|step|run|call|answer|"
    r"reply|request|message)\b(?! on\b)",
    r"\b(?:nur dieses(?: eine)? mal|cette fois|esta vez|por esta vez)\b|这一?次|今回(?:は|だけ)",
)
"""What makes a request of a rule: it is asked for once."""
PREFERENCE = PhraseSet(
    r"\bi(?:'d| would)? (?:much |really )?(?:prefer|rather)\b|\bmy preference\b|\bpreferably\b",
    r"\bi(?:'d| would) (?:like|love) (?!to (?:know|see|ask|understand)\b)",
    r"\bi like (?:it|to|my|when|having|short|small)\b|\bi want (?:it|them|you|all|every\w*) ",
    r"\bi(?:'m| am) not (?:a (?:big |huge )?fan|fond)\b|\bi (?:don't|do not|"
    r"really don't) (?:like|love)\b",
    r"\bi find .{3,60} (?:easier|cleaner|nicer|clearer|more readable)\b",
    rf"{_LEAD}(?:please )?keep .{{1,40}} (?:short|small|simple|brief|concise|minimal|tidy|clean|"
    r"readable|plain|flat|consistent|focused)\b",
    _clause_pattern(r"be (?:brief|concise|short|terse|careful|consistent)\b"),
    r"\bstick (?:to|with)\b",
    rf"{_LEAD}please (?:use|keep|write|answer|reply|stick)\b|\b(?:answer|reply|"
    rf"write) (?:me )?in [A-Z]\w+",
    rf"{_LEAD}(?:let's )?avoid\b",
    r"^use [\w.`@/-]+(?: [\w.`-]+){0,3} (?:for (?:all|every|each|any|new)|everywhere|throughout|"
    r"whenever|"
    r"by default)\b",
    r"\b(?:lieber|am liebsten|bevorzuge|ich (?:mag|möchte|hätte gern\w*))\b",
    r"\bje (?:préfère|préférerais|voudrais que|n'aime pas)\b|\bde préférence\b",
    r"\b(?:prefiero|preferiría|me gusta(?:ría)?|no me gusta)\b",
    r"我(?:更)?(?:喜欢|希望|偏好|不喜欢)|最好|ほうがいい|方がいい|好みは|してほしい",
)
CORRECTION = PhraseSet(
    rf"{_LEAD}(?:no[,.!;:]|no (?:no|the|this|that|it|i|not|you|we|wait)\b|no,? on\b|nope\b|nah\b)",
    rf"{_LEAD}(?:please )?(?:stop|wrong|actually|wait|revert|undo|scrap|instead|roll (?:it|that|"
    rf"this) "
    r"back|put (?:it|that|them) back|change of plan)\b",
    rf"{_LEAD}not (?:quite|what|like|that|exactly|there|the)\b",
    rf"{_LEAD}i (?:said|meant|told|asked)\b|\b(?:i (?:already|just) (?:said|told)|as i (?:said|"
    rf"asked)|"
    r"like i (?:said|asked)|scrap (?:that|this)|change of plan|on second thought|"
    r"changed my mind)\b",
    rf"{_LEAD}you (?:again |also |still |just )?(?:forgot|missed|broke|misread|misunderstood|"
    rf"ignored|"
    r"skipped|deleted|removed|overwrote|didn't|did not|keep \w+ing|were (?:told|asked|supposed)|"
    r"(?:got|have|had) .{1,40} wrong)\b|^you(?:'re| are) (?:wrong|mistaken|missing|"
    r"still missing)\b",
    rf"{_LEAD}(?:that|this|it)(?:'s| is|s)? (?:just |still |simply )?(?:wrong|not|incorrect|"
    rf"the wrong)\b",
    rf"{_LEAD}(?:that|this) (?:isn't|wasn't|is not|was not)\b|\bit should (?:be|have)\b",
    r"\bshould have been\b|^you were\b",
    r"^(?:nein|falsch|nicht so|halt|stopp?)\b|\bdas ist (?:falsch|nicht|der falsche|die falsche)\b|"
    r"\bstimmt (?:so )?nicht\b|\bdu hast\b.*\b(?:vergessen|übersehen)\b|\bich (?:sagte|meinte)\b",
    r"^non\b|\bc'est (?:faux|pas|incorrect)\b|\bce n'est pas\b|\btu (?:as oublié|te trompes)\b|"
    r"\bj'ai dit\b|\bje voulais dire\b|^pas (?:ça|celui|celle)",
    r"^no,? (?:es|era|son|está)\b|\bte (?:equivocas|equivocaste)\b|\bestá mal\b|^eso no\b|"
    r"\bolvidaste\b|\bquise decir\b",
    r"不对|错了|^别|不是这|我说的是|搞错|改回|違(?:う|い)|そうじゃ|間違|^いや",
)
"""A correction's following sentences explain it."""
DECISION = PhraseSet(
    rf"{_LEAD}(?:\**decision\**\s*[:-]|decision made|decided\b|resolution:)",
    rf"{_LEAD}(?:i|we)(?:'ve| have)? (?:decided|chose(?:n)?|opted|settled|picked|made up my mind|"
    rf"agreed "
    r"(?:on|to))\b",
    rf"{_LEAD}(?:going with|choosing|settled on|settling on|sticking (?:with|to)|keeping|"
    rf"switching to|"
    r"moving to|capping|reverting (?:that|it) and|turning (?:on|off)|opting for)\b",
    rf"{_LEAD}(?:i|we)(?:'re| are|'m| am) (?:going (?:with|to (?:use|keep|store|go|stick))|"
    rf"switching|"
    r"moving (?:to|the)|sticking|staying|using|dropping)\b",
    rf"{_LEAD}(?:i|we)(?:'ll| will) (?:use|go with|go for|keep|stick|stay|settle)\b",
    rf"{_LEAD}the (?:approach|plan|design|strategy) (?:is to\b|is:|will be\b)",
    rf"{_LEAD}let'?s go (?:with|for)\b",
    r"^(?:entscheidung|décision|decisión)\b|\bwir (?:nehmen|bleiben bei|entscheiden uns)\b|"
    r"\bon (?:prend|part sur|garde)\b|\b(?:vamos con|decidido|nos quedamos con)\b|"
    r"决定|就用|采用|に決め|を採用|でいきましょう",
)
"""Said by anyone."""
ORDERED = PhraseSet(
    rf"{_LEAD}(?:change of plan\b|let'?s (?:use|go|switch|keep|stick|stay|do (?:it|that|this|the)|"
    r"ship|drop|make it|settle|take|move (?:to|on))\b|keep |switch to|go (?:with|for)\b|make it\b)",
    rf"{_LEAD}we(?:'ll| will|'re going to| shall) (?:use|go|do|keep|stay|stick|ship|switch|drop|"
    rf"take|"
    r"have|store|move|call)\b|\b\w+ it is[.!]?$",
    rf"{_LEAD}(?:use|move) .{{1,60}} (?:as|for|instead)\b",
)
"""Said by a person, who may simply order it."""
REJECTED = PhraseSet(
    r"\b(?:i|we) (?:have )?rejected\b|\brejected(?: the| that| this|:| because)|\bdead[- ]end\b|"
    r"\bnot worth (?:it|the)\b|\bruled out\b|\boff the table\b|\bgave up on\b|\babandon(?:ed|"
    r"ing)\b",
    r"\b(?:not|isn't|wasn't|is no|no) (?:longer )?(?:an option|option\b|feasible|viable|workable|"
    r"worth it)",
    r"\b(?:won't|will not|wouldn't|would not) (?:work|survive|scale|help)\b|\bno[- ]go\b|"
    r"\b(?:approach|idea|option|that|this|it) (?:doesn't|does not|didn't|did not) (?:work|scale|"
    r"help)\b",
    r"\bdidn't (?:help|work out)\b|\b(?:so|and) i dropped (?:it|that)\b|\bbacked out\b|"
    r"\bscrap(?:ped)? (?:that|this)\b|\bcan't be used\b",
    r"\b(?:tried|considered|attempted|tested) .{1,80}?(?:,? but\b| and it\b|, it\b| and that\b)",
    r"\bturned out (?:to be (?:a|too|worse|slower|wrong)|too|worse)\b",
)
TURNED_DOWN = PhraseSet(
    r"\boff the table\b|\bdead[- ]end\b|\bruled out\b|\bnot an option\b|\bgave up on\b|"
    r"\bno[- ]go\b",
    r"\bwe(?:'ve| have)? (?:already )?(?:tried|rejected|considered)\b.{1,80}(?:\bbut\b|\band\b|,)",
)
"""What a person calls given up, in any sentence."""
REVOKED = PhraseSet(
    r"\b(?:forget|ignore|drop|lift|remove|cancel) (?:that|the|my|this) .{0,40}?\b(?:rule|"
    r"constraint|restriction|ban)\b|\byou (?:may|can) (?:now |again )?(?:edit|use|touch)\b",
)
_MACHINE = PhraseSet(
    r"\w\.\w{1,5}:\d+|^\W*(?:error|warn(?:ing)?|info|debug|fatal|trace|note)\b\]?[:\] ]",
    r"^[\w.]*(?:Error|Exception|Warning|Failure)\b|^Traceback|^\s*at \S+\(|^File \"|(?:^|"
    r"\s)\w+=\S+\s+\w+=\S",
    r"^\[?\d{2,4}[-/]\d\d[-/]\d\d[T ]\d|^\[?\d\d:\d\d:\d\d|^\[\w+\]|"
    r"^[$%#>\u2a2f\u2717\u2718\u00d7\u2716] |^</?\w+[^>]*>",
    r"[{};]\s*$|^[\w.]+ = |^(?:def|class|function|import|from \S+ import|const|let|var|return|//|"
    r"/\*) ?\b",
    r"^(?:\"\"\"|'''|//|/\*|#!)|^\W*\d+ (?:issues?|errors?|warnings?)\b",
)


def is_machine_text(sentence: str) -> bool:
    """Say whether a sentence in a prompt is a line of a log or of code that was pasted."""
    return _MACHINE.found_in(sentence)


FactKind = Literal["goal", "rule", "preference", "correction", "decision", "rejected"]

_LONGEST_CHARS = 600
_EXPLAINING_SENTENCES = 2
"""Sentences behind a correction that still belong to it."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement. `quote` stands verbatim in the block that `ref` opens."""

    kind: FactKind
    quote: str
    ref: str
    turn: int
    by: Literal["person", "agent"]
    status: Literal["active", "superseded", "past"] = "active"
    """In force, taken back, or said in an earlier conversation of the same file."""
    superseded_by: str = ""


def extract_facts(view: TranscriptView, before: int = 0) -> list[Fact]:
    """Return all candidates of the live branch in order, up to turn `before` (0: to the end)."""
    return view.memoize(("facts", before), lambda: _settled_facts(view, before))


def _settled_facts(view: TranscriptView, before: int) -> list[Fact]:
    found = view.block_cache.map_blocks(
        "facts",
        "b.type IN ('text', 'thinking') AND t.origin IN ('human', 'agent')",
        lambda row: _block_facts(view, row),
        columns="b.doc, b.type, b.off, b.len, t.origin",
    )
    prompts = sorted(n for live in (True, False) for n in _prompt_turns(view, live=live))
    if before:
        found = [fact for fact in found if fact.turn < before]
        prompts = [turn for turn in prompts if turn < before]
    start = conversation_start(view, before)
    settled = _mark_superseded(_drop_repeats(found, start), prompts)
    return [
        replace(fact, status="past") if fact.turn < start and fact.status == "active" else fact
        for fact in settled
    ]


def conversation_start(view: TranscriptView, before: int = 0) -> int:
    """Return the turn where the newest conversation of the file begins; 0 where it holds one."""
    rows = view.index.query_rows(
        "SELECT max(n) FROM blocks WHERE doc=1 AND type='notice' AND name=? AND n < (SELECT max(n) "
        "FROM turns WHERE doc=1 AND live=1 AND origin='human' AND n<?)",
        (CONVERSATION_BEGINS, before or 1 << 40),
    )
    return rows[0][0] or 0


def _prompt_turns(view: TranscriptView, *, live: bool) -> list[int]:
    """Return the turns of prompts; a rewound one answered what stood before it, too."""
    where = "b.type='text' AND t.origin='human'"
    return view.block_cache.map_blocks(
        "prompts", where, lambda row: (int(row["n"]),), columns="b.doc", live=live
    )


def _block_facts(view: TranscriptView, row: sqlite3.Row) -> list[Fact]:
    """Return the candidates of one block."""
    text, ref, turn = view.block_text(row), view.block_ref(row), row["n"]
    if row["origin"] != "human":
        return list(_agent_facts(text, ref, turn, thinking=row["type"] == "thinking"))
    return list(_person_facts(text, ref, turn)) if row["type"] == "text" else []


def find_goal(view: TranscriptView) -> Fact | None:
    """Return the first thing that a person asked for, in a whole sentence where there is one."""
    start = conversation_start(view)
    rows = block_turn_rows(
        view,
        "b.doc=1 AND t.live=1 AND t.origin='human' AND b.type='text' AND b.len>12 "
        "AND b.n>=? AND b.n < (SELECT coalesce(min(n), 0) + 40 FROM turns WHERE doc=1 AND "
        "origin='human' AND n>=?)",
        (start, start),
    )
    short = None
    for row in rows:
        for sentence in split_sentences(view.block_text(row)):
            size = len(meaning_words(sentence))
            if size >= 3 or (size and short is None):
                found = Fact(
                    "goal", sentence[:_LONGEST_CHARS], view.block_ref(row), row["n"], "person"
                )
                if size >= 3:
                    return found
                short = found
    return short


def _person_facts(text: str, ref: str, turn: int) -> Iterator[Fact]:
    """Yield what a person's prompt states. The sentences behind a correction explain it."""
    left = 0
    for sentence in split_sentences(text):
        if len(sentence) > _LONGEST_CHARS or is_machine_text(sentence):
            continue
        if sentence.endswith(("?", "\uff1f")):
            left = 0
            continue
        corrects = CORRECTION.found_in(sentence)
        left = _EXPLAINING_SENTENCES if corrects else left - 1
        for kind in _fact_kinds(sentence, corrects, left >= 0):
            yield Fact(kind, sentence, ref, turn, "person")


def _fact_kinds(sentence: str, corrects: bool, correcting: bool) -> Iterator[FactKind]:
    """Yield what a person's sentence may be; `correcting` holds behind a correction too."""
    if (correcting and REJECTED.found_in(sentence)) or TURNED_DOWN.found_in(sentence):
        yield "rejected"
    ruled = RULE.found_in(sentence) and not ONCE.found_in(sentence)
    if ruled:
        yield "rule"
    if corrects or REVOKED.found_in(sentence) or (correcting and not ruled and len(sentence) > 8):
        yield "correction"
    elif not ruled and PREFERENCE.found_in(sentence):
        yield "preference"
        ruled = True  # how things are to be is no decision between them
    if DECISION.found_in(sentence) or (
        (correcting or not ruled) and ORDERED.found_in(sentence) and meaning_words(sentence)
    ):
        yield "decision"


def _agent_facts(text: str, ref: str, turn: int, *, thinking: bool) -> Iterator[Fact]:
    before = ""
    for sentence in split_sentences(text):
        if len(sentence) > _LONGEST_CHARS:
            before = ""
            continue
        if not thinking and DECISION.found_in(sentence):
            yield Fact("decision", sentence, ref, turn, "agent")
        if REJECTED.found_in(sentence):
            both = f"{before} {sentence}"
            bare = len(meaning_words(sentence)) < 3 and before and both in text
            yield Fact("rejected", both if bare else sentence, ref, turn, "agent")
        before = sentence


def _drop_repeats(found: list[Fact], start: int) -> list[Fact]:
    """Drop repetitions of the same words in a conversation; the first place stands."""
    seen: set[tuple[str, str, bool]] = set()
    kept = []
    for fact in found:
        key = (fact.kind, " ".join(fact.quote.lower().split()), fact.turn >= start)
        if key not in seen:
            seen.add(key)
            kept.append(fact)
    return kept


@dataclass(frozen=True, slots=True)
class _Reversal:
    """A person's statement that may take something back."""

    fact: Fact
    topic: set[str]
    changes: bool
    revokes: bool


def _mark_superseded(found: list[Fact], prompts: list[int]) -> list[Fact]:
    """Mark what a later statement of a person took back."""
    turnabouts = [one for fact in found if (one := _find_reversal(fact)) is not None]
    turns = [one.fact.turn for one in turnabouts]
    settled = []
    for fact in found:
        by = None
        if fact.kind in ("rule", "preference", "decision"):
            topic = _topic_words(fact.quote)
            at = bisect.bisect_right(prompts, fact.turn)
            answer = prompts[at] if at < len(prompts) else 0
            later = turnabouts[bisect.bisect_right(turns, fact.turn) :]
            by = next((one for one in later if _reverses_fact(one, fact, topic, answer)), None)
        if by is not None:
            fact = replace(fact, status="superseded", superseded_by=by.fact.ref)
        settled.append(fact)
    return settled


def _find_reversal(fact: Fact) -> _Reversal | None:
    if fact.by != "person":
        return None
    corrects = fact.kind in ("correction", "rejected")
    changes = corrects or CORRECTION.found_in(fact.quote)
    revokes = REVOKED.found_in(fact.quote)
    if not (changes or revokes):
        return None
    return _Reversal(fact, _topic_words(fact.quote), changes, revokes)


def _reverses_fact(later: _Reversal, fact: Fact, topic: set[str], answer: int) -> bool:
    """Say whether a later statement takes one back; `answer` is the turn of the next prompt."""
    shared = later.topic & topic
    if fact.kind in ("rule", "preference"):
        return bool(shared) and later.revokes
    if later.fact.turn == answer and later.changes:
        return bool(shared) or len(meaning_words(later.fact.quote)) < 3
    return later.changes and len(shared) >= 2


def _topic_words(text: str) -> set[str]:
    return meaning_words(text) | {anchor.lower() for anchor in find_anchors(text)}
