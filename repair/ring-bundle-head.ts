/**
 * What the messages of one group in a bundle have in common (ring-bundle.ts), as bytes. Alone in its bundle a token is
 * hardly more than its head, so nothing is said twice: members are named once, elsewhere by their place; the starter, after
 * whom a pass is named, is the first of them without being named again.
 *
 * Layout: u8 kind · then
 *    converged  stamp
 *    answer     pass · varint hop · u8 status · text reason
 *    token      pass · nodes · stamp · u8 flags (1 full, 2 watched) · view · varints gathered, hop, start in ms
 *               · order · verified · skipped · hops
 *    proven     pass · nodes · stamp · u8 flags (1 full) · view · varints hops planned, start in ms, end in ms, batches, rows, bytes
 *               · order · members · skipped · hops · u8 place of the starter
 * A stamp has 8 bytes. A pass is u8 1 · node (8) · varint ms · varint chance, as `PassStarts.name` makes it, or u8 0 · text. A
 * view is u8 1 · 16 bytes, or u8 0 · text. A list is a varint count and its members; nodes have 8 bytes each, places one.
 * Skipped: u8 place · text. A hop: u8 from · u8 to · varint 2 ms, + 1 when something moved: varints epochs, batches, rows, bytes
 * · a list of what was decided: u8 name (explanation.ts) · varint count.
 */
import { BlockError } from '../shards/block-error.ts';
import { ByteReader, ByteWriter } from '../shards/codec/bytes.ts';
import type { NodeNumber, Stamp } from '../shards/version.ts';
import { DECIDED_NAMES } from './explanation.ts';
import { malformed } from './message-checks.ts';
import type { HopRecord, PassKind, SkippedMember } from './records.ts';
import type { MessageOf, Token } from './replica-messages.ts';

type TokenAnswer = MessageOf<'token-answer'>;
type BundledMessage = MessageOf<'token' | 'token-answer' | 'proven' | 'converged'>;

interface Ring {
  readonly order: readonly NodeNumber[];
  readonly skipped: readonly SkippedMember[];
  readonly hops: readonly HopRecord[];
}

export type Head =
  | { readonly t: 'converged'; readonly through: Stamp }
  | ({ readonly t: 'token-answer'; readonly prefix: string } & Pick<TokenAnswer, 'hop' | 'status' | 'reason'>)
  | ({ readonly t: 'token'; readonly prefix: string } & Ring &
      Pick<Token, 'through' | 'view' | 'kind' | 'gathered' | 'hop' | 'startedMs' | 'watched' | 'verified'>)
  | ({
      readonly t: 'proven';
      readonly prefix: string;
      readonly through: Stamp;
      readonly view: string;
      readonly kind: PassKind;
      readonly members: readonly NodeNumber[];
      readonly starter: NodeNumber;
      /** Hops planned, start and end in ms, batches, rows and bytes moved. */
      readonly numbers: readonly [number, number, number, number, number, number];
    } & Ring);

const KINDS = ['converged', 'token-answer', 'token', 'proven'] as const;
const STATUSES = ['working', 'handed', 'refused'] as const;
const FULL = 1;
const WATCHED = 2;
const NODE_BYTES = 8;
const VIEW_BYTES = 16;
/** A place has one byte. */
const NODES_MAX = 255;
const NAMED = /^([0-9a-f]{16})-([0-9a-z]+)-([0-9a-z]+)$/;
const VIEW = /^[0-9a-f]{32}$/;

const head = new ByteWriter();
const body = new ByteWriter();

