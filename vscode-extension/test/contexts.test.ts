import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { isAlive, rows, servers } from "../src/contexts";
import { temporary } from "./temporary";

function folder(content?: string): string {
  const place = temporary();
  if (content !== undefined) {
    fs.writeFileSync(path.join(place, "contexts.json"), content);
  }
  return place;
}

const SERVER = { pid: 7, version: "0.1.0", root: "/home/a/project", runs: [] };

const REPO = {
  pid: 7,
  name: "repo",
  kind: "repo",
  source: "/home/a/project",
  size_bytes: 1_234_567,
  tokens: 310_000,
  documents: 812,
  freshness: "watched",
  notes: ["A rebase is in progress."],
};

test("each open context has a row with its size, tokens and documents", () => {
  const [row] = rows(folder(JSON.stringify({ v: 1, contexts: [REPO] })), [SERVER]);
  assert.equal(row?.label, "repo");
  assert.equal(row?.description, "1.2 MB · ~310k tokens · 812 documents");
  assert.equal(row?.tooltip, "/home/a/project\n\nwatched\n\nA rebase is in progress.");
});

test("a missing, torn or strange file has no rows and never throws", () => {
  for (const content of [undefined, "", '{"contexts":[{"name":"re', "[]", "null", "7"]) {
    assert.deepEqual(rows(folder(content), [SERVER]), []);
  }
  const strange = JSON.stringify({ contexts: [null, 7, {}, { name: 7 }, { name: "a", tokens: "x", pid: 7 }] });
  assert.deepEqual(
    rows(folder(strange), [SERVER]).map((row) => [row.label, row.description]),
    [["a", ""]],
  );
});

test("a server whose process is gone does not count", () => {
  const place = folder();
  fs.mkdirSync(path.join(place, "servers"));
  for (const name of ["11.json", "12.json", "x.json", "13.json"]) {
    const content =
      name === "13.json" ? '{"vers' : '{"version":"0.1.0","roots":["/a"],"runs":["r1",7]}';
    fs.writeFileSync(path.join(place, "servers", name), content);
  }
  assert.deepEqual(
    servers(place, (pid) => pid !== 12),
    [{ pid: 11, version: "0.1.0", root: "/a", runs: ["r1", ""] }],
  );
  assert.equal(isAlive(process.pid), true);
});

test("contexts of several servers stand below their servers, those of dead ones nowhere", () => {
  const place = folder(JSON.stringify({ contexts: [REPO, { ...REPO, pid: 8 }, { ...REPO, pid: 9 }] }));
  const shown = rows(place, [SERVER, { ...SERVER, pid: 8, root: "/home/a/other" }]);
  assert.deepEqual(
    shown.map((row) => [row.label, row.rows.map((below) => below.id)]),
    [
      ["project", ["7:repo"]],
      ["other", ["8:repo"]],
    ],
  );
});
