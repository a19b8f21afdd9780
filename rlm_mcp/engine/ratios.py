"""What a token holds, learnt from replies: bytes per kind of text, shared by all processes.

A provider counts the tokens of each prompt; where a prompt is mostly one part of a known kind, its
count says what a token of that kind holds. One reply moves a ratio by at most a tenth, and no
number of them moves it out of bounds. Nothing learnt today is used today: sizes decide where
chunks end, so a run that is repeated or resumed would otherwise ask other questions and pay again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rlm_mcp.engine.spending import utc_today
from rlm_mcp.engine.write_queue import open_store
from rlm_mcp.tokens import BYTES_PER_TOKEN, MAX_RATIO, MIN_RATIO, TOKENS_PER_MESSAGE

if TYPE_CHECKING:
    from rlm_mcp.models import ModelReply, ModelRequest

LEAST_BYTES = 4_096
"""Size of a part from which its tokens are worth learning from."""
MOST_REST = 0.25
"""What else a prompt may hold, by the size of its part."""
WEIGHT, STEP = 0.125, 0.1
"""How far a ratio goes towards the next reply's, and the most that it goes, both as shares."""
SLACK = 0.1
"""How far what was learnt must be off, as a share, before it is used."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ratio (
    kind TEXT PRIMARY KEY, used REAL NOT NULL, learnt REAL NOT NULL, day TEXT NOT NULL
) STRICT
"""
_USED = "CASE WHEN day < :day AND abs(learnt - used) > :slack * used THEN learnt ELSE used END"
_LEARN = f"""
UPDATE ratio SET used = {_USED}, day = max(day, :day), learnt = min(max(
    learnt + min(max((:seen - learnt) * :weight, -:step * learnt), :step * learnt), :least), :most)
WHERE kind = :kind
"""


class Bulk(NamedTuple):
    """What a prompt is mostly about: its kind of text, and its size in the prompt."""

    kind: str
    size_bytes: int


class TokenRatios:
    """The stored ratios. Nothing here commits: `disk` does."""

    def __init__(self, path: Path) -> None:
        self.db = open_store(path, _SCHEMA)

    def learn_ratio(self, part: Bulk, request: ModelRequest, reply: ModelReply) -> None:
        """Move the ratio of a part's kind towards what a reply's count says, if it says it."""
        seen = bytes_per_token(part, request, reply)
        if seen is None:
            return
        seed, day = BYTES_PER_TOKEN[part.kind], utc_today()
        self.db.execute(
            "INSERT OR IGNORE INTO ratio VALUES (?, ?, ?, ?)", (part.kind, seed, seed, day)
        )
        bounds = {"least": MIN_RATIO, "most": MAX_RATIO}
        steps = {"weight": WEIGHT, "step": STEP, "slack": SLACK}
        self.db.execute(_LEARN, {"kind": part.kind, "seen": seen, "day": day, **bounds, **steps})

    def in_use(self, day: str = "") -> dict[str, float]:
        """Return the ratios that hold on a day (empty: today)."""
        rows = self.db.execute(
            f"SELECT kind, {_USED} FROM ratio", {"day": day or utc_today(), "slack": SLACK}
        )
        return dict(rows.fetchall())


def bytes_per_token(part: Bulk, request: ModelRequest, reply: ModelReply) -> float | None:
    """Return what a token of the part holds by a reply's count; None where it does not say."""
    counted = reply.prompt_tokens
    texts = [request.system, *(message.text for message in request.messages)]
    rest = sum(len(text.encode("utf-8", "replace")) for text in texts) - part.size_bytes
    if counted is None or part.kind not in BYTES_PER_TOKEN:
        return None
    if part.size_bytes < LEAST_BYTES or rest > MOST_REST * part.size_bytes:
        return None
    counted -= round(rest / BYTES_PER_TOKEN["prose"]) + TOKENS_PER_MESSAGE * len(request.messages)
    # A count that no tokenizer gives is a mistake or a lie, and no measurement.
    if not MIN_RATIO / 2 <= part.size_bytes / max(counted, 1) <= MAX_RATIO * 2:
        return None
    return part.size_bytes / counted
