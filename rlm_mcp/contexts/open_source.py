"""From a source as a person writes it to an open context variable.

path, folder, glob      text; a folder that is the top of a repository: repo
repo@<rev>, path@<rev>  a revision; a file of it where the path names one
repo@index, path@index  what is staged, as it is now (a branch of that name comes first)
A..B, path@A..B         history: the commits of a range, and what they change together
https://…, git@host:…   a clone in the cache folder, then repo; from hosts in clone_hosts alone
session:…, *.jsonl      a transcript
*.log, *.log.gz, …      logs, rotated sets in order; others that begin like a log
logs:<path>             logs, whatever they are called; those of a folder and below; with its
                        rotated set; ?tz=Europe/Berlin&year=2025 says what times lack
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.config import Settings, cache_dir
from rlm_mcp.contexts.history import History
from rlm_mcp.contexts.repo import Repo
from rlm_mcp.contexts.text import TextVariable
from rlm_mcp.corpus.store import open_folder, open_revision, open_staged, open_tree, pack_texts
from rlm_mcp.errors import BadRequest, Denied, RlmError
from rlm_mcp.git import GitRepository, find_repository, open_clone

if TYPE_CHECKING:
    from rlm_mcp.confine import Confine
    from rlm_mcp.variable import Variable

_REV = r"(?:[A-Za-z0-9][\w/~^{}+-]*(?:\.[\w/~^{}+-]+)*)?"
_RANGE = re.compile(rf"(?:(?P<path>.*)@)?(?P<a>{_REV})(?P<dots>\.{{2,3}})(?P<b>{_REV})\Z")
_REVISION = re.compile(r"(?P<path>.+)@(?P<rev>[A-Za-z0-9][A-Za-z0-9._/~^{}+-]*)\Z")
MAX_NAMED_BYTES = 4 << 30
"""A file that was named is loaded up to this size; of a folder, only smaller ones are."""
MAX_GLOB_FILES = 100_000


def open_context(
    source: str, name: str, settings: Settings, confine: Confine, *, fetch: bool = False
) -> Variable:
    """Open any source under `name`. Raises BadRequest, Denied, Unavailable in one sentence."""
    if source.startswith("session:"):
        return _open_session(source, name, settings)
    if source.startswith("logs:"):
        return _open_logs(source.removeprefix("logs:"), name, settings, confine)
    if cloned := open_clone(source, confine, settings, fetch=fetch):
        return _open_repo(source, name, cloned, confine.with_root(cloned.folder))
    path = _existing_path(source, confine)
    if path is not None:
        return _open_path(path, source, name, settings, confine)
    if (match := _RANGE.match(source)) and (match["a"] or match["b"]):
        return _open_range(match, source, name, confine)
    if match := _REVISION.match(source):
        return _open_revision(match["path"], match["rev"], source, name, confine)
    if any(char in source for char in "*?["):
        return _open_glob(source, name, settings, confine)
    confine.resolve_path(source)  # says what is wrong with it
    raise BadRequest(f"{source!r} cannot be opened.")


def open_default(name: str, settings: Settings, confine: Confine) -> Variable | None:
    """Open repo, history, session or logs where they exist under the first root, else None."""
    root = confine.roots[0]
    if name == "session":
        return _open_session("session:current", name, settings) if _has_session(settings) else None
    if name == "logs":
        from rlm_mcp import logs

        found = _find_logs(root)
        return logs.open_logs(found, name, settings) if found else None
    known = find_repository(root, confine)
    if name == "repo":
        if known is None:
            return _open_folder(root, str(root), name, confine)
        return _open_repo(str(root), name, known, confine)
    return None if known is None else History(name, str(root), known, confine, cache=cache_dir())


def openable_defaults(
    waiting: Sequence[str], settings: Settings, confine: Confine
) -> list[tuple[str, str]]:
    """Return (name, sentence) for each waiting default that exists; opens nothing."""
    root = confine.roots[0]
    found = []
    known: GitRepository | None = None
    try:
        known = find_repository(root, confine)
    except RlmError as error:
        found.append(("history", str(error)))
    if "repo" in waiting:
        what = "the working tree" if known else "the folder"
        found.append(("repo", f"{what} at {root}"))
    if "history" in waiting and known is not None:
        found.append(("history", f"the git history of {root}"))
    if "session" in waiting and _has_session(settings):
        found.append(("session", "the coding agent's transcript of this folder"))
    if "logs" in waiting and (logs := _find_logs(root)):
        found.append(("logs", f"{len(logs)} log files under {root}"))
    return found


def _existing_path(source: str, confine: Confine) -> Path | None:
    """Return the resolved path of a source that exists; Denied passes, absence is None."""
    try:
        if not os.path.lexists(confine.source_path(source)):
            return None
    except ValueError:
        return None  # a NUL; resolve says so
    return confine.resolve_path(source)


def _open_path(
    path: Path, source: str, name: str, settings: Settings, confine: Confine
) -> Variable:
    if path.is_dir():
        known = find_repository(path, confine)
        if known is not None and known.folder == (known.top or known.git_dir):
            return _open_repo(source, name, known, confine)
        return _open_folder(path, source, name, confine)
    from rlm_mcp import logs, sessions

    if sessions.is_transcript(path):
        return sessions.open_session(str(path), name, settings)
    if logs.is_log_file(path):
        return logs.open_logs([path], name, settings)
    return _open_files([path], source, name, confine)


def _open_repo(source: str, name: str, known: GitRepository, confine: Confine) -> Repo:
    cache = cache_dir()
    if known.top is None:
        head = known.head_commit()
        if not head:
            raise BadRequest(f"{source!r} is a bare repository without a commit.")
        corpus = open_revision(known.git_dir, head, cache=cache, admit=confine.exclude_reason)
        return Repo(name, source, corpus, confine, known, cache=cache, rev=head)
    if known.prefix:
        corpus = open_folder(known.folder, cache=cache, admit=confine.exclude_reason)
    else:
        corpus = open_tree(known.folder, cache=cache, admit=confine.exclude_reason)
    return Repo(name, source, corpus, confine, known, cache=cache)


def _open_folder(path: Path, source: str, name: str, confine: Confine) -> TextVariable:
    corpus = open_folder(path, cache=cache_dir(), admit=confine.exclude_reason)
    return TextVariable(name, source, corpus, confine, path)


def _open_files(paths: Sequence[Path], source: str, name: str, confine: Confine) -> TextVariable:
    for path in paths:
        os.close(confine.open_file(path))  # says in one sentence why it cannot be had
    corpus = open_folder(
        paths, cache=cache_dir(), admit=confine.exclude_reason, limit_bytes=MAX_NAMED_BYTES
    )
    folder = Path(os.path.commonpath([path.parent for path in paths]))
    return TextVariable(name, source, corpus, confine, folder)


def _open_glob(source: str, name: str, settings: Settings, confine: Confine) -> Variable:
    chosen = _glob_matches(source, confine)
    from rlm_mcp import logs

    if all(logs.is_log_name(path) for path in chosen):
        return logs.open_logs(chosen, name, settings)
    return _open_files(chosen, source, name, confine)


def _open_logs(source: str, name: str, settings: Settings, confine: Confine) -> Variable:
    from rlm_mcp import logs

    def find_paths(where: str) -> tuple[list[Path], list[str]]:
        path = _existing_path(where, confine)
        left_out: list[str] = []
        if path is None:
            paths = _glob_matches(where, confine)
        elif path.is_dir():
            paths, left_out = logs.logs_in_folder(path)
            paths = [found for found in paths if confine.exclude_reason(found) is None]
            if not paths:
                raise BadRequest(f"{where!r} holds no logs; name a file, or a glob such as *.txt.")
        else:
            paths = [
                found
                for found in logs.rotated_set(path)
                if found == path or confine.exclude_reason(found) is None
            ]
        return paths, left_out

    for path in find_paths(source.partition("?tz=")[0].partition("?year=")[0])[0]:
        os.close(confine.open_file(path))  # says in one sentence why it cannot be had
    return logs.open_log_source(source, find_paths, name, settings)


def _glob_matches(source: str, confine: Confine) -> list[Path]:
    """Return the files that a glob names and that may be opened, at least one."""
    if ".." in Path(source).parts:
        raise Denied(f"{source!r}: a glob does not climb out of its folder with '..'.")
    paths = []
    for found in _walk_glob(source, confine):
        try:
            path = confine.resolve_path(found)
        except RlmError:
            continue  # outside, denied or special: a glob takes what it may have
        if path.is_file():
            paths.append(path)
        if len(paths) > MAX_GLOB_FILES:
            raise BadRequest(f"{source!r} matches more than {MAX_GLOB_FILES:,} files; narrow it.")
    if not paths:
        raise BadRequest(f"{source!r} matches no file that may be opened.")
    return sorted(set(paths))


def _walk_glob(source: str, confine: Confine) -> Iterator[Path]:
    """Give what a glob names; only folders under the roots are listed, each once for a part.

    `**` follows no link, and other parts keep the folders by their real paths: two links to the
    folder that they lie in would else be 2^40 folders.
    """
    parts = confine.source_path(source).parts
    fixed = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    folders = {confine.resolve_path(Path(*parts[:fixed]))}
    for part in parts[fixed:-1]:
        found = {os.path.realpath(path) for path in _glob_step(folders, part, files=False)}
        folders = {path for path in map(Path, found) if confine.is_within(path)}
    return _glob_step(folders, parts[-1], files=True)


def _glob_step(folders: Iterable[Path], part: str, *, files: bool) -> Iterator[Path]:
    """Give the entries of folders that one part of a glob names, hidden ones if it says so."""
    for folder in sorted(folders):
        if part == "**":
            for below, inner, names in os.walk(folder):
                inner[:] = [name for name in inner if not name.startswith(".")]
                yield Path(below)
                yield from (Path(below, n) for n in names if files and not n.startswith("."))
        elif not glob.has_magic(part):
            yield folder / part
        elif folder.is_dir():
            with contextlib.suppress(OSError):  # not ours to read
                names = fnmatch.filter(os.listdir(folder), part)
                yield from (folder / n for n in names if part[0] == "." or n[0] != ".")


def _open_range(match: re.Match[str], source: str, name: str, confine: Confine) -> History:
    known = _repository_at(match["path"] or "", confine, source)
    git = known.git
    first = git.resolve_commit(match["a"] or "HEAD")
    last = git.resolve_commit(match["b"] or "HEAD")
    if match["dots"] == "...":
        first = git.read_text("merge-base", first, last)
    return History(name, source, known, confine, cache=cache_dir(), first=first, last=last)


def _open_revision(where: str, rev: str, source: str, name: str, confine: Confine) -> Variable:
    known = _repository_at("" if where == "repo" else where, confine, source)
    inside = "" if where == "repo" else _path_in_repository(where, known, confine)
    cache = cache_dir()
    try:
        commit = known.git.resolve_commit(rev)
    except BadRequest:
        if rev != "index" or known.top is None:
            raise
        return _open_index(known, inside, source, name, confine)
    if not inside:
        tree = known.visible_tree(commit)
        corpus = open_revision(known.git_dir, tree, cache=cache, admit=confine.exclude_reason)
        return Repo(name, source, corpus, confine, known, cache=cache, rev=commit)
    return _open_blob(known, commit, inside, source, name, confine)


def _open_index(
    known: GitRepository, inside: str, source: str, name: str, confine: Confine
) -> Variable:
    """Open what is staged, or one file or folder of it."""
    place = f"{known.prefix}{inside}"
    corpus = open_staged(known.folder, place, cache=cache_dir(), admit=confine.exclude_reason)
    if inside and not corpus.document_paths() and not corpus.skipped:
        corpus.close()
        raise BadRequest(f"{inside!r} is not in the index: git does not track it.")
    return TextVariable(
        name, source, corpus, confine, None, fixed="fixed: as staged when it was opened"
    )


def _open_blob(
    known: GitRepository, commit: str, path: str, source: str, name: str, confine: Confine
) -> Variable:
    """Open one file or folder of a revision."""
    entry = known.history.tree_entry(commit, path)
    if entry is None:
        raise BadRequest(f"{path!r} does not exist at {commit[:12]}.")
    if confine.exclude_reason(known.folder / path) is not None:
        raise Denied(f"{path!r} holds secrets by its name and is not opened.")
    if entry.kind == "tree":
        corpus = open_revision(
            known.git_dir, entry.blob, cache=cache_dir(), admit=confine.exclude_reason
        )
    elif entry.kind == "blob":
        data = known.git.read_output("cat-file", "blob", entry.blob)
        corpus = pack_texts([(path, data)], cache=cache_dir(), name=entry.blob)
    else:
        raise BadRequest(f"{path!r} is a submodule, pinned to {entry.blob[:12]}.")
    return TextVariable(name, source, corpus, confine, None, fixed=f"fixed at {commit[:12]}")


def _repository_at(where: str, confine: Confine, source: str) -> GitRepository:
    """Return the repository that the path part of a source lies in (default: the first root)."""
    path = confine.roots[0]
    if where:
        asked = confine.source_path(where)
        while not asked.exists() and asked != asked.parent:
            asked = asked.parent
        path = confine.resolve_path(asked)
    known = find_repository(path if path.is_dir() else path.parent, confine)
    if known is None:
        raise BadRequest(f"{source!r}: there is no git repository there, so it has no revisions.")
    if known.top is not None and confine.is_within(known.top):
        return GitRepository(known.git_dir, known.top, known.top)
    return known


def _path_in_repository(where: str, known: GitRepository, confine: Confine) -> str:
    """Return the path part of a source relative to what may be shown of its repository."""
    asked = Path(os.path.normpath(confine.source_path(where)))
    asked = Path(os.path.realpath(asked.parent)) / asked.name
    if asked == known.folder:
        return ""
    if not asked.is_relative_to(known.folder):
        raise Denied(f"{where!r} is outside the roots.")
    return asked.relative_to(known.folder).as_posix()


def _open_session(source: str, name: str, settings: Settings) -> Variable:
    from rlm_mcp import sessions

    return sessions.open_session(source, name, settings)


def _has_session(settings: Settings) -> bool:
    from rlm_mcp.sessions import list_sessions

    return bool(list_sessions(settings))


def _find_logs(root: Path) -> list[Path]:
    """Return the log files in a root, its log folders included, without walking all of it."""
    from rlm_mcp import logs

    return logs.logs_by_name((root, root / "log", root / "logs", root / "var" / "log"))
