/** Shows rows as a tree of the editor. */
import * as vscode from "vscode";
import type { Row } from "./row";

export class View implements vscode.TreeDataProvider<Row>, vscode.Disposable {
  private readonly changes = new vscode.EventEmitter<void>();
  readonly onDidChangeTreeData = this.changes.event;

  constructor(
    private readonly kind: "context" | "run",
    private readonly rows: () => readonly Row[],
  ) {}

  refresh(): void {
    this.changes.fire();
  }

  getChildren(row?: Row): Row[] {
    return [...(row ? row.rows : this.rows())];
  }

  getTreeItem(row: Row): vscode.TreeItem {
    const item = new vscode.TreeItem(
      row.label,
      row.rows.length
        ? vscode.TreeItemCollapsibleState.Collapsed
        : vscode.TreeItemCollapsibleState.None,
    );
    item.id = row.id;
    item.description = row.description;
    item.tooltip = row.tooltip;
    item.iconPath = new vscode.ThemeIcon(row.icon);
    item.contextValue = this.kind;
    if (row.file) {
      item.command = { command: "rlm.openRun", title: "Open Trajectory", arguments: [row] };
    }
    return item;
  }

  dispose(): void {
    this.changes.dispose();
  }
}
