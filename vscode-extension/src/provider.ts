/** Offers the server to the editor's agents, and starts it only when one needs it. */
import * as fs from "node:fs";
import * as vscode from "vscode";
import { environment, find, type Launch, MISSING } from "./launch";

export const PROVIDER = "rlm-mcp.server";
export const KEY = "rlm.anthropicKey";
const LABEL = "rlm-mcp";

export class Provider implements vscode.McpServerDefinitionProvider<vscode.McpStdioServerDefinition> {
  private readonly changes = new vscode.EventEmitter<void>();
  readonly onDidChangeMcpServerDefinitions = this.changes.event;

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly log: vscode.LogOutputChannel,
  ) {}

  /** Makes the editor ask again, for instance after a setting changed. */
  changed(): void {
    this.changes.fire();
  }

  /** The editor calls this early and often: it asks nothing and starts nothing. */
  provideMcpServerDefinitions(): vscode.McpStdioServerDefinition[] {
    if (!vscode.workspace.isTrusted) {
      return [];
    }
    const launch = this.launch();
    const command = launch?.command ?? "rlm-mcp";
    const server = new vscode.McpStdioServerDefinition(
      LABEL,
      command,
      [...(launch?.args ?? ["serve"])],
      {},
      this.version,
    );
    const folder = vscode.workspace.workspaceFolders?.[0];
    if (folder) {
      server.cwd = folder.uri;
    }
    return [server];
  }

  /** The editor is about to start the server: find it for certain, and read the key. */
  async resolveMcpServerDefinition(
    server: vscode.McpStdioServerDefinition,
  ): Promise<vscode.McpStdioServerDefinition | undefined> {
    const launch = this.launch();
    if (!launch) {
      this.log.error(MISSING);
      void this.tellMissing();
      return undefined;
    }
    this.log.info(`Starting ${[launch.command, ...launch.args].join(" ")} (found: ${launch.from}).`);
    server.command = launch.command;
    server.args = [...launch.args];
    server.env = await this.environment();
    return server;
  }

  /** Returns the command line that starts the server, or undefined where there is none. */
  launch(): Launch | undefined {
    return find({
      configured: settings().get<string[]>("server.command", []),
      folders: (vscode.workspace.workspaceFolders ?? [])
        .filter((folder) => folder.uri.scheme === "file" && vscode.workspace.isTrusted)
        .map((folder) => folder.uri.fsPath),
      path: process.env["PATH"] ?? process.env["Path"] ?? "",
      platform: process.platform,
      version: this.version,
      isFile,
    });
  }

  /** Returns the variables that the server gets beside the editor's own. */
  async environment(): Promise<Record<string, string>> {
    const chosen = settings();
    return environment({
      env: chosen.get<Record<string, string>>("server.env", {}),
      stateFolder: chosen.get("stateFolder", ""),
      model: chosen.get("model", ""),
      subModel: chosen.get("subModel", ""),
      maxUsd: chosen.get<number | null>("maxUsd", null),
      key: await this.context.secrets.get(KEY),
    });
  }

  async tellMissing(): Promise<void> {
    const setting = "Open Settings";
    const chosen = await vscode.window.showErrorMessage(MISSING, setting);
    if (chosen === setting) {
      await vscode.commands.executeCommand("workbench.action.openSettings", "rlm.server");
    }
  }

  private get version(): string {
    return String((this.context.extension.packageJSON as { version?: unknown }).version);
  }
}

export function settings(): vscode.WorkspaceConfiguration {
  return vscode.workspace.getConfiguration("rlm");
}

function isFile(file: string): boolean {
  try {
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}
