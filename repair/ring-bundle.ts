/**
 * What passes say to one worker of one member, of many shards in one message: tokens, answers to them, proofs.
 *
 * Each shard has a pass of its own; only on the way do they travel together. All that one turn has for a lane of a member
 * leaves at its end. What tokens have in common (order, cutoff, view, hops done) is said once for all of them, in JSON; what
 * each has of its own are some 48 bytes. Passes that were started together stay equal in all of the first until they
 * differ. A message that does not fit the form (a token of another kind of name, a refusal) travels alone.
 *
 * Layout, integers little-endian:
 *    0  u8 magic 0x53 · u8 format (4) · u8 number of the shards · u8 0 · u32 length of the table · table
 *    then groups, up to the end: u16 length of the head · u16 count · head (JSON) · count entries
 * The table is a JSON list of [database, generation, retention policy, generation, span in ns]. A shard is u8 place in the
 * table · i64 start in ns. A root is u32 batches · identity sum (16 bytes) · content sum (16).
 *    token      u16 number · shard · root · u8 flags · [floor, 8 bytes] · [root at the floor] · [final root]
 *    answer     u16 number
 *    proven     u16 number · shard · root
 *    converged  shard
 * A number is the last part of a pass's name; the rest of the name is in the head. Flags: 1 the floor is that of the entry
 * before, 2 the root at the floor is the root, 4 there is a final root, 8 and it is the root.
 */
import type { ShardKeyJson } from '../shards/shard-key.ts';
import { shardId, shardKeyFromJson } from '../shards/shard-key.ts';
import { type NodeNumber, STAMP_ZERO, type Stamp, stampMs } from '../shards/version.ts';
import type { RootJson } from './ledger.ts';
import { MAGIC } from './mail-messages.ts';
import { stamp as isStamp, LIST_MAX, malformed } from './message-checks.ts';
import type { HopRecord, PassRecord, SkippedMember } from './records.ts';
import type { Message, MessageOf, Token } from './replica-messages.ts';

export const BUNDLE_FORMAT = 4;
const HEAD_BYTES = 8;
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
type BundledKind = BundledMessage['t'];

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
      const row = JSON.stringify([key[0], key[1], key[2], key[3], (BigInt(key[5]) - start).toString()]);
      const known = this.table.get(row);
      if (known === undefined && this.table.size >= TABLE_MAX) return false;
      place = known ?? this.table.size;
      if (known === undefined) this.table.set(row, place);
    }
    const head = headOf(message, pass.prefix);
    if (head.length > U16_MAX / 3) return false;
    const group = this.groups.get(head);
    const entry = { message, number: pass.number, place, start };
    if (group === undefined) this.groups.set(head, [entry]);
    else group.push(entry);
    this.count++;
    return true;
  }

  finish(): Uint8Array {
    const table = Buffer.from(`[${[...this.table.keys()].join()}]`);
    const heads = [...this.groups.keys()].map((head) => Buffer.from(head));
    const headBytes = heads.reduce((sum, head) => sum + GROUP_HEAD_BYTES + head.length, 0);
    const room = HEAD_BYTES + table.length + headBytes + this.count * ENTRY_BYTES_MAX;
    const out = Buffer.alloc(room);
    out[0] = MAGIC;
    out[1] = BUNDLE_FORMAT;
    out[2] = this.shardNumber;
    out.writeUInt32LE(table.length, 4);
    let at = HEAD_BYTES + table.copy(out, HEAD_BYTES);
    for (const [i, entries] of [...this.groups.values()].entries()) {
      at = out.writeUInt16LE(heads[i]!.length, at);
      at = out.writeUInt16LE(entries.length, at);
      at += heads[i]!.copy(out, at);
      let floor: Stamp | null = null;
      for (const entry of entries) {
        at = writeEntry(out, at, entry, floor);
        if (entry.message.t === 'token') floor = entry.message.floor;
      }
    }
    return Uint8Array.prototype.slice.call(out, 0, at);
  }
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

/** Members are named once; elsewhere by their place. */
class NodeList {
  readonly nodes: NodeNumber[] = [];

  readonly place = (node: NodeNumber): number => {
    const at = this.nodes.indexOf(node);
    return at >= 0 ? at : this.nodes.push(node) - 1;
  };

