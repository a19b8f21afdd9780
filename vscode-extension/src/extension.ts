/** Puts the parts together; each of them knows only its own part of the editor. */
import * as os from "node:os";
import * as path from "node:path";
import * as vscode from "vscode";
import * as contexts from "./contexts";
import { stateFolder } from "./folder";
import { MISSING } from "./launch";
import { KEY, Provider, PROVIDER, settings } from "./provider";
import type { Row } from "./row";
import * as runs from "./runs";
import { View } from "./view";
import { type Stop, watch } from "./watch";

const CLOCK_MS = 5000;

export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel("RLM", { log: true });
  const provider = new Provider(context, log);
  const state = new State();
  const refresh = () => state.refresh();

  context.subscriptions.push(
    log,
    state,
    vscode.window.registerTreeDataProvider("rlm.contexts", state.contexts),
    vscode.window.registerTreeDataProvider("rlm.runs", state.runs),
    vscode.commands.registerCommand("rlm.refresh", refresh),
    vscode.commands.registerCommand("rlm.showLog", () => log.show()),
    vscode.commands.registerCommand("rlm.openRun", openRun),
    vscode.commands.registerCommand("rlm.doctor", () => doctor(provider)),
    vscode.commands.registerCommand("rlm.restart", () => restart(context, log)),
    vscode.commands.registerCommand("rlm.setKey", () => setKey(context, provider)),
    vscode.workspace.onDidChangeConfiguration((change) => {
      if (change.affectsConfiguration("rlm")) {
        state.follow();
        provider.changed();
      }
    }),
    vscode.workspace.onDidChangeWorkspaceFolders(() => provider.changed()),
    vscode.workspace.onDidGrantWorkspaceTrust(() => provider.changed()),
  );
  // Editors older than the interface, and some forks, lack it: the views work all the same.
  if (typeof vscode.lm?.registerMcpServerDefinitionProvider === "function") {
    context.subscriptions.push(vscode.lm.registerMcpServerDefinitionProvider(PROVIDER, provider));
  } else {
    log.warn("This editor takes no MCP servers from extensions; configure the server by hand.");
  }
  const launch = provider.launch();
  log.info(launch ? `Server: ${launch.command} (found: ${launch.from}).` : MISSING);
}

/** What the state folder says, as two views and an item of the status bar. */
class State implements vscode.Disposable {
  readonly contexts = new View("context", () => contexts.rows(this.folder, this.servers));
  readonly runs = new View("run", () =>
    this.known.map((run) => runs.row(run, this.moment(), this.reader.file(run))),
  );
  private readonly item = vscode.window.createStatusBarItem(
    "rlm.cost",
    vscode.StatusBarAlignment.Right,
    90,
  );
  private readonly clock = setInterval(() => this.tick(), CLOCK_MS);
  private folder = "";
  private reader = new runs.Runs("");
  private known: readonly runs.Run[] = [];
  private servers: readonly contexts.Server[] = [];
  private watching: Stop | undefined;

  constructor() {
    this.item.name = "RLM Cost";
    this.item.command = "rlm.runs.focus";
    this.follow();
  }

  /** Follows the state folder that the settings name now. */
  follow(): void {
    this.watching?.dispose();
    this.folder = stateFolder({
      configured: settings().get("stateFolder", ""),
      env: process.env,
      platform: process.platform,
      home: os.homedir(),
    });
    this.reader = new runs.Runs(path.join(this.folder, "runs"));
    const folders = [this.folder, path.join(this.folder, "runs"), path.join(this.folder, "servers")];
    this.watching = watch(folders, () => this.refresh());
    this.refresh();
  }

  refresh(): void {
    this.servers = contexts.servers(this.folder);
    this.known = this.reader.read();
    this.contexts.refresh();
    this.runs.refresh();
    this.show();
  }

  /** Times go on while a run does, and a watch may miss what another machine wrote. */
  private tick(): void {
    if (this.known.some((run) => runs.state(run, this.moment()) === "running")) {
      this.refresh();
    }
  }

  private moment(): runs.Moment {
    return {
      now: Date.now() / 1000,
      active: new Set(this.servers.flatMap((server) => server.runs)),
    };
  }

  private show(): void {
    const said = runs.summary(this.known, this.moment());
    if (!said) {
      this.item.hide();
      return;
    }
    this.item.text = said.text;
    this.item.tooltip = said.tooltip;
    this.item.backgroundColor = said.near
      ? new vscode.ThemeColor("statusBarItem.warningBackground")
      : undefined;
    this.item.show();
  }

  dispose(): void {
    clearInterval(this.clock);
    this.watching?.dispose();
    this.contexts.dispose();
    this.runs.dispose();
    this.item.dispose();
  }
}

async function openRun(row?: Row): Promise<void> {
  if (row?.file) {
    const document = await vscode.workspace.openTextDocument(vscode.Uri.file(row.file));
    await vscode.window.showTextDocument(document, { preview: true });
  }
}

async function doctor(provider: Provider): Promise<void> {
  const launch = vscode.workspace.isTrusted ? provider.launch() : undefined;
  if (!launch) {
    await provider.tellMissing();
    return;
  }
  // A task's terminal stays open when the program ends; a plain terminal closes with it.
  const program = new vscode.ProcessExecution(
    launch.command,
    [...launch.args.slice(0, -1), "doctor"],
    { env: await provider.environment() },
  );
  const scope = vscode.TaskScope.Global;
  const task = new vscode.Task({ type: "rlm" }, scope, "doctor", "RLM", program, []);
  task.presentationOptions = { reveal: vscode.TaskRevealKind.Always, clear: true };
  await vscode.tasks.executeTask(task);
}

async function restart(context: vscode.ExtensionContext, log: vscode.LogOutputChannel): Promise<void> {
  try {
    await vscode.commands.executeCommand("workbench.mcp.restartServer", `${context.extension.id}/rlm-mcp`);
  } catch (error) {
    // The command's id is not documented: another release of the editor may lack it.
    log.warn(`The editor could not restart the server by itself: ${String(error)}`);
    await vscode.commands.executeCommand("workbench.mcp.listServer");
  }
}

async function setKey(context: vscode.ExtensionContext, provider: Provider): Promise<void> {
  const key = await vscode.window.showInputBox({
    title: "Anthropic API key for the rlm-mcp server",
    prompt: "Kept in the editor's secret storage. Leave it empty to remove the key.",
    password: true,
    ignoreFocusOut: true,
  });
  if (key === undefined) {
    return;
  }
  if (key.trim()) {
    await context.secrets.store(KEY, key.trim());
  } else {
    await context.secrets.delete(KEY);
  }
  provider.changed();
}
