/**
 * What passes say to one worker of one member, of many shards in one message: tokens, answers to them, proofs.
 *
 * Each shard has a pass of its own; only on the way do they travel together. All that one turn has for a lane of a member
 * leaves at its end. What tokens have in common (order, cutoff, view, hops done) is said once for all of them, in a head; what
 * each has of its own are some 45 bytes, or its number where the receiver knows the pass (ring-even.ts). Passes that were
 * started together stay equal in all of the first until they differ. A message that does not fit the form (a token of
 * another kind of name, a refusal) travels alone.
 *
 * Layout:
 *    u8 magic 0x53 · u8 format (6) · u8 number of the shards · u8 rows of the table · table
 *    then groups, up to the end: varint length of the head · varint count · head (ring-bundle-head.ts) · count entries
 * A row of the table: text database · varint generation · text retention policy · varint generation · span. A shard is
 * u8 place in the table · start. Span and start, floors and roots have the forms of ring-bytes.ts; a floor is said from the
 * cutoff on.
 *    token      varint number · shard · root · u8 flags · [floor] · [root at the floor] · [final root]
 *    answer     varint number
 *    even       varint number
 *    proven     varint number · shard · root
 *    converged  shard
 * A number is the last part of a pass's name; the rest of the name is in the head. Flags: 1 the floor is that of the entry
 * before, 2 the root at the floor is the root, 4 there is a final root, 8 and it is the root.
 */
import { BlockError } from '../shards/block-error.ts';
import { ByteReader, ByteWriter } from '../shards/codec/bytes.ts';
import type { ShardKeyJson } from '../shards/shard-key.ts';
import { shardId, shardKeyFromJson } from '../shards/shard-key.ts';
import { STAMP_ZERO, type Stamp, stampMs } from '../shards/version.ts';
import type { RootJson } from './ledger.ts';
import { MAGIC } from './mail-messages.ts';
import { LIST_MAX, malformed } from './message-checks.ts';
import type { PassRecord } from './records.ts';
import type { Message, MessageOf } from './replica-messages.ts';
import { decodeHead, encodeHead, type Head } from './ring-bundle-head.ts';
import { readNs, readRoot, readStamp, writeNs, writeRoot, writeStamp } from './ring-bytes.ts';

export const BUNDLE_FORMAT = 6;
const HEAD_BYTES = 4;
/** Of one bundle; a shard's place in the table has one byte. */
const TABLE_MAX = 255;
export const BUNDLE_MESSAGES_MAX = 1_024;
const U16_MAX = 0xffff;
const SAME_FLOOR = 1;
const FLOOR_ROOT_IS_ROOT = 2;
const HAS_FINAL = 4;
const FINAL_IS_ROOT = 8;

export type BundledMessage = MessageOf<'token' | 'token-answer' | 'even' | 'proven' | 'converged'>;

/** Names of passes: what those that were started together share, and a number. */
const PASS = /^([0-9a-z-]{1,80})-([0-9]{1,5})$/;

function splitPass(pass: string): { prefix: string; number: number } | null {
  const parts = PASS.exec(pass);
  if (parts === null) return null;
  const number = Number.parseInt(parts[2]!, 10);
  // Only what comes out as it went in.
  return number <= U16_MAX && String(number) === parts[2] ? { prefix: parts[1]!, number } : null;
}

interface Entry {
  readonly message: BundledMessage;
  readonly number: number;
  readonly place: number;
  readonly start: bigint;
}

/** The messages of one bundle, in groups with equal heads. */
export class BundleWriter {
  count = 0;
  private readonly shardNumber: number;
  /** By their bytes, one character each. */
  private readonly table = new Map<string, number>();
  private readonly groups = new Map<string, Entry[]>();

  constructor(shardNumber: number) {
    this.shardNumber = shardNumber;
  }

