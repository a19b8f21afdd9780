"""Classes of the library that a cell may derive from, without what writes by names of the cell."""

from __future__ import annotations

import ast
import collections
import types
from collections.abc import Iterator
from typing import Any

from rlm_mcp.sandbox import allowed_names, guards
from rlm_mcp.sandbox import format as formatting
from rlm_mcp.sandbox.facades import copying


class SimpleNamespace(types.SimpleNamespace):
    """`types.SimpleNamespace`, whose names are checked as `setattr` checks them."""

    def __init__(self, /, *positional: Any, **named: Any) -> None:
        for name in [*named, *(name for given in positional for name in dict(given))]:
            if type(name) is str and (fault := allowed_names.attribute_fault(name)):
                raise AttributeError(fault)
        super().__init__(*positional, **named)


SimpleNamespace.__name__ = SimpleNamespace.__qualname__ = "namespace"
SimpleNamespace.__module__ = "types"


class UserDict(collections.UserDict[Any, Any]):
    """`collections.UserDict`, whose copies are made by our own `copy`."""

    def copy(self) -> Any:
        """Answer `copy.copy`."""
        return copying.shallow_copy(self)

    __copy__ = copy


class UserList(collections.UserList[Any]):
    """`collections.UserList`, whose copies are made by our own `copy`."""

    def __copy__(self) -> Any:
        return copying.shallow_copy(self)


class UserString(collections.UserString):
    """`collections.UserString`, which formats through the guard."""

    def format(self, /, *positional: Any, **named: Any) -> str:
        """Answer `str.format`."""
        return formatting.format_text(str.__str__(self.data), positional, named)

    def format_map(self, mapping: Any) -> str:
        """Answer `str.format_map`."""
        return formatting.format_text(str.__str__(self.data), (), mapping)


def plain_node(node: Any) -> ast.AST:
    """Return a node of `ast`, or raise TypeError for anything else."""
    if not isinstance(node, ast.AST) or guards.is_made(type(node)):
        raise TypeError(f"expected AST, got {type(node).__name__!r}")
    return node


def node_fields(node: Any) -> Iterator[tuple[str, Any]]:
    """Answer `ast.iter_fields`, with the fields of the class: those of a node can be made up."""
    node = plain_node(node)
    for field in type(node)._fields:
        if hasattr(node, field):
            yield field, getattr(node, field)


def child_nodes(node: Any) -> Iterator[ast.AST]:
    """Answer `ast.iter_child_nodes`."""
    for _, item in node_fields(node):
        for child in item if isinstance(item, list) else [item]:
            if isinstance(child, ast.AST):
                yield child


def walk_nodes(node: Any) -> Iterator[ast.AST]:
    """Answer `ast.walk`."""
    waiting = collections.deque([plain_node(node)])
    while waiting:
        found = waiting.popleft()
        waiting.extend(child_nodes(found))
        yield found


def whole_tree(node: Any) -> ast.AST:
    """Return a tree of which no node says anything about itself that its class does not say."""
    for found in walk_nodes(node):
        if any(name.startswith("_") for name in found.__dict__):
            raise TypeError("a node of this tree has an attribute of a name that is not available")
    return plain_node(node)


class NodeVisitor(ast.NodeVisitor):
    """`ast.NodeVisitor`, over nodes of `ast` alone."""

    def generic_visit(self, node: Any) -> Any:
        """Visit the children of a node."""
        for child in child_nodes(node):
            self.visit(child)


class NodeTransformer(ast.NodeTransformer):
    """`ast.NodeTransformer`, over nodes of `ast` alone."""

    def generic_visit(self, node: Any) -> Any:
        """Visit the children of a node and put in their place what the visits return."""
        for field, old in node_fields(node):
            if isinstance(old, list):
                made: list[Any] = []
                for item in old:
                    found = self.visit(item) if isinstance(item, ast.AST) else item
                    if isinstance(item, ast.AST) and isinstance(found, list):
                        made.extend(found)
                    elif found is not None:
                        made.append(found)
                old[:] = made
            elif isinstance(old, ast.AST):
                found = self.visit(old)
                if found is None:
                    delattr(node, field)
                else:
                    setattr(node, field, found)
        return node


copying.copied_classes.update({SimpleNamespace, UserDict, UserList, UserString})
guards.attribute_holders.add(SimpleNamespace)
