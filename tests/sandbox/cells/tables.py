# %% csv reader
import csv, io
rows = list(csv.DictReader(io.StringIO(table)))
print(len(rows), rows[0], sum(float(r["price"]) for r in rows))
# %% csv plain reader
import csv
rows = list(csv.reader(table.splitlines()))
header, *body = rows
print(header, len(body), [r[0] for r in body if r[1] == "fruit"])
# %% csv writer
import csv, io
out = io.StringIO()
w = csv.writer(out)
w.writerow(["a", "b"])
w.writerows([[1, "x,y"], [2, 'q"q']])
print(out.getvalue())
# %% dict writer
import csv, io
out = io.StringIO()
w = csv.DictWriter(out, fieldnames=["n", "m"], delimiter=";")
w.writeheader()
w.writerow({"n": 1, "m": 2})
print(repr(out.getvalue()))
# %% json round trip
import json
data = json.loads(document)
print(data["users"][0]["name"], json.dumps(data["users"][1], indent=2, sort_keys=True))
# %% json lines
import json
records = [json.loads(line) for line in jsonl.splitlines() if line.strip()]
print(len(records), sum(r["n"] for r in records), json.dumps(records[0], separators=(",", ":")))
# %% broken json is reported
import json
good, bad = 0, []
for i, line in enumerate((jsonl + "{broken\n").splitlines(), 1):
    try:
        json.loads(line)
        good += 1
    except json.JSONDecodeError as e:
        bad.append((i, e.msg, e.pos))
print(good, bad)
# %% json default and custom encoder
import json
from datetime import date
class Encoder(json.JSONEncoder):
    def default(self, o):
        return o.isoformat() if isinstance(o, date) else super().default(o)
print(json.dumps({"d": date(2024, 1, 2)}, cls=Encoder), json.dumps({1, 2} and [1], default=str), json.dumps("é", ensure_ascii=False))
# %% json object hook
import json
print(json.loads('{"a": {"b": 1}}', object_hook=lambda d: list(d.items())), json.loads("[1.5, 2]", parse_float=str))
# %% json streams
import io, json
f = io.StringIO()
json.dump({"a": [1, 2]}, f)
f.seek(0)
print(json.load(f))
# %% pivot
from collections import defaultdict
pivot = defaultdict(lambda: defaultdict(float))
for line in table.splitlines()[1:]:
    name, kind, price, count = line.split(",")
    pivot[kind][name] += float(price) * int(count)
for kind in sorted(pivot):
    print(kind, {k: round(v, 2) for k, v in sorted(pivot[kind].items())})
# %% markdown table
rows = [line.split(",") for line in table.splitlines()]
widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
for r in rows:
    print("| " + " | ".join(c.ljust(w) for c, w in zip(r, widths)) + " |")
# %% join two tables
left = {line.split(",")[0]: line.split(",")[1] for line in table.splitlines()[1:]}
right = {"apple": "red", "carrot": "orange"}
print({k: (left[k], right.get(k, "?")) for k in left if k in right or k == "pear"})
# %% decimal money
from decimal import Decimal, ROUND_HALF_UP, getcontext
total = sum((Decimal(l.split(",")[2]) for l in table.splitlines()[1:]), Decimal(0))
print(total, total.quantize(Decimal("0.1"), rounding=ROUND_HALF_UP))
getcontext().prec = 6
print(Decimal(1) / Decimal(7))
# %% fractions and math
from fractions import Fraction
import math
print(Fraction(1, 3) + Fraction(1, 6), math.sqrt(2), math.gcd(12, 18), math.isclose(0.1 + 0.2, 0.3), math.comb(5, 2), math.prod([1, 2, 3]))
# %% percentages
values = {"a": 3, "b": 7}
total = sum(values.values())
print("\n".join(f"{k}: {v / total:>7.1%} {'#' * v}" for k, v in values.items()))
# %% transpose and comprehension
m = [[1, 2, 3], [4, 5, 6]]
print(list(zip(*m)), [[r[i] for r in m] for i in range(3)], {(i, j): m[i][j] for i in range(2) for j in range(3) if (i + j) % 2})
# %% tomllib
import tomllib
print(tomllib.loads('[a]\nb = [1, 2]\nc = "x"'))
# %% date arithmetic
from datetime import datetime, timedelta, date, timezone
d = datetime(2024, 2, 28, 23, 30)
print(d + timedelta(hours=1), (date(2024, 3, 1) - date(2024, 2, 1)).days, d.strftime("%Y/%m/%d %H:%M"), d.isoformat(), datetime(2024, 1, 1, tzinfo=timezone.utc).timestamp())
# %% parse dates
from datetime import datetime
for text in ("2024-01-02 03:04:05", "2023-12-31 23:59:59"):
    t = datetime.strptime(text, "%Y-%m-%d %H:%M:%S")
    print(t.year, t.weekday(), t.replace(hour=0).isoformat(), datetime.fromisoformat(text) == t)
# %% base64 and hashes
import base64, hashlib
print(base64.b64encode(b"hello").decode(), base64.b64decode("aGVsbG8="), hashlib.sha256(b"x").hexdigest()[:16], hashlib.md5("a".encode()).hexdigest())
# %% urls
from urllib.parse import urlparse, parse_qs, quote, unquote, urlencode
u = urlparse("https://example.org:8080/a/b?x=1&x=2&y=#frag")
print(u.netloc, u.path, u.port, parse_qs(u.query), quote("a b/ü"), unquote("%41"), urlencode({"q": "a b"}))
# %% html and string constants
import html, string
print(html.unescape("&lt;b&gt; &amp;"), html.escape("<x>"), string.ascii_lowercase[:5], string.capwords("a bc"), string.Template("$a and ${b}").substitute(a=1, b=2))
