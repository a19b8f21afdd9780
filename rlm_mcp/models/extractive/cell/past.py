"""What a history says: who, when, how often, and in which commits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rlm_mcp.models.extractive.cell.report import (
    Report,
    aside,
    attempt,
    code_of,
    does,
    some,
    span,
    stage,
)
from rlm_mcp.sdk import peek, search

if TYPE_CHECKING:
    from rlm_mcp.models.extractive.question import Question

COMMITS = 12
NO_SUBJECT = (
    r"(latest|last|recent|newest|chang|commit|releas|version|since|before|after|year|month)"
)
"""Words that ask for commits and say nothing about them."""


class Past:
    """Answers about one history; `code` is the variable with its source, where there is one."""

    def __init__(
        self, report: Report, asked: Question, place: str, variable: Any, code: Any
    ) -> None:
        self.report, self.asked = report, asked
        self.place, self.variable, self.code = place, variable, code
        self.paths = self.documents()
        self.revs = stage(self.range) or ""
        self.people = stage(self.authors) or []

    def answer(self) -> None:
        """Add what is found."""
        asked = self.asked
        narrow = bool(self.paths or self.people or self.revs or asked.since or asked.until)
        whose = asked.names if self.who() and not self.paths else []
        if [name for name in whose if stage(self.lines, name)]:
            return
        if "together" in asked.about and self.paths:
            stage(self.together)
            return
        if "churn" in asked.about:
            stage(self.churn)
            return
        if "releases" in asked.about and stage(self.releases):
            return
        if "first" in asked.about:
            stage(self.first)
            return
        if "authors" in asked.about or "author" in asked.counted:
            stage(self.contributors)
            return
        listed = narrow or "latest" in asked.about or "commit" in asked.counted
        if listed and stage(self.log):
            return
        looks = [self.changes, self.messages] if asked.names else [self.messages, self.changes]
        for look in looks:
            stage(look)
        if re.search(r"\b(?:which|what) (?:release|version|tag)\b", asked.text, re.IGNORECASE):
            stage(self.released)

    def who(self) -> bool:
        """Say whether the question asks for a person."""
        return bool(re.search(r"\bwho\b|\bblame\b", self.asked.text, re.IGNORECASE))

    def documents(self) -> list[str]:
        """Return the paths that the question names, as the repository has or had them."""
        found = []
        for name in self.asked.files:
            own = name.rstrip("/")
            known: list[str] = []
            if self.code is not None:
                known = attempt(self.code.files, own) or attempt(self.code.files, "**/" + own)
                if not known and attempt(self.code.files, own + "/**"):
                    known = [own]
            if not known and not attempt(self.variable.log, own, 1):
                known = self.once(own)
            known.sort(key=lambda path: (aside(":" + path), path.count("/")))
            found.append(known[0] if known else own)
        return found

    def once(self, name: str) -> list[str]:
        """Return the paths of documents called so that the history has anywhere."""
        rows = self.variable.churn(limit=100_000)["files"]
        return [row["path"] for row in rows if row["path"].endswith("/" + name)]

    def range(self) -> str:
        """Return the revisions that the question names, as A..B; nothing where it names none."""
        text = self.asked.text
        if not re.search(r"\d", text):
            return ""
        plain = self.refs()
        known = [plain[name] for name in self.named(plain)]
        known = known or [
            tag for version in self.asked.versions if (tag := self.tag(version, plain))
        ]
        if not known:
            return ""
        text = text.lower()
        if len(known) > 1:
            return f"{known[0]}..{known[1]}"
        if re.search(r"\b(?:since|after|from)\b", text):
            return f"{known[0]}..HEAD"
        if re.search(r"\b(?:before|until|up to)\b", text):
            return known[0]
        order = sorted((self.number(tag), tag) for tag in plain if self.number(tag))
        below = [tag for number, tag in order if number < self.number(known[0])]
        return f"{plain[below[-1]]}..{known[0]}" if below else known[0]

    def refs(self) -> dict[str, str]:
        """Return the branches and tags by their short names."""
        return {re.sub(r"^(?:refs/)?(?:tags/)?", "", name): name for name in self.variable.refs()}

    def named(self, plain: dict[str, str]) -> list[str]:
        """Return the numbered tags that the question names in full, in its order."""
        places = []
        for name in plain:
            whole = rf"(?<![\w./-]){re.escape(name)}(?![\w/-]|\.\w)"
            found = re.search(whole, self.asked.text) if self.number(name) else None
            if found:
                places.append((found.start(), name))
        return [name for _, name in sorted(places)]

    def releases(self) -> bool:
        """Tell the newest releases: tags with a number, highest first."""
        plain = self.refs()
        order = sorted((self.number(tag), tag) for tag in plain if self.number(tag))
        self.report.fact(f"{some(len(order), 'tag')} of {self.place} with the number of a release")
        for _, tag in order[::-1][:5]:
            rows = str(peek(f"{self.place}:{plain[tag]}", 4)).split("\n")
            day = next((row[5:].strip()[:10] for row in rows if row.startswith("Date:")), "")
            commit = rows[0].removeprefix("commit ")[:12]
            self.report.fact(f"{tag}: {day} {self.place}:{commit}")
        return bool(order)

    def number(self, tag: str) -> tuple[int, ...]:
        """Return the numbers of a release's tag; nothing for a branch or a pre-release."""
        found = re.fullmatch(r"[^\d/]{0,20}?v?(\d+(?:\.\d+)+)", tag)
        return tuple(int(part) for part in found[1].split(".")) if found else ()

    def tag(self, version: str, plain: dict[str, str]) -> str:
        """Return the tag that a version means."""
        bare = version.lower().lstrip("v")
        fits = [name for name in plain if re.fullmatch(r"\D*" + re.escape(bare), name.lower())]
        return plain[min(fits, key=len)] if fits else ""

    def authors(self) -> list[str]:
        """Return the authors that the question names, by name or by the head of an address."""
        text = self.asked.text
        said = set(re.findall(r"\b(?:by|did|has|from|of|does)\s+@?([\w-]{2,})", text))
        said |= set(re.findall(r"\b([\w-]{2,})'s?\s+(?:commits?|changes?|work)\b", text))
        if not said:
            return []
        rows = attempt(self.variable.authors, limit=100_000)
        whole = [row["author"] for row in rows if self.says(row["author"])]
        if whole:
            return [max(whole, key=len)]
        small = {word.lower() for word in said} - {"it", "we", "he", "she", "they", "the", "you"}
        found = []
        for row in rows:
            names = set(re.findall(r"[\w-]{2,}", row["author"].lower()))
            mails = {mail.partition("@")[0].rpartition("+")[2].lower() for mail in row["emails"]}
            if small & (names | mails):
                found.append(row["author"])
        return found[:5]

    def says(self, name: str) -> bool:
        """Say whether the question holds the whole name of an author."""
        word = rf"(?<!\w){re.escape(name)}(?!\w)"
        return len(name) > 3 and bool(re.search(word, self.asked.text, re.IGNORECASE))

    def log(self) -> bool:
        """List the commits of a path, an author, a time or a range, and say how many there are."""
        asked, found, seen = self.asked, [], set()
        for path in self.paths or [""]:
            for author in self.people or [""]:
                for row in attempt(
                    self.variable.log, path, 100_000, author, asked.since, asked.until, self.revs
                ):
                    if row["ref"] not in seen:
                        seen.add(row["ref"])
                        found.append(row)
        found.sort(key=lambda row: row["date"], reverse=True)
        words = [
            f"in {self.revs}" * bool(self.revs),
            " and ".join(f"to {path}" for path in self.paths),
            " and ".join(f"by {author}" for author in self.people),
            f"since {asked.since}" * bool(asked.since),
            f"until {asked.until}" * bool(asked.until),
        ]
        said = " ".join(word for word in words if word)
        self.report.fact(f"{some(len(found), 'commit')} of {self.place} {said}".rstrip())
        fits = [row for row in found if self.fits(row["subject"])]
        if fits and len(fits) < len(found):
            self.report.fact(
                f"{len(fits):,} of them {does(len(fits), 'share')} a word with the question in the "
                "subject"
            )
        for row in ([*fits, *(row for row in found if row not in fits[:COMMITS])])[:COMMITS]:
            self.report.fact(self.line(row))
        self.report.more(len(found) - COMMITS, "commit")
        return bool(found)

    def fits(self, subject: str) -> bool:
        """Say whether a subject shares a word with the question that is no person's or path's."""
        persons = " ".join(self.people).lower()
        words = [word for word in self.asked.words if word not in persons and not word.isdigit()]
        words = [word for word in words if not re.match(NO_SUBJECT, word)]
        return any(re.search(rf"\b{re.escape(word)}", subject, re.IGNORECASE) for word in words)

    def line(self, row: Any) -> str:
        """Return a commit as a fact."""
        return f"{row['date'][:10]}, {row['author']}: {row['ref']} {code_of(row['subject'])}"

    def first(self) -> None:
        """Tell the oldest and the newest commit, and how many lie between."""
        found = attempt(self.variable.log, "", 1_000_000)
        self.report.fact(f"{some(len(found), 'commit')} in {self.place}")
        for label, row in zip(("The oldest", "The newest"), (found[-1:] + found[:1]), strict=False):
            self.report.fact(f"{label}, {self.line(row)}")

    def contributors(self) -> bool:
        """Tell who wrote most commits, of a path or a time where one is asked about."""
        asked = self.asked
        for path in self.paths or [""]:
            rows = attempt(
                self.variable.authors, path, asked.since, asked.until, self.revs, limit=100_000
            )
            where = f" to {path}" * bool(path)
            total = sum(row["commits"] for row in rows)
            many = f"{some(len(rows), 'author')} of {some(total, 'commit')}"
            self.report.fact(f"{many}{where}, by their names")
            for row in rows[:10]:
                self.report.fact(
                    f"{row['author']}: {some(row['commits'], 'commit')}, "
                    f"{row['first']} to {row['last']}; the last is {row['ref']}"
                )
            self.report.more(len(rows) - 10, "author", where.strip())
            for row in attempt(self.variable.log, path, 100_000)[-1:] if path else []:
                self.report.fact(f"The first commit{where}, {self.line(row)}")
        return True

    def lines(self, name: str) -> bool:
        """Tell who last changed the lines of a definition."""
        symbols = attempt(self.code.symbols, name, limit=3) if self.code is not None else []
        for item in symbols[:1]:
            head, start, end = span(item.ref)
            end = min(end, start + 2_000)
            rows = attempt(self.variable.blame, item.path, start, end)
            per: dict[str, list[Any]] = {}
            for row in rows:
                per.setdefault(row["author"], []).append(row)
            self.report.fact(
                f"{name}, {head}#L{start}-L{end}, was last changed in its "
                f"{some(len(rows), 'line')} by:"
            )
            for author, own in sorted(per.items(), key=lambda pair: -len(pair[1]))[:6]:
                newest = max(own, key=lambda row: row["date"])
                ref = f"{self.place}:{newest['commit'][:12]}" if newest["commit"] else ""
                self.report.fact(
                    f"{author or 'not committed yet'}: {some(len(own), 'line')}, the newest on "
                    f"{newest['date']} {ref} {code_of(newest['summary'])}"
                )
            return bool(rows)
        return False

    def together(self) -> None:
        """Tell which documents change with one."""
        for path in self.paths:
            found = attempt(self.variable.together, path, COMMITS)
            self.report.fact(
                f"{some(len(found), 'document')} changed most often with {path}:"
                if found
                else f"No document changed in a commit with {path}"
            )
            for row in found:
                share = round(100 * row["share"])
                self.report.fact(
                    f"{row['path']}: in {some(row['commits'], 'commit')}, {share} % of its own"
                )

    def churn(self) -> None:
        """Tell which documents had most changes."""
        found = self.variable.churn(limit=100_000)
        rows = sorted(found["files"], key=lambda row: -row["commits"])
        self.report.fact(
            f"{some(len(rows), 'document')} over {some(found['commits'], 'commit')} of "
            f"{self.place}; those with most commits: {found['note']}".rstrip()
        )
        for row in rows[:COMMITS]:
            size = f"{some(row['added'], 'line')} added, {row['removed']:,} removed"
            self.report.fact(f"{row['path']}: {some(row['commits'], 'commit')}, {size}")

    def released(self) -> None:
        """Tell the first tag that holds each of the commits that were found."""
        for ref in re.findall(rf"{self.place}:([0-9a-f]{{7,40}})", "\n".join(self.report.facts))[
            :6
        ]:
            tags = attempt(self.variable.tags, ref)
            first = f"the first tag with it is {tags[0]}" if tags else "no tag holds it"
            self.report.fact(f"Of {self.place}:{ref}, {first}")

    def messages(self) -> None:
        """Name the commits whose messages fit the question."""
        for hit in attempt(search, self.asked.topic, self.place, 5):
            head = hit.ref.split("#")[0]
            rows = str(peek(head, 12)).split("\n")
            indented = [row.strip() for row in rows if row.startswith("    ")]
            subject = [*indented, hit.text.strip()][0]
            if head not in "".join(self.report.facts):
                self.report.fact(f"A commit whose message fits: {head} {code_of(subject, 300)}")

    def changes(self) -> None:
        """Name the newest and the oldest commit that change a line with a name of the question."""
        names = self.asked.names
        words = [word for word in self.asked.words if not re.match(NO_SUBJECT, word)]
        for name in names[:3] or words[:2]:
            whole = rf"\b{re.escape(name)}\b" if re.fullmatch(r"[\w.]+", name) else re.escape(name)
            pattern = whole if names else f"(?i:{re.escape(name)})"
            found = attempt(self.variable.grep, pattern, limit=500)
            if not found and names:
                part = "" if getattr(found, "exact", True) else " that was searched"
                self.report.fact(f"No commit of {self.place}{part} changes a line with {name}")
            for label, commit in zip(
                ("newest", "oldest"), found[:1] + found[1:][-1:], strict=False
            ):
                many = f"{label} of {len(found)} commits" if len(found) > 1 else "only commit"
                self.report.fact(
                    f"The {many} with a changed line that holds {name}: {commit['ref']} "
                    f"{code_of(commit['subject'], 300)} ({commit['date'][:10]}, {commit['author']})"
                )
