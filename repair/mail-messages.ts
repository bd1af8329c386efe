/**
 * Mail and the answers to it as bytes: the messages that every batch makes. Integers are little-endian.
 *
 * Mail:
 *    0   u8 magic 0x53 · u8 format (2) · u16 length of the shard's key
 *    4   u32 length of the series keys, 0 when none go along; + 2^31 when an outbox sends it (outbox-arrivals.ts)
 *    8   version, 16 bytes, big-endian as everywhere
 *   24   the shard's key, JSON as in the frame (shards/shard-key.ts); series keys; frame, to the end
 * Series keys and frame carry CRCs of their own (shards/batch-codec.ts), so whoever carries the message has to protect
 * only what is ahead of them (`bytesWithoutCrc`).
 *
 * Answers:
 *    0   u8 magic · u8 format (3) · u8 length of the view's hash · u8 0 · u32 count · the view's hash
 *   then for each: shard's id (8 bytes) · version (16) · u8 status, in the order below, + 128 to keep the batch and try
 *   again · u8 length of the code · u16 length of the reason · code · reason
 *
 * Offers of batches that may have come already (outbox-sender.ts), answered in the same way:
 *    0   u8 magic · u8 format (7) · u8 number of their shards · u8 0 · u32 count
 *   then for each: shard's id (8 bytes) · version (16)
 *
 * Everything is checked on receipt: what does not fit is a MessageError.
 */
import {
  type ShardId,
  type ShardKey,
  type ShardKeyJson,
  shardKeyFromJson,
  shardKeyToJson,
} from '../shards/shard-key.ts';
import { VERSION_BYTES, type Version } from '../shards/version.ts';
import { key as isShardKey, LIST_MAX, malformed } from './message-checks.ts';

export const MAGIC = 0x53;
export const MAIL_FORMAT = 2;
export const ANSWERS_FORMAT = 3;
export const OFFERS_FORMAT = 7;
const MAIL_HEAD_BYTES = 24;
const ANSWERS_HEAD_BYTES = 8;
const SHARD_ID_BYTES = 8;
const ANSWER_BYTES_MIN = SHARD_ID_BYTES + VERSION_BYTES + 4;
const OFFERS_HEAD_BYTES = 8;
export const OFFER_BYTES = SHARD_ID_BYTES + VERSION_BYTES;
const RETRY = 0x80;
const FROM_OUTBOX = 0x80000000;
/** A batch on its way, the offer of one, or the answer to either. */
export function isMail(message: Uint8Array): boolean {
  return message[1] === MAIL_FORMAT || message[1] === ANSWERS_FORMAT || message[1] === OFFERS_FORMAT;
}

/** Keys of shards as they were received or sent, so that each is read and written once. Emptied when full. */
const KEYS_MAX = 4_096;

const STATUSES = ['stored', 'applied', 'need-keys', 'filling', 'not-mine', 'refused', 'lacks'] as const;
export type MailStatus = (typeof STATUSES)[number];
/** Shard, version, status, code ('' unless refused), whether to keep and try again, reason. */
export type MailAnswer = readonly [ShardId, Version, MailStatus, string, boolean, string];

export interface MailMessage {
  readonly t: 'mail';
  readonly key: ShardKey;
  readonly version: Version;
  readonly isFromOutbox?: boolean;
}

/** Are they there? What is not is answered with `lacks`. */
export interface MailOffers {
  readonly t: 'mail-offers';
  /** Of their shards. */
  readonly number: number;
  readonly offers: readonly (readonly [ShardId, Version])[];
}

export interface MailAnswers {
  readonly t: 'mail-answers';
  readonly answers: readonly MailAnswer[];
  readonly view: string;
}

const NOTHING = new Uint8Array(0);

export function encodeMail(
  { key, version, isFromOutbox }: MailMessage,
  attachments: readonly Uint8Array[],
): Uint8Array {
  const [frame = NOTHING, keys = NOTHING] = attachments;
  const text = textOf(key);
  const head = MAIL_HEAD_BYTES + text.length;
  const out = Buffer.allocUnsafeSlow(head + keys.byteLength + frame.byteLength);
  out[0] = MAGIC;
  out[1] = MAIL_FORMAT;
  out.writeUInt16LE(text.length, 2);
  out.writeUInt32LE(keys.byteLength + (isFromOutbox === true ? FROM_OUTBOX : 0), 4);
  out.fill(0, 8, MAIL_HEAD_BYTES);
  out.write(version, 8, VERSION_BYTES, 'hex');
  out.set(text, MAIL_HEAD_BYTES);
  out.set(keys, head);
  out.set(frame, head + keys.byteLength);
  return out;
}

/** The attachments are views: frame, keys. Throws MessageError. */
export function decodeMail(input: Buffer): { message: MailMessage; attachments: Uint8Array[] } {
  if (input.length < MAIL_HEAD_BYTES) throw malformed(`mail of ${input.length} bytes`);
  const head = MAIL_HEAD_BYTES + input.readUInt16LE(2);
  const length = input.readUInt32LE(4);
  const isFromOutbox = length >= FROM_OUTBOX;
  const frameAt = head + (isFromOutbox ? length - FROM_OUTBOX : length);
  if (frameAt > input.length) throw malformed(`mail: the frame begins at ${frameAt} of ${input.length} bytes`);
  const key = keyOf(input.toString('latin1', MAIL_HEAD_BYTES, head), input, head);
  const version = input.toString('hex', 8, MAIL_HEAD_BYTES);
  return {
    message: isFromOutbox ? { t: 'mail', key, version, isFromOutbox } : { t: 'mail', key, version },
    attachments: [input.subarray(frameAt), input.subarray(head, frameAt)],
  };
}

