"""What a command's words say about files: for certain, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.sessions import shell_changes
from rlm_mcp.sessions.session import Session


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("sed -i 's/a/b/' x.py", {"x.py": "edit"}),
        ("sed -i.bak -e 's/a/b/' -e 's/c/d/' x.py y.py", {"x.py": "edit", "y.py": "edit"}),
        ("sed -n 's/a/b/p' x.py", {}),
        ("perl -pi -e 's/a/b/' x.py", {"x.py": "edit"}),
        ("mv a.py b.py", {"a.py": "delete", "b.py": "rename"}),
        ("git mv a.py src/", {"a.py": "delete", "src/a.py": "rename"}),
        ("cp a.py b.py && rm -f a.py", {"b.py": "create", "a.py": "delete"}),
        ("cp -r src dst", {}),
        ("git checkout -- a.py", {"a.py": "edit"}),
        ("git checkout main", {}),
        ("git restore --staged a.py", {}),
        ("git restore a.py", {"a.py": "edit"}),
        ("git rm --cached a.py", {}),
        ("echo hi > out.txt", {"out.txt": "create"}),
        ("echo hi >> 'out file.txt'", {"out file.txt": "edit"}),
        ("make 2>&1 | tee build.log", {"build.log": "create"}),
        ("make 2>/dev/null >&2", {}),
        ("make &> all.log", {"all.log": "create"}),
        ("cat > a.sh <<'EOF'\nrm -rf b\necho > c\nEOF", {"a.sh": "create"}),
        ("cat <<EOF > a.sh && rm d\nx\nEOF", {"a.sh": "create", "d": "delete"}),
        ("cd sub && touch a && cd ../other && rm b", {"sub/a": "create", "other/b": "delete"}),
        ("FOO=1 sudo rm a", {"a": "delete"}),
        ("set -e\nrm a\nrm b", {"a": "delete", "b": "delete"}),
        # What the exit code or the words do not tell.
        ("rm a; make", {}),
        ("rm a; rm b", {"b": "delete"}),
        ("rm a || true", {}),
        ("test -f a && rm a || echo none", {}),
        ("rm a\nls", {}),
        ("rm *.pyc", {}),
        ("rm $FILE", {}),
        ("rm ~/x", {}),
        ("for f in a b; do rm $f; done", {}),
        ("rm $(ls)", {}),
        ("(cd x && rm a)", {}),
        ("find . -name x -delete", {}),
        ("ls | xargs rm a", {}),
        ("echo 'rm a > b'", {}),
        ("git commit -m 'mv a b && rm c'", {}),
        ("grep -c '>' a.txt", {}),
        ("python -c \"open('x','w')\"", {}),
        ("rm 'unclosed", {}),
        ("", {}),
    ],
)
def test_only_what_is_certain_is_told(command: str, found: dict[str, str]) -> None:
    assert dict(shell_changes.command_changes(command)) == found


def test_commands_that_failed_change_nothing_and_the_rest_stands_apart(
    record: Callable[..., dict[str, Any]],
    transcript: Callable[..., Path],
    opened: Callable[[Path], Session],
) -> None:
    def ran(name: str, parent: str, command: str, failed: bool) -> list[dict[str, Any]]:
        use = {"type": "tool_use", "id": name, "name": "Bash", "input": {"command": command}}
        result = {"type": "tool_result", "tool_use_id": name, "content": "", "is_error": failed}
        return [
            record("assistant", f"a{name}", parent, [use]),
            record("user", f"u{name}", f"a{name}", [result]),
        ]

    path = transcript(
        record("user", "u0", None, "Hello there."),
        *ran("1", "u0", "sed -i s/a/b/ /w/src/x.py", False),
        *ran("2", "u1", "rm gone.py", True),
    )
    found = opened(path).methods["files"]()
    assert found["files"] == []
    (entry,) = found["by_shell"]
    assert (entry["path"], entry["ops"]) == ("src/x.py", ["edit"])
    assert json.dumps(found)
