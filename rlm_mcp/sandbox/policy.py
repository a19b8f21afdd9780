"""The language layer, at compile time: what a cell may say, and where guards are put in.

This keeps model-written code inside the API and its errors readable. It is not the boundary: that
is the worker process and its kernel layer. Every node type that is not named here is refused, and
every name that a node binds or reads by string goes through `names`.

Reading an attribute becomes `_getattr_(value, "name")`, writing one goes through `_write_`, a class
is made by `_class_`, an import becomes a call. Items, iteration, unpacking and calls stay native.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType

from RestrictedPython.transformer import RestrictingNodeTransformer, copy_locations

from rlm_mcp.sandbox import allowed_names
from rlm_mcp.sandbox.match import rewrite_match

MAX_SOURCE_CHARS = 1 << 20


class PolicyError(SyntaxError):
    """A cell says something that is not available here; the text is for its author."""


@dataclass(frozen=True, slots=True)
class CompiledCell:
    """A cell ready to run: its body, and its last expression where it ends in one."""

    body: CodeType
    last: CodeType | None
    tree: ast.Module
    """As it was written, for the journal."""


def compile_cell(source: str, filename: str, *, language: bool = True) -> CompiledCell:
    """Compile a cell under the policy. Raises SyntaxError, PolicyError among them."""
    if len(source) > MAX_SOURCE_CHARS:
        raise PolicyError(f"a cell has at most {MAX_SOURCE_CHARS:,} characters")
    written = ast.parse(source, filename)
    tree = ast.parse(source, filename)
    if language:
        errors: list[str] = []
        Policy(errors).visit(tree)
        if errors:
            raise PolicyError("; ".join(dict.fromkeys(errors)))
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        expression = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
        last = _compile_tree(expression, filename, "eval")
    return CompiledCell(_compile_tree(tree, filename, "exec"), last, written)


def _compile_tree(tree: ast.Module | ast.Expression, filename: str, mode: str) -> CodeType:
    ast.fix_missing_locations(tree)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: CodeType = compile(tree, filename, mode, flags=flags, dont_inherit=True, optimize=0)
    return code


def load_name(identifier: str) -> ast.Name:
    return ast.Name(identifier, ast.Load())


def guard_call(function: str, arguments: list[ast.expr], like: ast.expr | ast.stmt) -> ast.Call:
    """Return a call of a guard, placed where `like` stands."""
    made = ast.Call(load_name(function), arguments, [])
    copy_locations(made, like)
    return made


class Policy(RestrictingNodeTransformer):
    """Checks and rewrites one module."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__(errors)
        self._classes: list[str | None] = []  # the class whose body or methods we are in
        self._in_class_body = False
        self._temporaries = 0

    def error(self, node: ast.AST, info: str) -> None:
        line = getattr(node, "lineno", None)
        self.errors.append(f"line {line}: {info}" if line else info)

    def not_allowed(self, node: ast.AST) -> None:
        self.error(node, f"{type(node).__name__} is not available here")

    def new_name(self) -> str:
        """Return a name that no cell can use."""
        self._temporaries += 1
        return f"_m{self._temporaries}_"

    def check_name(
        self, node: ast.AST, name: str | None, allow_magic_methods: bool = False
    ) -> None:
        if name is None or (self._in_class_body and name in allowed_names.CLASS_NAMES):
            return
        if self._classes and self._classes[-1] and allowed_names.mangled_name(name, "x") != name:
            return  # private in a class: Python itself renames it
        if fault := allowed_names.name_fault(name):
            self.error(node, fault)

    @contextmanager
    def inside_scope(self, class_name: str | None, *, body: bool) -> Iterator[None]:
        """Visit the body of a class (`body`) or of a function in one."""
        before = self._in_class_body
        self._classes.append(class_name)
        self._in_class_body = body
        yield
        self._in_class_body = before
        self._classes.pop()

    @property
    def _class_name(self) -> str | None:
        return self._classes[-1] if self._classes else None

    # Names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if getattr(node, "made_here", False):
            return node
        if node.id == "__name__" and isinstance(node.ctx, ast.Load):
            return ast.copy_location(ast.Constant("__main__"), node)
        if node.id == "__file__" and isinstance(node.ctx, ast.Load):
            self.error(node, "a cell has no __file__")
        else:
            self.check_name(node, node.id)
        return node

    def visit_Global(self, node: ast.Global) -> ast.AST:
        for name in node.names:
            self.check_name(node, name)
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        for name in node.names:
            self.check_name(node, name)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        self.check_name(node, node.arg)
        return self._visit_contents(node)

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        if node.arg is not None and (fault := allowed_names.attribute_fault(node.arg)):
            self.error(node, fault)
        return self._visit_contents(node)

    def _visit_contents(self, node: ast.AST) -> ast.AST:
        visited: ast.AST = self.node_contents_visit(node)
        return visited

    # Attributes

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        name = allowed_names.mangled_name(node.attr, self._class_name)
        if isinstance(node.ctx, ast.Load):
            return self._guard_read(node, name)
        if fault := allowed_names.attribute_fault(name):
            self.error(node, fault)
        node.attr = name
        value = self.visit(node.value)
        node.value = guard_call("_write_", [value, ast.Constant(name)], node.value)
        return node

    def _guard_read(self, node: ast.Attribute, name: str) -> ast.AST:
        value = self.visit(node.value)
        if name == "__class__":
            return guard_call("_type_", [value], node)
        if name == "__dict__":
            return guard_call("_vars_", [value], node)
        if name in allowed_names.LABEL_NAMES:
            return guard_call("_label_", [value, ast.Constant(name)], node)
        if name not in allowed_names.SUPER_METHODS and (
            fault := allowed_names.attribute_fault(name)
        ):
            self.error(node, fault)
        return guard_call("_getattr_", [value, ast.Constant(name)], node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        target = node.target
        if isinstance(target, ast.Attribute) and target.attr in allowed_names.GUARDED_NAMES:
            self.error(node, f'the attribute "{target.attr}" takes no augmented assignment')
        return self._visit_contents(
            node
        )  # native: the target is evaluated once, guarded as a store

    # Native forms: nothing to guard, or guarded through their parts

    visit_Assign = visit_Subscript = visit_Call = visit_For = visit_comprehension = _visit_contents
    visit_With = visit_withitem = visit_AnnAssign = visit_ListComp = visit_SetComp = _visit_contents
    visit_GeneratorExp = visit_DictComp = visit_Module = visit_Lambda = visit_NamedExpr = (
        _visit_contents
    )
    visit_Await = visit_AsyncFor = visit_AsyncWith = _visit_contents

    # Imports

    def visit_Import(self, node: ast.Import) -> ast.AST | list[ast.stmt]:
        made: list[ast.stmt] = []
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            self.check_name(node, bound)
            full = ast.Constant(alias.asname is not None)
            value = guard_call("_import_", [ast.Constant(alias.name), full], node)
            made.append(self._bind_name(bound, value, node))
        return made

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.stmt]:
        if node.module == "__future__":
            return ast.copy_location(ast.Pass(), node)
        if node.level or not node.module:
            self.error(node, "relative imports are not available here")
            return node
        made: list[ast.stmt] = []
        for alias in node.names:
            if alias.name == "*":
                self.error(node, "import the names that you use, not *")
                continue
            bound = alias.asname or alias.name
            self.check_name(node, bound)
            words: list[ast.expr] = [ast.Constant(node.module), ast.Constant(alias.name)]
            made.append(self._bind_name(bound, guard_call("_import_from_", words, node), node))
        return made or ast.copy_location(ast.Pass(), node)

    def _bind_name(self, name: str, value: ast.expr, like: ast.stmt) -> ast.Assign:
        target = ast.copy_location(ast.Name(name, ast.Store()), like)
        return ast.copy_location(ast.Assign([target], value), like)

    # Functions and classes

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        self.check_name(node, node.name)
        node.decorator_list = [self.visit(item) for item in node.decorator_list]
        if node.returns is not None:
            node.returns = self.visit(node.returns)
        with self.inside_scope(self._class_name, body=False):
            self._type_parameters(node)
            node.args = self.visit(node.args)
            node.body = self._visit_block(node.body)
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.check_name(node, node.name)
        node.decorator_list = [self.visit(item) for item in node.decorator_list]
        node.bases = [self.visit(item) for item in node.bases]
        kept = []
        for keyword in node.keywords:
            if keyword.arg == "metaclass":
                node.bases.append(self._metaclass_base(keyword))
            elif keyword.arg is None:
                self.error(node, "** is not available among the arguments of a class")
            else:
                kept.append(self.visit(keyword))
        made = load_name("_class_")
        node.keywords = [*kept, ast.keyword("metaclass", made)]
        with self.inside_scope(node.name, body=True):
            self._type_parameters(node)
            node.body = self._visit_block(node.body)
        return ast.fix_missing_locations(node)

    def _metaclass_base(self, keyword: ast.keyword) -> ast.expr:
        value = keyword.value
        word = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
        if word != "ABCMeta":
            self.error(keyword, "a metaclass other than ABCMeta is not available here")
        return guard_call("_import_from_", [ast.Constant("abc"), ast.Constant("ABC")], value)

    def _type_parameters(self, node: ast.AST) -> None:
        parameters = getattr(node, "type_params", [])
        parameters[:] = [self.visit(parameter) for parameter in parameters]

    def visit_TypeVar(self, node: ast.AST) -> ast.AST:
        self.check_name(node, getattr(node, "name", None))
        return self._visit_contents(node)

    visit_ParamSpec = visit_TypeVarTuple = visit_TypeVar
    visit_TypeAlias = _visit_contents

    def _visit_block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        made: list[ast.stmt] = []
        for statement in body:
            visited = self.visit(statement)
            made.extend(visited if isinstance(visited, list) else [visited])
        return made

    # Exceptions

    def visit_Try(self, node: ast.Try) -> ast.AST:
        visited = self._visit_contents(node)
        if node.handlers:  # a cell that is told to stop cannot catch that
            stop = ast.ExceptHandler(load_name("_Stop_"), None, [ast.Raise()])
            copy_locations(stop, node.handlers[0])
            node.handlers.insert(0, stop)
        return visited

    def visit_TryStar(self, node: ast.AST) -> ast.AST:
        return self._visit_contents(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        self.check_name(node, node.name)
        return self._visit_contents(node)

    # Match: see match.py

    def visit_Match(self, node: ast.Match) -> ast.AST:
        rewrite_match(node, self.new_name, lambda at, why: self.error(at, why))
        return self._visit_contents(node)

    visit_match_case = visit_MatchSequence = visit_MatchOr = visit_MatchSingleton = _visit_contents

    def visit_MatchValue(self, node: ast.MatchValue) -> ast.AST:
        return node  # a constant: match.py has rewritten everything else

    def visit_MatchClass(self, node: ast.MatchClass) -> ast.AST:
        self.not_allowed(node)  # match.py has rewritten it
        return node

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:
        self.check_name(node, node.rest)
        node.patterns = [self.visit(pattern) for pattern in node.patterns]
        return node  # keys: constants only, checked by match.py

    def visit_MatchStar(self, node: ast.MatchStar) -> ast.AST:
        self.check_name(node, node.name)
        return node

    def visit_MatchAs(self, node: ast.MatchAs) -> ast.AST:
        if not getattr(node, "made_here", False):
            self.check_name(node, node.name)
        return self._visit_contents(node)
