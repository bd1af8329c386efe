/**
 * Messages between the NodeCores of a cluster: one byte of format version, then JSON.
 *
 * They are few and small next to the data (a heartbeat a second and peer), so they are plain text that a person can read
 * in a capture. What arrives is not trusted: `decodeNodeMessage` checks every field and throws a typed error, which the
 * receiver counts. Every message is idempotent, and may be lost, repeated, delayed and reordered.
 */
import { z } from 'zod';
import { MembershipError } from './membership-error.ts';
import type { MembershipLimits } from './membership-limits.ts';
import { METADATA_BUCKETS } from './metadata.ts';

const FORMAT = 1;
const MEMBERS_NAMED_MAX = 10_000;
const number = z.string().regex(/^[0-9a-f]{16}$/);
const stamp = number;
const hash = z.string().regex(/^[0-9a-f]{32}$/);
const version = hash;
const name = z.string().min(1).max(255);
const address = z.string().max(1_024);
const sequence = z.number().int().min(0);
const rank = z
  .number()
  .int()
  .min(0)
  .max(2 ** 31);

const register = z.object({ key: z.string().min(1).max(4_096), rank, version, value: z.string().nullable() });
const shardKey = z.tuple([
  z.string(),
  sequence,
  z.string(),
  sequence,
  z.string().regex(/^-?\d{1,20}$/),
  z.string().regex(/^-?\d{1,20}$/),
  sequence,
]);
const heldShard = z.object({
  id: stamp,
  key: shardKey,
  state: z.enum(['full', 'filling', 'damaged']),
  young: z.boolean().optional(),
  since: stamp.optional(),
});
const statement = z.object({
  member: number,
  sequence,
  viewHash: hash,
  closed: stamp,
  open: z.array(z.object({ shard: stamp, oldest: version, acknowledgedBy: z.array(number) })),
  shardListSequence: sequence,
});

/** One process of a node (twins.ts). Absent where the sender knows nothing of it. */
const incarnation = z.object({
  id: number,
  /** End of the clock reservation that the process found: no former process of its directory used time beyond it. */
  since: stamp,
  startedMs: z.number().min(0).max(8.64e15),
  address,
});

const handover = z.object({
  shards: sequence,
  bytes: sequence,
  writes: sequence,
  outboxEntries: sequence,
  outboxBytes: sequence,
  shardsAtFirst: sequence,
  etaMs: sequence.nullable(),
});

