# %% map with llm_query
answers = []
for d in docs:
    answers.append(llm_query(f"Summarise: {d['text'][:30]}"))
print(answers)
# %% batched
prompts = [f"Classify: {d['name']}" for d in docs]
for p, a in zip(prompts, llm_query_batched(prompts)):
    print(p, "->", a)
# %% map reduce
notes = llm_query_batched([f"note on {d['name']}" for d in docs])
final = llm_query("Combine:\n" + "\n".join(notes))
print(final)
# %% thread pool map
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(max_workers=4) as pool:
    results = list(pool.map(llm_query, [d["name"] for d in docs]))
print(results)
# %% futures as completed
from concurrent.futures import ThreadPoolExecutor, as_completed
def work(d):
    return d["name"], len(d["text"])
with ThreadPoolExecutor() as pool:
    futures = {pool.submit(work, d): d["name"] for d in docs}
    done = {futures[f]: f.result() for f in as_completed(futures)}
print(sorted(done.items()))
# %% future errors
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor() as pool:
    f = pool.submit(lambda: 1 / 0)
try:
    f.result()
except ZeroDivisionError as e:
    print("failed:", e, type(f.exception()).__name__)
# %% asyncio gather
import asyncio
async def one(name):
    await asyncio.sleep(0)
    return name.upper()
async def main():
    return await asyncio.gather(*(one(d["name"]) for d in docs))
print(asyncio.run(main()))
# %% asyncio to_thread and semaphore
import asyncio
async def ask(sem, text):
    async with sem:
        return await asyncio.to_thread(llm_query, text)
async def main():
    sem = asyncio.Semaphore(2)
    tasks = [asyncio.create_task(ask(sem, d["name"])) for d in docs]
    return [await t for t in tasks]
print(asyncio.run(main()))
# %% gather with exceptions
import asyncio
async def bad():
    raise ValueError("no")
async def good():
    return 1
async def main():
    return await asyncio.gather(good(), bad(), return_exceptions=True)
print(asyncio.run(main()))
# %% counter of words
from collections import Counter
import re
words = Counter(re.findall(r"[a-z]+", context.lower()))
print(words.most_common(8), words.total(), words["error"])
# %% counter arithmetic
from collections import Counter
a, b = Counter("abca"), Counter("bcd")
print(a + b, a - b, a & b, a | b)
a.update("aaa")
a.subtract("b")
print(a, sorted(a.elements()))
# %% defaultdict grouping
from collections import defaultdict
groups = defaultdict(list)
for d in docs:
    for tag in d["tags"]:
        groups[tag].append(d["name"])
print(dict(groups), groups["missing"], len(groups))
# %% nested defaultdict
from collections import defaultdict
tree = defaultdict(lambda: defaultdict(int))
for d in docs:
    tree[d["year"]][d["tags"][0]] += 1
print({k: dict(v) for k, v in tree.items()})
# %% augmented assignment on items
counts = {}
for w in context.split()[:50]:
    counts[w] = counts.get(w, 0)
    counts[w] += 1
matrix = [[0] * 3 for _ in range(3)]
matrix[1][2] += 5
matrix[1][2] *= 2
matrix[0] += [1]
print(max(counts.values()), matrix)
# %% sorting by several keys
rows = sorted(docs, key=lambda d: (-d["year"], d["name"]))
print([(r["year"], r["name"]) for r in rows])
print(max(docs, key=lambda d: len(d["text"]))["name"], min(docs, key=lambda d: d["year"])["name"])
# %% itemgetter attrgetter
from operator import itemgetter, attrgetter, methodcaller
from types import SimpleNamespace
print(sorted(docs, key=itemgetter("year", "name"))[0]["name"])
things = [SimpleNamespace(a=2, b=SimpleNamespace(c=1)), SimpleNamespace(a=1, b=SimpleNamespace(c=3))]
print(sorted(map(attrgetter("a"), things)), attrgetter("a", "b.c")(things[0]), methodcaller("upper")("x"))
# %% statistics
import statistics as st
data = [len(d["text"]) for d in docs]
print(st.mean(data), st.median(data), round(st.pstdev(data), 3), st.quantiles([1, 2, 3, 4, 5, 6], n=4), st.mode("aab"))
# %% heapq
import heapq
print(heapq.nlargest(2, docs, key=lambda d: len(d["text"]))[0]["name"], heapq.nsmallest(2, [5, 1, 4]))
h = []
for x in (5, 1, 4):
    heapq.heappush(h, x)
print([heapq.heappop(h) for _ in range(3)], list(heapq.merge([1, 4], [2, 3])))
# %% reduce and partial
from functools import partial, reduce
add = lambda a, b: a + b
print(reduce(add, [1, 2, 3]), reduce(add, [], 10), partial(add, 5)(6), partial(int, base=2)("101"))
# %% lru_cache
from functools import lru_cache
@lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
print(fib(60), fib.cache_info().hits)
# %% set operations
tags = [set(d["tags"]) for d in docs]
print(sorted(set.union(*tags)), sorted(tags[0] & tags[1]), tags[0] <= tags[0], frozenset([1, 2]) == {2, 1})
# %% any all sum filter
print(any("b" in d["tags"] for d in docs), all(d["year"] > 2000 for d in docs), sum(d["year"] for d in docs), list(filter(None, [0, 1, "", "a"])))
# %% ordered results with enumerate
for i, (name, text) in enumerate(((d["name"], d["text"]) for d in docs), 1):
    print(f"{i}. {name:<10}|{text[:12]:^14}|{len(text):>5d}")
# %% retry loop
def flaky(n=[0]):
    n[0] += 1
    if n[0] < 3:
        raise RuntimeError(f"try {n[0]}")
    return "ok"
for attempt in range(5):
    try:
        print(flaky())
        break
    except RuntimeError as e:
        print("retry:", e)
else:
    print("gave up")
# %% answers kept as state
results = {}
for d in docs:
    results[d["name"]] = {"answer": llm_query(d["name"]), "seen": True}
results["a"]["seen"] = False
print(len(results), [k for k, v in results.items() if v["seen"]])
