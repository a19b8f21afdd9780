"""Open a working tree, a revision, a folder or some files as a corpus.

    tree(folder)            tracked files and untracked ones that are not ignored
    revision(repo, rev)     the blobs of a commit or tree, through one `git cat-file --batch`
    folder(folder or files) what .gitignore and .ignore leave of a folder that is no repository
    texts(items)            texts that are at hand already (handles, transcripts)

`admit` is asked about each path and may return a reason to leave it out. `policy` names what it
lets in: corpora of different policies are kept apart, and what was packed under the same one is
not asked about again (without a name, everything is, each time a corpus is opened).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.errors import BadRequest, Unavailable
from rlm_mcp.git import RepositoryPaths, run_git

if TYPE_CHECKING:
    from rlm_mcp.corpus.store.corpus import Corpus
    from rlm_mcp.corpus.store.safe_files import AdmitPath
    from rlm_mcp.corpus.store.span_source import SpanAuthor

MAX_FILE_BYTES = 4 << 20
"""Files larger than this are described, and opened when asked for."""


def open_tree(
    where: Path,
    *,
    cache: Path,
    admit: AdmitPath | None = None,
    policy: str = "",
    limit_bytes: int = MAX_FILE_BYTES,
) -> Corpus:
    """Open the working tree that `where` is in: tracked and untracked-not-ignored files.

    Raises Unavailable where there is no repository, or a bare one.
    """
    # numpy takes 100 ms to import; opening a corpus is the first thing that needs it.
    from rlm_mcp.corpus.store.cache_folder import CorpusStore
    from rlm_mcp.corpus.store.corpus import Corpus
    from rlm_mcp.corpus.store.tree_source import TreeSource

    repository = RepositoryPaths.discover_at(where)
    if repository is None:
        raise Unavailable(f"{where} is not in a git repository; open it as a folder.")
    if repository.top is None:
        raise Unavailable(f"{where} is a bare repository; open one of its revisions.")
    origin = TreeSource(repository, admit, limit_bytes, bool(policy))
    return Corpus(
        CorpusStore.for_source(cache, "tree", repository.top, limit_bytes, policy), origin
    )


def open_revision(
    where: Path,
    rev: str,
    *,
    cache: Path,
    admit: AdmitPath | None = None,
    policy: str = "",
    limit_bytes: int = MAX_FILE_BYTES,
) -> Corpus:
    """Open the files of a commit or tree. Raises BadRequest for a revision that is not there."""
    from rlm_mcp.corpus.store.cache_folder import CorpusStore
    from rlm_mcp.corpus.store.corpus import Corpus
    from rlm_mcp.corpus.store.frozen_source import RevisionSource

    repository = RepositoryPaths.discover_at(where)
    if repository is None:
        raise Unavailable(f"{where} is not in a git repository.")
    oid = resolve_revision(repository, rev)
    origin = RevisionSource(repository, oid, admit, limit_bytes)
    key = ("revision", repository.common_dir, oid, limit_bytes, policy)
    return Corpus(CorpusStore.for_source(cache, *key), origin)


def open_staged(
    where: Path,
    place: str = "",
    *,
    cache: Path,
    admit: AdmitPath | None = None,
    policy: str = "",
    limit_bytes: int = MAX_FILE_BYTES,
) -> Corpus:
    """Open what is staged in the working tree that `where` is in, as it is now.

    place: the folder or file to show, from the top of the tree.
    Raises Unavailable where there is no working tree.
    """
    from rlm_mcp.corpus.store.cache_folder import CorpusStore
    from rlm_mcp.corpus.store.corpus import Corpus
    from rlm_mcp.corpus.store.frozen_source import StagedSource

    repository = RepositoryPaths.discover_at(where)
    if repository is None or repository.top is None:
        raise Unavailable(f"{where} is in no working tree, so nothing is staged there.")
    origin = StagedSource(repository, place, admit, limit_bytes)
    key = ("index", repository.common_dir, origin.oid, place, limit_bytes, policy)
    return Corpus(CorpusStore.for_source(cache, *key), origin)


def open_folder(
    where: Path | Sequence[Path],
    *,
    cache: Path,
    admit: AdmitPath | None = None,
    policy: str = "",
    limit_bytes: int = MAX_FILE_BYTES,
) -> Corpus:
    """Open a folder that is no repository, or some files. Raises Unavailable for what is gone."""
    from rlm_mcp.corpus.store.cache_folder import CorpusStore
    from rlm_mcp.corpus.store.corpus import Corpus
    from rlm_mcp.corpus.store.tree_source import FileListSource, FolderSource

    if isinstance(where, Path):
        if not where.is_dir():
            raise Unavailable(f"{where} is not a folder, or is gone.")
        origin: FileListSource | FolderSource = FolderSource(
            where.absolute(), admit, limit_bytes, bool(policy)
        )
        key: list[str | Path] = ["folder", where.absolute()]
    else:
        names = [path.absolute() for path in where]
        if not names:
            raise BadRequest("No files to open.")
        origin = FileListSource(names, admit, limit_bytes, bool(policy))
        key = ["files", *names]
    return Corpus(CorpusStore.for_source(cache, *key, limit_bytes, policy), origin)


def pack_texts(items: Iterable[tuple[str, bytes]], *, cache: Path, name: str) -> Corpus:
    """Pack texts that are at hand, as (path, content); deleted when closed.

    `name` is for the caller; texts are never shared, whatever they are called.
    """
    from rlm_mcp.corpus.store.cache_folder import CorpusStore
    from rlm_mcp.corpus.store.corpus import Corpus
    from rlm_mcp.corpus.store.frozen_source import MemorySource

    return Corpus(CorpusStore.for_process(cache), MemorySource(items), lasting=False)


def open_spans(author: SpanAuthor, *key: str, cache: Path) -> Corpus:
    """Open a corpus whose text the author writes; it is kept under the key."""
    from rlm_mcp.corpus.store.cache_folder import CorpusStore
    from rlm_mcp.corpus.store.corpus import Corpus
    from rlm_mcp.corpus.store.span_source import SpanSource

    return Corpus(CorpusStore.for_source(cache, *key), SpanSource(author))


def resolve_revision(repository: RepositoryPaths, rev: str) -> str:
    """Return the id of the commit or tree that `rev` names. Raises BadRequest."""
    try:
        out = run_git(
            ["rev-parse", "--verify", "--quiet", "--end-of-options", rev + "^{}"],
            repository.command_folder,
        )
    except Unavailable as error:
        raise BadRequest(
            f"{rev!r} is not a revision of this repository (a branch, tag or commit)."
        ) from error
    return out.decode().strip()
