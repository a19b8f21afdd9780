"""Read dates as people write them (2026-03, yesterday, 2 weeks ago), and pick commits by them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from rlm_mcp.errors import BadRequest
from rlm_mcp.git.commits import Commit

_ISO = re.compile(r"\d{4}(?:-\d\d(?:-\d\d(?:[T ]\d\d(?::\d\d(?::\d\d)?)?)?)?)?\Z")
_AGO = re.compile(r"(\d{1,4}) ?(minute|hour|day|week|month|year)s?(?: ago)?\Z")
_UNIT_DAYS = {
    "minute": 1 / 1440,
    "hour": 1 / 24,
    "day": 1,
    "week": 7,
    "month": 30.44,
    "year": 365.25,
}
_NAMED_DAYS = {"now": 0, "today": 0, "yesterday": 1}


def parse_date(text: str) -> str:
    """Return a date as the beginning of one in ISO form; nothing for nothing.

    Raises BadRequest for what is no date.
    """
    text = text.strip()
    if not text or _ISO.match(text):
        return text.replace(" ", "T")
    word = text.lower().removeprefix("last ")
    now = datetime.now()
    if word in _NAMED_DAYS:
        return f"{now - timedelta(days=_NAMED_DAYS[word]):%Y-%m-%d}"
    if word in _UNIT_DAYS:
        word = f"1 {word}"
    if match := _AGO.match(word):
        try:
            then = now - timedelta(days=int(match[1]) * _UNIT_DAYS[match[2]])
        except OverflowError:
            return "0001"
        return f"{then:%Y-%m-%d}" if _UNIT_DAYS[match[2]] >= 1 else f"{then:%Y-%m-%dT%H:%M}"
    raise BadRequest(f"{text!r} is no date; write 2026-03-14, yesterday or 2 weeks ago.")


def filter_commits(
    found: Sequence[Commit], author: str = "", since: str = "", until: str = ""
) -> list[Commit]:
    """Return the commits of an author (a part of the name or the address) within a time.

    Raises BadRequest for what is no date.
    """
    since, until = parse_date(since), parse_date(until)
    return [
        commit
        for commit in found
        if author.lower() in f"{commit.author} {commit.email}".lower()
        and (not since or commit.date[: len(since)] >= since)
        and (not until or commit.date[: len(until)] <= until)
    ]
