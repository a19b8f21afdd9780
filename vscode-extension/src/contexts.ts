/** Reads what is open from the state folder: contexts.json, and servers/<pid>.json of who holds it. */
import * as fs from "node:fs";
import * as path from "node:path";
import type { Row } from "./row";
import { bytes, line, plural, tokens } from "./show";
import { list, number, object, parse, text, type Values } from "./values";

/** More than any of these files has a reason to be. */
const LARGEST = 4 << 20;

const ICONS: Readonly<Record<string, string>> = {
  repo: "repo",
  history: "git-commit",
  session: "comment-discussion",
  logs: "output",
  text: "file",
};

export interface Server {
  readonly pid: number;
  readonly version: string;
  readonly root: string;
  /** Ids of the runs that it works on now. */
  readonly runs: readonly string[];
}

/** Returns the servers that are running: a file whose process is gone does not count. */
export function servers(folder: string, alive: (pid: number) => boolean = isAlive): Server[] {
  let names: string[];
  try {
    names = fs.readdirSync(path.join(folder, "servers"));
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    const pid = Number(/^(\d+)\.json$/.exec(name)?.[1]);
    const values = pid ? read(path.join(folder, "servers", name)) : undefined;
    if (!values || !alive(pid)) {
      return [];
    }
    const [root] = list(values["roots"]).map(text);
    const runs = list(values["runs"]).map(text);
    return [{ pid, version: text(values["version"]), root: root ?? "", runs }];
  });
}

/**
 * Returns a row for each context that a running server has open; below their servers, where these
 * are several. A file that is missing, torn or strange has no rows.
 */
export function rows(folder: string, running: readonly Server[]): Row[] {
  const values = read(path.join(folder, "contexts.json"));
  const open = list(values?.["contexts"])
    .map(object)
    .filter((entry) => entry !== undefined)
    .filter((entry) => text(entry["name"]) !== "");
  const groups = running
    .map((server) => group(server, open.filter((entry) => entry["pid"] === server.pid)))
    .filter(({ rows }) => rows.length > 0);
  return groups.length === 1 ? [...(groups[0]?.rows ?? [])] : groups;
}

function group(server: Server, entries: readonly Values[]): Row {
  return {
    id: String(server.pid),
    label: path.basename(server.root) || "server",
    description: `rlm-mcp ${server.version}`,
    tooltip: `${server.root}\n\nprocess ${server.pid}`,
    icon: "server-process",
    rows: entries.map(row),
  };
}

function row(description: Values): Row {
  const name = text(description["name"]);
  const kind = text(description["kind"]);
  const size = number(description["size_bytes"]);
  const count = number(description["tokens"]);
  const documents = number(description["documents"]);
  const facts = [
    size === undefined ? "" : bytes(size),
    count === undefined ? "" : `~${tokens(count)}`,
    documents === undefined ? "" : plural(documents, "document"),
  ].filter(Boolean);
  const notes = list(description["notes"]).map(text);
  return {
    id: `${String(description["pid"])}:${name}`,
    label: name,
    description: facts.join(" · "),
    tooltip: [text(description["source"]), text(description["freshness"]), ...notes]
      .filter(Boolean)
      .map((part) => line(part, 300))
      .join("\n\n"),
    icon: ICONS[kind] ?? "file",
    rows: [],
  };
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function read(file: string): Values | undefined {
  try {
    return fs.statSync(file).size <= LARGEST ? parse(fs.readFileSync(file, "utf8")) : undefined;
  } catch {
    return undefined;
  }
}
