# %% findall
import re
print(re.findall(r"code=(\d+)", context)[:10])
# %% lines with error
import re
hits = [l for l in context.splitlines() if re.search(r"\bERROR\b", l)]
print(len(hits), hits[0])
# %% finditer with spans
import re
for m in list(re.finditer(r"ERROR\s+(\w+)", context))[:3]:
    print(m.start(), m.end(), m.group(0), m.group(1), m.span(1))
# %% named groups
import re
pattern = re.compile(r"(?P<level>INFO|WARN|ERROR) (?P<who>\w+)")
for m in list(pattern.finditer(context))[:4]:
    print(m.groupdict(), m.lastgroup, m.lastindex, m["who"])
# %% ignore case and multiline
import re
print(len(re.findall(r"^error", context, re.I | re.M)), len(re.findall(r"^\d{4}-", context, flags=re.MULTILINE)))
# %% search returns none
import re
print(re.search("no such pattern at all", context))
# %% context windows around matches
import re
def windows(text, pattern, size=30):
    out = []
    for m in re.finditer(pattern, text):
        out.append(text[max(0, m.start() - size) : m.end() + size].replace("\n", "|"))
    return out
for w in windows(context, "timeout")[:3]:
    print(w)
# %% line numbers from offsets
import bisect, re
starts = [0]
text = context[:]
for i, ch in enumerate(text):
    if ch == "\n":
        starts.append(i + 1)
for m in list(re.finditer("ERROR", context))[:5]:
    print(bisect.bisect_right(starts, m.start()))
# %% lookahead and lookbehind
import re
print(re.findall(r"(?<=code=)\d+(?= )", context)[:5], len(re.findall(r"(?<!ERROR )db", context)))
# %% backreference
import re
print(re.findall(r"\b(\w)(\w)\w*\2\1\b", context)[:5])
# %% dotall across lines
import re
m = re.search(r"BEGIN(.*?)END", context, re.S)
print(m.group(1)[:80] if m else None, m.span() if m else None)
# %% whitespace classes
import re
print(len(re.findall(r"\s", context)), len(re.findall(r"\S+", context)), len(re.findall(r"[\s,]+", context)))
# %% word boundaries and unicode words
import re
print(re.findall(r"\w*ï\w*", context)[:3], len(re.findall(r"\b\w+\b", context)))
# %% anchors
import re
print(re.findall(r"\A.*", context), re.findall(r".*\Z", context)[-1:], len(re.findall(r"$", context)), len(re.findall(r"(?m)$", context)))
# %% sub with function
import re
print(re.sub(r"\d+", lambda m: str(int(m.group()) * 2), context[:200]))
# %% sub with groups and count
import re
print(re.sub(r"(\w+)=(\w+)", r"\2=\1", context[:300], count=3))
# %% split by pattern
import re
print(re.split(r"[,;]\s*", "a, b;c,  d"), re.split(r"(-)", "a-b-c", maxsplit=1))
# %% compiled pattern attributes
import re
p = re.compile(r"(?P<a>x)(y)?", re.I)
print(p.pattern, p.groups, p.groupindex, p.flags & re.I == re.I, p)
# %% fullmatch and match
import re
print(bool(re.fullmatch(r"[a-z]+", "abc")), re.match(r"#\s(.*)", context).group(1), re.match("zzz", context))
# %% escape and error
import re
print(re.escape("a.b*c"))
try:
    re.compile("(unclosed")
except re.error as e:
    print("bad pattern:", e.msg, e.pos)
# %% match object methods
import re
m = re.search(r"(\d{4})-(\d{2})-(\d{2})", context)
print(m.groups(), m.group(1, 3), m.expand(r"\3.\2.\1"), m.re.pattern, m[0], m.regs if False else "")
# %% empty matches
import re
print([m.span() for m in re.finditer(r"x*", "axxb")], re.findall("", "abc"))
# %% verbose pattern
import re
p = re.compile(r"""
    (\d+)   # number
    \s*
    (ms|s)  # unit
""", re.VERBOSE)
print(p.findall(context)[:5])
# %% count per pattern
import re
patterns = {"errors": r"ERROR", "warnings": r"WARN", "ips": r"\b\d+\.\d+\.\d+\.\d+\b"}
print({name: len(re.findall(p, context)) for name, p in patterns.items()})
# %% host grep tool
for hit in grep("timeout")[:3]:
    print(hit)
# %% fnmatch and difflib
import difflib, fnmatch
print(fnmatch.filter(["a.py", "b.txt", "c.py"], "*.py"), difflib.get_close_matches("erorr", ["error", "mirror", "terror"]))
