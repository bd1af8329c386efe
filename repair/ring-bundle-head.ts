/**
 * What the messages of one group in a bundle have in common (ring-bundle.ts), as bytes. Alone in its bundle a token is
 * hardly more than its head, so nothing is said twice: members are named once, elsewhere by their place; the starter, after
 * whom a pass is named, is the first of them without being named again.
 *
 * Layout: u8 kind · then
 *    converged  stamp, from 0 ms on
 *    answer     pass · varint hop · u8 status · text reason
 *    even       call · varint hop · u8 1 · end in ms, or u8 0 · list of varints ms
 *    token      pass · nodes · stamp · u8 flags (1 full, 2 watched, 4 even, 8 regular) · view · varint hop · start in ms
 *               · when regular: list of varints ms; else: varint gathered · order · verified · skipped · hops
 *    proven     pass · nodes · stamp · u8 flags (1 full) · view · varints hops planned, start in ms, end in ms, batches, rows, bytes
 *               · order · members · skipped · hops · u8 place of the starter
 * Stamps, start and end are said from the ms in the pass's name on, as in ring-bytes.ts. A pass is u8 1 · node (8) · varint ms · varint
 * chance, as `PassStarts.name` makes it, or u8 0 · text; a call (ring-even.ts) the same without the node. Regular is a token of the
 * gathering half that has come along its order with nothing moved and nobody left out: the nodes are its order. A
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
import { readHex, readSigned, readStamp, writeHex, writeSigned, writeStamp } from './ring-bytes.ts';
import { evenHops } from './ring-walk.ts';

type TokenAnswer = MessageOf<'token-answer'>;
type Even = MessageOf<'even'>;
type BundledMessage = MessageOf<'token' | 'token-answer' | 'even' | 'proven' | 'converged'>;

interface Ring {
  readonly order: readonly NodeNumber[];
  readonly skipped: readonly SkippedMember[];
  readonly hops: readonly HopRecord[];
}

export type Head =
  | { readonly t: 'converged'; readonly through: Stamp }
  | ({ readonly t: 'token-answer'; readonly prefix: string } & Pick<TokenAnswer, 'hop' | 'status' | 'reason'>)
  | ({ readonly t: 'even'; readonly prefix: string } & Pick<Even, 'hop' | 'ms' | 'finishedMs'>)
  | ({ readonly t: 'token'; readonly prefix: string } & Ring &
      Pick<Token, 'through' | 'view' | 'kind' | 'gathered' | 'hop' | 'startedMs' | 'watched' | 'even' | 'verified'>)
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

const KINDS = ['converged', 'token-answer', 'token', 'proven', 'even'] as const;
const STATUSES = ['working', 'handed', 'refused'] as const;
const FULL = 1;
const WATCHED = 2;
const EVEN = 4;
const REGULAR = 8;
const NODE_BYTES = 8;
const VIEW_BYTES = 16;
/** A place has one byte. */
const NODES_MAX = 255;
const NAMED = /^(?:([0-9a-f]{16})-)?([0-9a-z]+)-([0-9a-z]+)$/;
/** Of the ms in a name, so that what is said from them on stays exact. */
const NAMED_MS_MAX = 2 ** 48;
const VIEW = /^[0-9a-f]{32}$/;

const head = new ByteWriter();
const body = new ByteWriter();

/** The same bytes for the same head. null: it names too many members to travel in a bundle. */
export function encodeHead(message: BundledMessage, prefix: string): Uint8Array | null {
  head.truncate(0);
  head.u8(KINDS.indexOf(message.t));
  if (message.t === 'converged') {
    writeStamp(head, message.through, 0);
    return head.written();
  }
  const { starter, ms: namedMs } = writePass(prefix, message.t === 'even');
  if (message.t === 'token-answer') {
    head.varint(message.hop);
    head.u8(STATUSES.indexOf(message.status));
    head.text(message.reason);
    return head.written();
  }
  if (message.t === 'even') {
    const { hop, ms, finishedMs } = message;
    head.varint(hop);
    head.u8(finishedMs === null ? 0 : 1);
    if (finishedMs !== null) writeSigned(head, finishedMs - namedMs);
    head.varint(ms.length);
    for (const each of ms) head.varint(each);
    return head.written();
  }
  body.truncate(0);
  const nodes: NodeNumber[] = starter === null ? [] : [starter];
  const implied = nodes.length;
  const place = (node: NodeNumber) => {
    const at = nodes.indexOf(node);
    body.u8((at >= 0 ? at : nodes.push(node) - 1) & 0xff);
  };
  if (message.t === 'token' && isRegular(message, starter)) {
    nodes.push(...message.order.slice(1));
    writeRegular(message, namedMs);
  } else if (message.t === 'token') writeToken(message, namedMs, place);
  else writeProven(message, namedMs, place);
  if (nodes.length > NODES_MAX) return null;
  head.varint(nodes.length - implied);
  for (const node of nodes.slice(implied)) writeHex(head, node);
  head.raw(body.written());
  return head.written();
}

/** Most of it follows from how far it has come. */
function isRegular({ gathered, hop, order, verified, skipped, hops }: Token, starter: NodeNumber | null): boolean {
  if (gathered !== hop || hop !== hops.length + 1 || order.length < hop) return false;
  if (order[0] !== starter || new Set(order).size !== order.length) return false;
  const regular = evenHops(
    order,
    hops.map(({ ms }) => ms),
  );
  const isSame = (one: HopRecord, other: HopRecord) =>
    one.from === other.from && one.to === other.to && !hasMoved(one) && one.decided === undefined;
  return verified.length === 0 && skipped.length === 0 && hops.every((each, i) => isSame(each, regular[i]!));
}