  /** False: it does not fit the form, or the bundle is full. */
  add(message: BundledMessage): boolean {
    if (this.count >= BUNDLE_MESSAGES_MAX) return false;
    const pass = message.t === 'converged' ? { prefix: '', number: 0 } : splitPass(message.pass);
    if (pass === null || !hasForm(message)) return false;
    let [place, start] = [0, 0n];
    if (message.t !== 'token-answer' && message.t !== 'even') {
      const { key } = message;
      start = BigInt(key[4]);
      if (key[6] !== this.shardNumber || BigInt.asIntN(64, start) !== start) return false;
      const span = BigInt(key[5]) - start;
      if (BigInt.asUintN(64, span) !== span) return false;
      const row = latin1(rowBytes(key, span));
      const known = this.table.get(row);
      if (known === undefined && this.table.size >= TABLE_MAX) return false;
      place = known ?? this.table.size;
      if (known === undefined) this.table.set(row, place);
    }
    const bytes = encodeHead(message, pass.prefix);
    if (bytes === null || bytes.length > U16_MAX) return false;
    const head = latin1(bytes);
    const group = this.groups.get(head);
    const entry = { message, number: pass.number, place, start };
    if (group === undefined) this.groups.set(head, [entry]);
    else group.push(entry);
    this.count++;
    return true;
  }

  finish(): Uint8Array {
    const out = new ByteWriter(HEAD_BYTES + 64 * this.count);
    for (const byte of [MAGIC, BUNDLE_FORMAT, this.shardNumber, this.table.size]) out.u8(byte);
    for (const bytes of this.table.keys()) out.raw(Buffer.from(bytes, 'latin1'));
    for (const [head, entries] of this.groups) {
      out.varint(head.length);
      out.varint(entries.length);
      out.raw(Buffer.from(head, 'latin1'));
      let floor: Stamp | null = null;
      for (const entry of entries) {
        writeEntry(out, entry, floor);
        if (entry.message.t === 'token') floor = entry.message.floor;
      }
    }
    return out.written().slice();
  }
}

interface TableRow {
  readonly database: string;
  readonly generation: number;
  readonly policy: string;
  readonly policyGeneration: number;
  readonly span: bigint;
}

const row = new ByteWriter();

