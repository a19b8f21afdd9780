"""Reason over inputs far larger than a model's window (Recursive Language Models)."""

__version__ = "0.1.0"
__all__ = ["__version__"]
