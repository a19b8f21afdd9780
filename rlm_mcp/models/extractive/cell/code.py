"""What source says: definitions, what a document holds, counts, passages that fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rlm_mcp.models.extractive.cell.counts import Counts
from rlm_mcp.models.extractive.cell.relations import Relations
from rlm_mcp.models.extractive.cell.report import (
    Report,
    address,
    aside,
    attempt,
    built,
    code_of,
    does,
    has,
    length,
    some,
    span,
    stage,
    tested,
)
from rlm_mcp.sdk import grep, outline, search

if TYPE_CHECKING:
    from rlm_mcp.models.extractive.question import Question

UNRELATED = {
    "call": "calls", "import": "imports", "extend": "extends", "throw": "throws",
    "test": "of a test uses",
}  # fmt: skip
"""How it is told that nothing relates to a name."""
VALUE = r"\{[^}]*\}|%\(\w+\)s|%[sdrifvq]|<[^<>]*>|'[^']*'|\d[\d.,:]*"
"""What differs between a message and the code that makes it."""
TYPES = {"class", "interface", "struct", "trait", "enum", "type", "record", "object"}


def covers(at: str, head: str) -> bool:
    """Say whether a document lies in a document or folder."""
    own = span(at)[0]
    return head == own or (own.endswith("/") and head.startswith(own))


class Code:
    """Answers about one variable with text or source in it."""

    def __init__(self, report: Report, asked: Question, place: str, variable: Any) -> None:
        self.report, self.asked = report, asked
        self.place, self.variable = place, variable
        self.given = [ref for ref in asked.refs if ref.startswith(place + ":")]
        """What whoever asks limits the question to."""
        self.named = [ref for ref in self.scopes() if self.allowed(ref)]
        """Refs of the files and folders that the question names."""
        self.scope = self.named or self.given

    def answer(self) -> None:
        """Add what is found."""
        report, asked = self.report, self.asked
        self.relations = relations = Relations(report, self.variable, self.within)
        related = [pair for pair in asked.relations if stage(relations.relate, *pair)]
        found = [stage(self.phrase, phrase) for phrase in asked.phrases]
        defined = [name for name in asked.names + asked.perhaps if stage(self.define, name)]
        for kind, name in asked.relations:
            if (kind, name) not in related and kind in UNRELATED:
                stage(self.unrelated, kind, name)
        counting = "counting" in asked.about or "listing" in asked.about
        for name in set(asked.names) - {*defined, *(name for _, name in related)}:
            if not counting:
                stage(self.unknown, name)
        if "importers" in asked.about and self.each(relations.importers):
            return
        if "imports" in asked.about and self.each(relations.imports):
            return
        counts = Counts(report, asked, self.place, self.variable, self.scope)
        if asked.counted and not asked.names and stage(counts.answer):
            return
        if "filing" in asked.about and not asked.names and self.each(self.filed):
            return
        for ref in self.named if not asked.names else []:
            stage(self.contents, ref)
        if "overview" in asked.about:
            stage(self.survey)
            return
        for name in asked.names if counting else []:
            stage(self.lines, name)
        # Ranking reads everything once; a question that names only what was found needs none.
        settled = related or any(found) or (counting and asked.names and report.facts)
        settled = settled or ("listing" in asked.about and report.facts)
        settled = settled or (asked.relations and report.facts and len(asked.words) < 2)
        if not settled and (asked.words or not (defined or report.facts)):
            stage(self.passages, 5 if defined or report.facts else 8)

    def each(self, work: Callable[[str], Any]) -> bool:
        """Do a part of the search for all that the question names, and say whether one told."""
        return any([bool(stage(work, ref)) for ref in self.named])  # noqa: C419

    def allowed(self, ref: str) -> bool:
        """Say whether a ref lies in what the question is limited to."""
        head = span(ref)[0]
        return not self.given or any(covers(at, head) for at in self.given)

    def scopes(self) -> list[str]:
        """Return the refs of the files and folders that the question names, as far as there are."""
        found: list[str] = []
        files: Any = getattr(self.variable, "files", None)
        for name in self.asked.files if files else []:
            own = name.rstrip("/").removeprefix("./").removeprefix("../")
            paths = attempt(files, own) or attempt(files, "**/" + own)
            if not paths and name.startswith("."):  # as an import says it
                paths = attempt(files, f"**/{own}.*")
            paths.sort(key=lambda path: (built(":" + path), aside(":" + path), path.count("/")))
            if not paths and attempt(files, own + "/**"):
                paths = [own + "/"]
            if not paths and ("/" in own or own.endswith("file") or "is there" in self.said()):
                self.report.fact(f"{self.place} has no document {name}")
            found += [address(self.place, path) for path in paths[:3]]
        return found[:6]

    def said(self) -> str:
        """Return the question in small letters."""
        return self.asked.text.lower()

    def within(self, ref: str) -> bool:
        """Say whether a ref is in what the question names; where it names nothing, all is."""
        head = span(ref)[0]
        return not self.scope or any(covers(at, head) for at in self.scope)

    def fits(self, name: str) -> bool:
        """Say whether a name shares a word with the question."""
        return any(has(word, name) for word in self.asked.words)

    def contents(self, ref: str) -> None:
        """Tell what a document defines."""
        rows = [row for row in attempt(outline, ref, 400) if "#L" in row.ref]
        rows.sort(key=lambda row: (not self.fits(row.name), row.kind == "constant"))
        for row in rows[:14]:
            head, first, _ = span(row.ref)
            detail = code_of(row.detail)
            self.report.fact(f"{row.kind} {row.name}: {head}#L{first} {detail}")
        self.report.more(len(rows) - 14, "definition", f"in {ref}")

    def filed(self, ref: str) -> bool:
        """List the documents of a folder."""
        paths = attempt(self.variable.files, ref.partition(":")[2] + "**") if ref[-1] == "/" else []
        if paths:
            self.report.fact(f"{some(len(paths), 'document')} in {ref}")
        for path in paths[:30]:
            self.report.fact(address(self.place, path))
        self.report.more(len(paths) - 30, "document", f"of {ref}")
        return bool(paths)

    def survey(self) -> None:
        """Tell what there is on the whole: its folders, its readme, what is used most."""
        report, place = self.report, self.place
        for row in attempt(outline, place, 14):
            if row.kind == "folder" and not built(row.ref):
                report.fact(f"folder {row.name} ({row.detail}): {row.ref}")
        readmes = attempt(self.variable.files, "README*")
        for path in sorted(readmes, key=lambda path: (path.count("/"), len(path)))[:1]:
            report.quote("Its readme:", address(place, path), 1, 30)
        head, told = "", 0
        for row in str(self.variable.map(1200)).split("\n"):
            if not row.startswith(" "):
                head, told = row, 0
            elif head and not (built(head) or aside(head)) and told < 3 and len(report.facts) < 24:
                line, _, text = row.strip().partition(" ")
                if re.search(r"\brequire\(|^(?:import|from|use|using) ", text):
                    continue
                report.fact(f"Much used: {head}#L{line} {code_of(text)}")
                told += 1

    def lines(self, name: str) -> None:
        """Tell how many lines hold a name, and list some of them where a list is asked for."""
        listing = "listing" in self.asked.about
        for ref in self.scope or [self.place]:
            marked = name.isupper() and name.isalpha()  # TODO is no part of "autodoc"
            pattern = rf"\b{name}\b" if marked else re.escape(name)
            hits = grep(pattern, ref, 10 if listing else 3, not marked)
            case = "" if marked else ", in any case"
            if not hits:
                self.report.fact(f"No line of {ref} holds {name}{case}")
            for hit in hits[:1]:
                self.report.fact(
                    f"{some(hits.total, 'line')} of {ref} {does(hits.total, 'hold')} {name}{case}; "
                    f"the first is {hit.ref} {code_of(hit.text, 300)}"
                )
            for hit in hits[1:] if listing else []:
                self.report.fact(f"{name}: {hit.ref} {code_of(hit.text, 300)}")
            if listing and hits:
                self.report.more(hits.total - len(hits), "line", "with it")

    def unrelated(self, kind: str, name: str) -> None:
        """Say that nothing relates to a name in some way, where it is defined at all."""
        if kind == "import" and (found := attempt(self.variable.files, f"**/{name}.*")):
            found.sort(key=lambda path: (built(":" + path), aside(":" + path), path.count("/")))
            stage(self.relations.importers, address(self.place, found[0]))
            return
        if attempt(self.variable.symbols, name, limit=1):
            self.report.fact(
                f"No line that {UNRELATED[kind]} {name} was found by the names in the parsed "
                "source; that is no proof that there is none, since not every language and not "
                "every way to do it is parsed"
            )

    def unknown(self, name: str) -> None:
        """Say that a name is defined nowhere, and how often it is mentioned."""
        refs = self.given or [self.place]
        looked = [grep(re.escape(name), ref, 1, True) for ref in refs]
        hits = next((one for one in looked if one), looked[0])
        if not hits:
            self.report.fact(f"No line of {', '.join(refs)} holds {name}, in any case")
        elif re.search(r"\b(?:defin\w*|declar\w*|implement\w*|class|function|method|const\w*)\b",
                       self.said()):  # fmt: skip
            lines, hold = some(hits.total, "line"), does(hits.total, "hold")
            self.report.fact(
                f"{name} is not defined in {self.place}, by the parsed source; {lines} {hold} it, "
                f"in any case; the first is {hits[0].ref} {code_of(hits[0].text)}"
            )

    def loosely(self, text: str, ref: str) -> list[Any]:
        """Return the lines with a text whose values differ, else with the longest part of it."""
        fixed = [re.escape(part) for part in re.split(VALUE, text)]
        wanted = [r".{0,80}?".join(fixed)] if len(fixed) > 1 and len(text) > 12 else []
        words = text.split()[:16]
        for many in range(len(words) - 1, 2, -1):
            runs = [" ".join(words[at : at + many]) for at in range(len(words) - many + 1)]
            wanted.append("|".join(re.escape(run) for run in runs))
        for number, pattern in enumerate(wanted[:8]):
            hits = grep(pattern, ref, 200)
            if hits:
                like = "are like it" if number == 0 and len(fixed) > 1 else "hold a part of it"
                like = (
                    like if hits.total > 1 else like.replace("are", "is").replace("hold", "holds")
                )
                self.report.fact(f"{some(hits.total, 'line')} of {ref} {like}")
                return list(hits)
        return []

    def phrase(self, text: str) -> bool:
        """Quote where a text stands, word for word: a message first where code raises it."""
        found: list[Any] = []
        for ref in self.scope or [self.place]:
            hits = grep(re.escape(text), ref, 200) or grep(re.escape(text), ref, 200, True)
            if not hits:
                self.report.fact(f"No line of {ref} holds the words {code_of(text)} as they are")
            found += hits or self.loosely(text, ref)
            if hits:
                many, hold = some(hits.total, "line"), does(hits.total, "hold")
                self.report.fact(f"{many} of {ref} {hold} the words {code_of(text)}")
        found.sort(key=lambda hit: (built(hit.ref), aside(hit.ref)))
        for hit in found[:3]:
            self.around(hit, 6)
        for hit in found[3:10]:
            self.report.fact(f"Also: {hit.ref} {code_of(hit.text)}")
        return bool(found)

    def define(self, name: str) -> list[Any]:
        """Quote where a name is defined, and those of its members that the question is about."""
        report = self.report
        symbols = attempt(self.variable.symbols, name, limit=200)
        if not symbols and "." in name:  # assigned to, as in JavaScript, or in a module
            last = attempt(self.variable.symbols, name.split(".")[-1], limit=200)
            own = [item for item in last if name in item.text]
            symbols = own or [item for item in last if not self.away(item, name)]
        symbols.sort(key=lambda item: self.standing(item, name))
        found = [(item.ref, item.text) for item in symbols if self.within(item.ref)]
        if symbols and not found and self.given:
            away = ", ".join(item.ref for item in symbols[:3])
            self.report.fact(f"{name} is not defined in {', '.join(self.given)}; elsewhere: {away}")
            return symbols
        found = found or [(item.ref, item.text) for item in symbols]
        verb, noun = "defined", "Definition"
        if not found and name in self.asked.perhaps:
            return []
        if not found:  # in no language that is parsed: a setting, a label, a target
            verb, noun = "set", "Setting"
            set_to = r"^\s*\W?" + re.escape(name) + r"\W?\s*(?::=|=|:)(?:[^=]|$)"
            hits = [hit for hit in attempt(grep, set_to, self.place, 20) if not tested(hit.ref)]
            found = [(hit.ref, hit.text) for hit in hits[:3]]
        for ref, text in found[:2]:
            head, first, end = span(ref)
            report.fact(f"{name} is {verb} at {head}#L{first} {code_of(text, 300)}")
            report.quote(f"{noun} of {name}:", head, first, min(max(end, first + 5), first + 11))
            members = [
                (len(item.name), at, item)
                for at, item in report.items(head)
                if first < at[1] <= end and self.fits(item.name)
            ]
            members.sort(key=lambda member: member[:2])
            nearest = [
                next((member for member in members if has(word, member[2].name)), None)
                for word in self.asked.words
            ]
            for _, at, item in ([member for member in nearest if member] + members)[:5]:
                title = f"{item.kind} {item.name} in it:"
                report.quote(title, head, at[1], min(at[2], at[1] + 15))
        if len(found) > 2:
            more = ", ".join(at[0] for at in found[2:5])
            report.fact(f"Further places where {name} is {verb}: {more}")
        return found

    def standing(self, item: Any, name: str) -> tuple[bool, bool, bool, bool, int]:
        """Return the order of definitions of a name: written, in its module, a type, by size."""
        minor, away = item.kind not in TYPES, self.away(item, name)
        return built(item.ref), tested(item.ref), away, minor, -length(item.ref)

    def away(self, item: Any, name: str) -> bool:
        """Say whether a definition is in no document or folder called as what a name belongs to."""
        owner = name.rpartition(".")[0].rpartition(".")[2]
        return bool(owner) and not re.search(rf"(^|/){re.escape(owner)}[/.]", item.path)

    def passages(self, limit: int) -> None:
        """Quote what grep answers to the question, within the section that it stands in."""
        words = self.asked.topic.strip().rstrip("?.! ")
        sentence = words + "?" if words.count(" ") > 1 else f"What about {words}?"
        for ref in self.scope or [self.place]:
            hits = attempt(grep, sentence, ref, limit)
            ranked = getattr(hits, "ranked", False)
            if not ranked:  # it has the signs of a pattern
                for hit in attempt(search, self.asked.topic, ref, limit):
                    self.around(hit, 11)
                continue
            if hits.note:  # type: ignore[attr-defined]
                self.report.fact(hits.note)  # type: ignore[attr-defined]
            for hit in hits:
                head, first, last = span(hit.ref)
                if first:
                    title = f"In {hit.note}:" if hit.note else "Fits:"
                    self.report.quote(title, head, first, last)
                else:
                    self.around(hit, 11)

    def around(self, hit: Any, rows: int) -> None:
        """Quote a hit with the lines around it, within what it stands in."""
        head, first, _ = span(hit.ref)
        line = hit.line or first
        if not line:
            return
        stands = [(at, item) for at, item in self.report.items(head) if at[1] <= line <= at[2]]
        start, end, title = line - rows // 2, line + rows - 2, "Fits:"
        if stands:
            at, item = max(stands, key=lambda found: found[0][1])
            title = f"In {item.kind} {item.name}:"
            start = at[1] if line - at[1] <= rows + 3 else max(at[1], start)
            end = min(at[2], max(end, start + rows))
        self.report.quote(title, head, max(1, start), end)
