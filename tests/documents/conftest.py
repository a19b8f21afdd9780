"""Real repositories and folders, and a machine of their own for every test."""

from __future__ import annotations

from tests.project import catalog_of, own_home, work

__all__ = ["catalog_of", "own_home", "work"]
