"""Read the syntax of a regular expression into a tree (pattern.py).

RE2 decides what is valid; this parser comes after it, for the syntax that RE2 has and for the
lookaround and backreferences that it has not. What it does not know it refuses (`Unknown`), and
the search goes on with RE2 alone.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

from rlm_mcp.corpus.pattern import (
    BYTES,
    NEWLINE,
    WORD,
    Edge,
    Either,
    Many,
    Node,
    One,
    Pattern,
    Row,
    Unknown,
    folded,
)  # fmt: skip


def _set(chars: str) -> int:
    bits = 0
    for char in chars:
        bits |= 1 << ord(char)
    return bits


DIGIT = _set(string.digits)
SPACE = _set("\t\n\f\r ")
_ESCAPED_SETS = {"d": DIGIT, "w": WORD, "s": SPACE}
_CONTROLS = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_POSIX = {
    "alnum": _set(string.ascii_letters + string.digits),
    "alpha": _set(string.ascii_letters),
    "ascii": (1 << 128) - 1,
    "blank": _set("\t "),
    "cntrl": _set("".join(map(chr, [*range(32), 127]))),
    "digit": DIGIT,
    "graph": _set("".join(map(chr, range(33, 127)))),
    "lower": _set(string.ascii_lowercase),
    "print": _set("".join(map(chr, range(32, 127)))),
    "punct": _set(string.punctuation),
    "space": _set("\t\n\v\f\r "),
    "upper": _set(string.ascii_uppercase),
    "word": WORD,
    "xdigit": _set(string.hexdigits),
}


def parse(text: str, *, ignore_case: bool = False, lines: bool = True) -> Pattern:
    """Read a pattern. With `lines`, no class holds the newline. Raises Unknown."""
    return _Parser(text, ignore_case, lines).pattern()


@dataclass(slots=True)
class _Flags:
    fold: bool
    dot_all: bool = False


class _Parser:
    """Recursive descent over the text of a pattern."""

    def __init__(self, text: str, ignore_case: bool, lines: bool) -> None:
        self.text, self.at = text, 0
        self.mask = BYTES & ~NEWLINE if lines else BYTES
        self.flags = _Flags(ignore_case)
        self.loose = self.whole_text = self.newline = False
        self.groups: list[Node | None] = []
        self.names: dict[str, int] = {}
        self.depth = 0

    def pattern(self) -> Pattern:
        node = self._either()
        if self.at < len(self.text):
            raise Unknown("an unmatched )")
        return Pattern(node, self.loose, self.whole_text, self.newline)

    def _more(self) -> bool:
        return self.at < len(self.text)

    def _looking(self, what: str) -> bool:
        return self.text.startswith(what, self.at)

    def _take(self, what: str) -> bool:
        if self._looking(what):
            self.at += len(what)
            return True
        return False

    def _next(self) -> str:
        if not self._more():
            raise Unknown("the end of the pattern")
        self.at += 1
        return self.text[self.at - 1]

    def _until(self, mark: str) -> str:
        end = self.text.find(mark, self.at)
        if end < 0:
            raise Unknown(f"a missing {mark}")
        part, self.at = self.text[self.at : end], end + len(mark)
        return part

    def _either(self) -> Node:
        self.depth += 1
        if self.depth > 100:
            raise Unknown("very deep nesting")
        nodes = [self._row()]
        while self._take("|"):
            nodes.append(self._row())
        self.depth -= 1
        return nodes[0] if len(nodes) == 1 else Either(tuple(nodes))

    def _row(self) -> Node:
        nodes: list[Node] = []
        while self._more() and not self._looking("|") and not self._looking(")"):
            node = self._atom()
            if node is None:
                continue
            node = self._counted(node)
            if isinstance(node, Row):
                nodes.extend(node.nodes)
            else:
                nodes.append(node)
        return nodes[0] if len(nodes) == 1 else Row(tuple(nodes))

    def _counted(self, node: Node) -> Node:
        while (bounds := self._bounds()) is not None:
            low, high = bounds
            self._take("?")
            if self._take("+"):
                self.loose = True  # possessive, which RE2 has not
            node = Many(node, low, high)
        return node

    def _bounds(self) -> tuple[int, int] | None:
        for mark, bounds in (("*", (0, -1)), ("+", (1, -1)), ("?", (0, 1))):
            if self._take(mark):
                return bounds
        end = self.text.find("}", self.at)
        if not self._looking("{") or end < 0:
            return None
        low, comma, high = self.text[self.at + 1 : end].partition(",")
        if not low.isdecimal() or not (high.isdecimal() or high == ""):
            return None
        self.at = end + 1
        return int(low), (int(high) if high else -1) if comma else int(low)

    def _atom(self) -> Node | None:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return self._class()
        if char == "\\":
            return self._escape()
        if char in "^$":
            return Edge(char)
        if char == ".":
            return self._one(BYTES if self.flags.dot_all else BYTES & ~NEWLINE)
        return self._char(char)

    def _one(self, bits: int) -> One:
        return One((folded(bits) if self.flags.fold else bits) & self.mask)

    def _char(self, char: str) -> Node:
        if ord(char) < 128:
            self.newline |= char == "\n"
            return self._one(1 << ord(char))
        if self.flags.fold:
            raise Unknown("case of letters other than ASCII")
        return Row(tuple(One(1 << byte) for byte in char.encode("utf-8", "surrogateescape")))

    def _group(self) -> Node | None:
        if not self._take("?"):
            return self._inside(capture="")
        for mark in ("=", "!", "<=", "<!"):
            if self._take(mark):
                self._inside(capture=None)
                self.loose = True
                return Row(())
        if self._take(">"):
            self.loose = True
            return self._inside(capture=None)
        if self._take("P="):
            return self._same(self._until(")"))
        if self._take("P<") or self._take("<"):
            return self._inside(capture=self._until(">"))
        if self._take("#"):
            self._until(")")
            return None
        return self._flagged()

    def _flagged(self) -> Node | None:
        before, on = _Flags(self.flags.fold, self.flags.dot_all), True
        while (char := self._next()) not in ":)":
            if char == "-":
                on = False
            elif char == "i":
                self.flags.fold = on
            elif char == "s":
                self.flags.dot_all = on
            elif char not in "mU" or (char == "m" and not on):
                raise Unknown(f"the flag {char}")
        if char == ")":
            return None
        node = self._inside(capture=None)
        self.flags = before
        return node

    def _inside(self, capture: str | None) -> Node:
        number = len(self.groups)
        if capture is not None:
            self.groups.append(None)
            if capture:
                self.names[capture] = number
        before = _Flags(self.flags.fold, self.flags.dot_all)
        node = self._either()
        self.flags = before
        if not self._take(")"):
            raise Unknown("a missing )")
        if capture is not None:
            self.groups[number] = node
        return node

    def _same(self, name: str) -> Node:
        """A backreference matches nothing that its group does not."""
        number = self.names.get(name, -1) if not name.isdecimal() else int(name) - 1
        node = self.groups[number] if 0 <= number < len(self.groups) else None
        if node is None:
            raise Unknown("a reference to a group that is not before it")
        self.loose = True
        return node

    def _escape(self) -> Node:
        char = self._next()
        if char in "bB":
            return Edge("\\" + char)
        if char in "AzZ":
            self.whole_text = True
            return Edge("\\A" if char == "A" else "\\z")
        if char.lower() in _ESCAPED_SETS:
            bits = _ESCAPED_SETS[char.lower()]
            return self._one(bits if char.islower() else BYTES & ~bits)
        if char == "Q":
            end = self.text.find("\\E", self.at)
            end = len(self.text) if end < 0 else end
            part, self.at = self.text[self.at : end], end + 2
            return Row(tuple(self._char(c) for c in part))
        if char in "123456789" and not (self.text[self.at : self.at + 1] or "x").isdecimal():
            return self._same(char)
        return self._char(self._escaped(char))

    def _escaped(self, char: str) -> str:
        """Return the character that an escape stands for."""
        if char in _CONTROLS:
            return chr(_CONTROLS[char])
        if char == "x":
            digits = self._until("}") if self._take("{") else self._next() + self._next()
            code = int(digits, 16) if all(c in string.hexdigits for c in digits) else 256
            if code > 127:
                raise Unknown("a character other than ASCII")
            return chr(code)
        if char in "01234567":
            digits = char
            while len(digits) < 3 and self._more() and self.text[self.at] in "01234567":
                digits += self._next()
            if int(digits, 8) > 127 or (digits[0] != "0" and len(digits) < 3):
                raise Unknown("an octal escape")
            return chr(int(digits, 8))
        if ord(char) < 128 and not char.isalnum():
            return char
        raise Unknown(f"the escape \\{char}")

    def _class(self) -> Node:
        negated = self._take("^")
        bits, first = 0, True
        while first or not self._looking("]"):
            first = False
            if self._take("[:"):
                name = self._until(":]")
                inverse = name.startswith("^")
                if name.lstrip("^") not in _POSIX:
                    raise Unknown(f"the class {name}")
                one = _POSIX[name.lstrip("^")]
                bits |= BYTES & ~one if inverse else one
            else:
                bits |= self._range()
        self.at += 1
        if self.flags.fold:
            bits = folded(bits)
        return One((BYTES & ~bits if negated else bits) & self.mask)

    def _range(self) -> int:
        low = self._member()
        if isinstance(low, int):
            return low
        if self._looking("-") and not self._looking("-]"):
            self.at += 1
            high = self._member()
            if isinstance(high, int) or ord(high) < ord(low):
                raise Unknown("a range of classes")
            return sum(1 << code for code in range(ord(low), ord(high) + 1))
        return 1 << ord(low)

    def _member(self) -> str | int:
        """Return a character of a class, or the set of an escape like \\w."""
        char = self._next()
        if char == "\\":
            char = self._next()
            if char.lower() in _ESCAPED_SETS:
                bits = _ESCAPED_SETS[char.lower()]
                return bits if char.islower() else BYTES & ~bits
            return self._escaped(char)
        if ord(char) > 127:
            raise Unknown("a character other than ASCII in a class")
        return char
