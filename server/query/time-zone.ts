/**
 * Offsets of time zones, from Node's own ICU data.
 */
import { QueryError } from './query-error.ts';

const NS_PER_SECOND = 1_000_000_000n;

/** Seconds east of UTC at an instant; null zone: UTC. */
export type ZoneOffset = (timeNs: bigint) => bigint;

export function zoneOffset(timeZone: string | undefined): ZoneOffset | null {
  if (timeZone === undefined || timeZone === '' || timeZone === 'UTC') return null;
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' });
  } catch {
    throw new QueryError(`unable to find time zone ${timeZone}`);
  }
  return (timeNs) => {
    const ms = Number(timeNs / 1_000_000n);
    const name = format.formatToParts(ms).find((part) => part.type === 'timeZoneName')?.value ?? 'GMT';
    const match = /^GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(name);
    if (match?.[1] === undefined) return 0n;
    const seconds = Number(match[2]) * 3600 + Number(match[3]) * 60 + Number(match[4] ?? 0);
    return BigInt(match[1] === '-' ? -seconds : seconds) * NS_PER_SECOND;
  };
}

export function timeZoneExists(timeZone: string): boolean {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone });
    return true;
  } catch {
    return false;
  }
}
