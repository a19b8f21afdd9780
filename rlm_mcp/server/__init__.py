"""The MCP face: tools, prompts, resources, progress, cancellation; over stdio and HTTP.

It does no work of its own and runs no model code: every call goes to the engine's workspace, and
every text that leaves passes the limiter.
"""

from typing import TYPE_CHECKING

from rlm_mcp.lazy_door import load_lazily

if TYPE_CHECKING:
    from rlm_mcp.server.http import serve_http
    from rlm_mcp.server.stdio import serve_stdio
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "serve_http": "http",
            "serve_stdio": "stdio",
        },
    )

__all__ = [
    "serve_http",
    "serve_stdio",
]
