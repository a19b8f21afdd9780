"""Dates as people write them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from rlm_mcp.errors import BadRequest
from rlm_mcp.git import dates


@pytest.mark.parametrize("text", ["", "2026", "2026-03", "2026-03-14", "2026-03-14T09:30"])
def test_iso_dates_stay_as_they_are(text: str) -> None:
    assert dates.parse_date(text) == text


@pytest.mark.parametrize(
    ("text", "days"), [("yesterday", 1), ("2 weeks ago", 14), ("3 days", 3), ("last week", 7)]
)
def test_dates_are_counted_back_from_today(text: str, days: int) -> None:
    begun = datetime.now() - timedelta(days=days)
    assert dates.parse_date(text) in {f"{begun + timedelta(seconds=s):%Y-%m-%d}" for s in (0, 60)}


@pytest.mark.parametrize("text", ["banana", "2026-3-1", "14.03.2026", "soon"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="is no date"):
        dates.parse_date(text)
