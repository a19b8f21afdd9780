"""Write and undo the configuration of coding agents; look at what is installed.

Each client says where its file is and what our entry in it looks like. The file is a user's: we
add or take out our own lines, keep all else byte for byte, and refuse what we cannot read.
"""

from rlm_mcp.clients.client import Client, InstallScope, launch_command
from rlm_mcp.clients.known import CLIENTS

__all__ = ["CLIENTS", "Client", "InstallScope", "launch_command"]
