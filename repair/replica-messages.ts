/**
 * Messages between the workers of two members, as bytes.
 *
 * Mail and its answers, of which there are thousands a second, have layouts of their own (mail-messages.ts), and so have
 * the messages of passes, which travel in bundles (ring-bundle.ts). All others, and each of those alone:
 * u8 magic 0x53 · u8 format (1) · u32 length of header, big-endian · header (JSON, UTF-8) · attachments, one
 * after the other. The header holds `t` (kind), the fields of the kind, and `a`, the lengths of the attachments. Frames,
 * keys, identity lists and pages travel as attachments, unchanged. Every field is checked on receipt against the
 * table below; what does not fit is a MessageError, counted by the receiver and otherwise ignored. A kind that this
 * version does not know is `unknown-message`, so that newer members can be told from damaged ones.
 */
import type { ShardKeyJson } from '../shards/shard-key.ts';
import type { NodeNumber, Stamp, Version } from '../shards/version.ts';
import { CONTENT_FIELDS, type ContentMessage, type Suspicion } from './content-messages.ts';
import { isDecidedName } from './explanation.ts';
import type { RootJson } from './ledger.ts';
import {
  ANSWERS_FORMAT,
  decodeAnswers,
  decodeMail,
  decodeOffers,
  encodeAnswers,
  encodeMail,
  encodeOffers,
  MAGIC,
  MAIL_FORMAT,
  type MailAnswers,
  type MailMessage,
  type MailOffers,
  OFFERS_FORMAT,
} from './mail-messages.ts';
import {
  type Check,
  flag,
  isObject,
  key,
  listOf,
  MessageError,
  malformed,
  node,
  objectOf,
  oneOf,
  orAbsent,
  orNull,
  shown,
  size,
  stamp,
  sum,
  text,
  tupleOf,
  version,
} from './message-checks.ts';
import type { HopRecord, PassRecord, SkippedMember } from './records.ts';
import { BUNDLE_FORMAT, type BundledMessage, BundleWriter, decodeBundle } from './ring-bundle.ts';

/** What a side of a comparison or copy says of itself (protocol rule 19). */
export interface FloorClaim {
  readonly floor: Stamp;
  readonly floorRoot: RootJson;
}

export interface Token extends FloorClaim {
  readonly t: 'token';
  readonly pass: string;
  readonly key: ShardKeyJson;
  readonly through: Stamp;
  readonly view: string;
  readonly kind: 'full' | 'live';
  /** Walk order, starter first; members that were skipped are taken out. */
  readonly order: readonly NodeNumber[];
  /** How many of `order` have been gathered when the sender hands the token on; `order.length` from the spread half on. */
  readonly gathered: number;
  /** Members that have synced and verified `final`. */
  readonly verified: readonly NodeNumber[];
  readonly hop: number;
  /** The sender's root at `through`. */
  readonly root: RootJson;
  /** The root that all must have; null in the gathering half. */
  readonly final: RootJson | null;
  readonly skipped: readonly SkippedMember[];
  readonly hops: readonly HopRecord[];
  readonly startedMs: number;
  /** Somebody watches: report each hop to the starter. */
  readonly watched: boolean;
  /** All roots and floors so far were those said here, and nobody was left out (ring-even.ts). */
  readonly even: boolean;
}

export type PullStatus = 'ok' | 'filling' | 'absent' | 'floor' | 'busy' | 'gone' | 'damaged';