const messageSchema = z.discriminatedUnion('kind', [
  /** A statement; how the sender's wall clock stands; the hash over its registers. */
  z.object({
    kind: z.literal('heartbeat'),
    statement,
    wallMs: z.number(),
    metadataHash: hash,
    /** Of a leaving member: what it still has. */
    handover: handover.nullable(),
    incarnation: incarnation.optional(),
  }),
  z.object({ kind: z.literal('ask-shards'), sequence }),
  /** Who has heard these members, that are silent at the sender? */
  z.object({ kind: z.literal('ask-after'), members: z.array(number).max(MEMBERS_NAMED_MAX) }),
  /** The sender has heard that statement of the member, so long ago. */
  z.object({
    kind: z.literal('news-of'),
    news: z.array(z.object({ member: number, sequence, agoMs: sequence })).max(MEMBERS_NAMED_MAX),
  }),
  z.object({ kind: z.literal('shards'), sequence, shards: z.array(heldShard) }),
  /** Metadata differs: the sums of the sender's buckets. */
  z.object({ kind: z.literal('digest'), buckets: z.array(hash).length(METADATA_BUCKETS) }),
  /** What the sender has in the buckets that differ, without the values. */
  z.object({
    kind: z.literal('keys'),
    buckets: z
      .array(
        z
          .number()
          .int()
          .min(0)
          .max(METADATA_BUCKETS - 1),
      )
      .max(METADATA_BUCKETS),
    keys: z.array(z.tuple([z.string(), rank, version])),
  }),
  /** Registers that the receiver lacks, and keys that the sender wants. */
  z.object({ kind: z.literal('registers'), registers: z.array(register), want: z.array(z.string()) }),
  /** News (rumours.ts), and what the receiver had known of it. */
  z.object({ kind: z.literal('rumour'), registers: z.array(register) }),
  z.object({ kind: z.literal('rumour-heard'), fresh: z.array(version), known: z.array(version) }),
  /** To an address: who is there? `registers`: the sender's own member register, so that a moved member is found. */
  z.object({
    kind: z.literal('probe'),
    clusterId: z.string().nullable(),
    number,
    name,
    address,
    registers: z.array(register),
    incarnation: incarnation.optional(),
  }),
  z.object({
    kind: z.literal('presence'),
    clusterId: z.string().nullable(),
    number,
    name,
    address,
    /** Addresses that a fresh node was told to join. */
    join: z.array(address),
    /** Member registers, for a prober of the same cluster. */
    registers: z.array(register),
    incarnation: incarnation.optional(),
    /** Other processes with the prober's number that the sender has heard, what they had closed, and how long ago. */
    heard: z.array(incarnation.extend({ closed: stamp, agoMs: z.number().min(0) })).optional(),
  }),
  /** To the process `id` of the member `number`: another process with that number is heard as well. */
  z.object({ kind: z.literal('twin'), number, id: number, other: incarnation }),
  z.object({ kind: z.literal('join'), number, name, address }),
  z.object({
    kind: z.literal('welcome'),
    number,
    clusterId: z.string().min(1).max(64),
    seed: z.string().min(1).max(64),
    /** The sponsor states nothing at or below it under a view without the joiner (protocol rule 11). */
    stamp,
    registers: z.array(register),
  }),
  /** `name-live`: a member of that name is up. `busy`: ask again. `removed`: that number can not come back. */
  z.object({ kind: z.literal('refuse'), code: z.enum(['name-live', 'busy', 'removed']), reason: z.string() }),
]);

export type NodeMessage = z.infer<typeof messageSchema>;
export type Incarnation = z.infer<typeof incarnation>;

export function encodeNodeMessage(message: NodeMessage): Uint8Array {
  const text = Buffer.from(JSON.stringify(message));
  const bytes = Buffer.allocUnsafe(text.length + 1);
  bytes[0] = FORMAT;
  text.copy(bytes, 1);
  return bytes;
}

/** Throws MembershipError `bad-message` or `future-message`. */
export function decodeNodeMessage(bytes: Uint8Array, limits: MembershipLimits): NodeMessage {
  if (bytes.length > limits.messageBytesMax) {
    throw bad(`${bytes.length} bytes, at most ${limits.messageBytesMax} are accepted`);
  }
  if (bytes.length < 2) throw bad(`${bytes.length} bytes`);
  if (bytes[0]! > FORMAT) {
    throw new MembershipError('future-message', `a message of format ${bytes[0]}; this version knows ${FORMAT}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset + 1, bytes.byteLength - 1).toString('utf8'));
  } catch {
    throw bad('not JSON');
  }
  const message = messageSchema.safeParse(value);
  if (!message.success) {
    const issue = message.error.issues[0]!;
    throw bad(`${issue.path.join('.') || 'message'}: ${issue.message}`);
  }
  checkSizes(message.data, limits);
  return message.data;
}

function checkSizes(message: NodeMessage, limits: MembershipLimits): void {
  if (message.kind === 'heartbeat' && message.statement.open.length > limits.openEntriesMax) {
    throw bad(`${message.statement.open.length} open entries, at most ${limits.openEntriesMax}`);
  }
  if (message.kind === 'shards' && message.shards.length > limits.shardListMax) {
    throw bad(`${message.shards.length} shards, at most ${limits.shardListMax}`);
  }
  if ('registers' in message) {
    for (const each of message.registers) {
      if (each.value !== null && each.value.length > limits.registerBytesMax) {
        throw bad(`register ${each.key} has ${each.value.length} characters, at most ${limits.registerBytesMax}`);
      }
    }
  }
}

function bad(what: string): MembershipError {
  return new MembershipError('bad-message', `a malformed message of a member: ${what}`);
}
