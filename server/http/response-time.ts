/**
 * Times of results: int64 nanoseconds to RFC 3339 or to a count of units since 1970.
 */
import { type ZoneOffset, zoneOffset } from '../query/time-zone.ts';

export type Epoch = 'ns' | 'u' | 'ms' | 's' | 'm' | 'h';

const NS_PER_UNIT: Readonly<Record<Epoch, bigint>> = {
  ns: 1n,
  u: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

const NS_PER_SECOND = 1_000_000_000n;
const SECONDS_PER_DAY = 86_400;

/** The `epoch` parameter: empty means RFC 3339; as in InfluxDB, what is unknown means nanoseconds. */
export function epochOf(parameter: string | null): Epoch | null {
  if (parameter === null || parameter === '') return null;
  return parameter in NS_PER_UNIT ? (parameter as Epoch) : 'ns';
}

/** Whole units, cut towards zero as Go's integer division does. */
export function formatEpoch(timeNs: bigint, epoch: Epoch): string {
  return epoch === 'ns' ? String(timeNs) : String(timeNs / NS_PER_UNIT[epoch]);
}

/** For `wholeUnits`: what is left of a time is then within 32 bits. */
export function unitFor(epoch: Epoch | null): number {
  return epoch === 's' || epoch === 'ms' ? Number(NS_PER_UNIT[epoch]) : 0;
}

/** Nanoseconds of the unit, for rows that the kernel writes (json-writer.ts); 0: dates. */
export function rowUnit(epoch: Epoch | null): number {
  return epoch === null ? 0 : Number(NS_PER_UNIT[epoch]);
}

/**
 * What formatEpoch writes of a time, as a number and without a bigint; -1 for a time before 1970. `halves`: times as
 * little-endian halves; `unit`: of `unitFor`.
 */
export function wholeUnits(halves: Int32Array, place: number, unit: number): number {
  const high = halves[place * 2 + 1]!;
  if (high < 0) return -1;
  const low = halves[place * 2]!;
  // A double does not hold the time exactly, so this may be one too few or too many.
  const near = Math.floor((high * 4_294_967_296 + (low >>> 0)) / unit);
  const left = (low - Math.imul(near, unit)) | 0;
  if (left < 0) return near - 1;
  return left >= unit ? near + 1 : near;
}

let dayFormatted = Number.NaN;
let dayText = '';

/** `2020-09-13T12:26:40.12Z`: nanoseconds without trailing zeros. The date of the last day is kept: rows come in order. */
export function formatRfc3339(timeNs: bigint, zone: Zone | null = null): string {
  const offset = zone === null ? 0 : zone.secondsAt(timeNs);
  let seconds = Number(timeNs / NS_PER_SECOND) + offset;
  let nanos = Number(timeNs % NS_PER_SECOND);
  if (nanos < 0) {
    nanos += 1_000_000_000;
    seconds--;
  }
  const day = Math.floor(seconds / SECONDS_PER_DAY);
  if (day !== dayFormatted) {
    dayText = new Date(day * SECONDS_PER_DAY * 1000).toISOString().slice(0, 11);
    dayFormatted = day;
  }
  const secondOfDay = seconds - day * SECONDS_PER_DAY;
  const hour = Math.floor(secondOfDay / 3600);
  const minute = Math.floor(secondOfDay / 60) % 60;
  const second = secondOfDay % 60;
  return `${dayText}${two(hour)}:${two(minute)}:${two(second)}${fraction(nanos)}${offset === 0 ? 'Z' : offsetText(offset)}`;
}

function offsetText(seconds: number): string {
  const minutes = Math.floor(Math.abs(seconds) / 60);
  return `${seconds < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}

const ZONE_STEP_NS = 900_000_000_000n;

/** Of one time zone. Clocks change at whole quarters of an hour, so that rows that are close to each other have one offset. */
export class Zone {
  readonly name: string;
  readonly #offset: ZoneOffset;
  #quarter: bigint | null = null;
  #seconds = 0;

  constructor(name: string) {
    this.name = name;
    this.#offset = zoneOffset(name) ?? (() => 0n);
  }

  secondsAt(timeNs: bigint): number {
    const quarter = timeNs / ZONE_STEP_NS;
    if (quarter !== this.#quarter) {
      this.#quarter = quarter;
      this.#seconds = Number(this.#offset(timeNs) / NS_PER_SECOND);
    }
    return this.#seconds;
  }
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}

function fraction(nanos: number): string {
  if (nanos === 0) return '';
  let digits = 9;
  let rest = nanos;
  while (rest % 10 === 0) {
    rest /= 10;
    digits--;
  }
  return `.${String(rest).padStart(digits, '0')}`;
}
