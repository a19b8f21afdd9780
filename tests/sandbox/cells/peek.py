# %% length and head
print(len(context))
print(context[:200])
# %% head and tail
print(context[:100])
print("...")
print(context[-100:])
# %% type and size
print(type(context), isinstance(context, str), len(context) // 1000)
# %% first lines
lines = context.split("\n")
print(len(lines))
for i, line in enumerate(lines[:5]):
    print(i, line)
# %% splitlines window
for number, line in enumerate(context.splitlines()[10:15], start=11):
    print(f"{number:>5}: {line}")
# %% line statistics
lines = context.splitlines()
lengths = [len(l) for l in lines]
print(min(lengths), max(lengths), sum(lengths) / len(lengths))
# %% quarters
n = len(context)
for q in range(4):
    part = context[q * n // 4 : q * n // 4 + 60]
    print(q, repr(part))
# %% slice with step
print(context[:60:3], context[50:10:-5])
# %% negative and out of range slices
print(repr(context[-10:-2]), repr(context[10**9:]), repr(context[5:2]), context[-1] == context[len(context) - 1])
# %% index error is an IndexError
try:
    context[10**9]
except IndexError as e:
    print("IndexError:", e)
# %% find and window
i = context.find("ERROR")
print(i, context[max(0, i - 20) : i + 60])
# %% all offsets
offsets = []
start = 0
while (found := context.find("ERROR", start)) != -1:
    offsets.append(found)
    start = found + 1
print(len(offsets), offsets[:5])
# %% rfind and index
print(context.rfind("worker"), context.index("worker"))
try:
    context.index("no such thing")
except ValueError as e:
    print(e)
# %% membership
for word in ("ERROR", "FATAL", "naïve", "zzz"):
    print(word, word in context, context.count(word))
# %% startswith endswith
print(context.startswith("# "), context.endswith("\n"), context.startswith(("x", "#")))
# %% lower and casefold
low = context[:500].lower()
print(low.count("the"), context.lower().count("error"))
# %% character histogram
from collections import Counter
print(Counter(context[:2000]).most_common(5))
# %% words
words = context.split()
print(len(words), words[:10])
# %% partition
head, sep, tail = context.partition("\n\n")
print(len(head), repr(sep), tail[:40])
# %% strip and replace
print(repr(context.strip()[:30]), context.replace("ERROR", "E")[:120].count("E"))
# %% equality and concatenation
copy = context[:]
print(copy == context, len(context + "x"), ("<" + context[:3] + ">"))
# %% format of a window
print(f"{context[:10]!r:>20}|{len(context):,}|{len(context) / 7:.2f}")
# %% encode
data = context[:1000].encode("utf-8")
print(len(data), data[:20])
# %% print several with sep and end
print(1, 2, 3, sep=", ", end="!\n")
print(*context[:5], sep="-")
# %% dir and hasattr
print(hasattr(context, "split"), hasattr(context, "nothing"), callable(context.find))
# %% non-ascii positions
i = context.find("naïve")
print(i, context[i : i + 5], context[i - 3 : i + 12])
