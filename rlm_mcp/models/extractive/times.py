"""Dates, versions and times of day that a question names."""

from __future__ import annotations

import re
from datetime import date, timedelta

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SPELT = "|".join(_NUMBERS)
_MONTH = "|".join(f"{name}|{name[:3]}" for name in _MONTHS) + "|sept"
_DATE = (
    r"\d{4}-\d\d-\d\d|\d{4}-\d\d|(?:19|20)\d\d(?![\d.])"
    rf"|(?:{_MONTH})\.?(?: \d{{1,2}}(?:st|nd|rd|th)?,?)?(?: \d{{4}})?"
    r"|yesterday|today|last (?:week|month|year)|\d{1,3} (?:day|week|month|year)s? ago"
)
_BETWEEN = re.compile(rf"\b(?:between|from) ({_DATE}) (?:and|to|until|till) ({_DATE})(?!\w)", re.I)
_SINCE = re.compile(rf"\b(?:since|after|from) ({_DATE})(?!\w)", re.IGNORECASE)
_UNTIL = re.compile(rf"\b(before|until|till|up to) ({_DATE})(?!\w)", re.IGNORECASE)
_DURING = re.compile(rf"\b(?:in|during|on|of|for) ({_DATE})(?!\w)", re.IGNORECASE)
_PAST = re.compile(
    r"\b(?:(?:in|over|during|within) )?(?:the |these |this )?(?:last|past)"
    rf" (?:(\d{{1,3}}|few|couple of|{_SPELT}) )?(day|week|month|year)s?\b"
    r"|\b(yesterday|today)\b|\bthis (week|month|year)\b",
    re.IGNORECASE,
)
_VERSION = re.compile(
    r"(?<![\w.:/-])(?:v?\d+\.\d+(?:\.\d+)*(?:[-.]?(?:a|b|rc|alpha|beta|dev|pre)\.?\d*)?"
    r"|v\d+)(?![\w:/-]|\.\d)",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"\b(?:\d{4}-\d\d-\d\d[T ])?\d{1,2}:\d\d(?::\d\d)?\b")
_DAYS = {"day": 1, "week": 7, "month": 31, "year": 366}


def clocks_in(question: str) -> list[str]:
    """Return the times of day that a question names."""
    return _CLOCK.findall(question)[:2]


def versions_in(question: str) -> list[str]:
    """Return what looks like versions, in the order of the question: 1.2.0, v3, 2.0rc1."""
    return list(dict.fromkeys(_VERSION.findall(question)))[:3]


def period(question: str, today: date) -> tuple[str, str]:
    """Return the first and the last day, month or year that a question is about; "" for open.

    Both are the beginning of a date in ISO form: ("2023", "2023") is that whole year.
    """
    if found := _BETWEEN.search(question):
        return _iso(found[1], today), _iso(found[2], today)
    since, until = _SINCE.search(question), _UNTIL.search(question)
    if since or until:
        first = _iso(since[1], today) if since else ""
        last = _iso(until[2], today) if until else ""
        return first, _before(last) if until and until[1].lower() == "before" else last
    if found := _DURING.search(question):
        day = _iso(found[1], today)
        return day, "" if re.match("last|\\d+ ", found[1], re.IGNORECASE) else day
    if found := _PAST.search(question):
        if found[3]:
            day = _iso(found[3], today)
            return day, day
        if found[4]:
            shown = {"week": 10, "month": 7, "year": 4}[found[4].lower()]
            start = today - timedelta(days=today.weekday()) if shown == 10 else today
            return f"{start}"[:shown], ""
        many = _many((found[1] or "one").lower())
        return f"{today - timedelta(days=many * _DAYS[found[2].lower()])}", ""
    return "", ""


def _many(text: str) -> int:
    """Return a number in digits or in words; a few are three."""
    if text.isdigit():
        return int(text)
    return _NUMBERS.index(text) + 1 if text in _NUMBERS else 3


def _iso(text: str, today: date) -> str:
    """Return a date as the beginning of one in ISO form; a month alone is the last such."""
    text = text.lower().replace(",", "").replace(".", "")
    if text[0].isdigit() and "ago" not in text:
        return text
    if text in ("today", "yesterday"):
        return f"{today - timedelta(days=text == 'yesterday')}"
    if found := re.match(r"(?:last|(\d+)) (day|week|month|year)", text):
        return f"{today - timedelta(days=int(found[1] or 1) * _DAYS[found[2]])}"
    word, *rest = text.split()
    month = next(n for n, name in enumerate(_MONTHS, 1) if name.startswith(word[:3]))
    numbers = [int(re.sub(r"\D", "", part)) for part in rest]
    year = next((n for n in numbers if n > 31), today.year - (month > today.month))
    day = next((n for n in numbers if n <= 31), 0)
    return f"{year:04}-{month:02}" + f"-{day:02}" * bool(day)


def _before(text: str) -> str:
    """Return the day before a date, or the year or month before one."""
    year, month, day = (*(int(part) for part in text.split("-")), 1, 1)[:3]
    if len(text) == 4:
        return f"{year - 1:04}"
    eve = date(year, month, day) - timedelta(days=1)
    return f"{eve}"[: len(text)]