export type Message =
  | ContentMessage
  | Suspicion
  | MailMessage
  | MailAnswers
  | MailOffers
  | Token
  | {
      readonly t: 'token-answer';
      readonly pass: string;
      readonly hop: number;
      readonly status: 'working' | 'handed' | 'refused';
      readonly reason: string;
      /** Of whoever refuses: its floor may be why. */
      readonly claim: FloorClaim | null;
    }
  | {
      /** A token, or with an end the proof, of a pass that the receiver knows (ring-even.ts). */
      readonly t: 'even';
      readonly pass: string;
      readonly hop: number;
      /** Of the hops done. */
      readonly ms: readonly number[];
      readonly finishedMs: number | null;
    }
  | {
      /** Of shards with one number. */
      readonly t: 'bundle';
      readonly messages: readonly BundledMessage[];
    }
  | { readonly t: 'pass-ended'; readonly shard: string; readonly record: PassRecord }
  | {
      readonly t: 'proven';
      readonly key: ShardKeyJson;
      readonly pass: string;
      readonly through: Stamp;
      readonly kind: 'full' | 'live';
      readonly view: string;
      readonly members: readonly NodeNumber[];
      readonly root: RootJson;
      readonly record: PassRecord;
    }
  | { readonly t: 'converged'; readonly key: ShardKeyJson; readonly through: Stamp }
  /** Up to where is it proven? */
  | { readonly t: 'converged-ask'; readonly key: ShardKeyJson }
  | ({
      readonly t: 'compare';
      readonly request: number;
      readonly key: ShardKeyJson;
      readonly through: Stamp;
      readonly from: number;
      /** Only look: neither side adopts a floor or turns filling. */
      readonly preview: boolean;
    } & FloorClaim)
  | ({
      readonly t: 'compare-answer';
      readonly request: number;
      readonly shard: string;
      readonly status: PullStatus;
      readonly root: RootJson | null;
      /** Epoch, count, identity sum, content sum. */
      readonly sums: readonly (readonly [number, number, string, string])[];
      readonly next: number | null;
      /** The source is not proven with all owners since it was made (`isNewcomer`). */
      readonly newcomer?: boolean | undefined;
    } & FloorClaim)
  | {
      readonly t: 'identities';
      readonly request: number;
      readonly key: ShardKeyJson;
      readonly after: Stamp;
      readonly through: Stamp;
      readonly epochs: readonly number[];
      /** Last version of the page before; '' at first. */
      readonly above: Version | '';
    }
  | {
      readonly t: 'identities-answer';
      readonly request: number;
      readonly shard: string;
      readonly status: PullStatus;
      readonly more: boolean;
    }
  | { readonly t: 'fetch'; readonly request: number; readonly key: ShardKeyJson; readonly versions: readonly Version[] }
  | {
      readonly t: 'fetch-answer';
      readonly request: number;
      readonly shard: string;
      readonly status: PullStatus;
      /** Versions given, in the order of the attachments (frame and keys of each). */
      readonly versions: readonly Version[];
    }
  /** The sender's file was lost: what it has acknowledged of the shard counts no longer. Answered when that is durable. */
  | { readonly t: 'disown'; readonly request: number; readonly key: ShardKeyJson; readonly through: Stamp }
  | { readonly t: 'disowned'; readonly request: number; readonly shard: string }
  | ({ readonly t: 'fill-open'; readonly request: number; readonly key: ShardKeyJson } & FloorClaim)
  | {
      readonly t: 'fill-page';
      readonly request: number;
      readonly key: ShardKeyJson;
      readonly snapshot: number;
      readonly index: number;
      /** The page is kept from before, and was this then. */
      readonly kept?: string;
    }
  | {
      readonly t: 'fill-answer';
      readonly request: number;
      readonly shard: string;
      readonly status: PullStatus;
      readonly snapshot: number;
      readonly index: number;
      readonly bytesTotal: number;
      readonly last: boolean;
      /** The page is what was kept of it. */
      readonly same?: boolean;
    }
  | {
      readonly t: 'pass-control';
      readonly shard: string;
      readonly pass: string;
      readonly action: 'pause' | 'cancel';
    }
  | {
      readonly t: 'pass-progress';
      readonly shard: string;
      readonly pass: string;
      readonly hop: number;
      readonly hops: number;
      readonly batches: number;
      readonly rows: number;
      readonly bytes: number;
    };

