/** Reads a growing file of JSON lines, each line once, whoever may be writing it. */
import * as fs from "node:fs";
import { parse, type Values } from "./values";

const PIECE = 1 << 16;
/** A line longer than this is not one of ours: it is skipped, never gathered. */
const LONGEST = 1 << 22;

export class Tail {
  /** Lines that were no JSON objects. */
  broken = 0;
  private offset = 0;
  private rest: Buffer[] = [];
  private pending = 0;
  private identity = "";

  constructor(readonly file: string) {}

  /**
   * Returns the whole lines that were added, parsed. `again` says that the file was replaced or
   * cut, so that what it said before no longer counts. A file that cannot be read has no lines.
   */
  read(): { readonly lines: readonly Values[]; readonly again: boolean } {
    let fd: number;
    try {
      fd = fs.openSync(this.file, "r");
    } catch {
      return { lines: [], again: this.forget() };
    }
    try {
      const stat = fs.fstatSync(fd);
      const identity = `${stat.dev}:${stat.ino}`;
      const again =
        (stat.size < this.offset || (this.identity !== "" && this.identity !== identity)) &&
        this.forget();
      this.identity = identity;
      return { lines: this.take(fd, stat.size), again };
    } catch {
      return { lines: [], again: false };
    } finally {
      fs.closeSync(fd);
    }
  }

  private take(fd: number, size: number): Values[] {
    const lines: Values[] = [];
    const piece = Buffer.allocUnsafe(PIECE);
    while (this.offset < size) {
      const got = fs.readSync(fd, piece, 0, Math.min(PIECE, size - this.offset), this.offset);
      if (got === 0) {
        break;
      }
      this.offset += got;
      let from = 0;
      for (let end = piece.indexOf(10, 0); end >= 0 && end < got; end = piece.indexOf(10, from)) {
        this.keep(piece.subarray(from, end));
        this.finish(lines);
        from = end + 1;
      }
      this.keep(piece.subarray(from, got));
    }
    return lines;
  }

  private keep(bytes: Buffer): void {
    this.pending += bytes.length;
    if (this.pending <= LONGEST && bytes.length > 0) {
      this.rest.push(Buffer.from(bytes));
    }
  }

  private finish(lines: Values[]): void {
    const line = this.pending <= LONGEST ? Buffer.concat(this.rest).toString("utf8") : "?";
    this.rest = [];
    this.pending = 0;
    if (line.trim() === "") {
      return;
    }
    const values = parse(line);
    if (values) {
      lines.push(values);
    } else {
      this.broken += 1;
    }
  }

  private forget(): boolean {
    const had = this.offset > 0;
    this.offset = 0;
    this.rest = [];
    this.pending = 0;
    this.broken = 0;
    return had;
  }
}
