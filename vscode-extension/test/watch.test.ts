import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { watch } from "../src/watch";
import { temporary } from "./temporary";

async function until(happened: () => boolean): Promise<void> {
  for (let left = 400; !happened() && left > 0; left -= 1) {
    await new Promise((done) => setTimeout(done, 25));
  }
  assert.ok(happened(), "no change was told within 10 s");
}

test("a change is told, and one in a folder that came later as well", async () => {
  const folder = temporary();
  const later = path.join(folder, "runs");
  let told = 0;
  const stop = watch([folder, later], () => (told += 1));
  try {
    await until(() => told > 0);
    const before = told;
    fs.mkdirSync(later);
    await until(() => told > before);
    // Creating the folder may be told twice: as a change of its parent, and when it is found.
    await new Promise((done) => setTimeout(done, 2600));
    const then = told;
    fs.writeFileSync(path.join(later, "a.jsonl"), "{}\n");
    await until(() => told > then);
  } finally {
    stop.dispose();
  }
});