export type MessageKind = Message['t'];
export type MessageOf<K extends MessageKind> = Extract<Message, { t: K }>;

export interface Received {
  readonly message: Message;
  readonly attachments: readonly Uint8Array[];
}

const FORMAT = 1;
const HEAD_BYTES = 6;

/** Always bytes of their own, which nobody keeps. The attachments of mail are its frame and, if there are any, keys. */
export function encodeMessage(message: Message, attachments: readonly Uint8Array[] = []): Uint8Array {
  if (message.t === 'mail') return encodeMail(message, attachments);
  if (message.t === 'mail-answers') return encodeAnswers(message);
  if (message.t === 'mail-offers') return encodeOffers(message);
  if (message.t === 'bundle') return encodeBundle(message.messages);
  const header = Buffer.from(JSON.stringify({ ...message, a: attachments.map((part) => part.byteLength) }));
  let length = HEAD_BYTES + header.length;
  for (const part of attachments) length += part.byteLength;
  const out = Buffer.allocUnsafeSlow(length);
  out[0] = MAGIC;
  out[1] = FORMAT;
  out.writeUInt32BE(header.length, 2);
  header.copy(out, HEAD_BYTES);
  let at = HEAD_BYTES + header.length;
  for (const part of attachments) {
    out.set(part, at);
    at += part.byteLength;
  }
  return out;
}

function encodeBundle(messages: readonly BundledMessage[]): Uint8Array {
  const keys = messages.map((message) => ('key' in message ? message.key : null));
  const writer = new BundleWriter(keys.find((each) => each !== null)?.[6] ?? 0);
  for (const message of messages)
    if (!writer.add(message)) throw new RangeError(`a ${message.t} that does not fit into its bundle`);
  return writer.finish();
}

/** Attachments are views of `bytes`. Throws MessageError. */
export function decodeMessage(bytes: Uint8Array): Received {
  const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (input.length < HEAD_BYTES || input[0] !== MAGIC) throw malformed('not a message');
  if (input[1] === MAIL_FORMAT) return decodeMail(input);
  if (input[1] === ANSWERS_FORMAT) return { message: decodeAnswers(input), attachments: [] };
  if (input[1] === OFFERS_FORMAT) return { message: decodeOffers(input), attachments: [] };
  if (input[1] === BUNDLE_FORMAT)
    return { message: { t: 'bundle', messages: decodeBundle(input, checkFields, checkKey) }, attachments: [] };
  if (input[1] !== FORMAT) throw malformed(`a message of format ${input[1]}`);
  const end = HEAD_BYTES + input.readUInt32BE(2);
  if (end > input.length) throw malformed(`header ends at ${end} of ${input.length} bytes`);
  let header: unknown;
  try {
    header = JSON.parse(input.toString('utf8', HEAD_BYTES, end));
  } catch {
    throw malformed('header is not JSON');
  }
  if (!isObject(header) || typeof header.t !== 'string') throw malformed('header has no kind');
  checkFields(header as { t: string });
  if (!listOf(size)(header.a)) throw malformed(`${header.t}: no lengths of attachments`);
  const attachments: Uint8Array[] = [];
  let at = end;
  for (const length of header.a as number[]) {
    if (at + length > input.length) throw malformed(`${header.t}: attachment ends beyond the message`);
    attachments.push(input.subarray(at, at + length));
    at += length;
  }
  if (at !== input.length) throw malformed(`${header.t}: ${input.length - at} bytes too many`);
  return { message: header as unknown as Message, attachments };
}

function checkFields(header: { readonly t: string }): void {
  const fields = Object.hasOwn(FIELDS, header.t) ? FIELDS[header.t as JsonKind] : undefined;
  if (fields === undefined)
    throw new MessageError('unknown-message', `message of unknown kind ${header.t.slice(0, 40)}`);
  const values = header as unknown as Record<string, unknown>;
  for (const [name, check] of Object.entries(fields)) {
    if (!check(values[name])) throw malformed(`${header.t}: field ${name} is ${shown(values[name])}`);
  }
}

