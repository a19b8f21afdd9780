"""Patches as agents record them, applied to what a file was."""

from __future__ import annotations

import pytest

from rlm_mcp.sessions.timeline import apply_patch

TEXT = "a\nb\nc\nb\n"


@pytest.mark.parametrize(
    ("patch", "after"),
    [
        ("@@ -1,2 +1,2 @@\n a\n-b\n+B", "a\nB\nc\nb\n"),
        ("@@\n c\n-b\n+B\n+D", "a\nb\nc\nB\nD\n"),
        ("@@\n-a\n@@\n-b\n+x\n*** End of File", "x\nc\nb\n"),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+A\n\\ No newline at end of file", "A\nb\nc\nb\n"),
        ("@@\n a\n-b\n+-- b\n@@\n c", "a\n-- b\nc\nb\n"),
        ("@@\n-z\n+y", None),
        ("@@\n-c\n@@\n-a", None),
        ("@@\n+only added, nobody knows where", None),
        ("", TEXT),
    ],
)
def test_hunks_are_applied_in_order_or_not_at_all(patch: str, after: str | None) -> None:
    assert apply_patch(TEXT, patch) == after
