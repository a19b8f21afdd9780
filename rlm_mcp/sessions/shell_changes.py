"""Which files a shell command changed, as far as its words alone say it for certain.

`sed -i`, `mv`, `rm`, a redirection and their like name what they change. Nothing is guessed: a
name with a variable or a wildcard, a loop, a substitution, and a part whose success the exit code
does not tell (before `;`, around `||`) are left out. Only commands that succeeded are looked at.
"""

from __future__ import annotations

import posixpath
import re
import shlex
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm_mcp.sessions import activity

if TYPE_CHECKING:
    from rlm_mcp.sessions.view import TranscriptView

FileChange = tuple[str, str]
"""(path, operation)."""

LONGEST_COMMAND = 20_000
_HEREDOC = re.compile(
    r"<<-?\s*(['\"]?)(\w+)\1([^\n]*)\n(.*?)\n?^[ \t]*\2[ \t]*$", re.MULTILINE | re.DOTALL
)
_TOKEN = re.compile(
    r"(?P<op>[;&|<>\n]+)|[ \t\r]+|"
    r"""(?P<word>(?:[^\s;&|<>'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+)"""
)
_OPERATOR = "\0"
"""Starts a token that is an operator, so that a quoted one is a word."""
_DEEP = re.compile(
    r"\$\(|`|<\(|>\(|(?:^|[;&|\n][ \t]*)(?:for|while|until|if|case|select|function|eval|exec|trap|"
    r"alias|xargs|source|\.)\s|[(){}]\s*(?:$|[;&|])|(?:^|[;&|])\s*[({]",
    re.MULTILINE,
)
_CHANGES = re.compile(
    r">|\b(?:g?sed|perl|mv|cp|ln|rm|unlink|touch|tee|git\b.*?\b(?:mv|rm|checkout|restore))\b",
    re.DOTALL,
)
"""What a command has somewhere that changes files."""
_UNSURE = re.compile(r"[$*?\[\]{}~!]")
_SKIPPED = ("sudo", "command", "time", "nohup", "nice")
_WORKDIR = re.compile(r"^(?:workdir|cwd|directory|dir_path): (\S.*)$", re.MULTILINE)


def shell_files(view: TranscriptView) -> list[activity.TouchedFile]:
    """Return the files that shell commands of the live branch changed for certain."""
    return view.memoize("shell files", lambda: _collect_files(view))


def _collect_files(view: TranscriptView) -> list[activity.TouchedFile]:
    good = {run.call_ref for run in activity.shell_commands(view) if run.status == "ok"}
    table: dict[str, activity.TouchedFile] = {}
    # An argument is kept to 4,000 characters; a longer command is not whole.
    where = "b.type='call' AND b.kind='shell' AND length(b.arg) BETWEEN 1 AND 3999"
    for call in view.block_cache.map_blocks("shell", where, lambda row: _changing_calls(view, row)):
        if call.ref not in good:
            continue
        done = call.changes or command_changes(call.command, activity.common_root(view))
        for path, op in done:
            name = activity.display_path(view, path, call.cwd)
            touched = table.setdefault(name, activity.TouchedFile(name))
            touched.ops.append((op, call.ref, call.turn))
    return list(table.values())


@dataclass(frozen=True, slots=True)
class _ChangingCall:
    """A command and what it changes. The command is kept only where its folder is not known."""

    ref: str
    turn: int
    cwd: str
    changes: Sequence[FileChange]
    command: str = ""


def _changing_calls(view: TranscriptView, row: sqlite3.Row) -> Iterator[_ChangingCall]:
    match = _WORKDIR.search(view.block_text(row)) if row["len"] < LONGEST_COMMAND else None
    folder = match[1] if match else row["cwd"]
    if made := command_changes(row["arg"], folder):
        known = () if not folder else made
        command = "" if folder else row["arg"]
        yield _ChangingCall(view.block_ref(row), row["n"], row["cwd"], known, command)


def command_changes(command: str, cwd: str = "") -> list[FileChange]:
    """Return what a command that succeeded did to files: paths below `cwd`, or absolute."""
    if not _CHANGES.search(command):
        return []
    bare = _HEREDOC.sub(r"\3", command)
    if _DEEP.search(bare) or "<<" in bare.replace("<<<", ""):
        return []
    found: list[FileChange] = []
    for words in _and_chain(bare.replace("\\\n", " ")):
        if words[:1] == ["cd"]:
            if len(words) != 2 or _UNSURE.search(words[1]) or words[1] == "-":
                return found
            cwd = posixpath.normpath(posixpath.join(cwd, words[1]))
            continue
        for path, op in _part_changes(words):
            if path and not _UNSURE.search(path) and not path.startswith(("/dev/", "&", "-")):
                found.append((posixpath.normpath(posixpath.join(cwd, path)), op))
    return found


