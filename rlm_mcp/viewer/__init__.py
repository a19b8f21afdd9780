"""A run as one HTML page that needs no network.

The page holds the run's tree as data and a script that shows it; nothing of a run is markup.
"""

from typing import TYPE_CHECKING

from rlm_mcp.lazy_door import load_lazily

if TYPE_CHECKING:
    from rlm_mcp.viewer.page import draw_page
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "draw_page": "page",
        },
    )

__all__ = [
    "draw_page",
]
