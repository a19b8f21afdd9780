"""The command line: parse, call the rooms below, print, exit.

Importing this costs click and the settings; everything heavier is imported by the command that
needs it. An expected failure is one sentence on stderr and an exit code, never a traceback.
"""

from rlm_mcp import programs

programs.leave_current_folder_out()  # before a click.py of the opened project could be imported

from rlm_mcp.cli.main import main  # noqa: E402

__all__ = ["main"]
