"""What all runs of this user spend in a day: one small SQLite file shared by all processes.

Each change is one statement, so that two processes can never pass the limit together. What a
killed process held stays counted until the day ends: nobody knows what it was billed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from rlm_mcp.engine.budget import NANO
from rlm_mcp.engine.write_queue import open_store
from rlm_mcp.errors import BudgetSpent

_SCHEMA = "CREATE TABLE IF NOT EXISTS day (day TEXT PRIMARY KEY, nano INTEGER NOT NULL) STRICT"


class DailySpend:
    """The sum of today (UTC). Nothing here commits: `disk` does."""

    def __init__(self, path: Path, limit_usd: float) -> None:
        self._limit = int(limit_usd * NANO)
        self.db = open_store(path, _SCHEMA)

    def hold_nano(self, nano: int) -> str:
        """Add a call's worst case and return the day it counts for. Raises BudgetSpent."""
        day = utc_today()
        self.db.execute("INSERT OR IGNORE INTO day VALUES (?, 0)", (day,))
        changed = self.db.execute(
            "UPDATE day SET nano = nano + ?1 WHERE day = ?2 AND nano + ?1 <= ?3",
            (nano, day, self._limit),
        ).rowcount
        if not changed:
            raise BudgetSpent(
                f"The budget of the day does not allow it: ${self.spent_usd():.2f} of "
                f"${self._limit / NANO:.2f} are spent or in flight; wait for tomorrow (UTC) or "
                "raise max_usd_day.",
                limit="usd_day",
                value=self._limit / NANO,
            )
        return day

    def settle_nano(self, day: str, held: int, nano: int) -> None:
        """Replace a call's worst case by what it cost."""
        self.db.execute("UPDATE day SET nano = nano + ? WHERE day = ?", (nano - held, day))

    def spent_usd(self) -> float:
        """Return what today's calls cost, those in flight at their worst case."""
        row = self.db.execute("SELECT nano FROM day WHERE day = ?", (utc_today(),)).fetchone()
        return row[0] / NANO if row else 0.0


def utc_today() -> str:
    """Return today's date (UTC)."""
    return datetime.now(UTC).date().isoformat()
