/** Knows where the server keeps its state, as rlm_mcp/config.py says. */
import * as path from "node:path";

const APP = "rlm-mcp";

export interface Machine {
  readonly configured: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
  readonly home: string;
}

/** Returns the state folder: the setting, RLM_MCP_STATE_DIR, else the platform's custom. */
export function stateFolder(machine: Machine): string {
  const chosen = machine.configured || machine.env["RLM_MCP_STATE_DIR"];
  if (chosen) {
    return chosen;
  }
  if (machine.platform === "win32") {
    const local = machine.env["LOCALAPPDATA"] || path.win32.join(machine.home, "AppData", "Local");
    return path.win32.join(local, APP);
  }
  if (machine.platform === "darwin") {
    return path.posix.join(machine.home, "Library", "Application Support", APP);
  }
  const custom = machine.env["XDG_STATE_HOME"]?.trim();
  return path.posix.join(custom || path.posix.join(machine.home, ".local", "state"), APP);
}
