# %% functions by ast
import ast
tree = ast.parse(source)
for node in ast.walk(tree):
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        print(node.name, node.lineno, [a.arg for a in node.args.args])
# %% classes and methods
import ast
for node in ast.parse(source).body:
    if isinstance(node, ast.ClassDef):
        print(node.name, [ast.unparse(b) for b in node.bases], [m.name for m in node.body if isinstance(m, ast.FunctionDef)])
# %% visitor
import ast
class Calls(ast.NodeVisitor):
    def __init__(self):
        self.names = []
    def visit_Call(self, node):
        if isinstance(node.func, ast.Name):
            self.names.append(node.func.id)
        self.generic_visit(node)
v = Calls()
v.visit(ast.parse(source))
print(v.names)
# %% imports
import ast
mods = set()
for n in ast.walk(ast.parse(source)):
    if isinstance(n, ast.Import):
        mods |= {a.name for a in n.names}
    elif isinstance(n, ast.ImportFrom):
        mods.add(n.module)
print(sorted(mods))
# %% docstrings and segments
import ast
tree = ast.parse(source)
print(ast.get_docstring(tree), ast.get_docstring(tree.body[-1]))
print(ast.get_source_segment(source, tree.body[1]))
# %% complexity
import ast
def complexity(fn):
    return 1 + sum(isinstance(n, (ast.If, ast.For, ast.While, ast.BoolOp, ast.ExceptHandler)) for n in ast.walk(fn))
print({n.name: complexity(n) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)})
# %% literal eval and dump
import ast
print(ast.literal_eval("{'a': [1, 2, (3, None)]}"), ast.dump(ast.parse("x + 1", mode="eval")))
# %% syntax errors
import ast
try:
    ast.parse("def broken(:\n  pass")
except SyntaxError as e:
    print(e.lineno, e.msg)
# %% transformer
import ast
class Rename(ast.NodeTransformer):
    def visit_Name(self, node):
        if node.id == "x":
            node.id = "y"
        return node
print(ast.unparse(Rename().visit(ast.parse("x = x + z"))))
# %% definitions by regex
import re
for m in re.finditer(r"^(\s*)(?:async\s+)?def (\w+)\((.*?)\)", source, re.M):
    print(len(m.group(1)), m.group(2), m.group(3))
# %% todo comments
for i, line in enumerate(source.splitlines(), 1):
    code, mark, comment = line.partition("#")
    if mark and "TODO" in comment:
        print(i, comment.strip())
# %% call graph
import ast
graph = {}
for fn in ast.walk(ast.parse(source)):
    if isinstance(fn, ast.FunctionDef):
        graph[fn.name] = sorted({c.func.id for c in ast.walk(fn) if isinstance(c, ast.Call) and isinstance(c.func, ast.Name)})
print(graph)
def reach(name, seen=None):
    seen = set() if seen is None else seen
    if name in seen:
        return seen
    seen.add(name)
    for other in graph.get(name, ()):
        reach(other, seen)
    return seen
print(sorted(reach("main")))
# %% path work
from pathlib import Path
import os.path
p = Path("src/pkg/mod.test.py")
print(p.name, p.stem, p.suffix, p.parent, p.with_suffix(".txt"), list(p.parts), str(p / "x"), os.path.join("a", "b"), os.path.splitext("a.tar.gz"), os.path.basename("/x/y"))
# %% diff two versions
import difflib
new = source.replace("retries", "attempts")
print("\n".join(list(difflib.unified_diff(source.splitlines(), new.splitlines(), lineterm="", n=0))[:8]))
# %% indentation depth
depth = max((len(l) - len(l.lstrip())) // 4 for l in source.splitlines() if l.strip())
print(depth, sum(1 for l in source.splitlines() if not l.strip()))