function writeRegular(message: Token, namedMs: number): void {
  writeTokenHead(message, namedMs, REGULAR);
  body.varint(message.hops.length);
  for (const { ms } of message.hops) body.varint(ms);
}

function writeToken(message: Token, namedMs: number, place: (node: NodeNumber) => void): void {
  writeTokenHead(message, namedMs, 0);
  body.varint(message.gathered);
  writeRing(message, message.verified, place);
}

function writeTokenHead(token: Token, namedMs: number, form: typeof REGULAR | 0): void {
  const { through, kind, watched, even, view, hop, startedMs } = token;
  writeStamp(body, through, namedMs);
  body.u8((kind === 'full' ? FULL : 0) | (watched ? WATCHED : 0) | (even ? EVEN : 0) | form);
  writeView(view);
  body.varint(hop);
  writeSigned(body, startedMs - namedMs);
}

function writeProven(message: MessageOf<'proven'>, namedMs: number, place: (node: NodeNumber) => void) {
  const { through, kind, view, record, members } = message;
  const { hopsPlanned, startedMs, finishedMs, batchesMoved, rowsMoved, bytesMoved, starter } = record;
  writeStamp(body, through, namedMs);
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
  for (const hop of hops) {
    const { from, to, ms, epochsDiffering, batches, rows, bytes, decided } = hop;
    place(from);
    place(to);
    body.varint(2 * ms + (hasMoved(hop) ? 1 : 0));
    if (!hasMoved(hop)) continue;
    for (const number of [epochsDiffering, batches, rows, bytes]) body.varint(number);
    const counts = Object.entries(decided ?? {});
    body.varint(counts.length);
    for (const [name, count] of counts) {
      body.u8(DECIDED_NAMES.indexOf(name));
      body.varint(count);
    }
  }
}

/** Where nothing differed there is nothing to say of a hop. */
function hasMoved({ epochsDiffering, batches }: HopRecord): boolean {
  return epochsDiffering > 0 || batches > 0;
}

/** Returns what the name says: the starter, if it does, and when the pass was named, or 0. */
function writePass(prefix: string, isCall: boolean): { starter: NodeNumber | null; ms: number } {
  const [, starter = null, ms = '', chance = ''] = NAMED.exec(prefix) ?? [];
  const numbers = [ms, chance].map((digits) => Number.parseInt(digits, 36));
  // Only what comes out as it went in.
  const isExact = numbers.every(Number.isSafeInteger) && numbers[0]! <= NAMED_MS_MAX;
  const isNamed = isExact && (starter === null) === isCall && nameOf(starter, numbers) === prefix;
  head.u8(isNamed ? 1 : 0);
  if (!isNamed) {
    head.text(prefix);
    return { starter: null, ms: 0 };
  }
  if (starter !== null) writeHex(head, starter);
  for (const number of numbers) head.varint(number);
  return { starter, ms: numbers[0]! };
}

function nameOf(starter: NodeNumber | null, numbers: readonly number[]): string {
  const digits = numbers.map((number) => number.toString(36));
  return (starter === null ? digits : [starter, ...digits]).join('-');
}

function writeView(view: string): void {
  const isHash = VIEW.test(view);
  body.u8(isHash ? 1 : 0);
  if (isHash) writeHex(body, view);
  else body.text(view);
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
    if (t === 'converged') return { t, through: readStamp(from, 0) };
    const { prefix, namedMs } = this.pass(t === 'even');
    if (t === 'token-answer') {
      const hop = from.varint();
      const status = STATUSES[from.u8()];
      if (status === undefined) throw malformed('a bundle with an answer that is none');
      return { t, prefix, hop, status, reason: from.text() };
    }
    if (t === 'even') {
      const hop = from.varint();
      const finishedMs = from.u8() === 1 ? namedMs + readSigned(from) : null;
      return { t, prefix, hop, finishedMs, ms: this.list(() => from.varint()) };
    }
    for (let count = from.count(NODES_MAX, 'members'); count > 0; count--) this.nodes.push(readHex(from, NODE_BYTES));
    const through = readStamp(from, namedMs);
    const flags = from.u8();
    const kind: PassKind = (flags & FULL) === 0 ? 'live' : 'full';
    const view = from.u8() === 1 ? readHex(from, VIEW_BYTES) : from.text();
    if (t === 'token') {
      const hop = from.varint();
      const startedMs = namedMs + readSigned(from);
      const [watched, even] = [(flags & WATCHED) !== 0, (flags & EVEN) !== 0];
      const common = { t, prefix, through, view, kind, hop, startedMs, watched, even } as const;
      if ((flags & REGULAR) !== 0) {
        const ms = this.list(() => from.varint());
        if (ms.length + 1 !== hop || hop > this.nodes.length) throw malformed('a token that is ahead of its hops');
        const order = this.nodes;
        return { ...common, gathered: hop, order, verified: [], skipped: [], hops: evenHops(order, ms) };
      }
      const gathered = from.varint();
      const { others: verified, ...ring } = this.ring();
      return { ...common, gathered, verified, ...ring };
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

  /** As of writePass. */
  private pass(isCall: boolean): { prefix: string; namedMs: number } {
    const { from } = this;
    if (from.u8() !== 1) return { prefix: from.text(), namedMs: 0 };
    const starter = isCall ? null : readHex(from, NODE_BYTES);
    if (starter !== null) this.nodes.push(starter);
    const [ms, chance] = [from.count(NAMED_MS_MAX, 'ms'), from.varint()];
    return { prefix: nameOf(starter, [ms, chance]), namedMs: ms };
  }
}
