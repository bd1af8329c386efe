/**
 * What passes say to one worker of one member, of many shards in one message: tokens, answers to them, proofs.
 *
 * Each shard has a pass of its own; only on the way do they travel together. All that one turn has for a lane of a member
 * leaves at its end. What tokens have in common (order, cutoff, view, hops done) is said once for all of them, in a head; what
 * each has of its own are some 48 bytes. Passes that were started together stay equal in all of the first until they
 * differ. A message that does not fit the form (a token of another kind of name, a refusal) travels alone.
 *
 * Layout, integers little-endian:
 *    0  u8 magic 0x53 · u8 format (5) · u8 number of the shards · u8 rows of the table · table
 *    then groups, up to the end: u16 length of the head · u16 count · head (ring-bundle-head.ts) · count entries
 * A row of the table: text database · varint generation · text retention policy · varint generation · u64 span in ns. A shard is
 * u8 place in the table · i64 start in ns. A root is u32 batches · identity sum (16 bytes) · content sum (16).
 *    token      u16 number · shard · root · u8 flags · [floor, 8 bytes] · [root at the floor] · [final root]
 *    answer     u16 number
 *    proven     u16 number · shard · root
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

export const BUNDLE_FORMAT = 5;
const HEAD_BYTES = 4;
const GROUP_HEAD_BYTES = 4;
const ROOT_BYTES = 36;
const SHARD_BYTES = 9;
/** A token with everything in it. */
const ENTRY_BYTES_MAX = 2 + SHARD_BYTES + 1 + 8 + 3 * ROOT_BYTES;
/** Of one bundle; a shard's place in the table has one byte. */
const TABLE_MAX = 255;
export const BUNDLE_MESSAGES_MAX = 1_024;
const U16_MAX = 0xffff;
const U32_MAX = 0xffff_ffff;
const SAME_FLOOR = 1;
const FLOOR_ROOT_IS_ROOT = 2;
const HAS_FINAL = 4;
const FINAL_IS_ROOT = 8;

