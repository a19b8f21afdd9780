"""What a method of a variable answers, in a cell: records, and lists with a total."""

from __future__ import annotations

from typing import Any

from rlm_mcp.errors import did_you_mean


class CellRecord(dict[str, Any]):
    """An object that the host returned: a dict whose keys can be read as attributes.

    What has a ref and a text prints as these two, as a hit does; its repr is the whole dict.
    """

    __slots__ = ()

    def __str__(self) -> str:
        if not _prints_as_hit(self):
            return dict.__repr__(self)
        note = self.get("note")
        return f"{self['ref']}: {self['text']}" + (f"  [{note}]" if note else "")

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"this record has no {name!r}.{did_you_mean(name, self)}")


class CellList(list[Any]):
    """The list that a method returned: `total` counts all that there is, also what was cut off.

    `exact` is False where the total is a lower bound, and `note` says why.
    """

    total: int = 0
    exact: bool = True
    note: str = ""

    def __repr__(self) -> str:
        items = list.__repr__(self)
        return f"{count}: {items}" if (count := self._count_note()) else items

    def __str__(self) -> str:
        """Return a line for each item where all of them print as a ref and a text."""
        if not self or not all(type(item) is CellRecord and _prints_as_hit(item) for item in self):
            return repr(self)
        count = self._count_note()
        return "\n".join([f"{count}:"] * bool(count) + [str(item) for item in self])

    def _count_note(self) -> str:
        """Say how many of how many there are; nothing where all are here."""
        if len(self) >= self.total and self.exact:
            return ""
        total = f"{self.total:,}" if self.exact else f"at least {self.total:,}"
        return f"{len(self):,} of {total}" + (f" ({self.note})" if self.note else "")


def _prints_as_hit(found: CellRecord) -> bool:
    """Say whether a record prints as a ref and a text."""
    return type(found.get("ref")) is str and type(found.get("text")) is str


_LIST_KEYS = {"listed", "total", "exact", "note"}


def wrap_answer(value: Any) -> Any:
    """Turn what a method answered into lists and records."""
    if type(value) is dict and value.keys() == _LIST_KEYS and type(value["listed"]) is list:
        found = CellList(wrap_records(value["listed"]))
        found.total, found.exact, found.note = value["total"], value["exact"], value["note"]
        return found
    return wrap_records(value)


def wrap_records(value: Any) -> Any:
    """Turn the JSON objects of an answer into records."""
    if type(value) is dict:
        return CellRecord({key: wrap_records(item) for key, item in value.items()})
    if type(value) is list:
        return [wrap_records(item) for item in value]
    return value
