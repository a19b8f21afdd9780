# %% fixed chunks
size = 1000
chunks = [context[i : i + size] for i in range(0, len(context), size)]
print(len(chunks), len(chunks[-1]), sum(map(len, chunks)) == len(context))
# %% overlapping chunks
def chunk(text, size=800, overlap=100):
    step = size - overlap
    return [text[i : i + size] for i in range(0, max(1, len(text) - overlap), step)]
parts = chunk(context)
print(len(parts), parts[0][-100:] == parts[1][:100])
# %% chunks on line borders
def by_lines(text, limit):
    out, current, used = [], [], 0
    for line in text.splitlines(keepends=True):
        if used + len(line) > limit and current:
            out.append("".join(current))
            current, used = [], 0
        current.append(line)
        used += len(line)
    if current:
        out.append("".join(current))
    return out
parts = by_lines(context, 1500)
print(len(parts), "".join(parts) == context, max(map(len, parts)))
# %% sections by heading
import re
sections = re.split(r"(?m)^# ", context)
print(len(sections), [s.split("\n", 1)[0] for s in sections[:5]])
# %% paragraphs
paragraphs = [p for p in context.split("\n\n") if p.strip()]
print(len(paragraphs), sorted(len(p) for p in paragraphs)[-3:])
# %% batches with islice
from itertools import islice
def batches(items, n):
    it = iter(items)
    while batch := list(islice(it, n)):
        yield batch
print([len(b) for b in batches(context.splitlines(), 50)])
# %% generator with send
def running():
    total = 0
    while True:
        value = yield total
        if value is None:
            return
        total += value
g = running()
next(g)
print(g.send(3), g.send(4))
# %% yield from
def flatten(x):
    for item in x:
        if isinstance(item, (list, tuple)):
            yield from flatten(item)
        else:
            yield item
print(list(flatten([1, [2, (3, [4])], 5])))
# %% groupby
from itertools import groupby
lines = sorted(context.splitlines(), key=lambda l: l[:4])
print([(k, len(list(v))) for k, v in groupby(lines, key=lambda l: l[:4])][:6])
# %% zip and pairwise
from itertools import pairwise, zip_longest
print(list(pairwise([1, 2, 3, 4])), list(zip_longest("ab", "c", fillvalue="-")), list(zip("ab", [1, 2], strict=True)))
# %% textwrap
import textwrap
print(textwrap.fill(context[:300].replace("\n", " "), 40))
print(textwrap.dedent("    a\n      b\n"), textwrap.shorten("one two three four", 12))
# %% token estimate
def tokens(text):
    return max(1, len(text) // 4)
total = 0
plan = []
for i, p in enumerate(context.split("\n\n")):
    if total + tokens(p) > 500:
        break
    total += tokens(p)
    plan.append(i)
print(plan, total)
# %% accumulate
from itertools import accumulate
import operator
print(list(accumulate([1, 2, 3, 4], operator.mul)), list(accumulate([3, 1, 2], max)))
# %% dict of documents
docs_by_name = {d["name"]: d for d in docs}
for name, d in sorted(docs_by_name.items()):
    print(name, len(d["text"]), d["tags"])
# %% slicing documents
parts = [(d["name"], d["text"][i : i + 20]) for d in docs for i in range(0, len(d["text"]), 20)]
print(len(parts), parts[:3])
