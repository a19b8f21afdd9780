/** Folds the events of trajectories into runs, and runs into rows. See docs/trajectory.md. */
import * as fs from "node:fs";
import * as path from "node:path";
import type { Row } from "./row";
import { duration, line, plural, usd } from "./show";
import { Tail } from "./tail";
import { number, object, text, type Values } from "./values";

const NEWEST = 100;
/** Characters of a label that leave room for the cost in a narrow view. */
const LABEL = 32;
/** A run that began this moment may not be on its server's list yet. */
const YOUNG_S = 5;
const KNOWN_VERSION = 1;
/** The mode of the record that holds the calls that an agent makes without a run. */
const AGENT = "agent";

export interface Run {
  readonly id: string;
  question: string;
  mode: string;
  /** complete, partial, forced, failed, as the server wrote it; empty while it goes on. */
  status: string;
  model: string;
  began: number;
  latest: number;
  /** undefined: not known, for a call had no known price. */
  cost: number | undefined;
  limit: number | undefined;
  calls: number;
  cached: number;
  failed: number;
  turns: number;
  answer: string;
  reason: string;
  readonly children: Map<string, Run>;
}

function begin(id: string): Run {
  return {
    id,
    question: "",
    mode: "",
    status: "",
    model: "",
    began: 0,
    latest: 0,
    cost: 0,
    limit: undefined,
    calls: 0,
    cached: 0,
    failed: 0,
    turns: 0,
    answer: "",
    reason: "",
    children: new Map(),
  };
}

/** Adds one event to the run that its file is about. Events not known here change nothing. */
export function add(run: Run, event: Values): void {
  const time = number(event["t"]) ?? run.latest;
  run.began ||= time;
  run.latest = Math.max(run.latest, time);
  const whose = of(run, text(event["run"]));
  if (whose !== run) {
    whose.began ||= time;
    whose.latest = Math.max(whose.latest, time);
  }
  switch (event["type"]) {
    case "run.start":
      start(whose, event);
      break;
    case "turn":
      whose.turns += 1;
      break;
    case "call":
      for (const each of whose === run ? [run] : [run, whose]) {
        call(each, event);
      }
      break;
    case "run.end":
      end(whose, event);
      break;
  }
}

function of(run: Run, id: string): Run {
  if (!id || id === run.id) {
    return run;
  }
  let child = run.children.get(id);
  if (!child) {
    child = begin(id);
    run.children.set(id, child);
  }
  return child;
}

function start(run: Run, event: Values): void {
  run.question = text(event["question"]);
  run.mode = text(event["mode"]);
  run.model = text(event["model"]);
  run.limit = number(object(event["budget"])?.["usd"]);
}

function call(run: Run, event: Values): void {
  run.calls += 1;
  run.cached += event["cached"] === true ? 1 : 0;
  run.failed += object(event["failure"]) ? 1 : 0;
  const cost = number(event["cost_usd"]);
  if (cost !== undefined) {
    run.cost = run.cost === undefined ? undefined : run.cost + cost;
  } else if (!object(event["failure"])) {
    run.cost = undefined;
  }
}

function end(run: Run, event: Values): void {
  run.status = text(event["status"]) || "failed";
  run.answer = text(event["answer"]) || text(object(event["answer"])?.["preview"]);
  run.reason = text(event["reason"]);
  if ("cost_usd" in event) {
    run.cost = number(event["cost_usd"]);
  }
}

/** What is known besides the trajectories: the time, and the runs that living servers work on. */
export interface Moment {
  readonly now: number;
  readonly active: ReadonlySet<string>;
}

/**
 * Where a run stands: the server's word for it, or running, or stopped (its server is gone). What
 * an agent asks without a run stays open as long as its server lives.
 */
export function state(run: Run, at: Moment): string {
  const [root = run.id] = run.id.split(".");
  const going = at.active.has(root) || at.now - run.latest < YOUNG_S;
  return run.status || (going ? (run.mode === AGENT ? "open" : "running") : "stopped");
}

interface Kept {
  readonly tail: Tail;
  run: Run;
  strange: boolean;
}

/** The runs of a state folder. `read` takes in what was written since; it never throws. */
export class Runs {
  private readonly kept = new Map<string, Kept>();

  constructor(readonly folder: string) {}

