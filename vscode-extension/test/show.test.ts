import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, duration, line, tokens, usd } from "../src/show";

test("a cost that is not known is never shown as a number", () => {
  assert.equal(usd(undefined), "cost unknown");
  assert.equal(usd(0), "$0.00");
  assert.equal(usd(0.00004), "<$0.0001");
  assert.equal(usd(0.0031), "$0.0031");
  assert.equal(usd(1.239), "$1.24");
});

test("sizes never show a thousand of a unit", () => {
  assert.deepEqual([0, 999, 1000, 999_499, 999_500, 1.2e6, 2e9].map(bytes), [
    "0 B",
    "999 B",
    "1.0 KB",
    "999 KB",
    "1.0 MB",
    "1.2 MB",
    "2.0 GB",
  ]);
});

test("tokens, times and long texts are short", () => {
  assert.deepEqual([12, 1499, 2_000_000].map(tokens), ["12 tokens", "1k tokens", "2.0M tokens"]);
  assert.deepEqual([0.25, 42, 60, 3700].map(duration), ["0.3 s", "42 s", "1 min 0 s", "1 h 1 min"]);
  assert.equal(line(" a\n  b "), "a b");
  assert.equal(line("x".repeat(100), 10).length, 10);
});
