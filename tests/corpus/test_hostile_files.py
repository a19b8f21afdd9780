"""A folder that is replaced by a link between the check of a path and its opening."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlm_mcp.corpus.files import Folder
from rlm_mcp.errors import Unavailable


@pytest.mark.parametrize("deeper", ["", "inner"])
def test_a_root_that_became_a_link_is_not_followed(deeper: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    (tmp_path / "root").symlink_to(outside)
    with pytest.raises(Unavailable):
        Folder(tmp_path / "root" / deeper)
    with Folder(outside / deeper):
        pass
