/**
 * Checks of what other members say, one small function per form: put together they describe the fields of a message
 * (replica-messages.ts, mail-messages.ts).
 */
import { isDeleteShard } from '../shards/delete-shard.ts';
import { SHARD_SPAN_MAX_NS, type ShardKeyJson } from '../shards/shard-key.ts';

export class MessageError extends Error {
  readonly code: 'malformed-message' | 'unknown-message';
  constructor(code: MessageError['code'], message: string) {
    super(message);
    this.name = 'MessageError';
    this.code = code;
  }
}

export function malformed(reason: string): MessageError {
  return new MessageError('malformed-message', reason);
}

/** For the text of an error. What is nested is not gone into: it may be nested as deep as its sender likes. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80));
  return typeof value === 'object' && value !== null ? 'a list or an object' : String(value);
}

export type Check = (value: unknown) => boolean;

/** Lists are bounded by the limits of their senders; this bounds what a receiver takes from anybody. */
export const LIST_MAX = 100_000;
/** Lanes are one byte, the greatest of which is the main thread's (server/peers-packet.ts). */
const SHARD_NUMBER_MAX = 254;

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export const text: Check = (value) => typeof value === 'string' && value.length <= 4_096;
export const flag: Check = (value) => typeof value === 'boolean';
export const size: Check = (value) => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
const hex =
  (digits: number): Check =>
  (value) =>
    typeof value === 'string' && value.length === digits && /^[0-9a-f]*$/.test(value);
export const stamp = hex(16);
export const node = hex(16);
export const version = hex(32);
export const sum = hex(32);
export const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
export const orAbsent =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
export const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.length <= LIST_MAX && value.every(check);
export const tupleOf =
  (...checks: Check[]): Check =>
  (value) =>
    Array.isArray(value) && value.length === checks.length && checks.every((check, i) => check(value[i]));
export const oneOf =
  (...values: string[]): Check =>
  (value) =>
    typeof value === 'string' && values.includes(value);
export const objectOf =
  (checks: Record<string, Check>): Check =>
  (value) =>
    isObject(value) && Object.entries(checks).every(([name, check]) => check(value[name]));
const integerText: Check = (value) => typeof value === 'string' && /^-?[0-9]{1,19}$/.test(value);

export const key: Check = (value) => {
  if (!tupleOf(text, size, text, size, integerText, integerText, size)(value)) return false;
  const [, , , , start, end, number] = value as ShardKeyJson;
  const spanNs = BigInt(end) - BigInt(start);
  const isBounded = spanNs > 0n && spanNs <= SHARD_SPAN_MAX_NS;
  return number <= SHARD_NUMBER_MAX && (isBounded || isDeleteShard({ startNs: BigInt(start), endNs: BigInt(end) }));
};
