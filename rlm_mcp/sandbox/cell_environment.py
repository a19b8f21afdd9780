"""An environment: the namespace in which cells run, and how one cell is run in it."""

from __future__ import annotations

import ast
import builtins
import collections.abc
import inspect
import re
import sys
import types
from collections.abc import Callable
from functools import partial
from typing import Any

from rlm_mcp.sandbox import classes, guards, match, policy
from rlm_mcp.sandbox.facades import (
    Facade,
    find_facade,
    futures,
    library,
    provide_module,
    regex,
    runtime,
    shims,
    tasks,
)
from rlm_mcp.sandbox.output import CellOutput, short_repr
from rlm_mcp.sdk import values as sdk_values
from rlm_mcp.tool_table import CELL_LIBRARY

_MISCALLED = re.compile(
    r"(\w+)\(\) (?:got an unexpected|got multiple|missing \d|takes |got some positional)"
)
_SERVED_MODULES = frozenset({"_strptime", "_pylong", "time", "datetime", "locale", "warnings"})


def provide_library() -> None:
    """Build every facade; done once, before workers are forked."""
    library.preload_modules()
    extra = {**shims.shim_exports(), "re": regex.regex_exports()}
    extra |= runtime.path_exports()
    extra |= {
        "ast": runtime.ast_exports(),
        "asyncio": tasks.asyncio_exports(),
        "concurrent.futures": futures.futures_exports(),
    }
    extra["collections.abc"] = {
        name: getattr(collections.abc, name) for name in library.ABSTRACT_NAMES.split()
    }
    for name in {**library.PLAIN_NAMES, **extra}:
        plain = library.plain_exports(name) if name in library.PLAIN_NAMES else {}
        provide_module(name.strip(), {**plain, **extra.get(name, {})})


