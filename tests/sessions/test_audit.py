"""What a summary claims is weighed against the record, in whatever words it claims it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.sessions.session import Session

Audit = Callable[..., list[str]]
RED = (
    "Bash",
    {"command": "pytest -q"},
    "FAILED test_a.py::test_x\n2 failed, 10 passed",
    True,
)
GREEN = ("Bash", {"command": "pytest -q"}, "12 passed in 1s", False)
WRITE = ("Write", {"file_path": "/w/src/client.py", "content": "MAX_RETRIES = 4\n"}, "Done.", False)
DENIED = ("Write", {"file_path": "/w/src/b.py", "content": "x"}, "No such directory", True)
COMMIT = ("Bash", {"command": "git commit -am Retry"}, "[main abc1234] Retry", False)
PUSH = ("Bash", {"command": "git push origin main"}, "To origin", False)


@pytest.fixture
def audit(
    record: Callable[..., dict[str, Any]],
    transcript: Callable[..., Path],
    opened: Callable[[Path], Session],
) -> Audit:
    """Return the kinds of contradiction in a summary of some work."""

    def make(summary: str, *work: tuple[str, dict[str, str], str, bool]) -> list[str]:
        records = [record("user", "u", None, "Make the client retry four times.")]
        last = "u"
        for number, (tool, values, output, failed) in enumerate(work):
            name = f"t{number}"
            use = {"type": "tool_use", "id": name, "name": tool, "input": values}
            result = {"type": "tool_result", "tool_use_id": name, "content": output}
            records += [
                record("assistant", f"a{name}", last, [use]),
                record("user", f"u{name}", f"a{name}", [{**result, "is_error": failed}]),
            ]
            last = f"u{name}"
        records += [
            {"type": "system", "subtype": "compact_boundary", "uuid": "c", "parentUuid": None,
             "logicalParentUuid": last, "content": "Conversation compacted"},
            record("user", "s", "c", summary, isCompactSummary=True),
        ]  # fmt: skip
        report = opened(transcript(*records)).methods["audit"]()
        return sorted({item["kind"] for item in report["contradicted"]})

    return make


@pytest.mark.parametrize(
    ("claim", "kind"),
    [
        ("All tests pass.", "tests"),
        ("- The whole suite is green now", "tests"),
        ("`pytest -q`: 12 passed.", "tests"),
        ("Tests: passing", "tests"),
        ("Every test succeeds.", "tests"),
        ("No failing tests remain.", "tests"),
        ("The work was committed.", "commit"),
        ("Committed as abc9999.", "commit"),
        ("Everything is pushed to origin.", "commit"),
        ("Opened a pull request.", "commit"),
        ("Created src/b.py with the fallback.", "file"),
        ("The file `src/missing.py` was added.", "file"),
        ("Deleted src/client.py.", "file"),
        ("MAX_RETRIES is set to 5.", "value"),
    ],
)
def test_a_false_claim_is_told(audit: Audit, claim: str, kind: str) -> None:
    assert audit(f"The client retries.\n{claim}\nsrc/client.py holds it.", WRITE, DENIED, RED) == [
        kind
    ]


@pytest.mark.parametrize(
    "summary",
    [
        "Two tests fail (2 failed, 10 passed). src/client.py was created, MAX_RETRIES = 4.",
        "Pending: make all tests pass, then commit and push. Create src/extra.py next.",
        "The goal is that all tests pass. Nothing was committed. src/b.py could not be created.",
        "If the tests pass, it will be committed. Not all tests are passing.",
        "Should src/b.py be deleted? Added a retry to src/client.py's loop.",
        "The user asked whether everything is pushed. Tests are not passing yet.",
    ],
)
def test_an_honest_summary_raises_no_alarm(audit: Audit, summary: str) -> None:
    assert audit(summary, WRITE, DENIED, RED) == []


def test_true_claims_raise_no_alarm(audit: Audit) -> None:
    summary = (
        "All 12 tests pass. Committed as abc1234 and pushed. Created `src/client.py` with "
        "MAX_RETRIES set to 4. No failing tests remain."
    )
    assert audit(summary, WRITE, RED, GREEN, COMMIT, PUSH) == []