/** How many of a message's first bytes no CRC in it covers. */
export function bytesWithoutCrc(message: Uint8Array): number {
  if (message[1] !== MAIL_FORMAT || message[0] !== MAGIC || message.byteLength < MAIL_HEAD_BYTES)
    return message.byteLength;
  return MAIL_HEAD_BYTES + (message[2]! | (message[3]! << 8));
}

export function encodeAnswers({ answers, view }: MailAnswers): Uint8Array {
  let length = ANSWERS_HEAD_BYTES + view.length;
  for (const [, , , code, , reason] of answers)
    length += ANSWER_BYTES_MIN + code.length + (reason === '' ? 0 : Buffer.byteLength(reason));
  const out = Buffer.allocUnsafeSlow(length);
  out[0] = MAGIC;
  out[1] = ANSWERS_FORMAT;
  out[2] = view.length;
  out[3] = 0;
  out.writeUInt32LE(answers.length, 4);
  let at = ANSWERS_HEAD_BYTES + out.write(view, ANSWERS_HEAD_BYTES, 'latin1');
  for (const [id, version, status, code, retry, reason] of answers) {
    at += out.write(id, at, SHARD_ID_BYTES, 'hex');
    at += out.write(version, at, VERSION_BYTES, 'hex');
    out[at++] = STATUSES.indexOf(status) + (retry ? RETRY : 0);
    out[at++] = code.length;
    const reasonAt = at + 2;
    at = reasonAt;
    if (code !== '') at += out.write(code, at, 'latin1');
    const textAt = at;
    if (reason !== '') at += out.write(reason, at, 'utf8');
    out.writeUInt16LE(at - textAt, reasonAt - 2);
  }
  return out;
}

/** Throws MessageError. */
export function decodeAnswers(input: Buffer): MailAnswers {
  if (input.length < ANSWERS_HEAD_BYTES + input[2]!) throw malformed(`answers of ${input.length} bytes`);
  const count = input.readUInt32LE(4);
  let at = ANSWERS_HEAD_BYTES + input[2]!;
  if (count > LIST_MAX || count * ANSWER_BYTES_MIN > input.length - at) throw malformed(`${count} answers`);
  const view = input.toString('latin1', ANSWERS_HEAD_BYTES, at);
  const answers: MailAnswer[] = [];
  for (let i = 0; i < count; i++) {
    if (at + ANSWER_BYTES_MIN > input.length) throw malformed(`answer ${i} of ${count} runs over the end`);
    const id = input.toString('hex', at, at + SHARD_ID_BYTES);
    const version = input.toString('hex', at + SHARD_ID_BYTES, at + SHARD_ID_BYTES + VERSION_BYTES);
    at += SHARD_ID_BYTES + VERSION_BYTES;
    const status = STATUSES[input[at]! & ~RETRY];
    if (status === undefined) throw malformed(`answer of status ${input[at]}`);
    const retry = (input[at]! & RETRY) !== 0;
    const codeEnd = at + 4 + input[at + 1]!;
    const end = codeEnd + input.readUInt16LE(at + 2);
    if (end > input.length) throw malformed(`answer ${i} of ${count} runs over the end`);
    const code = input.toString('latin1', at + 4, codeEnd);
    answers.push([id, version, status, code, retry, input.toString('utf8', codeEnd, end)]);
    at = end;
  }
  if (at !== input.length) throw malformed(`answers: ${input.length - at} bytes too many`);
  return { t: 'mail-answers', answers, view };
}

export function encodeOffers({ number, offers }: MailOffers): Uint8Array {
  const out = Buffer.allocUnsafeSlow(OFFERS_HEAD_BYTES + OFFER_BYTES * offers.length);
  out.set([MAGIC, OFFERS_FORMAT, number, 0]);
  let at = out.writeUInt32LE(offers.length, 4);
  for (const [id, version] of offers) {
    at += out.write(id, at, SHARD_ID_BYTES, 'hex');
    at += out.write(version, at, VERSION_BYTES, 'hex');
  }
  return out;
}

/** Throws MessageError. */
export function decodeOffers(input: Buffer): MailOffers {
  const count = input.length < OFFERS_HEAD_BYTES ? -1 : input.readUInt32LE(4);
  if (count < 0 || count > LIST_MAX || OFFERS_HEAD_BYTES + count * OFFER_BYTES !== input.length)
    throw malformed(`offers of ${input.length} bytes`);
  const offers = Array.from({ length: count }, (_, i): [ShardId, Version] => {
    const at = OFFERS_HEAD_BYTES + i * OFFER_BYTES;
    const versionAt = at + SHARD_ID_BYTES;
    return [input.toString('hex', at, versionAt), input.toString('hex', versionAt, versionAt + VERSION_BYTES)];
  });
  return { t: 'mail-offers', number: input[2]!, offers };
}

const keys = new Map<string, ShardKey>();
const texts = new WeakMap<ShardKey, Buffer>();

function textOf(key: ShardKey): Buffer {
  let text = texts.get(key);
  if (text === undefined) {
    text = Buffer.from(JSON.stringify(shardKeyToJson(key)));
    texts.set(key, text);
  }
  return text;
}

/** `spelled`: its bytes, one character each. Equal keys come out as one object. */
function keyOf(spelled: string, input: Buffer, end: number): ShardKey {
  let key = keys.get(spelled);
  if (key === undefined) {
    let json: unknown;
    try {
      json = JSON.parse(input.toString('utf8', MAIL_HEAD_BYTES, end));
    } catch {
      throw malformed('mail: the key of its shard is not JSON');
    }
    if (!isShardKey(json)) throw malformed('mail: the key of its shard has another form');
    key = shardKeyFromJson(json as ShardKeyJson);
    if (keys.size >= KEYS_MAX) keys.clear();
    keys.set(spelled, key);
  }
  return key;
}
