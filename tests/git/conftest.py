"""Real repositories, and catalogs over them."""

from tests.corpus.conftest import cache, make_tree
from tests.project import catalog_of, own_home, work

__all__ = ["cache", "catalog_of", "make_tree", "own_home", "work"]
