"""The cell that the embedded model writes as a root model: plain code for the environment.

It is formatted with the question's parts and runs in the sandbox like any model's cell; it uses
only what every cell has (grep, rank, peek).
"""

CELL = '''\
question = {question!r}
variables = {variables!r}
names = {names!r}
words = {words!r}
past = {past!r}
seen = set()
parts = []

def quote(title, ref, lines):
    """Quote a window once, under its ref."""
    if ref in seen or len(parts) > 14:
        return
    seen.add(ref)
    try:
        window = peek(ref, lines)
    except Exception as error:
        print(ref, error)
        return
    body = "\\n".join("> " + line for line in str(window).splitlines())
    parts.append(title + "\\n" + window.ref + "\\n" + body)

def found(call):
    """Return hits, or none where the variable is not open or the pattern is refused."""
    try:
        return list(call())
    except Exception as error:
        print(error)
        return []

def around(hit, before, after):
    """Return the ref of a window of lines around a hit."""
    head = hit.ref.split("#")[0]
    first = max(1, hit.line - before)
    return head + "#L" + str(first) + "-L" + str(hit.line + after)

import re
from rlm_mcp.sdk import rank

for name, kind in variables:
    if kind in ("repo", "text"):
        for wanted in names:
            last = re.escape(wanted.split(".")[-1])
            defined = (
                r"^\\s*(?:export\\s+|pub\\s+|public\\s+|static\\s+|abstract\\s+|async\\s+)*"
                r"(?:class|def|func|fn|function|interface|struct|type|enum|trait|impl|const|var|let)"
                r"\\s+(?:\\([^)]*\\)\\s*)?" + last + r"\\b"
            )
            for hit in found(lambda: grep(defined, ref=name, limit=3)):
                quote("Defined: " + wanted, around(hit, 0, 11), 12)
    if kind == "history" and past:
        for wanted in names or words[:3]:
            for hit in found(lambda: grep(re.escape(wanted), ref=name, limit=5, ignore_case=True)):
                quote("In the history: " + wanted, hit.ref, 12)
    if kind != "history" or past:
        for hit in found(lambda: rank(question, name, 6)):
            quote("Fits the question", around(hit, 2, 7) if "#L" in hit.ref else hit.ref, 10)

answer["content"] = {notice!r} + "\\n\\n" + "\\n\\n".join(parts) if parts else (
    "No model was used, and nothing that is open shares a word with the question."
)
answer["ready"] = True
print(len(parts), "passages")
'''
