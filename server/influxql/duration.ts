/**
 * Durations as InfluxQL writes them: nanoseconds in bigint to text and back.
 */
const UNIT_NS: Readonly<Record<string, bigint>> = {
  ns: 1n,
  u: 1_000n,
  µ: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
  d: 86_400_000_000_000n,
  w: 604_800_000_000_000n,
};

const DURATION_MAX = 9_223_372_036_854_775_807n;
const PART = /(\d+)(ns|ms|[uµsmhdw])/y;

/** Nanoseconds, or a text that says why not: `invalid duration`, or InfluxDB's text for one that is too long. */
export function parseDuration(text: string): bigint | string {
  if (text.startsWith('-')) {
    const positive = parseDuration(text.slice(1));
    return typeof positive === 'bigint' ? -positive : positive;
  }
  let total = 0n;
  PART.lastIndex = 0;
  if (text === '') return 'invalid duration';
  for (let at = 0; at < text.length; at = PART.lastIndex) {
    const part = PART.exec(text);
    if (part === null) return 'invalid duration';
    const [, digits, unit] = part as unknown as [string, string, string];
    // More digits than an int64 has: refused before BigInt would take its time over them.
    if (digits.length > 19 || BigInt(digits) > DURATION_MAX) return 'invalid duration';
    total += BigInt(digits) * (UNIT_NS[unit] as bigint);
    if (total > DURATION_MAX) return `overflowed duration ${digits}${unit}: choose a smaller duration or INF`;
  }
  return total;
}

/** InfluxDB's form: the largest unit that divides it. */
export function formatDuration(ns: bigint): string {
  if (ns === 0n) return '0s';
  for (const unit of ['w', 'd', 'h', 'm', 's', 'ms', 'u']) {
    const size = UNIT_NS[unit] as bigint;
    if (ns % size === 0n) return `${ns / size}${unit}`;
  }
  return `${ns}ns`;
}