/** The same bytes for the same head. null: it names too many members to travel in a bundle. */
export function encodeHead(message: BundledMessage, prefix: string): Uint8Array | null {
  head.truncate(0);
  head.u8(KINDS.indexOf(message.t));
  if (message.t === 'converged') {
    writeHex(head, message.through);
    return head.written();
  }
  const starter = writePass(prefix);
  if (message.t === 'token-answer') {
    head.varint(message.hop);
    head.u8(STATUSES.indexOf(message.status));
    head.text(message.reason);
    return head.written();
  }
  body.truncate(0);
  const nodes: NodeNumber[] = starter === null ? [] : [starter];
  const implied = nodes.length;
  const place = (node: NodeNumber) => {
    const at = nodes.indexOf(node);
    body.u8((at >= 0 ? at : nodes.push(node) - 1) & 0xff);
  };
  if (message.t === 'token') writeToken(message, place);
  else writeProven(message, place);
  if (nodes.length > NODES_MAX) return null;
  head.varint(nodes.length - implied);
  for (const node of nodes.slice(implied)) writeHex(head, node);
  head.raw(body.written());
  return head.written();
}

function writeToken(message: Token, place: (node: NodeNumber) => void): void {
  const { through, kind, watched, view, gathered, hop, startedMs, order, verified } = message;
  writeHex(body, through);
  body.u8((kind === 'full' ? FULL : 0) | (watched ? WATCHED : 0));
  writeView(view);
  for (const number of [gathered, hop, startedMs]) body.varint(number);
  writeRing({ ...message, order }, verified, place);
}

function writeProven({ through, kind, view, record, members }: MessageOf<'proven'>, place: (node: NodeNumber) => void) {
  const { hopsPlanned, startedMs, finishedMs, batchesMoved, rowsMoved, bytesMoved, starter } = record;
  writeHex(body, through);
  body.u8(kind === 'full' ? FULL : 0);
  writeView(view);
  for (const number of [hopsPlanned, startedMs, finishedMs, batchesMoved, rowsMoved, bytesMoved]) body.varint(number);
  writeRing(record, members, place);
  place(starter);
}

function writeRing({ order, skipped, hops }: Ring, others: readonly NodeNumber[], place: (node: NodeNumber) => void) {
  body.varint(order.length);
  order.forEach(place);
  body.varint(others.length);
  others.forEach(place);
  body.varint(skipped.length);
  for (const { member, reason } of skipped) {
    place(member);
    body.text(reason);
  }
  body.varint(hops.length);
  for (const { from, to, ms, epochsDiffering, batches, rows, bytes, decided } of hops) {
    place(from);
    place(to);
    // Where nothing differed there is nothing to say.
    const moved = epochsDiffering > 0 || batches > 0;
    body.varint(2 * ms + (moved ? 1 : 0));
    if (!moved) continue;
    for (const number of [epochsDiffering, batches, rows, bytes]) body.varint(number);
    const counts = Object.entries(decided ?? {});
    body.varint(counts.length);
    for (const [name, count] of counts) {
      body.u8(DECIDED_NAMES.indexOf(name));
      body.varint(count);
    }
  }
}

/** Returns the starter, if the name says so. */
function writePass(prefix: string): NodeNumber | null {
  const [, starter = '', ms = '', chance = ''] = NAMED.exec(prefix) ?? [];
  const numbers = [ms, chance].map((digits) => Number.parseInt(digits, 36));
  // Only what comes out as it went in.
  const isNamed = starter !== '' && numbers.every(Number.isSafeInteger) && nameOf(starter, numbers) === prefix;
  head.u8(isNamed ? 1 : 0);
  if (!isNamed) {
    head.text(prefix);
    return null;
  }
  writeHex(head, starter);
  for (const number of numbers) head.varint(number);
  return starter;
}

function nameOf(starter: NodeNumber, numbers: readonly number[]): string {
  return [starter, ...numbers.map((number) => number.toString(36))].join('-');
}

function writeView(view: string): void {
  const isHash = VIEW.test(view);
  body.u8(isHash ? 1 : 0);
  if (isHash) writeHex(body, view);
  else body.text(view);
}

function writeHex(to: ByteWriter, digits: string): void {
  to.raw(Buffer.from(digits, 'hex'));
}