function rowBytes([database, generation, policy, policyGeneration]: ShardKeyJson, span: bigint): Uint8Array {
  row.truncate(0);
  row.text(database);
  row.varint(generation);
  row.text(policy);
  row.varint(policyGeneration);
  writeNs(row, span);
  return row.written();
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** All that it says has its place. */
function hasForm(message: BundledMessage): boolean {
  if (message.t === 'token-answer') return message.claim === null;
  if (message.t !== 'proven') return true;
  const { root, record, pass, through, kind } = message;
  const said = record.root;
  return (
    said !== null &&
    // The record says the same once more.
    rootText([said.batches, said.identitySum, said.contentSum]) === rootText(root) &&
    said.through === through &&
    record.id === pass &&
    record.cutoff === through &&
    record.cutoffMs === stampMs(through) &&
    record.kind === kind &&
    record.outcome === 'proven' &&
    record.reason === null &&
    record.shard === shardId(shardKeyFromJson(message.key))
  );
}

function rootText(root: RootJson): string {
  return `${root[0]} ${root[1]} ${root[2]}`;
}

function writeEntry(out: ByteWriter, { message, number, place, start }: Entry, floor: Stamp | null): void {
  if (message.t !== 'converged') out.varint(number);
  if (message.t === 'token-answer' || message.t === 'even') return;
  out.u8(place);
  writeNs(out, start);
  if (message.t === 'converged') return;
  writeRoot(out, message.root);
  if (message.t !== 'token') return;
  const root = rootText(message.root);
  let flags = message.floor === floor ? SAME_FLOOR : 0;
  if (rootText(message.floorRoot) === root) flags |= FLOOR_ROOT_IS_ROOT;
  if (message.final !== null) flags |= rootText(message.final) === root ? HAS_FINAL | FINAL_IS_ROOT : HAS_FINAL;
  out.u8(flags);
  if ((flags & SAME_FLOOR) === 0) writeStamp(out, message.floor, stampMs(message.through));
  if ((flags & FLOOR_ROOT_IS_ROOT) === 0) writeRoot(out, message.floorRoot);
  if (message.final !== null && (flags & FINAL_IS_ROOT) === 0) writeRoot(out, message.final);
}

/**
 * `check` throws MessageError for a message with a field that cannot be. It is asked of the first message of each group,
 * and for each shard's key: what else differs within a group is well-formed by its form.
 */
export function decodeBundle(
  input: Buffer,
  check: (message: Message) => void,
  checkKey: (key: ShardKeyJson) => void,
): BundledMessage[] {
  try {
    const reader = new BundleReader(input, checkKey);
    const messages: BundledMessage[] = [];
    while (!reader.isAtEnd) {
      const group = reader.group(LIST_MAX - messages.length);
      if (group.length > 0) check(group[0]!);
      messages.push(...group);
    }
    return messages;
  } catch (error) {
    if (!(error instanceof BlockError)) throw error;
    throw malformed(`a bundle: ${error.message}`);
  }
}

class BundleReader {
  private readonly from: ByteReader;
  private readonly number: number;
  private readonly table: readonly TableRow[];
  private readonly checkKey: (key: ShardKeyJson) => void;

  constructor(input: Buffer, checkKey: (key: ShardKeyJson) => void) {
    this.from = new ByteReader(input, 2);
    this.checkKey = checkKey;
    this.number = this.from.u8();
    this.table = Array.from({ length: this.from.u8() }, () => this.row());
  }

  get isAtEnd(): boolean {
    return this.from.left === 0;
  }

  group(countMax: number): BundledMessage[] {
    const { from } = this;
    const length = from.varint();
    const count = from.count(countMax, 'messages');
    const head = decodeHead(from.raw(length));
    const messages: BundledMessage[] = [];
    let floor: Stamp = STAMP_ZERO;
    for (let i = 0; i < count; i++) {
      if (head.t === 'converged') {
        messages.push({ t: 'converged', key: this.shard(), through: head.through });
        continue;
      }
      const pass = `${head.prefix}-${from.count(U16_MAX, 'passes of a name')}`;
      if (head.t === 'token-answer') {
        const { hop, status, reason } = head;
        messages.push({ t: 'token-answer', pass, hop, status, reason, claim: null });
        continue;
      }
      if (head.t === 'even') {
        const { hop, ms, finishedMs } = head;
        messages.push({ t: 'even', pass, hop, ms, finishedMs });
        continue;
      }
      const key = this.shard();
      const root = readRoot(from);
      if (head.t === 'proven') {
        const { through, kind, view, members } = head;
        const record = recordOf(head, pass, key, root);
        messages.push({ t: 'proven', key, pass, through, kind, view, members, root, record });
        continue;
      }
      const flags = from.u8();
      if ((flags & SAME_FLOOR) === 0) floor = readStamp(from, stampMs(head.through));
      const floorRoot = (flags & FLOOR_ROOT_IS_ROOT) === 0 ? readRoot(from) : root;
      let final: RootJson | null = null;
      if ((flags & HAS_FINAL) !== 0) final = (flags & FINAL_IS_ROOT) === 0 ? readRoot(from) : root;
      const { prefix: _, ...common } = head;
      messages.push({ ...common, pass, key, root, floor, floorRoot, final });
    }
    return messages;
  }

  private row(): TableRow {
    const { from } = this;
    const [database, generation, policy, policyGeneration] = [from.text(), from.varint(), from.text(), from.varint()];
    return { database, generation, policy, policyGeneration, span: BigInt.asUintN(64, readNs(from)) };
  }

  private shard(): ShardKeyJson {
    const row = this.table[this.from.u8()];
    if (row === undefined) throw malformed('a bundle with a shard of no policy');
    const { database, generation, policy, policyGeneration, span } = row;
    const start = readNs(this.from);
    const range = [start.toString(), (start + span).toString()] as const;
    const key: ShardKeyJson = [database, generation, policy, policyGeneration, ...range, this.number];
    this.checkKey(key);
    return key;
  }
}

function recordOf(head: Extract<Head, { t: 'proven' }>, pass: string, key: ShardKeyJson, root: RootJson): PassRecord {
  const { through, kind, starter, order, skipped, hops, numbers } = head;
  const [hopsPlanned, startedMs, finishedMs, batchesMoved, rowsMoved, bytesMoved] = numbers;
  return {
    id: pass,
    shard: shardId(shardKeyFromJson(key)),
    kind,
    starter,
    order,
    skipped,
    hops,
    cutoff: through,
    cutoffMs: stampMs(through),
    hopsPlanned,
    startedMs,
    finishedMs,
    outcome: 'proven',
    reason: null,
    root: { through, batches: root[0], identitySum: root[1], contentSum: root[2] },
    batchesMoved,
    rowsMoved,
    bytesMoved,
  };
}
