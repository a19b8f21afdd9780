"""Measure the session context: what is found again, what leaks, how fast, how much memory.

    python bench/session.py [--seeds 4] [--mb 40] [--large] [--shared FOLDER]

Generated sessions have planted facts that vary with the seed, in every layout. Shared transcripts
are read where they are present. Times are of this run on this machine; a throughput stands beside
`json.loads` over the same lines in the same process, which is its floor. --large adds a transcript
of 500 MB, a line of 50 MB and an editor's database of 1 GB.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench import session_asks, session_speed  # noqa: E402
from rlm_mcp import reply  # noqa: E402
from rlm_mcp.sessions.index import TranscriptIndex  # noqa: E402
from rlm_mcp.sessions.readers import choose_reader  # noqa: E402
from rlm_mcp.tokens import estimate_tokens  # noqa: E402
from tests.sessions.generator import measure  # noqa: E402
from tests.sessions.generator.layouts import LAYOUTS, Layout  # noqa: E402
from tests.sessions.generator.story import tell  # noqa: E402

COLUMNS = ("prompts", "files", "commands", "errors", "tasks", "refs", "ledger", "brief", "handoff",
           "cited", "audit", "alarms", "asked", "dead", "inject", "summary", "secrets",
           "touched")  # fmt: skip

SHARED = Path(__file__).parents[2] / "shared" / "data" / "sessions"
"""Real transcripts beside the checkout, measured where they are present."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--mb", type=int, default=40)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--shared", type=Path, default=SHARED)
    options = parser.parse_args()
    print(
        f"python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory(prefix="rlm-session-") as name:
        root = Path(name)
        for kind in ("CACHE", "STATE", "CONFIG"):
            (root / kind).mkdir()
            os.environ[f"RLM_MCP_{kind}_DIR"] = str(root / kind)
        passed = _layouts(root, options.seeds)
        passed &= _long(root)
        passed &= _identifiers(options.seeds)
        _shared(root, options.shared)
        session_speed.speed(root, options.mb)
        session_speed.hooks(root, options.mb // 2)
        if options.large:
            session_speed.large(root)
    return 0 if passed else 1


def _layouts(root: Path, seeds: int) -> bool:
    """Print a row for each layout: the worst value over the seeds."""
    print(f"\nGenerated, {seeds} seeds, worst of them; lists as precision/recall in percent")
    print(f"{'layout':17}" + "".join(f"{name:>9}" for name in COLUMNS))
    good = True
    for name, layout in LAYOUTS.items():
        worst: dict[str, tuple[float, str]] = {}
        for seed in range(seeds):
            folder = root / "layouts" / f"{seed}-{name}"
            for column, cell in _row(layout, folder, seed).items():
                if column not in worst or cell[0] < worst[column][0]:
                    worst[column] = cell
        print(f"{name:17}" + "".join(f"{worst[c][1]:>9}" for c in COLUMNS))
        good &= all(value >= 1 for column, (value, _) in worst.items() if column != "ledger")
    print("-: the layout does not hold it. Every cell but the ledger's has to be full: "
          f"{'yes' if good else 'NO'}")  # fmt: skip
    print("asked, through methods and without a model, where the layout holds the fact:")
    for number, question in session_asks.QUESTIONS.items():
        print(f"  {number:2} {question}")
    print("touched: entries of the agent's folder that all calls together changed")
    return good


def _row(layout: Layout, folder: Path, seed: int) -> dict[str, tuple[float, str]]:
    story = tell(seed)
    path = layout.write(story, folder)
    before = session_asks.seen(folder)
    session = measure.opened(path, folder)
    brief, handoff = session.methods["brief"](), session.methods["handoff"]()
    lists = {
        "prompts": measure.prompts(session, story, layout),
        "files": measure.files(session, story, layout),
        "commands": measure.commands(session, story, layout),
        "errors": None if "results" in layout.lacks else measure.errors(session, story),
        "tasks": None if "plan" in layout.lacks else measure.tasks(session, story),
        "ledger": measure.ledger_scores(session, story),
    }
    row = {name: _both(score) for name, score in lists.items()}
    shares = {
        "refs": measure.citations(session),
        "brief": measure.fact_recall(brief, story, layout),
        "handoff": measure.fact_recall(handoff, story, layout),
        "cited": measure.cited_lines(session, brief),
    }
    least = {"brief": 0.9, "handoff": 0.8}
    for name, score in shares.items():
        value = score.right / score.planted
        row[name] = (1.0 if value >= least.get(name, 1.0) else value, f"{value:.0%}")
    row["audit"] = row["alarms"] = (1.0, "-")
    if "compaction" not in layout.lacks:
        found, alarms = measure.audit_recall(session, story)
        row["audit"] = (found.right / found.planted, f"{found.right}/{found.planted}")
        row["alarms"] = (1.0 if alarms <= 2 else 0.0, str(alarms))
    leaks = measure.leaks(session, story, layout)
    names = {"dead": "dead branch", "inject": "injected", "summary": "summary as prompt",
             "secrets": "secrets"}  # fmt: skip
    for column, name in names.items():
        row[column] = (1.0 if not leaks[name] else 0.0, str(leaks[name]))
    asked = [right for right in session_asks.answers(session, story, layout).values()
             if right is not None]  # fmt: skip
    row["asked"] = (sum(asked) / len(asked), f"{sum(asked)}/{len(asked)}")
    session_asks.calls(session)
    session.close()
    touched = session_asks.touched(before, session_asks.seen(folder))
    row["touched"] = (1.0 if not touched else 0.0, str(touched))
    return row


def _both(score: measure.Score | None) -> tuple[float, str]:
    if score is None:
        return 1.0, "-"
    text = f"{100 * score.precision:.0f}/{100 * score.recall:.0f}"
    return min(score.precision, score.recall), text


def _long(root: Path) -> bool:
    """Print what a page keeps of a long session, and that notes are never made twice."""
    story, layout = tell(77, filler=1_900), LAYOUTS["claude"]
    session = measure.opened(layout.write(story, root / "long"), root / "long")
    brief = session.methods["brief"]()
    recall = measure.fact_recall(brief, story, layout)
    size, page = measure.tokens(session), estimate_tokens(brief, "code")
    texts, calls = set(), []
    for _ in range(10):
        made = 0
        for level in range(1, 9):
            parts = session.methods["rollup_parts"](8_000, level)
            missing = {part["key"]: f"note {part['ref']}" for part in parts if not part["note"]}
            made += len(missing)
            if missing:
                session.methods["rollup_save"](missing)
            if len(parts) == 1:
                break
        calls.append(made)
        texts.add(session.methods["rollup"]())
    sizes = session_asks.calls(session)
    largest = max(sizes, key=lambda name: sizes[name])
    middle = sorted(sizes.values())[len(sizes) // 2]
    turns = session.describe().facts["turns"]
    print(
        f"\nLong session: {turns} turns, ~{size:,} tokens; brief {page:,} tokens (at most 1,500),"
    )
    print(f"{recall.right} of {recall.planted} facts, ratio {size / page:.0f}x (at least 150x)")
    print(f"rollup ten times: {len(texts)} distinct texts, calls {calls[0]} then {set(calls[1:])}")
    print(f"whole results of {len(sizes)} calls: median {middle:,} "
          f"bytes, largest {sizes[largest]:,} ({largest}); a reply shows at most "
          f"{reply.MAX_REPLY_CHARS:,} characters of one")  # fmt: skip
    session.close()
    return recall.recall >= 0.9 and page <= 1_500 and len(texts) == 1 and set(calls[1:]) == {0}


def _identifiers(seeds: int) -> bool:
    """Print how many harmless identifiers redaction takes for secrets."""
    spoilt, size = session_asks.kept(seeds)
    count = sum(spoilt.values())
    worst = ", ".join(f"{kind} {number}" for kind, number in spoilt.items() if number) or "none"
    lines = session_asks.LINES
    print(
        f"\nRedaction of {lines} of each of {len(spoilt)} kinds of harmless identifiers "
        f"({', '.join(spoilt)}), {size:,} tokens: {count} spoilt ({worst}), "
        f"{count / (size / 10_000):.2f} per 10,000 tokens (at most 1)"
    )
    return count <= size / 10_000


def _shared(root: Path, folder: Path) -> None:
    """Read other people's transcripts: none may fail, refs must open, few markers may appear."""
    if not folder.is_dir():
        print(f"\nShared transcripts: {folder} is not here")
        return
    layouts: dict[str, int] = {}
    failed, refs, good, size, markers, real = [], 0, 0, 0, 0, 0
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        reader = choose_reader(path)
        for key in reader.session_keys(path) if reader else ():
            assert reader is not None
            try:
                index = TranscriptIndex(path, key, reader)
                index.refresh()
            except Exception as error:
                failed.append(f"{path.name}: {error}")
                continue
            layouts[reader.layout] = layouts.get(reader.layout, 0) + 1
            size += path.stat().st_size
            for row in index.query_rows("SELECT * FROM blocks ORDER BY head LIMIT 60"):
                refs += 1
                good += not index.is_stale(row)
            if "real" in path.parts:
                text = index.corpus.snapshot.buffer
                markers += bytes(text).count(b"[secret:")
                real += len(text)
            index.close()
    print(f"\nShared: {sum(layouts.values())} transcripts of {len(layouts)} layouts, "
          f"{size / 1e6:.1f} MB, {len(failed)} failed; {good} of {refs} sampled blocks equal "
          "their source")  # fmt: skip
    for name, count in sorted(layouts.items()):
        print(f"  {count:3} {name}")
    per = markers / max(1, estimate_tokens(real, "prose") / 10_000)
    print(f"redaction in the real ones: {markers} markers, {per:.2f} per 10,000 tokens")
    for line in failed:
        print(f"  FAILED {line}")


if __name__ == "__main__":
    raise SystemExit(main())