  read(): readonly Run[] {
    const names = newest(this.folder);
    for (const name of [...this.kept.keys()]) {
      if (!names.includes(name)) {
        this.kept.delete(name);
      }
    }
    return names
      .map((name) => this.one(name))
      .filter((run) => run !== undefined)
      .sort((one, other) => other.began - one.began);
  }

  file(run: Run): string {
    return path.join(this.folder, `${run.id}.jsonl`);
  }

  private one(name: string): Run | undefined {
    let kept = this.kept.get(name);
    if (!kept) {
      const id = name.slice(0, -".jsonl".length);
      kept = { tail: new Tail(path.join(this.folder, name)), run: begin(id), strange: false };
      this.kept.set(name, kept);
    }
    const { lines, again } = kept.tail.read();
    if (again) {
      kept.run = begin(kept.run.id);
    }
    for (const event of lines) {
      kept.strange ||= event["v"] !== KNOWN_VERSION;
      if (!kept.strange) {
        add(kept.run, event);
      }
    }
    return kept.run.began > 0 ? kept.run : undefined;
  }
}

/** Returns the newest trajectories' names, newest first: ids begin with the time. */
function newest(folder: string): string[] {
  let names: string[];
  try {
    names = fs.readdirSync(folder).filter((name) => name.endsWith(".jsonl"));
  } catch {
    return [];
  }
  const when = (name: string) => {
    try {
      return fs.statSync(path.join(folder, name)).mtimeMs;
    } catch {
      return 0;
    }
  };
  return names
    .map((name) => ({ name, at: when(name) }))
    .sort((one, other) => other.at - one.at)
    .slice(0, NEWEST)
    .map(({ name }) => name);
}

const ICONS: Readonly<Record<string, string>> = {
  running: "sync~spin",
  open: "comment-discussion",
  complete: "pass",
  partial: "warning",
  forced: "warning",
  failed: "error",
  stopped: "circle-slash",
};

/** Returns the row of a run, with its child runs below it. */
export function row(run: Run, at: Moment, file: string): Row {
  const stands = state(run, at);
  const seconds = (stands === "running" ? at.now : run.latest) - run.began;
  const facts = [usd(run.cost), stands, plural(run.calls, "call"), duration(Math.max(0, seconds))];
  return {
    id: run.id,
    label: line(title(run), LABEL),
    description: facts.join(" · "),
    tooltip: tooltip(run, facts),
    icon: ICONS[stands] ?? "question",
    rows: [...run.children.values()].map((child) => row(child, at, file)),
    file,
  };
}

function title(run: Run): string {
  // What an agent asks sub-models without a run is recorded as one run for each server.
  return run.question || (run.mode === "agent" ? "The agent's own sub-queries" : run.id);
}

function tooltip(run: Run, facts: readonly string[]): string {
  const more = [
    run.limit === undefined ? "" : `budget ${usd(run.limit)}`,
    run.turns ? plural(run.turns, "turn") : "",
    run.cached ? `${run.cached} from the cache` : "",
    run.failed ? `${plural(run.failed, "call")} failed` : "",
    run.model,
  ].filter(Boolean);
  const outcome = line(run.answer || (run.status === "complete" ? "" : run.reason), 600);
  return [title(run), facts.join(" · "), more.join(" · "), outcome, run.id]
    .filter(Boolean)
    .join("\n\n");
}

/** What the status bar says, or undefined where there is nothing to say. */
export function summary(
  runs: readonly Run[],
  at: Moment,
): { readonly text: string; readonly tooltip: string; readonly near: boolean } | undefined {
  const going = runs.filter((run) => state(run, at) === "running");
  const [shown] = [...going, ...runs];
  if (!shown) {
    return undefined;
  }
  const limit = shown.limit === undefined ? "" : ` / ${usd(shown.limit)}`;
  const icon = going.length ? "$(sync~spin)" : "$(telescope)";
  const others = going.length > 1 ? ` (+${going.length - 1})` : "";
  return {
    text: `${icon} RLM ${usd(shown.cost)}${going.length ? limit : ""}${others}`,
    tooltip: tooltip(shown, [state(shown, at), plural(shown.calls, "call")]),
    near:
      going.length > 0 &&
      shown.limit !== undefined &&
      shown.cost !== undefined &&
      shown.cost >= 0.8 * shown.limit,
  };
}
