"""What a cell can import: read-only facades with named exports, never a live module."""

from rlm_mcp.sandbox.facades.facade import Facade, find, known, provide

__all__ = ["Facade", "find", "known", "provide"]
