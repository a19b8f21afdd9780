"""What a cell can import: read-only facades with named exports, never a live module."""

from rlm_mcp.sandbox.facades.facade import Facade, find_facade, known_modules, provide_module

__all__ = ["Facade", "find_facade", "known_modules", "provide_module"]
