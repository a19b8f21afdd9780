"""Write and undo the configuration of coding agents; look at what is installed.

Each client says where its file is and what our entry in it looks like. The file is a user's: we
add or take out our own lines, keep all else byte for byte, and refuse what we cannot read.
"""

from typing import TYPE_CHECKING

from rlm_mcp.lazy_door import load_lazily

if TYPE_CHECKING:
    from rlm_mcp.clients.claude_code import add_for_user, remove_for_user
    from rlm_mcp.clients.client import Client, InstallScope, launch_command
    from rlm_mcp.clients.doctor import check_machine
    from rlm_mcp.clients.known import CLIENTS
    from rlm_mcp.clients.patch import ConfigChange, write_change
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "CLIENTS": "known",
            "Client": "client",
            "ConfigChange": "patch",
            "InstallScope": "client",
            "add_for_user": "claude_code",
            "check_machine": "doctor",
            "launch_command": "client",
            "remove_for_user": "claude_code",
            "write_change": "patch",
        },
    )

__all__ = [
    "CLIENTS",
    "Client",
    "ConfigChange",
    "InstallScope",
    "add_for_user",
    "check_machine",
    "launch_command",
    "remove_for_user",
    "write_change",
]