/** Throws MessageError. What the numbers mean is checked by whoever makes a message of it. */
export function decodeHead(bytes: Uint8Array): Head {
  try {
    const reader = new HeadReader(bytes);
    const decoded = reader.head();
    if (!reader.isAtEnd) throw malformed('a head of a bundle has more than belongs there');
    return decoded;
  } catch (error) {
    if (!(error instanceof BlockError)) throw error;
    throw malformed(`a head of a bundle: ${error.message}`);
  }
}

class HeadReader {
  private readonly from: ByteReader;
  private readonly nodes: NodeNumber[] = [];

  constructor(bytes: Uint8Array) {
    this.from = new ByteReader(bytes);
  }

  get isAtEnd(): boolean {
    return this.from.left === 0;
  }

  head(): Head {
    const { from } = this;
    const t = KINDS[from.u8()];
    if (t === undefined) throw malformed('a bundle of messages that do not travel in bundles');
    if (t === 'converged') return { t, through: this.hex(8) };
    const prefix = this.pass();
    if (t === 'token-answer') {
      const hop = from.varint();
      const status = STATUSES[from.u8()];
      if (status === undefined) throw malformed('a bundle with an answer that is none');
      return { t, prefix, hop, status, reason: from.text() };
    }
    for (let count = from.count(NODES_MAX, 'members'); count > 0; count--) this.nodes.push(this.hex(NODE_BYTES));
    const through = this.hex(8);
    const flags = from.u8();
    const kind: PassKind = (flags & FULL) === 0 ? 'live' : 'full';
    const view = from.u8() === 1 ? this.hex(VIEW_BYTES) : from.text();
    if (t === 'token') {
      const [gathered, hop, startedMs] = [from.varint(), from.varint(), from.varint()];
      const { others: verified, ...ring } = this.ring();
      const watched = (flags & WATCHED) !== 0;
      return { t, prefix, through, view, kind, gathered, hop, startedMs, watched, verified, ...ring };
    }
    const varint = () => from.varint();
    const numbers = [varint(), varint(), varint(), varint(), varint(), varint()] as const;
    const { others: members, ...ring } = this.ring();
    return { t, prefix, through, view, kind, numbers, members, ...ring, starter: this.node() };
  }

  private ring(): Ring & { readonly others: readonly NodeNumber[] } {
    const order = this.list(() => this.node());
    const others = this.list(() => this.node());
    const skipped = this.list(() => ({ member: this.node(), reason: this.from.text() }));
    const hops = this.list(() => this.hop());
    return { order, others, skipped, hops };
  }

  private hop(): HopRecord {
    const { from } = this;
    const ends = { from: this.node(), to: this.node() };
    const span = from.varint();
    const ms = Math.floor(span / 2);
    if (span % 2 === 0) return { ...ends, epochsDiffering: 0, batches: 0, rows: 0, bytes: 0, ms };
    const [epochsDiffering, batches] = [from.varint(), from.varint()];
    const moved = { ...ends, epochsDiffering, batches, rows: from.varint(), bytes: from.varint(), ms };
    const decided = Object.fromEntries(this.list(() => this.decided()));
    return Object.keys(decided).length === 0 ? moved : { ...moved, decided };
  }

  private decided(): [string, number] {
    const name = DECIDED_NAMES[this.from.u8()];
    if (name === undefined) throw malformed('a bundle with a rule that is none');
    return [name, this.from.varint()];
  }

  private list<T>(one: () => T): T[] {
    // Each takes a byte at least.
    const count = this.from.count(this.from.left, 'members of a list');
    return Array.from({ length: count }, one);
  }

  private node(): NodeNumber {
    const node = this.nodes[this.from.u8()];
    if (node === undefined) throw malformed('a bundle with a member that it does not name');
    return node;
  }

  private pass(): string {
    const { from } = this;
    if (from.u8() !== 1) return from.text();
    const starter = this.hex(NODE_BYTES);
    this.nodes.push(starter);
    return nameOf(starter, [from.varint(), from.varint()]);
  }

  private hex(bytes: number): string {
    const raw = this.from.raw(bytes);
    return Buffer.from(raw.buffer, raw.byteOffset, bytes).toString('hex');
  }
}
