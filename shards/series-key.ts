/**
 * Series keys and their hashes.
 *
 * The canonical key of a series is InfluxDB's: the measurement, then `,tag=value` for each tag in byte order of the tag
 * keys, with commas, spaces and equals signs (the last not in measurements) escaped by a backslash. Tags with empty values are left out.
 * A series is named everywhere by the 128-bit SipHash-2-4 of its key as 32 hexadecimal digits, keyed with the cluster's
 * seed: collisions cannot be crafted from outside, and the order by hash is the same on every replica. New series are
 * hashed in the ingest kernel; `hashSeriesKey` says what comes out.
 */
import { sipHash128, sipHashKeyOf } from './siphash.ts';

/** 32 lower-case hexadecimal digits. */
export type SeriesHash = string;
export const SERIES_HASH_BYTES = 16;

export interface Tag {
  readonly key: string;
  readonly value: string;
}

export function hashSeriesKey(seed: string, key: string): SeriesHash {
  return Buffer.from(sipHash128(sipHashKeyOf(seed), Buffer.from(key, 'utf8'))).toString('hex');
}

/** Which of a group's shards a series belongs to. */
export function shardNumberOf(hash: SeriesHash, shardsPerGroup: number): number {
  return Number.parseInt(hash.slice(0, 8), 16) % shardsPerGroup;
}

/** The canonical key. Tags in any order, keys distinct; empty values are left out. */
export function formatSeriesKey(measurement: string, tags: readonly Tag[]): string {
  let key = escapeMeasurement(measurement);
  for (const tag of [...tags].sort(byKeyBytes)) {
    if (tag.value !== '') key += `,${escapeTag(tag.key)}=${escapeTag(tag.value)}`;
  }
  return key;
}

/** The inverse of `formatSeriesKey`; tags in byte order of their keys. */
export function parseSeriesKey(key: string): { measurement: string; tags: Tag[] } {
  let end = endOfToken(key, 0, ',');
  const measurement = unescapeMeasurement(key.slice(0, end));
  const tags: Tag[] = [];
  while (end < key.length) {
    const equals = endOfToken(key, end + 1, '=');
    const stop = endOfToken(key, equals + 1, ',');
    tags.push({ key: unescapeTag(key.slice(end + 1, equals)), value: unescapeTag(key.slice(equals + 1, stop)) });
    end = stop;
  }
  return { measurement, tags };
}

/** Byte order of UTF-8, which is the order of code points and not that of UTF-16 units. */
export function compareBytes(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return surrogatesLast(x) - surrogatesLast(y);
  }
  return a.length - b.length;
}

/** Maps UTF-16 units so that surrogates (code points above U+FFFF) come after U+E000..U+FFFF. */
function surrogatesLast(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

function byKeyBytes(a: Tag, b: Tag): number {
  return compareBytes(a.key, b.key);
}

export function escapeMeasurement(name: string): string {
  return /[, ]/.test(name) ? name.replace(/[, ]/g, '\\$&') : name;
}

export function escapeTag(text: string): string {
  return /[, =]/.test(text) ? text.replace(/[, =]/g, '\\$&') : text;
}

function unescapeMeasurement(text: string): string {
  return text.includes('\\') ? text.replace(/\\([, ])/g, '$1') : text;
}

export function unescapeTag(text: string): string {
  return text.includes('\\') ? text.replace(/\\([, =])/g, '$1') : text;
}

/** Index of the first `stop` that has no backslash before it, or the length. */
function endOfToken(key: string, start: number, stop: string): number {
  let end = key.indexOf(stop, start);
  while (end > start && key[end - 1] === '\\') end = key.indexOf(stop, end + 1);
  return end < 0 ? key.length : end;
}