  hop = ({ from, to, ms, ...rest }: HopRecord): unknown[] => {
    const ends = [this.place(from), this.place(to), ms];
    // Where nothing differed there is nothing to say.
    return rest.epochsDiffering === 0 && rest.batches === 0 ? ends : [...ends, rest];
  };

  skipped = ({ member, reason }: SkippedMember): unknown[] => [this.place(member), reason];
}

function headOf(message: BundledMessage, prefix: string): string {
  if (message.t === 'converged') return JSON.stringify(['converged', message.through]);
  if (message.t === 'token-answer') {
    const { hop, status, reason } = message;
    return JSON.stringify(['token-answer', prefix, hop, status, reason]);
  }
  const list = new NodeList();
  if (message.t === 'token') {
    const { view, through, kind, gathered, hop, startedMs, watched } = message;
    const fields = [view, through, kind, gathered, hop, startedMs, watched];
    const order = message.order.map(list.place);
    const members = [order, message.verified.map(list.place), message.skipped.map(list.skipped)];
    const hops = message.hops.map(list.hop);
    return JSON.stringify(['token', prefix, list.nodes, fields, members, hops]);
  }
  const { view, through, kind, record } = message;
  const { starter, hopsPlanned, startedMs, finishedMs, batchesMoved, rowsMoved, bytesMoved } = record;
  const fields = [view, through, kind, hopsPlanned, startedMs, finishedMs, batchesMoved, rowsMoved, bytesMoved];
  const order = record.order.map(list.place);
  const members = [order, message.members.map(list.place), record.skipped.map(list.skipped), list.place(starter)];
  const hops = record.hops.map(list.hop);
  return JSON.stringify(['proven', prefix, list.nodes, fields, members, hops]);
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
  private at: number;
  private readonly input: Buffer;
  private readonly number: number;
  private readonly table: readonly unknown[];
  private readonly checkKey: (key: ShardKeyJson) => void;

  constructor(input: Buffer, checkKey: (key: ShardKeyJson) => void) {
    this.input = input;
    this.checkKey = checkKey;
    this.at = HEAD_BYTES;
    if (input.length < HEAD_BYTES) throw malformed(`a bundle of ${input.length} bytes`);
    this.number = input[2]!;
    this.table = listOf(this.json(input.readUInt32LE(4)));
  }

  get isAtEnd(): boolean {
    return this.at === this.input.length;
  }

  group(countMax: number): BundledMessage[] {
    const head = this.take(GROUP_HEAD_BYTES);
    const [length, count] = [this.input.readUInt16LE(head), this.input.readUInt16LE(head + 2)];
    if (count > countMax) throw malformed(`a bundle of more than ${LIST_MAX} messages`);
    const make = makerOf(listOf(this.json(length)));
    const messages: BundledMessage[] = [];
    let floor: Stamp = STAMP_ZERO;
    for (let i = 0; i < count; i++) {
      const number = make.kind === 'converged' ? 0 : this.input.readUInt16LE(this.take(2));
      if (make.kind === 'token-answer') {
        messages.push(make.answer(number));
        continue;
      }
      const key = this.shard();
      if (make.kind === 'converged') {
        messages.push(make.converged(key));
        continue;
      }
      const root = this.root();
      if (make.kind === 'proven') {
        messages.push(make.proven(number, key, root));
        continue;
      }
      const flags = this.input[this.take(1)]!;
      if ((flags & SAME_FLOOR) === 0) floor = this.hex(8);
      const floorRoot = (flags & FLOOR_ROOT_IS_ROOT) === 0 ? this.root() : root;
      let final: RootJson | null = null;
      if ((flags & HAS_FINAL) !== 0) final = (flags & FINAL_IS_ROOT) === 0 ? this.root() : root;
      messages.push(make.token(number, { key, root, floor, floorRoot, final }));
    }
    return messages;
  }

  private take(bytes: number): number {
    const at = this.at;
    if (at + bytes > this.input.length) throw malformed('a bundle ends within an entry');
    this.at += bytes;
    return at;
  }

  private json(length: number): unknown {
    const at = this.take(length);
    try {
      return JSON.parse(this.input.toString('utf8', at, at + length));
    } catch {
      throw malformed('a head of a bundle is not JSON');
    }
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
    const [database, generation, policy, policyGeneration, span] = listOf(this.table[this.input[at]!]);
    if (typeof span !== 'string' || !/^[0-9]{1,20}$/.test(span)) throw malformed('a bundle with a shard without range');
    const start = this.input.readBigInt64LE(at + 1);
    const range = [start.toString(), (start + BigInt(span)).toString()];
    const key = [database, generation, policy, policyGeneration, ...range, this.number] as ShardKeyJson;
    this.checkKey(key);
    return key;
  }
}

