"""Call the tool in .rlm/tools of this folder through the MCP server.

Run `rlm-mcp trust examples/user_tool` first: a project's own tools are off until you allow them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import TextContent

FOLDER = Path(__file__).parent


async def main() -> None:
    serve = ["-Im", "rlm_mcp.cli", "serve", "--root", str(FOLDER)]
    environment = dict(os.environ)  # a client passes only a few variables on by itself
    server = StdioServerParameters(command=sys.executable, args=serve, cwd=FOLDER, env=environment)
    async with Client(server) as client:
        await client.call_tool("open_context", {"source": str(FOLDER), "name": "here"})
        result = await client.call_tool("first_lines", {"ref": "here:call_tool.py"})
        for block in result.content:
            if isinstance(block, TextContent):
                print(block.text)


if __name__ == "__main__":
    asyncio.run(main())
