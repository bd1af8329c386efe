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

/**
 * Go's form (`36h0m0s`, `1.5s`, `100ms`), which InfluxDB uses in CREATE DATABASE and in lists of retention policies.
 */
export function formatClockDuration(ns: bigint): string {
  if (ns < 0n) return `-${formatClockDuration(-ns)}`;
  if (ns === 0n) return '0s';
  if (ns < 1_000_000_000n) {
    const [unit, size] = ns < 1_000n ? ['ns', 1n] : ns < 1_000_000n ? ['µs', 1_000n] : ['ms', 1_000_000n];
    return decimal(ns, size as bigint) + unit;
  }
  const minutes = ns / (UNIT_NS.m as bigint);
  const seconds = `${decimal(ns % (UNIT_NS.m as bigint), 1_000_000_000n)}s`;
  if (minutes === 0n) return seconds;
  return minutes < 60n ? `${minutes}m${seconds}` : `${minutes / 60n}h${minutes % 60n}m${seconds}`;
}

function decimal(ns: bigint, size: bigint): string {
  const fraction = ns % size;
  if (fraction === 0n) return String(ns / size);
  const digits = String(fraction)
    .padStart(String(size).length - 1, '0')
    .replace(/0+$/, '');
  return `${ns / size}.${digits}`;
}
