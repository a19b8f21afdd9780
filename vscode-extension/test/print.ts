/** Prints what the views would show of a state folder, as JSON. Run as: print.js FOLDER. */
import * as path from "node:path";
import { rows, servers } from "../src/contexts";
import { row, Runs, summary } from "../src/runs";

const [, , folder = ""] = process.argv;
const running = servers(folder);
const runs = new Runs(path.join(folder, "runs"));
const known = runs.read();
const at = { now: Date.now() / 1000, active: new Set(running.flatMap((server) => server.runs)) };
console.log(
  JSON.stringify({
    contexts: rows(folder, running),
    runs: known.map((run) => row(run, at, runs.file(run))),
    status: summary(known, at) ?? null,
  }),
);