interface Maker {
  readonly kind: BundledKind;
  token(number: number, own: Pick<Token, 'key' | 'root' | 'floor' | 'floorRoot' | 'final'>): Token;
  answer(number: number): MessageOf<'token-answer'>;
  proven(number: number, key: ShardKeyJson, root: RootJson): MessageOf<'proven'>;
  converged(key: ShardKeyJson): MessageOf<'converged'>;
}

/** Fields of the head are put in as they are: the check of the first message that is made says whether they can be. */
function makerOf(head: readonly unknown[]): Maker {
  const [kind, prefix] = head;
  if (kind !== 'token' && kind !== 'token-answer' && kind !== 'proven' && kind !== 'converged')
    throw malformed('a bundle of messages that do not travel in bundles');
  if (typeof prefix !== 'string') throw malformed('a bundle of passes without a name');
  const pass = (number: number) => `${prefix}-${number}`;
  const grouped = kind === 'token' || kind === 'proven';
  const nodes = grouped ? listOf(head[2]) : [];
  const fields = grouped ? listOf(head[3]) : [];
  const [order, others, skipped, starter] = grouped ? listOf(head[4]) : [];
  const node = (place: unknown) => (typeof place === 'number' ? nodes[place] : null) as NodeNumber;
  const members = grouped ? listOf(others).map(node) : [];
  const ring = {
    order: grouped ? listOf(order).map(node) : [],
    skipped: grouped ? listOf(skipped).map((each) => skippedOf(listOf(each), node)) : [],
    hops: grouped ? listOf(head[5]).map((each) => hopOf(listOf(each), node)) : [],
  };
  const [view, through, passKind, ...numbers] = fields as [string, string, 'full' | 'live', ...number[]];
  if (grouped && !isStamp(through)) throw malformed('a bundle without a cutoff');
  return {
    kind,
    token(number, own) {
      const [gathered, hop, startedMs] = numbers as unknown as [number, number, number];
      const watched = fields[6] as boolean;
      const common = { view, through, kind: passKind, gathered, hop, startedMs, watched, verified: members };
      return { t: 'token', pass: pass(number), ...own, ...common, ...ring };
    },
    answer(number) {
      const [, , hop, status, reason] = head as [string, string, number, 'working' | 'handed' | 'refused', string];
      return { t: 'token-answer', pass: pass(number), hop, status, reason, claim: null };
    },
    proven(number, key, root) {
      const [hopsPlanned, startedMs, finishedMs, batchesMoved, rowsMoved, bytesMoved] = numbers as number[];
      const record: PassRecord = {
        id: pass(number),
        shard: shardId(shardKeyFromJson(key)),
        kind: passKind,
        starter: node(starter),
        ...ring,
        cutoff: through,
        cutoffMs: stampMs(through),
        hopsPlanned: hopsPlanned!,
        startedMs: startedMs!,
        finishedMs: finishedMs!,
        outcome: 'proven',
        reason: null,
        root: { through, batches: root[0], identitySum: root[1], contentSum: root[2] },
        batchesMoved: batchesMoved!,
        rowsMoved: rowsMoved!,
        bytesMoved: bytesMoved!,
      };
      return { t: 'proven', pass: pass(number), key, through, kind: passKind, view, members, root, record };
    },
    converged: (key) => ({ t: 'converged', key, through: head[1] as Stamp }),
  };
}

function skippedOf([place, reason]: readonly unknown[], node: (place: unknown) => NodeNumber): SkippedMember {
  return { member: node(place), reason: reason as string };
}

function hopOf([from, to, ms, rest]: readonly unknown[], node: (place: unknown) => NodeNumber): HopRecord {
  const nothing = { epochsDiffering: 0, batches: 0, rows: 0, bytes: 0 };
  const moved = typeof rest === 'object' && rest !== null ? (rest as typeof nothing) : nothing;
  return { ...moved, from: node(from), to: node(to), ms: ms as number };
}

function listOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw malformed('a bundle without a list where one belongs');
  return value;
}
