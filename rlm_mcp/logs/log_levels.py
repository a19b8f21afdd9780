"""The level of a log line, told from the place where its format puts one, and words of failure.

A level that only stands in a message ("finished without error") is none. What failed without a
level (a panic, an OOM kill, a failed test, an exit code) is told apart, by `failure_kind`.
"""

from __future__ import annotations

import re

from rlm_mcp.errors import BadRequest, did_you_mean

LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")
WORDS = {
    "trace": "trace", "trc": "trace", "verbose": "trace", "finest": "trace", "finer": "trace",
    "debug": "debug", "dbg": "debug", "fine": "debug",
    "debug1": "debug", "debug2": "debug", "debug3": "debug", "debug4": "debug", "debug5": "debug",
    "info": "info", "inf": "info", "information": "info", "notice": "info", "note": "info",
    "log": "info", "statement": "info", "hint": "info", "detail": "info", "context": "info",
    "system": "info", "config": "info", "audit": "info", "ok": "info",
    "warn": "warn", "warning": "warn", "wrn": "warn",
    "error": "error", "err": "error", "eror": "error", "severe": "error", "failure": "error",
    "fatal": "fatal", "critical": "fatal", "crit": "fatal", "ftl": "fatal", "panic": "fatal",
    "alert": "fatal", "emerg": "fatal", "emergency": "fatal", "failed": "error",
}  # fmt: skip
LETTERS = {
    "V": "trace", "T": "trace", "D": "debug", "I": "info", "N": "info", "W": "warn",
    "E": "error", "C": "fatal", "F": "fatal", "A": "fatal",
}  # fmt: skip
SYSLOG_LEVELS = ("fatal", "fatal", "fatal", "error", "warn", "info", "info", "debug")
_BUNYAN = ("trace", "trace", "debug", "info", "warn", "error", "fatal")
_COMMON = (
    "TRACE|DEBUG[1-5]?|INFO|NOTICE|WARN(?:ING)?|ERROR|ERR|WRN|INF|DBG|TRC|FTL|SEVERE|FATAL"
    "|CRIT(?:ICAL)?|PANIC|ALERT|EMERG(?:ENCY)?|VERBOSE"
)
_AT_ONCE = re.compile(
    (
        r"[\s\-|:,\]>]*(?:[\[(][^\])]{0,80}[\])][\s\-:]*){0,2}[\[(<|]?"
        rf"({_COMMON})(?![\w.])"
    ).encode()
)
"""A level in capitals right behind the time, or behind bracketed words."""
_ANY_WORD = re.compile(
    rb"(?i)TRACE|TRC|DEBUG|DBG|INF|NOTICE|WARN|WRN|ERR|SEVERE|FATAL|FTL|CRIT|PANIC|ALERT|EMERG"
    rb"|VERBOSE|FINE|LOG:|STATEMENT:|DETAIL:|HINT:|CONTEXT:"
)
_TOKEN = re.compile(rb"[A-Za-z_][\w.$@/-]*|\d[\w.:#/-]*")
_FIELD = re.compile(
    rb"(?i)(?<![\w.-])(?:log\.)?(?:level|lvl|severity|levelname|log_?level|type_level)"
    rb"[\"']?\s?[=:]\s?[\"']?([a-z]+\d?|\d\d)\b"
)
_HEADER_TOKENS, _HEADER_BYTES = 8, 160
"""Words and bytes behind a time within which a level stands."""
_FAILURES = (
    ("oom", r"Out of memory|oom-kill|OOMKilled|invoked oom-killer|OutOfMemoryError"
            r"|Cannot allocate memory|MemoryError"),
    ("panic", r"\bpanic: |\bKernel panic|panicked at|BUG: unable to handle|FATAL EXCEPTION"),
    ("crash", r"\bsegfault\b|Segmentation fault|core dumped|SIGSEGV|SIGABRT|Fatal Python error"),
    ("test", r"--- FAIL: |^FAILED |^FAIL[: \t]|\bFAILED\b|\bBUILD FAILED\b|^not ok \d"
             r"|\b[1-9]\d* failed\b"),
    ("exit", r"(?i:\bexit(?:ed)?(?: with)?(?: the)?(?: exit)? (?:code|status):? ?[1-9]\d*)"
             r"|##\[error\]|^ERROR: Job failed|\bmake: \*\*\* "),
    ("exception", r"^Traceback \(most recent call last\)|^Exception in thread |^Caused by: "
                  r"|(?i:\b(?:unhandled|uncaught)\b[^\n]{0,30}\b(?:exception|error|rejection)\b)"),
)  # fmt: skip
FAILURE_PATTERN = "|".join(f"(?:{pattern})" for _, pattern in _FAILURES)
"""What failed, in a syntax that RE2 reads too; each line is looked at by itself."""
_FAILURE_KINDS = [(kind, re.compile(f"(?m:{form})".encode())) for kind, form in _FAILURES]
_FAILURE_HINT = re.compile(
    rb"(?i)out of memory|oom|memoryerror|allocate mem|panic|unable to handle|fatal e|segfault"
    rb"|segmentation|core dumped|sigsegv|sigabrt|fatal python|fail|not ok|exit|##\[error|make: \*"
    rb"|traceback|exception|caused by|unhandled|uncaught"
)


