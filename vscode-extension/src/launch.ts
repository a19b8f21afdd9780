/** Finds the command line that starts the server. Looks at files, starts nothing. */
import * as path from "node:path";

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  /** Where it was found, for the log. */
  readonly from: "setting" | "workspace" | "path" | "uvx";
}

export interface Surroundings {
  /** The setting rlm.server.command. */
  readonly configured: readonly string[];
  /** Workspace folders, most important first. */
  readonly folders: readonly string[];
  /** The PATH variable. */
  readonly path: string;
  readonly platform: NodeJS.Platform;
  /** The release of rlm-mcp that this extension was made for. */
  readonly version: string;
  readonly isFile: (file: string) => boolean;
}

export const MISSING =
  "The rlm-mcp server was not found: not in the setting rlm.server.command, not in the " +
  "workspace's .venv, not on the PATH, and uvx is not installed either. Install uv, or run " +
  "pip install rlm-mcp and name it in rlm.server.command.";

/** Returns the first of: the setting, the workspace's .venv, rlm-mcp on the PATH, uvx. */
export function find(around: Surroundings): Launch | undefined {
  const [program, ...rest] = around.configured;
  if (program) {
    return { command: program, args: [...rest, "serve"], from: "setting" };
  }
  const join = around.platform === "win32" ? path.win32.join : path.posix.join;
  const bin = around.platform === "win32" ? "Scripts" : "bin";
  for (const folder of around.folders) {
    const command = join(folder, ".venv", bin, executable("rlm-mcp", around.platform));
    if (around.isFile(command)) {
      return { command, args: ["serve"], from: "workspace" };
    }
  }
  const installed = onPath("rlm-mcp", around);
  if (installed) {
    return { command: installed, args: ["serve"], from: "path" };
  }
  const uvx = onPath("uvx", around);
  if (uvx) {
    return { command: uvx, args: [`rlm-mcp@${around.version}`, "serve"], from: "uvx" };
  }
  return undefined;
}

function onPath(name: string, around: Surroundings): string | undefined {
  const rules = around.platform === "win32" ? path.win32 : path.posix;
  return around.path
    .split(rules.delimiter)
    .filter((folder) => rules.isAbsolute(folder))
    .map((folder) => rules.join(folder, executable(name, around.platform)))
    .find((file) => around.isFile(file));
}

function executable(name: string, platform: NodeJS.Platform): string {
  return platform === "win32" ? `${name}.exe` : name;
}

export interface Choices {
  readonly env: Readonly<Record<string, string>>;
  readonly stateFolder: string;
  readonly model: string;
  readonly subModel: string;
  readonly maxUsd: number | null;
  readonly key: string | undefined;
}

/** Returns the environment variables that the user's choices add for the server. */
export function environment(choices: Choices): Record<string, string> {
  const env: Record<string, string> = { ...choices.env };
  const set = (name: string, value: string | undefined) => {
    if (value) {
      env[name] = value;
    }
  };
  set("RLM_MCP_STATE_DIR", choices.stateFolder);
  set("RLM_MCP_MODEL", choices.model);
  set("RLM_MCP_SUB_MODEL", choices.subModel);
  set("RLM_MCP_MAX_USD", choices.maxUsd === null ? "" : String(choices.maxUsd));
  set("ANTHROPIC_API_KEY", choices.key);
  return env;
}
