"""Read the syntax of a regular expression into a tree (regex_tree.py).

RE2 decides what is valid; this parser comes after it, for the syntax that RE2 has and for the
lookaround and backreferences that it has not. What it does not know it refuses (`Unknown`), and
the search goes on with RE2 alone.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

from rlm_mcp.corpus.search.regex_tree import (  # fmt: skip
    ALL_BYTES,
    NEWLINE_BYTE,
    WORD_BYTES,
    Alternation,
    Assertion,
    ByteClass,
    Concatenation,
    ParsedRegex,
    RegexNode,
    Repetition,
    UnsupportedSyntax,
    fold_case,
)


def _char_set(chars: str) -> int:
    bits = 0
    for char in chars:
        bits |= 1 << ord(char)
    return bits


DIGIT_BYTES = _char_set(string.digits)
SPACE_BYTES = _char_set("\t\n\f\r ")
_ESCAPED_SETS = {"d": DIGIT_BYTES, "w": WORD_BYTES, "s": SPACE_BYTES}
_CONTROLS = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_POSIX = {
    "alnum": _char_set(string.ascii_letters + string.digits),
    "alpha": _char_set(string.ascii_letters),
    "ascii": (1 << 128) - 1,
    "blank": _char_set("\t "),
    "cntrl": _char_set("".join(map(chr, [*range(32), 127]))),
    "digit": DIGIT_BYTES,
    "graph": _char_set("".join(map(chr, range(33, 127)))),
    "lower": _char_set(string.ascii_lowercase),
    "print": _char_set("".join(map(chr, range(32, 127)))),
    "punct": _char_set(string.punctuation),
    "space": _char_set("\t\n\v\f\r "),
    "upper": _char_set(string.ascii_uppercase),
    "word": WORD_BYTES,
    "xdigit": _char_set(string.hexdigits),
}


def parse_regex(text: str, *, ignore_case: bool = False, lines: bool = True) -> ParsedRegex:
    """Read a pattern. With `lines`, no class holds the newline. Raises Unknown."""
    return _RegexParser(text, ignore_case, lines).parse_pattern()


@dataclass(slots=True)
class _RegexFlags:
    fold: bool
    dot_all: bool = False


class _RegexParser:
    """Recursive descent over the text of a pattern."""

    def __init__(self, text: str, ignore_case: bool, lines: bool) -> None:
        self.text, self.at = text, 0
        self.mask = ALL_BYTES & ~NEWLINE_BYTE if lines else ALL_BYTES
        self.flags = _RegexFlags(ignore_case)
        self.loose = self.whole_text = self.newline = False
        self.groups: list[RegexNode | None] = []
        self.names: dict[str, int] = {}
        self.depth = 0

    def parse_pattern(self) -> ParsedRegex:
        node = self._parse_alternation()
        if self.at < len(self.text):
            raise UnsupportedSyntax("an unmatched )")
        return ParsedRegex(node, self.loose, self.whole_text, self.newline)

    def _has_more(self) -> bool:
        return self.at < len(self.text)

    def _looking_at(self, what: str) -> bool:
        return self.text.startswith(what, self.at)

    def _take_if(self, what: str) -> bool:
        if self._looking_at(what):
            self.at += len(what)
            return True
        return False

    def _next_char(self) -> str:
        if not self._has_more():
            raise UnsupportedSyntax("the end of the pattern")
        self.at += 1
        return self.text[self.at - 1]

    def _take_until(self, mark: str) -> str:
        end = self.text.find(mark, self.at)
        if end < 0:
            raise UnsupportedSyntax(f"a missing {mark}")
        part, self.at = self.text[self.at : end], end + len(mark)
        return part

    def _parse_alternation(self) -> RegexNode:
        self.depth += 1
        if self.depth > 100:
            raise UnsupportedSyntax("very deep nesting")
        nodes = [self._parse_concat()]
        while self._take_if("|"):
            nodes.append(self._parse_concat())
        self.depth -= 1
        return nodes[0] if len(nodes) == 1 else Alternation(tuple(nodes))

    def _parse_concat(self) -> RegexNode:
        nodes: list[RegexNode] = []
        while self._has_more() and not self._looking_at("|") and not self._looking_at(")"):
            node = self._parse_atom()
            if node is None:
                continue
            node = self._parse_repeats(node)
            if isinstance(node, Concatenation):
                nodes.extend(node.nodes)
            else:
                nodes.append(node)
        return nodes[0] if len(nodes) == 1 else Concatenation(tuple(nodes))

    def _parse_repeats(self, node: RegexNode) -> RegexNode:
        while (bounds := self._parse_bounds()) is not None:
            low, high = bounds
            self._take_if("?")
            if self._take_if("+"):
                self.loose = True  # possessive, which RE2 has not
            node = Repetition(node, low, high)
        return node

    def _parse_bounds(self) -> tuple[int, int] | None:
        for mark, bounds in (("*", (0, -1)), ("+", (1, -1)), ("?", (0, 1))):
            if self._take_if(mark):
                return bounds
        end = self.text.find("}", self.at)
        if not self._looking_at("{") or end < 0:
            return None
        low, comma, high = self.text[self.at + 1 : end].partition(",")
        if not low.isdecimal() or not (high.isdecimal() or high == ""):
            return None
        self.at = end + 1
        return int(low), (int(high) if high else -1) if comma else int(low)

    def _parse_atom(self) -> RegexNode | None:
        char = self._next_char()
        if char == "(":
            return self._parse_group()
        if char == "[":
            return self._parse_class()
        if char == "\\":
            return self._parse_escape()
        if char in "^$":
            return Assertion(char)
        if char == ".":
            return self._byte_class(ALL_BYTES if self.flags.dot_all else ALL_BYTES & ~NEWLINE_BYTE)
        return self._char_node(char)

    def _byte_class(self, bits: int) -> ByteClass:
        return ByteClass((fold_case(bits) if self.flags.fold else bits) & self.mask)

    def _char_node(self, char: str) -> RegexNode:
        if ord(char) < 128:
            self.newline |= char == "\n"
            return self._byte_class(1 << ord(char))
        if self.flags.fold:
            raise UnsupportedSyntax("case of letters other than ASCII")
        return Concatenation(
            tuple(ByteClass(1 << byte) for byte in char.encode("utf-8", "surrogateescape"))
        )

    def _parse_group(self) -> RegexNode | None:
        if not self._take_if("?"):
            return self._parse_body(capture="")
        for mark in ("=", "!", "<=", "<!"):
            if self._take_if(mark):
                self._parse_body(capture=None)
                self.loose = True
                return Concatenation(())
        if self._take_if(">"):
            self.loose = True
            return self._parse_body(capture=None)
        if self._take_if("P="):
            return self._backreference(self._take_until(")"))
        if self._take_if("P<") or self._take_if("<"):
            return self._parse_body(capture=self._take_until(">"))
        if self._take_if("#"):
            self._take_until(")")
            return None
        return self._parse_flags()

    def _parse_flags(self) -> RegexNode | None:
        before, on = _RegexFlags(self.flags.fold, self.flags.dot_all), True
        while (char := self._next_char()) not in ":)":
            if char == "-":
                on = False
            elif char == "i":
                self.flags.fold = on
            elif char == "s":
                self.flags.dot_all = on
            elif char not in "mU" or (char == "m" and not on):
                raise UnsupportedSyntax(f"the flag {char}")
        if char == ")":
            return None
        node = self._parse_body(capture=None)
        self.flags = before
        return node

    def _parse_body(self, capture: str | None) -> RegexNode:
        number = len(self.groups)
        if capture is not None:
            self.groups.append(None)
            if capture:
                self.names[capture] = number
        before = _RegexFlags(self.flags.fold, self.flags.dot_all)
        node = self._parse_alternation()
        self.flags = before
        if not self._take_if(")"):
            raise UnsupportedSyntax("a missing )")
        if capture is not None:
            self.groups[number] = node
        return node

    def _backreference(self, name: str) -> RegexNode:
        """A backreference matches nothing that its group does not."""
        number = self.names.get(name, -1) if not name.isdecimal() else int(name) - 1
        node = self.groups[number] if 0 <= number < len(self.groups) else None
        if node is None:
            raise UnsupportedSyntax("a reference to a group that is not before it")
        self.loose = True
        return node

    def _parse_escape(self) -> RegexNode:
        char = self._next_char()
        if char in "bB":
            return Assertion("\\" + char)
        if char in "AzZ":
            self.whole_text = True
            return Assertion("\\A" if char == "A" else "\\z")
        if char.lower() in _ESCAPED_SETS:
            bits = _ESCAPED_SETS[char.lower()]
            return self._byte_class(bits if char.islower() else ALL_BYTES & ~bits)
        if char == "Q":
            end = self.text.find("\\E", self.at)
            end = len(self.text) if end < 0 else end
            part, self.at = self.text[self.at : end], end + 2
            return Concatenation(tuple(self._char_node(c) for c in part))
        if char in "123456789" and not (self.text[self.at : self.at + 1] or "x").isdecimal():
            return self._backreference(char)
        return self._char_node(self._escaped_char(char))

    def _escaped_char(self, char: str) -> str:
        """Return the character that an escape stands for."""
        if char in _CONTROLS:
            return chr(_CONTROLS[char])
        if char == "x":
            digits = (
                self._take_until("}")
                if self._take_if("{")
                else self._next_char() + self._next_char()
            )
            code = int(digits, 16) if all(c in string.hexdigits for c in digits) else 256
            if code > 127:
                raise UnsupportedSyntax("a character other than ASCII")
            return chr(code)
        if char in "01234567":
            digits = char
            while len(digits) < 3 and self._has_more() and self.text[self.at] in "01234567":
                digits += self._next_char()
            if int(digits, 8) > 127 or (digits[0] != "0" and len(digits) < 3):
                raise UnsupportedSyntax("an octal escape")
            return chr(int(digits, 8))
        if ord(char) < 128 and not char.isalnum():
            return char
        raise UnsupportedSyntax(f"the escape \\{char}")

    def _parse_class(self) -> RegexNode:
        negated = self._take_if("^")
        bits, first = 0, True
        while first or not self._looking_at("]"):
            first = False
            if self._take_if("[:"):
                name = self._take_until(":]")
                inverse = name.startswith("^")
                if name.lstrip("^") not in _POSIX:
                    raise UnsupportedSyntax(f"the class {name}")
                one = _POSIX[name.lstrip("^")]
                bits |= ALL_BYTES & ~one if inverse else one
            else:
                bits |= self._parse_range()
        self.at += 1
        if self.flags.fold:
            bits = fold_case(bits)
        return ByteClass((ALL_BYTES & ~bits if negated else bits) & self.mask)

    def _parse_range(self) -> int:
        low = self._class_member()
        if isinstance(low, int):
            return low
        if self._looking_at("-") and not self._looking_at("-]"):
            self.at += 1
            high = self._class_member()
            if isinstance(high, int) or ord(high) < ord(low):
                raise UnsupportedSyntax("a range of classes")
            return sum(1 << code for code in range(ord(low), ord(high) + 1))
        return 1 << ord(low)

    def _class_member(self) -> str | int:
        """Return a character of a class, or the set of an escape like \\w."""
        char = self._next_char()
        if char == "\\":
            char = self._next_char()
            if char.lower() in _ESCAPED_SETS:
                bits = _ESCAPED_SETS[char.lower()]
                return bits if char.islower() else ALL_BYTES & ~bits
            return self._escaped_char(char)
        if ord(char) > 127:
            raise UnsupportedSyntax("a character other than ASCII in a class")
        return char