class CellEnvironment:
    """The variables of a cell, its builtins, and its output."""

    def __init__(self, output: CellOutput, *, language: bool) -> None:
        self.output = output
        self.language = language
        self.variables: dict[str, Any] = {}
        self.bound_names: dict[str, Any] = {}
        """What we bound: tools, context variables, helpers; not the cell's own."""
        self.cells = 0
        stream = runtime.CellStream(output.write)
        provide_module("sys", runtime.sys_exports(stream))
        provide_module("traceback", runtime.traceback_exports(output.write, self.explain_error))
        provide_module("pprint", {**shims.pprint_exports(output.write)})
        futures.find_batched = self.batched_form
        classes.allowed_bases.update(shims.base_classes())
        self.recent: list[tuple[ast.Module, str]] = []
        self.codes: list[types.CodeType] = []
        """What the last cell was, for the journal."""
        self.builtins_of_cells: dict[str, Any] = {}
        self._sources: dict[str, list[str]] = {}
        self.variables.update(self.base_globals(), __name__="__main__")

    def base_globals(self) -> dict[str, Any]:
        """Return the globals that every module of cells starts from."""
        if not self.language:
            return {"__builtins__": {**vars(builtins), "print": self.print}}
        if not self.builtins_of_cells:
            self.builtins_of_cells.update(self.make_builtins())
        made: dict[str, Any] = {"__builtins__": self.builtins_of_cells}
        made.update(
            _getattr_=guards.read_attribute,
            _write_=guards.check_writable,
            _type_=guards.shown_class,
            _vars_=guards.read_vars,
            _label_=guards.read_label,
            _match_=partial(match.match_pattern, shims.is_instance),
            _class_=classes.make_class,
            _import_=import_module,
            _import_from_=import_name,
            _Stop_=guards.CellStop,
        )
        return made

    def make_builtins(self) -> dict[str, Any]:
        """Return the builtins of a cell."""
        made = {
            name: getattr(builtins, name) for name in shims.BUILTIN_NAMES if hasattr(builtins, name)
        }
        made.update(shims.builtin_exceptions())
        made.update(
            __import__=_import_for_c,
            help=self.help,
            exit=runtime.exit_cell,
            quit=runtime.exit_cell,
            print=self.print,
            type=guards.TypeStandIn,
            super=guards.SuperStandIn,
            getattr=guards.read_attribute,
            setattr=guards.write_attribute,
            delattr=guards.delete_attribute,
            hasattr=guards.has_attribute,
            isinstance=shims.is_instance,
            issubclass=shims.is_subclass,
            vars=self.vars,
            dir=self.dir,
            globals=self.user_variables,
            locals=self.user_variables,
            open=shims.refused_function("open", "read contexts with peek(ref) and grep(pattern)"),
            input=shims.refused_function("input", "nobody is there to answer"),
            exec=shims.refused_function("exec", "write the code in the cell itself"),
            eval=shims.refused_function("eval", "use json.loads or ast.literal_eval for data"),
            compile=shims.refused_function("compile", "use ast.parse to look at code"),
        )
        return made

    def print(
        self, *values: Any, sep: Any = " ", end: Any = "\n", file: Any = None, flush: bool = False
    ) -> None:
        """Print into the output of the cell."""
        text = (" " if sep is None else sep).join([str(value) for value in values])
        text += "\n" if end is None else end
        if file is None:
            self.output.write(text)
        else:
            file.write(text)

    def help(self, *values: Any) -> None:
        """Print what something is and what it takes."""
        if values:
            named = values[0] if isinstance(values[0], str) else ""
            text = runtime.describe(self.variables.get(named, values[0]))
        else:
            text = f"{runtime.help_overview(self.bound_names)}\nYour variables: {self.show_vars()}"
        self.output.write(text + "\n")

    def batched_form(self, function: Callable[..., Any]) -> Callable[[list[Any]], list[Any]] | None:
        """Return the batched form of a function of ours, or None."""
        for name, given in self.bound_names.items():
            if given is function:
                return self.bound_names.get(f"{name}_batched")
        return None

    def vars(self, *values: Any) -> Any:
        """Answer `vars`."""
        return guards.read_vars(*values) if values else self.user_variables()

    def dir(self, *values: Any) -> list[str]:
        """Answer `dir`: public names alone."""
        if not values:
            return sorted(self.user_variables())
        return [name for name in dir(values[0]) if not name.startswith("_")]

    def user_variables(self) -> dict[str, Any]:
        """Return a copy of what cells have bound."""
        return {
            name: value
            for name, value in self.variables.items()
            if not (name.startswith("_") and name.endswith("_"))
            and (name not in self.bound_names or self.bound_names[name] is not value)
        }

    def bind_name(self, name: str, value: Any) -> None:
        """Bind one of our names."""
        self.variables[name] = self.bound_names[name] = value

    def show_vars(self) -> str:
        """List the variables of this environment, a line each."""
        lines = []
        for name, value in self.user_variables().items():
            kind = getattr(guards.shown_class(value), "__name__", "?")
            lines.append(f"{name}: {kind} = {short_repr(value, 80)}")
        return "\n".join(lines) or "no variables yet"

    def set_answer(self, content: Any) -> None:
        """Set the answer of this run and mark it as ready."""
        if "answer" not in self.variables:
            raise NameError("there is no answer to set in this environment")
        text = content if isinstance(content, str) else short_repr(content, 1 << 20)
        answer = self.variables["answer"]
        if type(answer) is not dict:  # a cell bound the name to something else
            answer = self.variables["answer"] = {}
        answer.update(content=text, ready=True)

    def set_answer_variable(self, name: str) -> None:
        """Set the answer to the text of a variable."""
        word = name.strip().strip("\"'") if isinstance(name, str) else name
        if isinstance(word, str) and word in self.user_variables():
            return self.set_answer(self.variables[word])
        if isinstance(word, str):
            raise NameError(f"there is no variable {word!r}; SHOW_VARS() lists them")
        return self.final(word)

    def bind_helpers(self) -> None:
        """Bind what every environment has."""
        self.bind_name("SHOW_VARS", self.show_vars)
        self.bind_name("FINAL", self.set_answer)
        self.bind_name("FINAL_VAR", self.set_answer_variable)
        self.bind_name("SUBMIT", self.set_answer)
        for name, module in CELL_LIBRARY.items():
            facade = find_facade(module)
            self.bind_name(name, facade if name == module else getattr(facade, name))

    def execute(self, source: str) -> Any:
        """Run a cell and return its last value (None where it has none)."""
        self.cells += 1
        self.recent, self.codes = [], []
        filename = f"cell {self.cells}"
        self._sources[filename] = source.split("\n")
        compiled = policy.compile_cell(source, filename, language=self.language)
        self.recent = [(compiled.tree, source)]
        self.codes = [code for code in (compiled.body, compiled.last) if code is not None]
        self._evaluate_code(compiled.body)
        value = self._evaluate_code(compiled.last) if compiled.last is not None else None
        if value is not None:
            self.variables["_"] = value
        return value

    def replay_statement(self, statement: str) -> None:
        """Run a statement of an earlier cell again: a definition or an import."""
        self.execute(statement)

    def _evaluate_code(self, code: types.CodeType) -> Any:
        result = eval(code, self.variables)
        return tasks.run(result) if code.co_flags & inspect.CO_COROUTINE else result

    def call_tool(self, name: str, arguments: dict[str, Any]) -> Any:
        """Call a tool; a wrong argument is told by name."""
        function = self.bound_names[name]
        try:
            inspect.signature(function).bind(**arguments)
        except TypeError as error:
            raise TypeError(f"{name}(): {error}") from None
        return function(**arguments)

    def load_tool(self, name: str, source: str) -> None:
        """Compile a tool under the policy and bind its function."""
        scope = {**self.base_globals(), "__name__": f"tool {name}"}
        filename = f"tools/{name}.py"
        self._sources[filename] = source.split("\n")
        compiled = policy.compile_cell(source, filename, language=self.language)
        eval(compiled.body, scope)
        function = scope.get(name)
        if not callable(function):
            raise policy.PolicyError(f"{filename} defines no function named {name}")
        self.bind_name(name, function)

    def explain_error(self, error: BaseException) -> str:
        """Describe an error with the lines of the cell that led to it."""
        kind = type(error).__name__
        lines = []
        # What the host refused is told to who wrote the cell: how a tool asked for it is no matter.
        ours = kind == "HostError" and self.cells > 0
        trace = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            source = self._sources.get(code.co_filename)
            if source is not None and not (ours and code.co_filename.startswith("tools/")):
                at = trace.tb_lineno
                text = source[at - 1].strip() if 0 < at <= len(source) else ""
                place = "" if code.co_name == "<module>" else f", in {code.co_name}"
                lines.append(f"  {code.co_filename}, line {at}{place}: {text}")
            trace = trace.tb_next
        if not lines and isinstance(error, SyntaxError):
            return self._explain_syntax(error)
        if len(lines) > 20:
            lines = [*lines[:10], f"  … {len(lines) - 20} more …", *lines[-10:]]
        try:
            text = str(error)
        except Exception as second:
            text = f"(its text cannot be shown: {type(second).__name__})"
        text += self._usage_hint(error)
        return "\n".join([*lines, f"{kind}: {text}" if text else kind])

    def _usage_hint(self, error: BaseException) -> str:
        """Return how a function of ours is called, or what a value of ours has, if misused."""
        if isinstance(error, TypeError) and (named := _MISCALLED.match(str(error))):
            function = self.bound_names.get(named[1])
            if isinstance(function, types.FunctionType):
                return f". Use it as {named[1]}{runtime.plain_signature(function)}"
        if isinstance(error, AttributeError):
            cls = type(error.obj)
            if getattr(sdk_values, cls.__name__, None) is cls:
                base = next(kind for kind in (list, str, object) if issubclass(cls, kind))
                known = {*dir(error.obj)}.difference(dir(base))
                words = sorted(name for name in known if not name.startswith("_"))
                return f". It has: {', '.join(words)}"
        return ""

    def _explain_syntax(self, error: SyntaxError) -> str:
        kind = "SyntaxError" if not isinstance(error, policy.PolicyError) else "Not available"
        where = ""
        if error.lineno:
            source = self._sources.get(f"cell {self.cells}", [])
            text = source[error.lineno - 1].strip() if error.lineno <= len(source) else ""
            where = f"  line {error.lineno}: {text}\n"
        return f"{where}{kind}: {error.msg}"


def import_module(name: str, full: bool) -> Facade:
    """Answer `import name`: the facade of `name`, or of its first part."""
    facade = find_facade(name)
    return facade if full else find_facade(name.partition(".")[0])


def import_name(module: str, name: str) -> Any:
    """Answer `from module import name`."""
    facade = find_facade(module)
    try:
        return getattr(facade, name)
    except AttributeError as error:
        raise ImportError(str(error)) from None


def _import_for_c(name: str, *_: Any, **__: Any) -> Any:
    """Serve the few modules that C code imports while it runs for a cell; no cell reaches this."""
    if name in _SERVED_MODULES and name in sys.modules:
        return sys.modules[name]
    raise ImportError(f"module {name!r} is not available here")
