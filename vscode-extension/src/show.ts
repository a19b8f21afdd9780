/** Writes figures the way people read them. */

const UNITS = ["B", "KB", "MB", "GB", "TB"];

export function bytes(size: number): string {
  let value = size;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** Returns a cost; one that is not known is said so, never shown as zero. */
export function usd(cost: number | undefined): string {
  if (cost === undefined) {
    return "cost unknown";
  }
  if (cost > 0 && cost < 0.01) {
    return cost < 0.0001 ? "<$0.0001" : `$${cost.toFixed(4)}`;
  }
  return `$${cost.toFixed(2)}`;
}

export function tokens(count: number): string {
  if (count < 1000) {
    return `${count} tokens`;
  }
  return count < 999_500 ? `${Math.round(count / 1000)}k tokens` : `${(count / 1e6).toFixed(1)}M tokens`;
}

export function duration(seconds: number): string {
  if (seconds < 60) {
    return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  }
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${Math.round(seconds % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Returns text as one line of at most `limit` characters. */
export function line(value: string, limit = 80): string {
  const flat = value.replace(/\s+/g, " ").trim();
  return flat.length <= limit ? flat : `${flat.slice(0, limit - 1)}…`;
}