def levels_from(wanted: str) -> frozenset[str]:
    """Return the levels that a wish like "warn" takes in. Raises BadRequest for another word."""
    word = WORDS.get(wanted.lower())
    if word is None:
        hint = did_you_mean(wanted, LEVELS)
        raise BadRequest(f"{wanted!r} is no level; use one of {', '.join(LEVELS)}.{hint}")
    return frozenset(LEVELS[LEVELS.index(word) :])


def level_word(word: str) -> str:
    """Return the level that a word, a letter or a number of bunyan's is; nothing for another."""
    if word.isdigit():
        return level_number(int(word))
    known = WORDS.get(word.lower())
    return known or (LETTERS.get(word, "") if len(word) == 1 else "")


def level_number(number: int) -> str:
    """Return the level that bunyan and pino mean by a number: 10 is trace, 60 fatal."""
    return _BUNYAN[number // 10] if 10 <= number < 70 else ""


def status_level(status: int) -> str:
    """Return the level of an HTTP status; nothing for a number that is none."""
    if not 100 <= status < 600:
        return ""
    return "error" if status >= 500 else "warn" if status >= 400 else "info"


def text_level(line: bytes, start: int = 0) -> str:
    """Return the level of a text line whose time ends at byte `start` (0: it has no time)."""
    if (match := _AT_ONCE.match(line, start)) and (
        start or line[match.end() : match.end() + 1] in b": ]|"
    ):
        return WORDS[match[1].decode().lower()]
    head = line[: start + _HEADER_BYTES]
    if (b"evel" in line or b"lvl" in line or b"everity" in line or b"EVEL" in line) and (
        match := _FIELD.search(line)
    ):
        known = level_word(match[1].decode())
        if known:
            return known
    if not _ANY_WORD.search(head):
        return ""
    if start and (before := _header_level(line[:start], 0, timed=True)):
        return before
    return _header_level(head, start, timed=start > 0)


def _header_level(head: bytes, start: int, *, timed: bool) -> str:
    """Return the level that stands among the first words; none behind two words of prose."""
    prose = 0
    for number, match in enumerate(_TOKEN.finditer(head, start)):
        if number >= _HEADER_TOKENS or prose >= 2:
            return ""
        raw = match[0]
        word = raw.decode()
        before, after = head[match.start() - 1 : match.start()], head[match.end() : match.end() + 1]
        known = WORDS.get(word.rpartition(".")[2].lower())
        if known:
            capital = word.rpartition(".")[2].isupper()
            marked = (
                (
                    before in (b"[", b"<", b"|", b"(")
                    and after in (b"]", b">", b"|", b")", b":", b" ")
                )
                or (after == b":" and head[match.end() + 1 : match.end() + 2] in (b" ", b"", b"\t"))
                or (before == b":" and after == b"]")
            )
            first = number == 0 and (timed or capital) and after in (b" ", b"\t", b":", b"")
            if (
                (
                    capital
                    and before not in (b"/",)
                    and (timed or number == 0)
                    and after in (b" ", b"\t", b":", b"]", b")", b"|", b",", b">", b"", b"-", b";")
                )
                or marked
                or first
            ):
                return known
        if after in (b" ", b"") and before in (b" ", b"") and word.isalpha() and not word.isupper():
            prose += 1
    return ""


def failure_kind(text: bytes) -> str:
    """Return what failed by the words of a record (oom, panic, crash, test, exit, exception)."""
    if not _FAILURE_HINT.search(text):
        return ""
    return next((kind for kind, pattern in _FAILURE_KINDS if pattern.search(text)), "")
