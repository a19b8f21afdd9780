import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

const made: string[] = [];

process.on("exit", () => {
  for (const folder of made) fs.rmSync(folder, { recursive: true, force: true });
});

/** Return a fresh folder that is gone when the tests have ended. */
export function temporary(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "rlm-"));
  made.push(folder);
  return folder;
}
