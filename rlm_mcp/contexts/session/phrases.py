"""How people state rules, preferences, corrections and decisions: phrases, language by language.

Most patterns look at the start of a clause: `always` in "it always fails" states nothing, in
"always run it" it does. English is covered best; German, French, Spanish, Chinese and Japanese
by their plainest forms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import cache, lru_cache

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


def _clause(rest: str) -> str:
    """Return the pattern of a clause that begins so, at the start of a sentence or within."""
    return rf"{_LEAD}(?:please\s+)?{rest}|{_INSIDE}{rest}"


class Phrases:
    """Some patterns, those that are bound to the start of a sentence tried only there."""

    def __init__(self, *patterns: str) -> None:
        every = [part for pattern in patterns for part in _alternatives(pattern)]
        self.parts = every
        self._number = len(_ALL)
        _ALL.append(self)
        bound = [part for part in every if part.startswith("^")]
        free = [part for part in every if not part.startswith("^")]
        self._bound = re.compile("|".join(bound) or "(?!)", re.IGNORECASE)
        self._free = re.compile("|".join(free) or "(?!)", re.IGNORECASE)

    def stand_in(self, sentence: str) -> bool:
        """Say whether any of them stands in the sentence."""
        if self._number not in _candidates(sentence):
            return False
        found = self._bound.match(sentence) or self._free.search(sentence)
        return found is not None


_ALL: list[Phrases] = []


@lru_cache(maxsize=4)
def _candidates(sentence: str) -> Collection[int]:
    """Return the numbers of the phrases that may stand in a sentence; others cannot."""
    if not sentence.isascii():
        sentence = sentence.translate(_MARKS)
    if sentence.isascii() and sentence.isprintable():
        return _sieve()(sentence.encode())
    return range(len(_ALL))


@cache
def _sieve() -> Callable[[bytes], Sequence[int]]:
    from rlm_mcp.corpus.loose import sieve

    return sieve([phrases.parts for phrases in _ALL])


_MARKS = dict.fromkeys(map(ord, "\u2013\u2014\u2018\u2019\u201c\u201d\u2022\u2026\u2192"), "|")
"""Marks of which no pattern speaks, and one of ASCII of which none does either."""


def _alternatives(pattern: str) -> list[str]:
    """Cut a pattern at those of its bars that are in no group."""
    parts, depth, last = [], 0, 0
    for token in re.finditer(r"\\.|\[(?:\\.|[^\]])*\]|[()|]", pattern):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if token[0] == "|" and depth == 0:
            parts.append(pattern[last : token.start()])
            last = token.end()
    return [*parts, pattern[last:]]


RULE = Phrases(
    # What is asked for at the start of a clause.
    _clause(r"(?:never|always)\s+(?!\w+(?:s|ed)\b(?<!ss)|been|be\b|did|had)[a-z]"),
    _clause(rf"(?:do not|don'?t)\s+(?:you dare\s+|ever\s+)?(?!(?:{_VAGUE})\b)[a-z]"),
    _clause(
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
ONCE = Phrases(
    r"\b(?:this|that) (?:once|one time|time)\b(?! (?:on|forth)\b)|\b(?:just|only) once\b",
    r"\b(?:after|before|with|for|in) (?:this|that|the (?:next|last)) (?:edit|step|run|call|answer|"
    r"reply|request|message)\b(?! on\b)",
    r"\b(?:nur dieses(?: eine)? mal|cette fois|esta vez|por esta vez)\b|这一?次|今回(?:は|だけ)",
)
"""What makes a request of a rule: it is asked for once."""
PREFERENCE = Phrases(
    r"\bi(?:'d| would)? (?:much |really )?(?:prefer|rather)\b|\bmy preference\b|\bpreferably\b",
    r"\bi(?:'d| would) (?:like|love) (?!to (?:know|see|ask|understand)\b)",
    r"\bi like (?:it|to|my|when|having|short|small)\b|\bi want (?:it|them|you|all|every\w*) ",
    r"\bi(?:'m| am) not (?:a (?:big |huge )?fan|fond)\b|\bi (?:don't|do not|"
    r"really don't) (?:like|love)\b",
    r"\bi find .{3,60} (?:easier|cleaner|nicer|clearer|more readable)\b",
    rf"{_LEAD}(?:please )?keep .{{1,40}} (?:short|small|simple|brief|concise|minimal|tidy|clean|"
    r"readable|plain|flat|consistent|focused)\b",
    _clause(r"be (?:brief|concise|short|terse|careful|consistent)\b"),
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
CORRECTION = Phrases(
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
DECISION = Phrases(
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
ORDERED = Phrases(
    rf"{_LEAD}(?:change of plan\b|let'?s (?:use|go|switch|keep|stick|stay|do (?:it|that|this|the)|"
    r"ship|drop|make it|settle|take|move (?:to|on))\b|keep |switch to|go (?:with|for)\b|make it\b)",
    rf"{_LEAD}we(?:'ll| will|'re going to| shall) (?:use|go|do|keep|stay|stick|ship|switch|drop|"
    rf"take|"
    r"have|store|move|call)\b|\b\w+ it is[.!]?$",
    rf"{_LEAD}(?:use|move) .{{1,60}} (?:as|for|instead)\b",
)
"""Said by a person, who may simply order it."""
REJECTED = Phrases(
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
TURNED_DOWN = Phrases(
    r"\boff the table\b|\bdead[- ]end\b|\bruled out\b|\bnot an option\b|\bgave up on\b|"
    r"\bno[- ]go\b",
    r"\bwe(?:'ve| have)? (?:already )?(?:tried|rejected|considered)\b.{1,80}(?:\bbut\b|\band\b|,)",
)
"""What a person calls given up, in any sentence."""
REVOKED = Phrases(
    r"\b(?:forget|ignore|drop|lift|remove|cancel) (?:that|the|my|this) .{0,40}?\b(?:rule|"
    r"constraint|restriction|ban)\b|\byou (?:may|can) (?:now |again )?(?:edit|use|touch)\b",
)
_MACHINE = Phrases(
    r"\w\.\w{1,5}:\d+|^\W*(?:error|warn(?:ing)?|info|debug|fatal|trace|note)\b\]?[:\] ]",
    r"^[\w.]*(?:Error|Exception|Warning|Failure)\b|^Traceback|^\s*at \S+\(|^File \"|(?:^|"
    r"\s)\w+=\S+\s+\w+=\S",
    r"^\[?\d{2,4}[-/]\d\d[-/]\d\d[T ]\d|^\[?\d\d:\d\d:\d\d|^\[\w+\]|"
    r"^[$%#>\u2a2f\u2717\u2718\u00d7\u2716] |^</?\w+[^>]*>",
    r"[{};]\s*$|^[\w.]+ = |^(?:def|class|function|import|from \S+ import|const|let|var|return|//|"
    r"/\*) ?\b",
    r"^(?:\"\"\"|'''|//|/\*|#!)|^\W*\d+ (?:issues?|errors?|warnings?)\b",
)


def machine(sentence: str) -> bool:
    """Say whether a sentence in a prompt is a line of a log or of code that was pasted."""
    return _MACHINE.stand_in(sentence)
