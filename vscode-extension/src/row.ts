/** A line of a view: what the views show, without knowing of any editor. */
export interface Row {
  readonly id: string;
  readonly label: string;
  readonly description: string;
  readonly tooltip: string;
  /** Name of one of the editor's icons. */
  readonly icon: string;
  readonly rows: readonly Row[];
  /** A file that the line opens. */
  readonly file?: string;
}
