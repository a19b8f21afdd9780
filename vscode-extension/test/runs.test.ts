import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { type Moment, row, Runs, state, summary } from "../src/runs";
import { temporary } from "./temporary";

const ID = "1121-095103-3f9a2c";
const T = 1_795_254_821;

function event(type: string, n: number, more: object = {}, run = ID): string {
  return `${JSON.stringify({ v: 1, run, n, t: T + n, type, ...more })}\n`;
}

/** `seconds` after the start, with a server that works on the run, or with none. */
function at(seconds: number, ...active: readonly string[]): Moment {
  return { now: T + seconds, active: new Set(active) };
}

const START = event("run.start", 0, {
  question: "Where is the limit set?",
  model: "anthropic:claude-opus-5-5",
  budget: { usd: 1, calls: 500 },
});

function folder(files: Readonly<Record<string, string>>): string {
  const place = temporary();
  for (const [name, content] of Object.entries(files)) {
    fs.writeFileSync(path.join(place, name), content);
  }
  return place;
}

test("a run that goes on is shown with what it has spent of its budget", () => {
  const calls = [0.25, 0.03].map((cost_usd, n) => event("call", n + 1, { cost_usd }));
  const runs = new Runs(folder({ [`${ID}.jsonl`]: START + calls.join("") }));
  const [run] = runs.read();
  assert.ok(run);
  assert.equal(row(run, at(14, ID), "f").label, "Where is the limit set?");
  assert.equal(row(run, at(14, ID), "f").description, "$0.28 · running · 2 calls · 14 s");
  assert.equal(summary([run], at(14, ID))?.text, "$(sync~spin) RLM $0.28 / $1.00");
  assert.equal(summary([run], at(14, ID))?.near, false);
});

test("the status bar warns from four fifths of the budget on", () => {
  const runs = new Runs(folder({ [`${ID}.jsonl`]: START + event("call", 1, { cost_usd: 0.8 }) }));
  assert.equal(summary(runs.read(), at(2, ID))?.near, true);
});

test("one call without a known price makes the run's cost unknown", () => {
  const calls = [0.25, null].map((cost_usd, n) => event("call", n + 1, { cost_usd }));
  const [run] = new Runs(folder({ [`${ID}.jsonl`]: START + calls.join("") })).read();
  assert.equal(run?.cost, undefined);
  assert.ok(run && row(run, at(3, ID), "f").description.includes("cost unknown"));
});

test("a call that failed costs nothing known and is counted", () => {
  const failed = event("call", 1, { failure: { reason: "overloaded", kind: "overloaded" } });
  const [run] = new Runs(folder({ [`${ID}.jsonl`]: START + failed })).read();
  assert.deepEqual([run?.cost, run?.failed], [0, 1]);
});

test("the end of a run is the server's word for status and cost", () => {
  const end = event("run.end", 5, { status: "partial", cost_usd: 0.4, answer: "src/a.py" });
  const [run] = new Runs(folder({ [`${ID}.jsonl`]: START + end })).read();
  assert.ok(run);
  assert.equal(row(run, at(900, ID), "f").description, "$0.40 · partial · 0 calls · 5.0 s");
  assert.ok(row(run, at(900, ID), "f").tooltip.includes("src/a.py"));
});

test("events of child runs stand below their run, and their calls count for both", () => {
  const child = `${ID}.1`;
  const content =
    START +
    event("run.start", 1, { question: "A part", budget: {} }, child) +
    event("call", 2, { cost_usd: 0.1 }, child) +
    event("run.end", 3, { status: "complete", cost_usd: 0.1 }, child);
  const [run] = new Runs(folder({ [`${ID}.jsonl`]: content })).read();
  assert.ok(run);
  const shown = row(run, at(4, ID), "f");
  assert.equal(shown.description, "$0.10 · running · 1 call · 4.0 s");
  assert.deepEqual(
    shown.rows.map((below) => [below.label, below.description]),
    [["A part", "$0.10 · complete · 1 call · 2.0 s"]],
  );
});

test("a run without an end runs while a living server works on it, and else was stopped", () => {
  const [run] = new Runs(folder({ [`${ID}.jsonl`]: START })).read();
  assert.ok(run);
  assert.equal(state(run, at(10_000, ID)), "running");
  assert.equal(state(run, at(1)), "running");
  assert.equal(state(run, at(10)), "stopped");
  assert.equal(summary([run], at(10))?.text, "$(telescope) RLM $0.00");
});

test("what an agent asks without a run has a name too", () => {
  const agent = event("run.start", 0, { mode: "agent", question: "", depth: 0 });
  const [run] = new Runs(folder({ [`${ID}.jsonl`]: agent })).read();
  assert.ok(run);
  assert.equal(row(run, at(1), "f").label, "The agent's own sub-queries");
  assert.equal(state(run, at(10_000, ID)), "open");
  assert.equal(summary([run], at(10_000, ID))?.text, "$(telescope) RLM $0.00");
});

test("the newest run comes first, whichever file was written last", () => {
  const later = "1121-101103-bbbbbb";
  const place = folder({ [`${later}.jsonl`]: event("run.start", 9, { question: "Later" }, later) });
  fs.writeFileSync(path.join(place, `${ID}.jsonl`), START);
  assert.deepEqual(
    new Runs(place).read().map((run) => run.id),
    [later, ID],
  );
});

test("a long answer that is kept by its digest is shown by its preview", () => {
  const answer = { hash: "a", chars: 90_000, preview: "Forty-one places" };
  const end = event("run.end", 5, { status: "complete", cost_usd: 0, answer });
  const [run] = new Runs(folder({ [`${ID}.jsonl`]: START + end })).read();
  assert.ok(run && row(run, at(6), "f").tooltip.includes("Forty-one places"));
});

test("a run that failed says why", () => {
  const end = event("run.end", 5, { status: "failed", reason: "the key was refused" });
  const [run] = new Runs(folder({ [`${ID}.jsonl`]: START + end })).read();
  assert.ok(run && row(run, at(6), "f").tooltip.includes("the key was refused"));
});

test("broken, foreign and future files never throw and show nothing of their own", () => {
  const runs = new Runs(
    folder({
      "a.jsonl": "",
      "b.jsonl": '{"v":1,"run":"b","n":0,"t":"yesterday","type":"run.start"}\n',
      "c.jsonl": "\u0000\u0001 not a line\n[]\nnull\n7\n",
      "d.jsonl": '{"v":2,"run":"d","n":0,"t":1,"type":"run.start"}\n',
      "e.txt": START,
      [`${ID}.jsonl`]: `${START}{"v":1,"run":null,"type":7,"t":{},"cost_usd":"much"}\n{"torn":`,
    }),
  );
  assert.deepEqual(
    runs.read().map((run) => run.question),
    ["Where is the limit set?"],
  );
  assert.deepEqual(new Runs("/nowhere/at/all").read(), []);
});

test("what was added since is taken in, and a deleted run goes", () => {
  const place = folder({ [`${ID}.jsonl`]: START });
  const runs = new Runs(place);
  assert.equal(runs.read()[0]?.calls, 0);
  fs.appendFileSync(path.join(place, `${ID}.jsonl`), event("call", 1, { cost_usd: 0.5 }));
  assert.equal(runs.read()[0]?.calls, 1);
  assert.equal(runs.read()[0]?.cost, 0.5);
  fs.unlinkSync(path.join(place, `${ID}.jsonl`));
  assert.deepEqual(runs.read(), []);
});
