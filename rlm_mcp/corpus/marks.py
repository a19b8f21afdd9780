"""Say what kind of text a document is, where that matters: generated, minified, an LFS pointer."""

from __future__ import annotations

from rlm_mcp.corpus.table import MARKS

GENERATED, MINIFIED, LFS = (MARKS.index(name) for name in ("generated", "minified", "lfs"))
HEAD = 1024
"""Bytes from the start of a document that are looked at."""
_LOCKS = frozenset(
    {
        b"package-lock.json", b"yarn.lock", b"pnpm-lock.yaml", b"poetry.lock", b"uv.lock",
        b"Cargo.lock", b"composer.lock", b"Gemfile.lock", b"go.sum", b"Pipfile.lock", b"flake.lock",
    }
)  # fmt: skip
_SUFFIXES = (
    b"_pb2.py", b"_pb2_grpc.py", b".pb.go", b".pb.cc", b".pb.h", b".g.dart", b".designer.cs",
    b".generated.cs", b".snap", b".map",
)  # fmt: skip


def mark(path: bytes, head: bytes, size: int) -> int:
    """Return an index into MARKS for a document, from its name, its first bytes and its size."""
    name = path.rpartition(b"/")[2]
    if head.startswith(b"version https://git-lfs.github.com/spec/") and size < HEAD:
        return LFS
    if name in _LOCKS or name.endswith(_SUFFIXES) or b"DO NOT EDIT" in head:
        return GENERATED
    if b"enerated" in head and (b"@generated" in head or b"Do not edit" in head):
        return GENERATED
    if b".min." in name or (size > 4 * HEAD and len(head) == HEAD and b"\n" not in head):
        return MINIFIED
    return 0