function checkKey(value: ShardKeyJson): void {
  if (!key(value)) throw malformed('a bundle with a shard that cannot be');
}

const root = tupleOf(size, sum, sum);
const kind = oneOf('full', 'live');
const pullStatus = oneOf('ok', 'filling', 'absent', 'floor', 'busy', 'gone', 'damaged');
const claim = { floor: stamp, floorRoot: root };
const skipped = listOf(objectOf({ member: node, reason: text }));
const hop = { from: node, to: node, epochsDiffering: size, batches: size, rows: size, bytes: size, ms: size };
const decided: Check = (value) =>
  value === undefined ||
  (isObject(value) && Object.entries(value).every(([name, count]) => isDecidedName(name) && size(count)));
const hops = listOf(objectOf({ ...hop, decided }));
const summary = objectOf({ through: stamp, batches: size, identitySum: sum, contentSum: sum });
const record = objectOf({
  id: text,
  shard: text,
  kind,
  starter: node,
  order: listOf(node),
  skipped,
  cutoff: stamp,
  cutoffMs: size,
  hops,
  hopsPlanned: size,
  startedMs: size,
  finishedMs: size,
  outcome: oneOf('proven', 'overtaken', 'damage', 'failed', 'cancelled'),
  reason: orNull(text),
  root: orNull(summary),
  batchesMoved: size,
  rowsMoved: size,
  bytesMoved: size,
});

type JsonKind = Exclude<MessageKind, 'mail' | 'mail-answers' | 'mail-offers' | 'bundle'>;

const FIELDS: Record<JsonKind, Record<string, Check>> = {
  ...CONTENT_FIELDS,
  token: {
    ...claim,
    pass: text,
    key,
    through: stamp,
    view: text,
    kind,
    order: listOf(node),
    gathered: size,
    verified: listOf(node),
    hop: size,
    root,
    final: orNull(root),
    skipped,
    hops,
    startedMs: size,
    watched: flag,
    even: flag,
  },
  even: { pass: text, hop: size, ms: listOf(size), finishedMs: orNull(size) },
  'token-answer': {
    pass: text,
    hop: size,
    status: oneOf('working', 'handed', 'refused'),
    reason: text,
    claim: orNull(objectOf(claim)),
  },
  'pass-ended': { shard: text, record },
  proven: { key, pass: text, through: stamp, kind, view: text, members: listOf(node), root, record },
  converged: { key, through: stamp },
  'converged-ask': { key },
  compare: { ...claim, request: size, key, through: stamp, from: size, preview: flag },
  'compare-answer': {
    ...claim,
    request: size,
    shard: text,
    status: pullStatus,
    root: orNull(root),
    sums: listOf(tupleOf(size, size, sum, sum)),
    next: orNull(size),
    newcomer: orAbsent(flag),
  },
  identities: {
    request: size,
    key,
    after: stamp,
    through: stamp,
    epochs: listOf(size),
    above: (value) => value === '' || version(value),
  },
  'identities-answer': { request: size, shard: text, status: pullStatus, more: flag },
  fetch: { request: size, key, versions: listOf(version) },
  'fetch-answer': { request: size, shard: text, status: pullStatus, versions: listOf(version) },
  disown: { request: size, key, through: stamp },
  disowned: { request: size, shard: text },
  'fill-open': { ...claim, request: size, key },
  'fill-page': { request: size, key, snapshot: size, index: size, kept: orAbsent(sum) },
  'fill-answer': {
    request: size,
    shard: text,
    status: pullStatus,
    snapshot: size,
    index: size,
    bytesTotal: size,
    last: flag,
    same: orAbsent(flag),
  },
  'pass-control': { shard: text, pass: text, action: oneOf('pause', 'cancel') },
  'pass-progress': { shard: text, pass: text, hop: size, hops: size, batches: size, rows: size, bytes: size },
};
