/** Reads JSON that someone else wrote: every look at a value says what happens when it is wrong. */

export type Values = Readonly<Record<string, unknown>>;

/** Returns a JSON object, or undefined for anything else, broken text included. */
export function parse(text: string): Values | undefined {
  try {
    return object(JSON.parse(text));
  } catch {
    return undefined;
  }
}

export function object(value: unknown): Values | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Values)
    : undefined;
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

export function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}
