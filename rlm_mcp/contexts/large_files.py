"""Files of a folder that are too large to be loaded with it: packed one by one when asked for.

The last ones stay packed, so that the parts of a file are read without reading all of it again.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from rlm_mcp.corpus.store import pack_texts
from rlm_mcp.encodings import searchable_text
from rlm_mcp.errors import BadRequest

if TYPE_CHECKING:
    from rlm_mcp.confine import Confine
    from rlm_mcp.corpus.store import Corpus

MAX_BYTES = 256 << 20
"""Bytes of a file that is opened on demand."""
MAX_OPEN = 4
"""Files that stay packed."""


class Closeable(Protocol):
    """What is closed when its file is dropped."""

    def close(self) -> None: ...


T = TypeVar("T", bound=Closeable)


class LargeFiles(Generic[T]):
    """The large files of one folder, as what `make` makes of each. Safe from several threads."""

    def __init__(
        self, folder: Path, confine: Confine, cache: Path, make: Callable[[Corpus], T]
    ) -> None:
        self._folder, self._confine, self._cache, self._make = folder, confine, cache, make
        self._kept: OrderedDict[tuple[str, int, int], T] = OrderedDict()
        self._lock = threading.Lock()

    def open_file(self, path: str) -> T:
        """Return what holds this one document, as it is now."""
        fd = self._confine.open_file(Path(os.path.normpath(self._folder / path)))
        with self._lock, os.fdopen(fd, "rb") as file:
            stat = os.fstat(file.fileno())
            key = (path, stat.st_size, stat.st_mtime_ns)
            if key not in self._kept:
                if stat.st_size > MAX_BYTES:
                    raise BadRequest(
                        f"{path!r} has {stat.st_size:,} bytes, more than {MAX_BYTES:,}; open it "
                        "by itself with open_context."
                    )
                data = file.read(MAX_BYTES)
                texts = [(path, searchable_text(data) or data)]
                self._kept[key] = self._make(pack_texts(texts, cache=self._cache, name=path))
            for other in [one for one in self._kept if one != key and one[0] == path]:
                self._kept.pop(other).close()
            self._kept.move_to_end(key)
            if len(self._kept) > MAX_OPEN:
                self._kept.popitem(last=False)[1].close()
            return self._kept[key]

    def close(self) -> None:
        with self._lock:
            while self._kept:
                self._kept.popitem()[1].close()
