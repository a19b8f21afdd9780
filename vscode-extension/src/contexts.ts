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

/** Returns a row for each open context. A file that is missing, torn or strange has none. */
export function rows(folder: string): Row[] {
  const values = read(path.join(folder, "contexts.json"));
  return list(values?.["contexts"]).flatMap((entry) => {
    const description = object(entry);
    return description && text(description["name"]) ? [row(description)] : [];
  });
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
    id: name,
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

export interface Server {
  readonly pid: number;
  readonly version: string;
}

/** Returns the servers that are running: a file whose process is gone does not count. */
export function servers(folder: string, isAlive: (pid: number) => boolean): Server[] {
  let names: string[];
  try {
    names = fs.readdirSync(path.join(folder, "servers"));
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    const pid = Number(/^(\d+)\.json$/.exec(name)?.[1]);
    const values = pid ? read(path.join(folder, "servers", name)) : undefined;
    return values && isAlive(pid) ? [{ pid, version: text(values["version"]) }] : [];
  });
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
