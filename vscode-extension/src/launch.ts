/** Finds the command line that starts the server. Looks at files, starts nothing. */
import * as path from "node:path";

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  /** Where it was found, for the log. */
  readonly from: "setting" | "path" | "uvx";
}

export interface Surroundings {
  /** The setting rlm.server.command. */
  readonly configured: readonly string[];
  /** Workspace folders: nothing that lies in them is started. */
  readonly folders: readonly string[];
  /** The PATH variable. */
  readonly path: string;
  readonly platform: NodeJS.Platform;
  /** The release of rlm-mcp that this extension was made for. */
  readonly version: string;
  readonly isFile: (file: string) => boolean;
}

export const MISSING =
  "The rlm-mcp server was not found: not in the setting rlm.server.command, not on " +
  "the PATH outside of the workspace, and uvx is not installed either. Install uv, or run " +
  "pip install rlm-mcp and name it in rlm.server.command.";

/**
 * Returns the first of: the setting, rlm-mcp on the PATH, uvx. Never a program of the workspace,
 * not even of its .venv: whoever wrote the workspace would choose what runs.
 */
export function find(around: Surroundings): Launch | undefined {
  const [program, ...rest] = around.configured;
  if (program) {
    return { command: program, args: [...rest, "serve"], from: "setting" };
  }
  const installed = onPath("rlm-mcp", around);
  if (installed) {
    return { command: installed, args: ["serve"], from: "path" };
  }
  const uvx = onPath("uvx", around);
  if (uvx) {
    const python = ["python", "-Im", "rlm_mcp.cli", "serve"];
    return { command: uvx, args: ["--from", `rlm-mcp@${around.version}`, ...python], from: "uvx" };
  }
  return undefined;
}

function onPath(name: string, around: Surroundings): string | undefined {
  const rules = around.platform === "win32" ? path.win32 : path.posix;
  const within = (folder: string, workspace: string) => {
    const way = rules.relative(workspace, folder);
    return !rules.isAbsolute(way) && way.split(rules.sep)[0] !== "..";
  };
  return around.path
    .split(rules.delimiter)
    .filter((folder) => rules.isAbsolute(folder))
    .filter((folder) => !around.folders.some((workspace) => within(folder, workspace)))
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

/** Keeps Python from modules that a variable of the editor's environment leads to. */
const ISOLATED = {
  PYTHONPATH: "",
  PYTHONHOME: "",
  PYTHONUSERBASE: "",
  PYTHONPYCACHEPREFIX: "",
  PYTHONSAFEPATH: "1",
};

/** Returns the environment variables that the server gets, with the user's choices. */
export function environment(choices: Choices): Record<string, string> {
  const env: Record<string, string> = { ...ISOLATED, ...choices.env };
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
