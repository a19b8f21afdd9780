"""Real repositories, and catalogs over them."""

from tests.contexts.conftest import catalog_of, own_home, work
from tests.corpus.conftest import cache, make_tree

__all__ = ["cache", "catalog_of", "make_tree", "own_home", "work"]
