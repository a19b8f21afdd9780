"""One safe open, one atomic write, and what is the owner's alone."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp import files
from rlm_mcp.errors import RlmError

needs_posix = pytest.mark.skipif(os.name == "nt", reason="needs pipes, links and modes of POSIX")


@needs_posix
@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "socket", "device"])
def test_only_an_ordinary_file_is_opened(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "planted"
    if kind == "pipe":
        os.mkfifo(path)  # would keep an ordinary open waiting without an end
    elif kind == "link":
        (tmp_path / "real").write_text("elsewhere")
        path.symlink_to(tmp_path / "real")
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    else:
        path = Path(os.devnull)
    assert not (kind != "device" and files.is_regular_file(path))
    with pytest.raises(OSError):
        files.open_regular(path)


@needs_posix
def test_a_link_is_followed_where_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("text")
    (tmp_path / "link").symlink_to("real")
    assert files.read_limited(tmp_path / "link", 100) == b"text"
    with pytest.raises(OSError):
        files.read_limited(tmp_path / "link", 100, follow_links=False)


def test_a_file_over_the_limit_is_an_error_not_a_part(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"12345")
    assert files.read_limited(path, 5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes") as caught:
        files.read_limited(path, 4)
    assert caught.value.errno == errno.EFBIG


@needs_posix
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path, outside = tmp_path / "kept.json", tmp_path / "outside"
    outside.write_text("untouched")
    path.symlink_to(outside)
    files.replace_file(path, b"new", 0o640)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o640)
    assert not path.is_symlink() and outside.read_text() == "untouched"
    with pytest.raises(TypeError):
        files.replace_file(path, "no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["kept.json", "outside"]


@needs_posix
@pytest.mark.parametrize("make", [files.private_file, files.private_folder])
def test_a_planted_link_is_not_followed(make: Callable[[Path], Path], tmp_path: Path) -> None:
    link, target = tmp_path / "store", tmp_path / "elsewhere"
    link.symlink_to(target)
    with pytest.raises((RlmError, OSError)):
        make(link)
    assert not target.exists()
    target.mkdir()
    with pytest.raises(RlmError, match="link"):
        make(link)
    assert list(target.iterdir()) == []


@needs_posix
def test_what_is_kept_is_the_owners_alone(tmp_path: Path) -> None:
    folder, file = tmp_path / "open", tmp_path / "open/file"
    folder.mkdir(mode=0o777)
    file.write_text("")
    folder.chmod(0o777)
    file.chmod(0o666)
    assert files.private_folder(folder).stat().st_mode & 0o777 == 0o700
    assert files.private_file(file).stat().st_mode & 0o777 == 0o600
    assert files.private_file(folder / "new").stat().st_mode & 0o777 == 0o600
