/** A copy that breaks off goes on where it was, with real engines: also over a restart, and not from somebody else. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { rootToJson } from '../../repair/ledger.ts';
import type { Message } from '../../repair/replica-messages.ts';
import type { WriteBatch } from '../../shards/batch.ts';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { FLOAT } from '../../shards/column.ts';
import type { Engine } from '../../shards/engine.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { shardKeyToJson } from '../../shards/shard-key.ts';
import { makeStamp } from '../../shards/version.ts';
import { Engines } from './engine-trio.ts';
import { ID, KEY, NUMBERS, START, Trio } from './trio.ts';

const THROUGH = makeStamp(START + 60_000, 0);
const FENCE: Message = {
  t: 'compare',
  request: 1,
  key: shardKeyToJson(KEY),
  through: THROUGH,
  from: 0,
  preview: false,
  floor: THROUGH,
  floorRoot: [99, 'a'.repeat(32), 'b'.repeat(32)],
};
const PAGE_BYTES = 4_000;
const BATCHES = 15;
const ROWS = 250;

let engines: Engines;
beforeEach(() => {
  engines = new Engines({ blockBytesTarget: 1_500, transactionBytesMax: 8_000 });
});
afterEach(() => engines.remove());

/** The third one's replica is found below a floor; what `lost` says is lost of what is said meanwhile. */
class Copying {
  readonly trio: Trio;
  /** Of a copy that each of the others would give. */
  readonly pages: number[];
  readonly asked: { to: string; index: number }[] = [];
  lost: (to: string, message: Message) => boolean = () => false;

  constructor() {
    this.trio = new Trio(3, { fillPageBytes: PAGE_BYTES, requestTimeoutMs: 500 }, engines.open);
    for (let n = 0; n < BATCHES; n++) this.write(n);
    this.trio.pass(100);
    for (const i of [0, 1]) engines.ledger(i).adoptFloor(makeStamp(this.trio.now, 0));
    this.pages = [0, 1].map((i) => pagesOf(engines.all[i]!));
    this.trio.onSend = (_, to, message) => {
      if (message.t === 'fill-page') this.asked.push({ to, index: message.index });
      return this.lost(to, message) ? 'lost' : undefined;
    };
  }

  /** Rows that cannot be compressed, in a window of their own. */
  write(n: number): void {
    const { trio } = this;
    const write = trio.prepare(0, 'all');
    const keys = Array.from({ length: ROWS }, (_, i) => `cpu,host=h${n}-${i}`);
    const values = Float64Array.from(keys, (_, i) => Math.sin(n * 1_000 + i));
    const batch: WriteBatch = {
      kind: 'write',
      shard: KEY,
      version: write.version,
      series: keys.map((key) => hashSeriesKey('s', key)),
      groups: [
        {
          measurement: 'cpu',
          rowSeries: Uint32Array.from(keys, (_, i) => i),
          times: Float64Array.from(keys, (_, i) => n * Math.floor(Number(KEY.endNs) / 84) + i),
          columns: [{ field: 'usage', type: FLOAT, present: null, values }],
        },
      ],
    };
    const records = keys.map((key) => ({ hash: hashSeriesKey('s', key), key }));
    trio.hosts[0]!.submit([{ ...write, frame: encodeBatch(batch), keys: records, allKeys: () => records }], trio.now);
    trio.settle();
    // Blocks of the second one are cut otherwise.
    for (const [i, engine] of engines.all.entries()) if (i !== 1 || n % 3 === 2) engine.shards.get(ID)!.flush();
  }

  fence(): void {
    this.trio.hear();
    this.trio.say(0, 2, FENCE);
  }

  pass(turns: number): void {
    for (let i = 0; i < turns; i++) {
      this.trio.pass(1_000);
      this.trio.hear();
    }
  }

  /** Bytes of pages since this was asked last. */
  bytes(): number {
    const { bytes } = this.trio;
    const all = bytes.get('fill-answer') ?? 0;
    bytes.delete('fill-answer');
    return all;
  }

