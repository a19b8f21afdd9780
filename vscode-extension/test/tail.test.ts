import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { Tail } from "../src/tail";
import { temporary } from "./temporary";

function file(): string {
  return path.join(temporary(), "a.jsonl");
}

test("each line is returned once, and a half-written one only when it is whole", () => {
  const name = file();
  const tail = new Tail(name);
  fs.writeFileSync(name, '{"n":1}\n{"n":');
  assert.deepEqual(tail.read().lines, [{ n: 1 }]);
  assert.deepEqual(tail.read().lines, []);
  fs.appendFileSync(name, '2}\n');
  assert.deepEqual(tail.read().lines, [{ n: 2 }]);
});

test("a character that is torn between two writes is put together", () => {
  const name = file();
  const tail = new Tail(name);
  const line = Buffer.from('{"text":"größer"}\n');
  const cut = line.indexOf(0xc3) + 1;
  fs.writeFileSync(name, line.subarray(0, cut));
  assert.deepEqual(tail.read().lines, []);
  fs.appendFileSync(name, line.subarray(cut));
  assert.deepEqual(tail.read().lines, [{ text: "größer" }]);
});

test("broken lines are counted and the others are read", () => {
  const name = file();
  fs.writeFileSync(name, '{"n":1}\nnot json\n[1]\n"text"\n\n{"n":2}\n');
  const tail = new Tail(name);
  assert.deepEqual(tail.read().lines, [{ n: 1 }, { n: 2 }]);
  assert.equal(tail.broken, 3);
});

test("a file that was cut or replaced is read again from its beginning", () => {
  const name = file();
  const tail = new Tail(name);
  fs.writeFileSync(name, '{"n":1}\n{"n":2}\n');
  assert.equal(tail.read().again, false);
  fs.writeFileSync(name, '{"n":3}\n');
  assert.deepEqual(tail.read(), { lines: [{ n: 3 }], again: true });
  fs.writeFileSync(`${name}.new`, '{"n":4,"text":"longer than what was there before"}\n');
  fs.renameSync(`${name}.new`, name);
  const { lines, again } = tail.read();
  assert.equal(again, true);
  assert.equal(lines[0]?.["n"], 4);
});

test("a missing file, a folder and a file that vanishes have no lines", () => {
  const name = file();
  const tail = new Tail(name);
  assert.deepEqual(tail.read(), { lines: [], again: false });
  assert.deepEqual(new Tail(path.dirname(name)).read().lines, []);
  fs.writeFileSync(name, '{"n":1}\n');
  assert.equal(tail.read().lines.length, 1);
  fs.unlinkSync(name);
  assert.deepEqual(tail.read(), { lines: [], again: true });
});

test("a line of many megabytes is skipped without being gathered, and the next one is read", () => {
  const name = file();
  fs.writeFileSync(name, `{"text":"${"x".repeat(6_000_000)}"}\n{"n":1}\n`);
  const tail = new Tail(name);
  assert.deepEqual(tail.read().lines, [{ n: 1 }]);
  assert.equal(tail.broken, 1);
});
