"""Bounds that a helper process of ours sets itself before it reads what a stranger wrote."""

from __future__ import annotations


def limit_memory(megabytes: int) -> None:
    """Keep this process small, and let nothing of it reach a file when it crashes."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limit = megabytes << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