  /** Whether it asks for a page of the last fifth. */
  isLate(to: string, message: Message): boolean {
    return message.t === 'fill-page' && message.index > this.pages[NUMBERS.indexOf(to)]! * 0.8;
  }

  isFull(): boolean {
    return engines.ledger(2).replica === 'full';
  }
}

function pagesOf(engine: Engine): number {
  const snapshot = engine.shards.get(ID)!.snapshot(PAGE_BYTES);
  let pages = 0;
  while (snapshot.page(pages) !== null) pages++;
  snapshot.close();
  return pages;
}

function expectEqual(source: number): void {
  const [is, was] = [engines.ledger(2), engines.ledger(source)];
  expect(rootToJson(is.root(THROUGH))).toEqual(rootToJson(was.root(THROUGH)));
  const [mine, theirs] = [2, source].map((at) => engines.all[at]!.shards.get(ID)!);
  expect(mine!.recomputeContentThrough(THROUGH)).toBe(theirs!.recomputeContentThrough(THROUGH));
  expect(mine!.sizes().rows).toBe(theirs!.sizes().rows);
  expect(mine!.series('cpu', null).length).toBe(theirs!.series('cpu', null).length);
}

describe('a copy that is broken off when four fifths of it have come', () => {
  const whole = () => {
    const copying = new Copying();
    copying.fence();
    copying.pass(4);
    expect(copying.isFull()).toBe(true);
    return copying.bytes();
  };

  test.each([
    ['the network fails for a while', 'fails'],
    ['the process ends when it has given up for now', 'ends later'],
    ['the process ends in the middle of it', 'ends at once'],
  ])('is not given anew where %s', (_, what) => {
    const bytes = whole();
    const copying = new Copying();
    const { trio, pages } = copying;
    expect(Math.min(...pages)).toBeGreaterThan(15);
    copying.lost = (to, message) => copying.isLate(to, message);
    copying.fence();
    const restarts = () => trio.hosts[2]!.describeShard(ID)!.fill?.restarts;
    if (what === 'ends at once') trio.pass(300);
    else while (restarts() === 0) trio.pass(50);
    expect(restarts()).toBe(what === 'ends at once' ? 0 : 1);
    expect(copying.isFull()).toBe(false);
    const first = copying.bytes();
    expect(first).toBeGreaterThan(bytes * 0.6);
    const source = copying.asked[0]!.to;
    if (what !== 'fails') {
      engines.kill(2);
      trio.boot(NUMBERS[2]!, undefined, trio.files[2]);
    }
    copying.lost = () => false;
    copying.asked.length = 0;
    copying.pass(4);
    expect(copying.isFull()).toBe(true);
    expect(new Set(copying.asked.map(({ to }) => to))).toEqual(new Set([source]));
    expect(copying.bytes()).toBeLessThan(bytes * 0.4);
    expectEqual(NUMBERS.indexOf(source));
  });

  test('is taken from another source when that one does not come back, and is that one’s', () => {
    const copying = new Copying();
    const { trio } = copying;
    copying.lost = (to, message) => copying.isLate(to, message);
    copying.fence();
    trio.pass(300);
    const source = copying.asked[0]!.to;
    trio.cut.add(source);
    copying.lost = () => false;
    copying.pass(8);
    expect(copying.isFull()).toBe(true);
    expectEqual(1 - NUMBERS.indexOf(source));
  });

  test('a source that gives nothing new is not asked for ever: another one is', () => {
    const copying = new Copying();
    let bad = '';
    copying.lost = (to, message) => {
      if (message.t !== 'fill-page' || message.index < 5) return false;
      bad ||= to;
      return to === bad;
    };
    copying.fence();
    copying.pass(30);
    expect(copying.isFull()).toBe(true);
    expectEqual(1 - NUMBERS.indexOf(bad));
  });
});
