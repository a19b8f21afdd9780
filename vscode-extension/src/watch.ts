/** Tells when something under some folders changed. Folders may not exist yet, or vanish. */
import * as fs from "node:fs";

const SETTLE_MS = 150;
const LOOK_MS = 2000;

export interface Stop {
  dispose(): void;
}

/** Calls `changed` soon after a change in any of the folders (not below them), at most ~7 times a second. */
export function watch(folders: readonly string[], changed: () => void): Stop {
  const watchers = new Map<string, fs.FSWatcher>();
  let settling: NodeJS.Timeout | undefined;

  const soon = () => {
    settling ??= setTimeout(() => {
      settling = undefined;
      changed();
    }, SETTLE_MS);
  };
  const drop = (folder: string) => {
    watchers.get(folder)?.close();
    watchers.delete(folder);
  };
  const look = () => {
    for (const folder of folders) {
      const there = fs.existsSync(folder);
      if (there && !watchers.has(folder)) {
        try {
          const watcher = fs.watch(folder, soon);
          watcher.on("error", () => drop(folder));
          watchers.set(folder, watcher);
        } catch {
          // No watch to be had (a limit of the system): the next look tries again.
        }
        soon();
      } else if (!there && watchers.has(folder)) {
        drop(folder);
        soon();
      }
    }
  };

  look();
  const looking = setInterval(look, LOOK_MS);
  return {
    dispose() {
      clearInterval(looking);
      clearTimeout(settling);
      [...watchers.keys()].forEach(drop);
    },
  };
}
