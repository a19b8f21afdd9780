"""The cell that the embedded model writes as a root model: plain code for the environment.

It is formatted with the parts of the question and runs in the sandbox like any model's cell; it
uses only what every cell has. Definitions of the names in the question come first, with those of
their members that share a word with it; then the passages that rank best, of the files that it
names or of all; for questions about the past, commits; for one about the whole, its outline. What
a build made stands behind what people wrote. Each window is quoted once, under the ref of exactly
its lines.
"""

BIND = """\
try:
    bound["{name}"] = {name}
except NameError:
    print("{name} is not open")"""

CELL = r'''import re
from rlm_mcp.sdk import rank

question = {topic!r}  # without the words that only say that it is about commits
names = {names!r}    # what looks like a name of code, a phrase in quotes
perhaps = {perhaps!r}  # names where something is defined by them
files = {files!r}    # files and folders that it names
relations = {relations!r}  # who calls, imports or uses a name
words = {words!r}    # the other words that count, without their endings
past, counting, listing, whole = {past!r}, {counting!r}, {listing!r}, {overview!r}
importing = {importing!r}  # whether it asks who imports the files
recalled, level, clock = {recalled!r}, {level!r}, {clock!r}  # of a session, of logs
bound, facts, parts, shown, outlines = dict(), [], [], dict(), dict()
{bind}
places = [place for place in {places!r} if place[0] in bound]
def attempt(call, *args):
    """Return a list of what a call found; nothing where it is refused."""
    try:
        return list(call(*args))
    except Exception as error:
        print(type(error).__name__, error)
        return []

def stage(work, *args):
    """Do one part of the search; what was found before an error stays."""
    try:
        return work(*args)
    except Exception as error:
        print(type(error).__name__, error)

def span(ref):
    """Return the address of a document, and the first and last line of a ref."""
    head, _, tail = ref.partition("#L")
    numbers = [int(n) for n in re.findall(r"[0-9]+", tail)]
    return head, numbers[0] if numbers else 0, numbers[-1] if numbers else 0

def items(head):
    """Return the outline of a document, made once."""
    if head not in outlines:
        outlines[head] = [(span(i.ref), i) for i in attempt(outline, head, 400)]
    return outlines[head]

def quote(title, head, first, last):
    """Quote lines of a document, without those that are quoted already."""
    for begin, end in shown.get(head, []):
        if begin <= first <= end:
            first = end + 1
        if begin <= last <= end:
            last = begin - 1
        if first < begin <= end < last:
            last = begin - 1
    if last < first or len(parts) >= 12:
        return
    try:
        rows = str(peek(f"{{head}}#L{{first}}-L{{last}}", last - first + 1)).split("\n")
    except Exception as error:
        print(head, error)
        return
    while rows and not rows[0].strip():
        rows, first = rows[1:], first + 1
    while rows and not rows[-1].strip():
        rows = rows[:-1]
    if rows:
        last = first + len(rows) - 1
        shown.setdefault(head, []).append((first, last))
        body = "\n".join("> " + row for row in rows)
        ref = f"{{head}}#L{{first}}" + f"-L{{last}}" * (last > first)
        parts.append(f"{{title}} {{ref}}\n{{body}}")

def built(ref):
    """Say whether a ref is of what a build or an installer put there."""
    return bool(re.search(
        r"[:/](dist|build|out|target|vendor|third_party|node_modules|bower_components|_build"
        r"|site-packages|\.next|coverage|generated)/|[.-]min\.|\.map\b|_pb2\b", ref))

def address(place, path):
    """Return the ref of a document."""
    return place + ":" + re.sub("[%#@]", lambda c: f"%{{ord(c[0]):02X}}", path)

def scopes(place, kind):
    """Return the refs of the files and folders that the question names, as far as there are."""
    found = []
    for name in files if kind in ("repo", "text", "logs") else []:
        if kind == "logs":
            refs = [file.ref for file in attempt(bound[place].files)]
            found += [ref for ref in refs if ref.split(":", 1)[1].endswith(name)]
            continue
        own = name.rstrip("/")
        paths = attempt(bound[place].files, own) or attempt(bound[place].files, "**/" + own)
        paths.sort(key=lambda path: (built(":" + path), path.count("/")))
        if not paths and attempt(bound[place].files, own + "/**"):
            paths = [own + "/"]
        if not paths and "/" in own:
            facts.append(f"{{place}} has no document {{name}}")
        found += [address(place, path) for path in paths[:3]]
    return found[:6]

def contents(ref):
    """Tell what a document defines."""
    rows = attempt(outline, ref, 60)
    rows = sorted((row for row in rows if "#L" in row.ref), key=lambda row: not fits(row.name))
    for row in rows[:14]:
        head, first, _ = span(row.ref)
        label = row.kind + " " + row.name
        facts.append(f"{{label}}: {{head}}#L{{first}} ``{{row.detail.strip()[:160]}}``")
    if len(rows) > 14:
        facts.append(f"{{len(rows) - 14}} more definitions in {{ref}}")

def survey(place):
    """Tell what there is on the whole: its folders, its readme, what is used most."""
    for row in attempt(outline, place, 14):
        if row.kind == "folder" and not built(row.ref):
            facts.append(f"folder {{row.name}} ({{row.detail}}): {{row.ref}}")
    readmes = attempt(bound[place].files, "README*")
    for path in sorted(readmes, key=lambda path: (path.count("/"), len(path)))[:1]:
        quote("Its readme:", address(place, path), 1, 30)
    head = ""
    for row in str(bound[place].map(1200)).split("\n"):
        if not row.startswith(" "):
            head = row
        elif head and not built(head) and len(facts) < 24:
            line, _, text = row.strip().partition(" ")
            facts.append(f"Much used: {{head}}#L{{line}} ``{{text[:160]}}``")

def has(word, name):
    """Say whether a part of a name begins with a word (decode: yes in iter_decoded)."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)
    return name.lower() == word or any(part.lower().startswith(word) for part in parts)

def fits(name):
    """Say whether a name shares a word with the question."""
    return any(has(word, name) for word in words)

def define(place, name):
    """Quote where a name is defined, and those of its members that the question is about."""
    own = re.escape(name.split(".")[-1])
    symbols = attempt(lambda: bound[place].symbols(name, limit=200))
    found = sorted(((item.ref, item.text) for item in symbols), key=lambda at: built(at[0]))
    verb, noun = "defined", "Definition"
    if not found and name in perhaps:
        return []
    if not found:  # in no language that is parsed: a setting, a label, a target
        verb, noun = "set", "Setting"
        set_to = r"^\s*\W?" + own + r"\W?\s*(?::=|=|:)(?:[^=]|$)"
        hits = attempt(lambda: grep(set_to, place, 20))
        hits = [hit for hit in hits if not re.search(r"[:/]tests?/|test_", hit.ref)]
        found = [(hit.ref, hit.text) for hit in hits[:3]]
    for ref, text in found[:2]:
        head, first, end = span(ref)
        facts.append(f"{{name}} is {{verb}} at {{head}}#L{{first}} ``{{text.strip()}}``")
        quote(f"{{noun}} of {{name}}:", head, first, min(max(end, first + 5), first + 11))
        members = [(len(item.name), at, item) for at, item in items(head)
                   if first < at[1] <= end and fits(item.name)]
        members.sort(key=lambda member: member[:2])
        nearest = [next((m for m in members if has(word, m[2].name)), None) for word in words]
        for member in (list(filter(None, nearest)) + members)[:5]:
            at, item = member[1:]
            quote(f"{{item.kind}} {{item.name}} in it:", head, at[1], min(at[2], at[1] + 15))
    if len(found) > 2:
        more = ", ".join(at[0] for at in found[2:5])
        facts.append(f"Further places where {{name}} is {{verb}}: {{more}}")
    return found

def relate(place, kind, name):
    """Tell how many lines call, import or use a name, and quote the first of each document."""
    own = name.split(".")[-1]
    if kind == "call":
        found = attempt(lambda: bound[place].callers(own, 2000))
    else:
        found = attempt(lambda: bound[place].references(own, 2000))
        found = [use for use in found if kind == "use" or use.kind == "import"]
    if kind == "import":  # of core.json and json, one is meant
        whole = r"(?<![\w.])" + re.escape(name) + r"\b"
        found = [use for use in found if re.search(whole, use.text)] or found
    if not found:
        return []
    first = dict()
    for use in found:
        first.setdefault(use.path, use)
    more = "at least " * (len(found) >= 2000)
    facts.append(f"{{more}}{{len(found):,}} lines of {{len(first):,}} documents {{kind}} {{name}}, "
                 "by the names in the parsed source")
    spread = list(first.values()) + [use for use in found if first[use.path] is not use]
    spread.sort(key=lambda use: built(use.ref))
    for use in spread[:10]:
        inside = f" in {{use.inside}}" if use.inside else ""
        facts.append(f"{{use.kind}}{{inside}}: {{use.ref}} ``{{use.text.strip()[:160]}}``")
    if len(spread) > 10:
        facts.append(f"{{len(spread) - 10:,}} more lines that {{kind}} {{name}}")
    return found

def users(ref):
    """Tell which lines import a document."""
    place, _, path = ref.partition(":")
    found = attempt(lambda: bound[place].importers(path, 500))
    facts.append(f"{{len(found):,}} lines import {{ref}}")
    for use in found[:12]:
        facts.append(f"import: {{use.ref}} ``{{use.text.strip()[:160]}}``")
    if len(found) > 12:
        facts.append(f"{{len(found) - 12:,}} more lines that import it")
    return found

def remembered(kind, row):
    """Tell one entry of a session's list, under its ref."""
    if kind == "files":
        return f"{{row.path}}: changed {{row.changes}} times, last at {{row.last}}"
    if kind == "tasks":
        return f"{{row.status}}: {{row.task}} ({{row['last']}})"
    if kind == "errors":
        gone = f", gone at {{row.fixed_at}}" if row.get("fixed_at") else ""
        return f"{{row['count']}} times{{gone}}: {{row.first}} ``{{row.error[:200]}}``"
    if kind == "commands":
        ended = f"{{row.ok}} ok, {{row.failed}} failed"
        return f"{{ended}}: {{row['last']}} ``{{row.command[:200]}}``"
    if kind == "prompts":
        return f"{{row.ref}} ``{{row.text.strip().splitlines()[0][:200]}}``"
    return f"{{row.kind}} of the {{row.by}}, {{row.status}}: {{row.ref}} ``{{row.quote[:300]}}``"

def recall(place):
    """Tell what a session's own lists hold."""
    variable = bound[place]
    for kind in recalled:
        found = variable.files()["files"] if kind == "files" else getattr(variable, kind)()
        more = ", the first 15" * (len(found) > 15)
        facts.append(f"{{len(found):,}} {{kind}} in {{place}}{{more}}")
        facts.extend(remembered(kind, row) for row in found[:15])
    return recalled

def told(place, scope):
    """Tell the lines of a level by their forms, and the first line at a time, of logs."""
    before = len(facts)
    for at in clock:
        for row in attempt(bound[place].at, at):
            line = row.text.strip()[:300]
            facts.append(f"The first line at {{at}} or later: {{row.ref}} ``{{line}}``")
    for ref in scope or [place] if level else []:
        path = ref.partition(":")[2]
        forms = bound[place].templates(level=level, top=8, path=path)
        if not forms["lines"]:
            continue
        count = f"{{forms['lines']:,}} of {{forms['of_lines']:,}} lines of {{ref}}"
        facts.append(f"{{count}} have the level {{level}} or worse, in {{forms['total']:,}} forms "
                     "(grouped approximately)")
        for form in forms["templates"]:
            line = str(peek(form["first"], 1)).strip()
            facts.append(f"{{form['count']:,}} times, first {{form['first']}} ``{{line[:300]}}``")
        first = bound[place].first_error(path=path)["record"] if level == "error" else None
        if first:
            facts.append(f"The first: {{first['ref']}} ``{{first['text'].strip()[:300]}}``")
    return len(facts) > before

def passages(place, kind, scope, limit):
    """Quote what ranks best, within the function or section that it stands in."""
    hits = [hit for ref in scope or [place] for hit in attempt(rank, question, ref, limit + 4)]
    hits.sort(key=lambda hit: built(hit.ref))
    for hit in hits[:limit]:
        head, first, last = span(hit.ref)
        if kind not in ("repo", "text") or not hit.line or not first:
            if hit.ref not in shown and len(parts) < 12:
                shown[hit.ref] = []
                rows = str(peek(hit.ref, 10)).strip("\n").split("\n")[:10]
                parts.append(f"Fits: {{hit.ref}}\n" + "\n".join("> " + row for row in rows))
            continue
        around = [(at, item) for at, item in items(head) if at[1] <= hit.line <= at[2]]
        start, end, title = hit.line - 6, hit.line + 9, "Fits:"
        if around:
            at, item = max(around, key=lambda found: found[0][1])
            title = f"In {{item.kind}} {{item.name}}:"
            start = at[1] if hit.line - at[1] <= 14 else max(at[1], start)
            end = min(at[2], max(end, start + 11))
        quote(title, head, max(1, start), end)

def messages(place):
    """Name the commits whose messages fit the question."""
    for hit in attempt(lambda: rank(question, place, 5)):
        head = hit.ref.split("#")[0]
        rows = str(peek(head, 12)).split("\n")
        subject = ([row.strip() for row in rows if row.startswith("    ")] + [hit.text.strip()])[0]
        if head not in "".join(facts):
            facts.append(f"A commit whose message fits: {{head}} ``{{subject}}``")

def changes(place):
    """Name the newest and the oldest commit that change a line with a name of the question."""
    for name in names[:3] or words[:2]:
        pattern = re.escape(name) if names else f"(?i:{{re.escape(name)}})"
        found = attempt(lambda: bound[place].grep(pattern, limit=500))
        for label, commit in zip(("newest", "oldest"), found[:1] + found[1:][-1:]):
            many = f"{{label}} of {{len(found)}} commits" if len(found) > 1 else "only commit"
            facts.append(
                f"The {{many}} with a changed line that holds {{name}}: {{commit['ref']}} "
                f"``{{commit['subject']}}`` ({{commit['date'][:10]}}, {{commit['author']}})"
            )

if past and "history" not in [kind for _, kind in places]:
    try:
        bound["history"] = history
        places.append(("history", "history"))
    except NameError:
        print("no history can be opened")
places.sort(key=lambda place: place[1] != "history")

for place, kind in places:
    if kind == "history":
        if past or len(places) == 1:
            for look in (changes, messages) if names else (messages, changes):
                stage(look, place)
        continue
    if past and facts:
        continue
    related, code = [], kind in ("repo", "text")
    scope = stage(scopes, place, kind) or []
    if code:
        related = [pair for pair in relations if stage(relate, place, *pair)]
    defined = [name for name in names + perhaps if code and stage(define, place, name)]
    if importing and code and any([stage(users, ref) for ref in scope]):
        continue
    for ref in scope if code and not names else []:
        stage(contents, ref)
    if kind == "session" and recalled and stage(recall, place):
        continue
    if kind == "logs" and (level or clock) and not names and stage(told, place, scope):
        continue
    if whole and code:
        stage(survey, place)
        continue
    for name in names if counting or listing or not code else []:
        for ref in scope or [place]:
            hits = attempt(lambda: [grep(re.escape(name), ref, 10 if listing else 3, True)])
            for hit in hits[0][:1] if hits else []:
                facts.append(f"{{hits[0].total:,}} lines of {{ref}} hold {{name}}, in any case; "
                             f"the first is {{hit.ref}} ``{{hit.text.strip()}}``")
            for hit in hits[0][1:] if hits and listing else []:
                facts.append(f"{{name}}: {{hit.ref}} ``{{hit.text.strip()}}``")
            if hits and listing and hits[0].total > len(hits[0]) > 0:
                facts.append(f"{{hits[0].total - len(hits[0]):,}} more lines that hold it")
    # Ranking reads everything once; a question that names only what was found needs none.
    if not related and not (listing and facts) and (words or not (defined or facts)):
        stage(passages, place, kind, scope, 5 if defined or facts else 8)

found = "\n\n".join(["\n".join("- " + fact for fact in facts)] * bool(facts) + parts)
answer["content"] = {notice!r} + "\n\n" + found if found else {nothing!r}
answer["ready"] = True
print(len(facts), "facts,", len(parts), "passages")
'''
