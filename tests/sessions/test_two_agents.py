"""Two agents that write into one transcript at once: only one can be live, and that is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlm_mcp.sessions.session import Session

Record = Callable[..., dict[str, Any]]
SAID = "as when two agents write at once"


def test_branches_that_take_turns_are_told_in_the_description_and_the_brief(
    record: Record, transcript: Callable[..., Path], opened: Callable[[Path], Session]
) -> None:
    first = [
        record("user", "u", None, "Never stop."),
        record("assistant", "r", "u", [{"type": "text", "text": "Fine."}]),
    ]
    records, ends = list(first), {"a": "r", "b": "r"}
    for number in range(3):
        for agent in "ab":
            prompt, reply = f"u{agent}{number}", f"r{agent}{number}"
            done = {"file_path": f"/w/{agent}{number}.py", "content": "1"}
            call = {"type": "tool_use", "id": f"t{reply}", "name": "Write", "input": done}
            records.append(record("user", prompt, ends[agent], f"Agent {agent} asks {number}."))
            records.append(record("assistant", reply, prompt, [call]))
            ends[agent] = reply
    session = opened(transcript(*records))
    files = session.methods["files"]()
    assert [file["path"] for file in files["files"]] == ["b0.py", "b1.py", "b2.py"]
    assert [file["path"] for file in files["abandoned"]] == ["a0.py", "a1.py", "a2.py"]
    assert any(SAID in note for note in session.describe().notes)
    assert SAID in session.methods["brief"]()
    once = opened(transcript(*first, record("user", "u2", None, "Anew."), name="one"))
    assert SAID not in once.methods["brief"]() + str(once.describe().notes)
