"""The server's log: plain lines on stderr, without secrets.

The SDK's own log draws boxes and colours for a terminal; clients show stderr as it is.
"""

from __future__ import annotations

import logging


class _RedactingFormatter(logging.Formatter):
    """Takes secrets out of the whole line, a traceback's included."""

    def format(self, record: logging.LogRecord) -> str:
        from rlm_mcp.redact import redact  # with the first line, not with the server

        return redact(super().format(record))


def log_to_stderr() -> None:
    """Send what this package logs to stderr, a line a message, and nowhere else."""
    handler = logging.StreamHandler()
    handler.setFormatter(_RedactingFormatter("rlm-mcp: %(message)s"))
    log = logging.getLogger("rlm_mcp")
    log.handlers[:] = [handler]
    log.propagate = False