export type BundledMessage = MessageOf<'token' | 'token-answer' | 'proven' | 'converged'>;

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
    if (message.t !== 'token-answer') {
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
    const table = [...this.table.keys()].join('');
    const heads = [...this.groups.keys()];
    const headBytes = heads.reduce((sum, head) => sum + GROUP_HEAD_BYTES + head.length, 0);
    const room = HEAD_BYTES + table.length + headBytes + this.count * ENTRY_BYTES_MAX;
    const out = Buffer.alloc(room);
    out[0] = MAGIC;
    out[1] = BUNDLE_FORMAT;
    out[2] = this.shardNumber;
    out[3] = this.table.size;
    let at = HEAD_BYTES + out.write(table, HEAD_BYTES, 'latin1');
    for (const [i, entries] of [...this.groups.values()].entries()) {
      at = out.writeUInt16LE(heads[i]!.length, at);
      at = out.writeUInt16LE(entries.length, at);
      at += out.write(heads[i]!, at, 'latin1');
      let floor: Stamp | null = null;
      for (const entry of entries) {
        at = writeEntry(out, at, entry, floor);
        if (entry.message.t === 'token') floor = entry.message.floor;
      }
    }
    return Uint8Array.prototype.slice.call(out, 0, at);
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
  row.i64(span);
  return row.written();
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** All numbers have their place. */
function hasForm(message: BundledMessage): boolean {
  const fits = (root: RootJson | null) => root === null || root[0] <= U32_MAX;
  if (message.t === 'token') return fits(message.root) && fits(message.floorRoot) && fits(message.final);
  if (message.t === 'token-answer') return message.claim === null;
  if (message.t === 'converged') return true;
  const { root, record, pass, through, kind } = message;
  const said = record.root;
  return (
    fits(root) &&
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

function writeEntry(out: Buffer, start: number, entry: Entry, floor: Stamp | null): number {
  const { message } = entry;
  let at = start;
  if (message.t !== 'converged') at = out.writeUInt16LE(entry.number, at);
  if (message.t === 'token-answer') return at;
  out[at] = entry.place;
  at = out.writeBigInt64LE(entry.start, at + 1);
  if (message.t === 'converged') return at;
  at = writeRoot(out, at, message.root);
  if (message.t !== 'token') return at;
  const root = rootText(message.root);
  let flags = message.floor === floor ? SAME_FLOOR : 0;
  if (rootText(message.floorRoot) === root) flags |= FLOOR_ROOT_IS_ROOT;
  if (message.final !== null) flags |= rootText(message.final) === root ? HAS_FINAL | FINAL_IS_ROOT : HAS_FINAL;
  out[at++] = flags;
  if ((flags & SAME_FLOOR) === 0) at += out.write(message.floor, at, 8, 'hex');
  if ((flags & FLOOR_ROOT_IS_ROOT) === 0) at = writeRoot(out, at, message.floorRoot);
  if (message.final !== null && (flags & FINAL_IS_ROOT) === 0) at = writeRoot(out, at, message.final);
  return at;
}

function writeRoot(out: Buffer, start: number, root: RootJson): number {
  const at = out.writeUInt32LE(root[0], start);
  out.write(root[1], at, 16, 'hex');
  out.write(root[2], at + 16, 16, 'hex');
  return at + 32;
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
  const reader = new BundleReader(input, checkKey);
  const messages: BundledMessage[] = [];
  while (!reader.isAtEnd) {
    const group = reader.group(LIST_MAX - messages.length);
    if (group.length > 0) check(group[0]!);
    messages.push(...group);
  }
  return messages;
}

class BundleReader {
  private at = 0;
  private readonly input: Buffer;
  private readonly number: number;
  private readonly table: readonly TableRow[];
  private readonly checkKey: (key: ShardKeyJson) => void;

  constructor(input: Buffer, checkKey: (key: ShardKeyJson) => void) {
    this.input = input;
    this.checkKey = checkKey;
    this.take(HEAD_BYTES);
    this.number = input[2]!;
    this.table = this.rows(input[3]!);
  }

  get isAtEnd(): boolean {
    return this.at === this.input.length;
  }

  group(countMax: number): BundledMessage[] {
    const start = this.take(GROUP_HEAD_BYTES);
    const [length, count] = [this.input.readUInt16LE(start), this.input.readUInt16LE(start + 2)];
    if (count > countMax) throw malformed(`a bundle of more than ${LIST_MAX} messages`);
    const at = this.take(length);
    const head = decodeHead(this.input.subarray(at, at + length));
    const messages: BundledMessage[] = [];
    let floor: Stamp = STAMP_ZERO;
    for (let i = 0; i < count; i++) {
      if (head.t === 'converged') {
        messages.push({ t: 'converged', key: this.shard(), through: head.through });
        continue;
      }
      const pass = `${head.prefix}-${this.input.readUInt16LE(this.take(2))}`;
      if (head.t === 'token-answer') {
        const { hop, status, reason } = head;
        messages.push({ t: 'token-answer', pass, hop, status, reason, claim: null });
        continue;
      }
      const key = this.shard();
      const root = this.root();
      if (head.t === 'proven') {
        const { through, kind, view, members } = head;
        const record = recordOf(head, pass, key, root);
        messages.push({ t: 'proven', key, pass, through, kind, view, members, root, record });
        continue;
      }
      const flags = this.input[this.take(1)]!;
      if ((flags & SAME_FLOOR) === 0) floor = this.hex(8);
      const floorRoot = (flags & FLOOR_ROOT_IS_ROOT) === 0 ? this.root() : root;
      let final: RootJson | null = null;
      if ((flags & HAS_FINAL) !== 0) final = (flags & FINAL_IS_ROOT) === 0 ? this.root() : root;
      const { prefix: _, ...common } = head;
      messages.push({ ...common, pass, key, root, floor, floorRoot, final });
    }
    return messages;
  }

  private rows(count: number): TableRow[] {
    const reader = new ByteReader(this.input, this.at);
    try {
      const rows = Array.from({ length: count }, (): TableRow => {
        const [database, generation, policy, policyGeneration] = [
          reader.text(),
          reader.varint(),
          reader.text(),
          reader.varint(),
        ];
        return { database, generation, policy, policyGeneration, span: BigInt.asUintN(64, reader.i64()) };
      });
      this.at = reader.position;
      return rows;
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      throw malformed(`the table of a bundle: ${error.message}`);
    }
  }

  private take(bytes: number): number {
    const at = this.at;
    if (at + bytes > this.input.length) throw malformed('a bundle ends within an entry');
    this.at += bytes;
    return at;
  }

  private hex(bytes: number): string {
    const at = this.take(bytes);
    return this.input.toString('hex', at, at + bytes);
  }

  private root(): RootJson {
    const count = this.input.readUInt32LE(this.take(4));
    return [count, this.hex(16), this.hex(16)];
  }

  private shard(): ShardKeyJson {
    const at = this.take(SHARD_BYTES);
    const row = this.table[this.input[at]!];
    if (row === undefined) throw malformed('a bundle with a shard of no policy');
    const { database, generation, policy, policyGeneration, span } = row;
    const start = this.input.readBigInt64LE(at + 1);
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
