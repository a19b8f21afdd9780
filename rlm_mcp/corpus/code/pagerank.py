"""Rank documents and definitions by who uses them: PageRank over references, with numpy.

The method is that of Page and others (1999), over a graph whose nodes are documents and whose
edges are uses of names; a name that many documents define says little and counts little. A name
that a document imports leads to where it is imported from, or nowhere; one that its language has
of its own says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlm_mcp.corpus.code.grammar import Definition, ParsedDocument
from rlm_mcp.corpus.code.language import builtin_names, language_of

DAMPING = 0.85
ITERATIONS = 40
MAX_DEFINERS = 12
"""Documents that define a name above which its uses say nothing."""
MIN_NAME_CHARS = 3
RATED_LIMIT = 5_000
"""Definitions that are rated; a map of them takes about 80,000 tokens."""

_KIND, _DEPTH = Definition._fields.index("kind"), Definition._fields.index("depth")


class RatedDefinition(NamedTuple):
    """A definition, and how much of the ranks of its users it draws."""

    path: str
    definition: Definition
    weight: float


def rate_definitions(
    parsed: Mapping[str, ParsedDocument], limit: int = RATED_LIMIT
) -> list[RatedDefinition]:
    """Return definitions of some documents, the most used first, at most about `limit`."""
    import numpy as np  # 100 ms

    paths = list(parsed)
    items = list(parsed.values())
    slots = _build_slots(items)
    uses = _collect_uses(paths, items, slots)
    if not uses.users and not uses.targets:
        return _unused_definitions(parsed, limit)
    # A use of a name is an edge to each of its slots, and those of a name lie side by side.
    counts = np.array(slots.counts, np.int64)[uses.entries]
    starts = np.array(slots.starts, np.int64)[uses.entries]
    sources = np.repeat(np.array(uses.users, np.int64), counts)
    drawn = np.arange(len(sources)) - np.repeat(counts.cumsum() - counts, counts)
    drawn += np.repeat(starts, counts)
    weights = np.repeat(np.array(uses.strengths) / counts, counts)
    sources = np.concatenate((sources, np.array(uses.importers, np.int64)))
    drawn = np.concatenate((drawn, np.array(uses.targets, np.int64)))
    weights = np.concatenate((weights, np.array(uses.shares)))
    targets = np.array(slots.documents)[drawn]
    weights *= np.array(slots.depths)[drawn]
    out = np.bincount(sources, weights, len(paths))
    share = weights / out[sources]
    rank = np.full(len(paths), 1.0 / len(paths))
    dangling = out == 0
    for _ in range(ITERATIONS):
        flow = np.bincount(targets, rank[sources] * share, len(paths))
        rank = (1 - DAMPING) / len(paths) + DAMPING * (flow + rank[dangling].sum() / len(paths))
    flows = np.bincount(drawn, rank[sources] * share, len(slots.documents))
    rated = []
    for slot in np.argsort(-flows, kind="stable")[:limit].tolist():
        path = paths[slots.documents[slot]]
        rated.append(
            RatedDefinition(
                path, _first_definition(parsed[path], slots.names[slot]), float(flows[slot])
            )
        )
    if len(rated) < limit:
        known = {(item.path, item.definition.name) for item in rated}
        rest = _unused_definitions(parsed, limit)
        rated += [item for item in rest if (item.path, item.definition.name) not in known]
    return rated[:limit]


def _first_definition(item: ParsedDocument, name: str) -> Definition:
    """Return the first definition of a name, one that is no field before one that is."""
    names, kinds = item.names, item.read_column(_KIND)
    first = place = names.index(name)
    while kinds[place] == "field" and name in names[place + 1 :]:
        place = names.index(name, place + 1)
    best = first if kinds[place] == "field" else place
    return Definition._make(column[best] for column in item.columns)


def _unused_definitions(parsed: Mapping[str, ParsedDocument], limit: int) -> list[RatedDefinition]:
    """Return definitions in the order of their documents, once each."""
    found: dict[tuple[str, str], RatedDefinition] = {}
    for path, item in parsed.items():
        for definition in item.definitions if len(found) < limit else ():
            if definition.kind != "field":
                found.setdefault((path, definition.name), RatedDefinition(path, definition, 0.0))
    return list(found.values())[:limit]


class _NameSlots(NamedTuple):
    """Pairs of a name and a document that defines it; those of a name lie side by side."""

    entries: dict[str, int]
    """The number of each name that tells something: few documents define it."""
    starts: list[int]
    counts: list[int]
    names: list[str]
    documents: list[int]
    depths: list[float]
    """What a use weighs: less for what is defined inside of something else."""


def _build_slots(items: Sequence[ParsedDocument]) -> _NameSlots:
    used = set().union(*(item.name_counts[0] for item in items))
    definers: dict[str, list[tuple[int, float]]] = {}
    for number, item in enumerate(items):
        if not used.isdisjoint(item.names):
            weighed: dict[str, float] = {}
            some = (item.names, item.read_column(_KIND), item.read_column(_DEPTH))
            for name, kind, depth in zip(*some, strict=True):
                if name in used and kind != "field":
                    weighed[name] = max(weighed.get(name, 0.1), 0.1 if depth else 1.0)
            for name, weight in weighed.items():
                definers.setdefault(name, []).append((number, weight))
    slots = _NameSlots({}, [], [], [], [], [])
    for name, found in definers.items():
        if len(found) <= MAX_DEFINERS and len(name) >= MIN_NAME_CHARS:
            slots.entries[name] = len(slots.starts)
            slots.starts.append(len(slots.names))
            slots.counts.append(len(found))
            slots.names.extend([name] * len(found))
            slots.documents.extend(number for number, _ in found)
            slots.depths.extend(weight for _, weight in found)
    return slots


class _UseEdges(NamedTuple):
    """Uses that lead to another document: of names, and of names that are imported."""

    users: list[int]
    entries: list[int]
    strengths: list[float]
    importers: list[int]
    targets: list[int]
    """The slot that an imported name is that of."""
    shares: list[float]


def _collect_uses(
    paths: Sequence[str], items: Sequence[ParsedDocument], slots: _NameSlots
) -> _UseEdges:
    uses = _UseEdges([], [], [], [], [], [])
    parts: dict[int, frozenset[str]] = {}
    for number, item in enumerate(items):
        counts, imported = item.name_counts
        own = builtin_names(language_of(paths[number]))
        for name in (counts.keys() & slots.entries.keys()) - set(item.names):
            entry = slots.entries[name]
            strength = counts[name] ** 0.5 * (0.2 if name[0] == "_" else 1.0)
            module = imported.get(name)
            if not module and name in own:
                continue
            if module is None:
                uses.users.append(number)
                uses.entries.append(entry)
                uses.strengths.append(strength)
                continue
            found = []
            for slot in range(slots.starts[entry], slots.starts[entry] + slots.counts[entry]):
                place = slots.documents[slot]
                if module and place not in parts:
                    parts[place] = frozenset(re.split(r"\W+", paths[place]))
                if not module or module in parts[place]:
                    found.append(slot)
            uses.importers.extend([number] * len(found))
            uses.targets.extend(found)
            uses.shares.extend([3.0 * strength / max(1, len(found))] * len(found))
    return uses
