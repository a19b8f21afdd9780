"""Log files as one context variable."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rlm_mcp.config import Settings
from rlm_mcp.contexts.confine import Confine
from rlm_mcp.contexts.text import Text
from rlm_mcp.contexts.variable import Kind
from rlm_mcp.corpus import load


class Logs(Text):
    """Log files, oldest first."""

    kind: Kind = "logs"

    def __init__(self, paths: Sequence[Path], name: str, settings: Settings, cache: Path) -> None:
        confine = Confine(settings.roots, secrets=settings.secrets)
        for path in paths:
            os.close(confine.open(path))
        folder = Path(os.path.commonpath([path.parent for path in paths]))
        corpus = load.folder(list(paths), cache=cache, admit=confine.admit)
        super().__init__(name, ", ".join(map(str, paths)), corpus, confine, folder)