def _and_chain(command: str) -> list[list[str]]:
    """Return the parts that all ran when the command succeeded: the last `&&` chain, cut at pipes.

    Behind `set -e` the lines before it count too.
    """
    tokens = _split_tokens(command.strip())
    strict = tokens[:2] == ["set", "-e"] or tokens[:2] == ["set", "-euo"]
    chain: list[list[str]] = [[]]
    unsure = False
    for token in tokens:
        operator = token.removeprefix(_OPERATOR) if token.startswith(_OPERATOR) else ""
        if operator in ("&&", "|", "|&"):
            chain.append([])
        elif operator == "||":
            unsure = True
        elif operator and not set(operator) & set("<>"):
            keep = strict and "&" not in operator and not unsure
            chain = [*chain, []] if keep else [[]]
            unsure = False
        else:
            chain[-1].append(token)
    return [] if unsure else [part for part in chain if part]


def _split_tokens(command: str) -> list[str]:
    """Return words without their quotes, and operators; nothing where a quote stays open."""
    found, at = [], 0
    while at < len(command):
        match = _TOKEN.match(command, at)
        if match is None:
            return []
        at = match.end()
        if operator := match["op"]:
            found.append(_OPERATOR + (operator.strip("\n") or "\n"))
        elif word := match["word"]:
            found.append("".join(shlex.split(word)))
    return found


def _part_changes(tokens: Sequence[str]) -> Iterator[FileChange]:
    """Yield the changes of one simple command: its redirections, then what it does itself."""
    words: list[str] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.startswith(_OPERATOR):
            target = tokens[at + 1] if at + 1 < len(tokens) else ""
            if ">" in token and not token.endswith("&"):
                yield target, "edit" if ">>" in token else "create"
            if words and words[-1].isdigit():
                words.pop()
            at += 2
            continue
        words.append(token)
        at += 1
    while words and (words[0] in _SKIPPED or re.match(r"[A-Za-z_]\w*=", words[0])):
        words = words[1:]
    if words:
        yield from _program_changes(posixpath.basename(words[0]), words[1:])


def _program_changes(name: str, words: list[str]) -> Iterator[FileChange]:
    options = [word for word in words if word.startswith("-") and word != "--"]
    operands = [word for word in words if not word.startswith("-")]
    if name == "git" and words:
        yield from _git_changes(words[0], words[1:])
    elif name == "tee":
        appends = any(option in ("-a", "--append") for option in options)
        yield from ((path, "edit" if appends else "create") for path in operands)
    elif name in ("sed", "perl", "gsed"):
        yield from _edit_changes(options, words)
    elif name in ("mv", "cp", "ln"):
        yield from _move_changes(name, options, operands)
    elif name in ("rm", "unlink"):
        yield from ((path, "delete") for path in operands)
    elif name == "touch" and not options:
        yield from ((path, "create") for path in operands)


def _git_changes(verb: str, words: list[str]) -> Iterator[FileChange]:
    operands = [word for word in words if not word.startswith("-")]
    if verb == "mv":
        yield from _move_changes("mv", [], operands)
    elif verb == "rm" and "--cached" not in words:
        yield from ((path, "delete") for path in operands)
    elif verb == "checkout" and "--" in words:
        yield from ((path, "edit") for path in words[words.index("--") + 1 :])
    elif verb == "restore" and not {"--staged", "-S"} & set(words):
        named = [word for word in operands if word not in (".",)]
        sourced = any(word.startswith(("-s", "--source")) for word in words)
        yield from ((path, "edit") for path in named if not sourced)


def _edit_changes(options: list[str], words: list[str]) -> Iterator[FileChange]:
    """Yield the files of `sed -i` and `perl -pi`; the first operand is the script, unless -e."""
    if not any(re.match(r"-[a-zA-Z]*i|--in-place", option) for option in options):
        return
    paths, scripted, skip = [], False, False
    for word in words:
        if skip:
            skip = False
        elif re.fullmatch(r"-[a-zA-Z]*[ef]|--expression|--file", word):
            scripted = skip = True
        elif word.startswith(("--expression=", "--file=")):
            scripted = True
        elif not word.startswith("-") and word:
            paths.append(word)
    yield from ((path, "edit") for path in (paths if scripted else paths[1:]))


def _move_changes(name: str, options: list[str], operands: list[str]) -> Iterator[FileChange]:
    """Yield the changes of mv, cp and ln; into what may be a folder only where it ends in `/`."""
    if len(operands) < 2 or any(o.startswith(("-t", "--target", "-T")) for o in options):
        return
    *sources, target = operands
    inside = target.endswith("/") or len(sources) > 1 or target in (".", "..")
    whole = any(re.match(r"-[a-zA-Z]*[rRa]|--recursive|--archive", option) for option in options)
    for source in sources:
        if name == "mv":
            yield source, "delete"
        if whole and name == "cp":
            continue  # a folder: its files are not named
        made = posixpath.join(target, posixpath.basename(source.rstrip("/"))) if inside else target
        yield made, "rename" if name == "mv" else "create"
