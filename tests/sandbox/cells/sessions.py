# %% turns by role
import json
turns = [json.loads(l) for l in session.splitlines()]
by = {}
for t in turns:
    by.setdefault(t["role"], []).append(t)
print({k: len(v) for k, v in by.items()})
# %% user corrections
import json, re
turns = [json.loads(l) for l in session.splitlines()]
for i, t in enumerate(turns):
    if t["role"] == "user" and re.search(r"\b(no|instead|don't|never)\b", t["text"], re.I):
        print(i, t["text"])
# %% last tool call per name
import json
last = {}
for i, l in enumerate(session.splitlines()):
    t = json.loads(l)
    for call in t.get("tools", []):
        last[call["name"]] = (i, call["args"])
print(last)
# %% failing commands
import json
failed = []
for l in session.splitlines():
    t = json.loads(l)
    for call in t.get("tools", ()):
        if not call.get("ok", True):
            failed.append(call["args"].get("command"))
print(failed)
# %% files touched
import json
files = sorted({c["args"]["path"] for l in session.splitlines() for c in json.loads(l).get("tools", []) if "path" in c["args"]})
print(files)
# %% timeline
import json
from datetime import datetime
times = [datetime.fromisoformat(json.loads(l)["at"]) for l in session.splitlines()]
gaps = [(b - a).total_seconds() for a, b in zip(times, times[1:])]
print(max(gaps), sum(gaps), times[0].strftime("%H:%M"))
# %% rules verbatim
import json
rules = [t["text"] for t in map(json.loads, session.splitlines()) if t["role"] == "user" and t["text"].lower().startswith(("always", "never", "use "))]
for r in rules:
    print("-", r)
# %% decisions as dataclass
import json
from dataclasses import dataclass, field, asdict
@dataclass
class Decision:
    turn: int
    text: str
    superseded: bool = False
    refs: list[str] = field(default_factory=list)
decisions = []
for i, l in enumerate(session.splitlines()):
    t = json.loads(l)
    if "decide" in t["text"]:
        decisions.append(Decision(i, t["text"], refs=[f"session#{i}"]))
for d in decisions[:-1]:
    d.superseded = True
print([asdict(d) for d in decisions], decisions[0] == decisions[-1])
# %% token use by turn
import json
used = [json.loads(l).get("tokens", 0) for l in session.splitlines()]
running = 0
for i, n in enumerate(used):
    running += n
    if running > 300:
        print("over 300 at turn", i, "with", running)
        break
# %% open tasks
import json, re
todo = set()
for l in session.splitlines():
    text = json.loads(l)["text"]
    todo |= set(re.findall(r"TODO\((\w+)\)", text))
    todo -= set(re.findall(r"DONE\((\w+)\)", text))
print(sorted(todo))
