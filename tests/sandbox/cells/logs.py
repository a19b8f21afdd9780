# %% levels
import re
from collections import Counter
print(Counter(re.findall(r"^\S+ \S+ (\w+)", logs, re.M)))
# %% errors per minute
import re
from collections import Counter
per = Counter(m.group(1) for m in re.finditer(r"^(\S+ \d\d:\d\d):\d\d ERROR", logs, re.M))
for minute, n in sorted(per.items()):
    print(minute, n)
# %% parse into records
import re
from datetime import datetime
from typing import NamedTuple
class Record(NamedTuple):
    at: datetime
    level: str
    who: str
    text: str
line_re = re.compile(r"^(\S+ \S+) (\w+) (\w+): (.*)$")
records = []
for line in logs.splitlines():
    if m := line_re.match(line):
        at, level, who, text = m.groups()
        records.append(Record(datetime.strptime(at, "%Y-%m-%d %H:%M:%S"), level, who, text))
print(len(records), records[0].who, records[-1]._asdict()["level"], records[0]._replace(level="X").level)
# %% templates
import re
from collections import Counter
def template(text):
    text = re.sub(r"\b\d+(\.\d+)*\b", "<n>", text)
    return re.sub(r"\b[0-9a-f]{8}\b", "<id>", text)
c = Counter(template(l.split(": ", 1)[1]) for l in logs.splitlines() if ": " in l)
for t, n in c.most_common(5):
    print(n, t)
# %% latency percentiles
import re
ms = sorted(int(x) for x in re.findall(r"took (\d+)\s?ms", logs))
def percentile(data, p):
    return data[min(len(data) - 1, int(len(data) * p / 100))]
print(len(ms), [percentile(ms, p) for p in (50, 90, 99)])
# %% first and last of each worker
first, last = {}, {}
for i, line in enumerate(logs.splitlines()):
    parts = line.split()
    if len(parts) > 3:
        who = parts[3].rstrip(":")
        first.setdefault(who, i)
        last[who] = i
print([(w, first[w], last[w]) for w in sorted(first)])
# %% gaps
from datetime import datetime
previous = None
for line in logs.splitlines():
    if not line.startswith("2024"):
        continue
    at = datetime.strptime(line[:19], "%Y-%m-%d %H:%M:%S")
    if previous and (at - previous).seconds > 60:
        print(previous, "->", at, at - previous)
    previous = at
# %% bursts with deque
from collections import deque
from datetime import datetime, timedelta
window, worst = deque(), 0
for line in logs.splitlines():
    if " ERROR " not in line:
        continue
    at = datetime.fromisoformat(line[:19])
    window.append(at)
    while window and at - window[0] > timedelta(minutes=2):
        window.popleft()
    worst = max(worst, len(window))
print(worst, len(window))
# %% stack traces
import re
for m in re.finditer(r"Traceback.*?\n(?:\s+.*\n)*(\w+Error): (.*)", logs):
    print(m.group(1), m.group(2))
# %% ip addresses
import re
from collections import Counter
ips = Counter(re.findall(r"\d+\.\d+\.\d+\.\d+", logs))
print(ips.most_common(3), len(ips))
# %% context around an error
lines = logs.splitlines()
for i, l in enumerate(lines):
    if "timeout" in l:
        for j in range(max(0, i - 1), min(len(lines), i + 2)):
            print(">" if j == i else " ", j, lines[j])
        break
# %% status codes by class
import re
from collections import defaultdict
by = defaultdict(int)
for code in re.findall(r"status=(\d{3})", logs):
    by[f"{code[0]}xx"] += 1
print(dict(sorted(by.items())))
# %% compare two halves
lines = logs.splitlines()
half = len(lines) // 2
words = [set(" ".join(part).split()) for part in (lines[:half], lines[half:])]
print(len(words[0] - words[1]), len(words[1] - words[0]), len(words[0] & words[1]))
# %% state machine
class Machine:
    def __init__(self):
        self.state = "up"
        self.changes = []
    def feed(self, line):
        match line.split()[2:3]:
            case ["ERROR"] if self.state == "up":
                self._go("down", line[:19])
            case ["INFO"] if self.state == "down":
                self._go("up", line[:19])
    def _go(self, state, at):
        self.state = state
        self.changes.append((at, state))
m = Machine()
for l in logs.splitlines():
    m.feed(l)
print(len(m.changes), m.changes[:3])
# %% rolling mean
import re
from itertools import islice
ms = [int(x) for x in re.findall(r"took (\d+)", logs)]
print([round(sum(ms[i : i + 3]) / 3, 1) for i in range(0, min(9, len(ms) - 2), 3)], list(islice(ms, 4)))
# %% histogram
import re
ms = [int(x) for x in re.findall(r"took (\d+)", logs)]
buckets = {}
for x in ms:
    b = x // 50 * 50
    buckets[b] = buckets.get(b, 0) + 1
for b in sorted(buckets):
    print(f"{b:>4}-{b + 49:<4} {'*' * buckets[b]}")
# %% unified diff of messages
import difflib
a, b = logs.splitlines()[:4], logs.splitlines()[1:5]
for l in list(difflib.unified_diff(a, b, "one", "two", lineterm=""))[:6]:
    print(l)
# %% ratio
import difflib
s = difflib.SequenceMatcher(None, logs[:80], logs[80:160])
print(round(s.ratio(), 4), s.find_longest_match().size, [o[0] for o in s.get_opcodes()][:4])
