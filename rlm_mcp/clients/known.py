"""The clients that we can write the configuration of, by name."""

from __future__ import annotations

from collections.abc import Mapping

from rlm_mcp.clients.claude_code import CLAUDE_CODE
from rlm_mcp.clients.client import Client
from rlm_mcp.clients.codex import CODEX
from rlm_mcp.clients.cursor import CURSOR
from rlm_mcp.clients.vscode import VSCODE

CLIENTS: Mapping[str, Client] = {
    client.name: client for client in (CLAUDE_CODE, CURSOR, VSCODE, CODEX)
}
