import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { Ledger, rootsEqual } from '../../repair/ledger.ts';
import { decodeIdentities, encodeIdentities, type Identity, LedgerError } from '../../repair/ledger-codec.ts';
import { makeStamp, STAMP_ZERO, stampBefore, stampMs } from '../../shards/version.ts';

const NODE_A = '00000000000000aa';
const NODE_B = '00000000000000bb';
const versionAt = (ms: number, counter = 0, node = NODE_A) => makeStamp(1_700_000_000_000 + ms, counter) + node;
const stampAt = (ms: number) => makeStamp(1_700_000_000_000 + ms, 0xffff);
/** More epochs than have open lists. */
const SPAN_MS = 200_000;
const collectGarbage = (): void => {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
};

const arrivals = fc.uniqueArray(
  fc.record({ ms: fc.integer({ min: 0, max: SPAN_MS }), content: fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }) }),
  {
    selector: (a) => a.ms,
    maxLength: 60,
  },
);

describe('ledger', () => {
  test('batches in any order, some twice: equal roots at every cutoff', () => {
    fc.assert(
      fc.property(arrivals, fc.integer({ min: 0, max: SPAN_MS }), (list, cut) => {
        const [a, b] = [new Ledger(), new Ledger()];
        for (const { ms, content } of list) a.add(versionAt(ms), content, 1);
        for (const { ms, content } of [...list].reverse()) {
          b.add(versionAt(ms), content, 1);
          b.add(versionAt(ms), content, 1);
        }
        expect(rootsEqual(a.root(stampAt(cut)), b.root(stampAt(cut)))).toBe(true);
      }),
    );
  });

  test('what is asked of a batch is the same whether its list was sealed meanwhile or not', () => {
    fc.assert(
      fc.property(arrivals, arrivals, (list, late) => {
        const ledger = new Ledger();
        const known = new Map<string, bigint>();
        const add = (ms: number, node: string, content: bigint): void => {
          const version = versionAt(ms, 0, node);
          expect(ledger.add(version, content, ms + 1)).toBe(!known.has(version));
          known.set(version, known.get(version) ?? content);
        };
        for (const { ms, content } of [...list].sort((a, b) => a.ms - b.ms)) add(ms, NODE_A, content);
        for (const { ms, content } of late) add(ms, ms % 3 === 0 ? NODE_A : NODE_B, content);
        for (const { ms } of late.slice(0, 5)) {
          const version = versionAt(ms, 0, NODE_A);
          if (!known.has(version)) continue;
          ledger.restate(version, 7n);
          known.set(version, 7n);
        }
        const other = new Ledger();
        for (const [version, content] of known) other.add(version, content, 1);
        expect(rootsEqual(ledger.root(stampAt(SPAN_MS)), other.root(stampAt(SPAN_MS)))).toBe(true);
        const listed: string[] = [];
        for (const { epoch, count } of ledger.epochSums(STAMP_ZERO, stampAt(SPAN_MS), 0, 1e6).sums) {
          const identities = ledger.identities(epoch, STAMP_ZERO, stampAt(SPAN_MS), '', 1e6);
          expect(identities).toHaveLength(count);
          for (const { version, rows, content } of identities) {
            expect([content, rows]).toEqual([known.get(version), stampMs(version) - 1_700_000_000_000 + 1]);
            expect([ledger.contentOf(version), ledger.rowsIn(version)]).toEqual([content, rows]);
            listed.push(version);
          }
        }
        expect(listed).toEqual([...known.keys()].sort());
        expect(ledger.listed).toBe(known.size);
      }),
    );
  });

  test('batches above the floor, of which there may be as many as come while a member is away, take some 30 bytes', () => {
    const ledger = new Ledger();
    collectGarbage();
    const used = () => process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
    const before = used();
    const batches = 100_000;
    for (let i = 0; i < batches; i++) ledger.add(versionAt(i * 100), (BigInt(i) << 90n) + 12345n, 1000);
    collectGarbage();
    expect((used() - before) / batches).toBeLessThan(60);
    expect(ledger.listed).toBe(batches);
  });

  test('a floor collapses what lies below it and changes no root at or above it', () => {
    fc.assert(
      fc.property(arrivals, fc.integer({ min: 0, max: SPAN_MS }), (list, cut) => {
        const ledger = new Ledger();
        for (const { ms, content } of list) ledger.add(versionAt(ms), content, 1);
        const [atCut, atEnd] = [ledger.root(stampAt(cut)), ledger.root(stampAt(SPAN_MS))];
        ledger.adoptFloor(stampAt(cut));
        expect(ledger.root(stampAt(cut))).toEqual(atCut);
        expect(ledger.root(stampAt(SPAN_MS))).toEqual(atEnd);
        expect(ledger.versions().every((version) => version > stampAt(cut))).toBe(true);
      }),
    );
  });

  test('a frame at or below the floor is known and changes nothing', () => {
    const ledger = new Ledger();
    ledger.add(versionAt(10), 5n, 1);
    ledger.adoptFloor(stampAt(1_000));
    const before = ledger.root(stampAt(5_000));
    expect(ledger.has(versionAt(500, 0, NODE_B))).toBe(true);
    expect(ledger.add(versionAt(500, 0, NODE_B), 9n, 1)).toBe(false);
    expect(ledger.root(stampAt(5_000))).toEqual(before);
  });

  test('a root below the floor is asked: refused with both stamps', () => {
    const ledger = new Ledger();
    ledger.adoptFloor(stampAt(1_000));
    expect(() => ledger.root(stampAt(10))).toThrow(stampAt(1_000));
  });

  test('a batch at or below the live watermark lowers it below the batch', () => {
    const ledger = new Ledger();
    ledger.add(versionAt(10), 1n, 1);
    const through = stampAt(1_000);
    ledger.liveConverged = { through, pass: 'p', members: [NODE_A], root: [1, '0'.repeat(32), '0'.repeat(32)] };
    ledger.add(versionAt(400), 2n, 1);
    expect(ledger.liveConverged.through).toBe(stampBefore(makeStamp(1_700_000_000_400, 0)));
    expect(ledger.liveConverged.root[0]).toBe(1);
  });

  test('saved between changes and loaded again: the same roots, floor and lists', () => {
    fc.assert(
      fc.property(arrivals, arrivals, fc.integer({ min: 0, max: SPAN_MS }), (first, second, cut) => {
        const database = new Database(':memory:');
        const ledger = new Ledger();
        for (const { ms, content } of first) ledger.add(versionAt(ms), content, 2);
        ledger.save(database);
        ledger.adoptFloor(stampAt(cut));
        for (const { ms, content } of second) ledger.add(versionAt(ms, 1, NODE_B), content, 3);
        ledger.save(database);
        const loaded = new Ledger();
        loaded.load(database);
        expect(loaded.floor).toBe(ledger.floor);
        expect(loaded.versions()).toEqual(ledger.versions());
        expect(loaded.root(stampAt(SPAN_MS))).toEqual(ledger.root(stampAt(SPAN_MS)));
        database.close();
      }),
      { numRuns: 30 },
    );
  });

  test('what is changed after a save was begun is not in it: neither new batches nor contents that were restated', () => {
    const database = new Database(':memory:');
    const ledger = new Ledger();
    for (const ms of [1, 2, 3]) ledger.add(versionAt(ms), BigInt(ms), 1);
    const before = ledger.root(stampAt(SPAN_MS));
    const save = ledger.freeze();
    ledger.restate(versionAt(2), 20n);
    ledger.add(versionAt(4), 4n, 1);
    save(database);
    const loaded = new Ledger();
    loaded.load(database);
    expect(loaded.root(stampAt(SPAN_MS))).toEqual(before);
    ledger.save(database);
    const later = new Ledger();
    later.load(database);
    expect(later.root(stampAt(SPAN_MS))).toEqual(ledger.root(stampAt(SPAN_MS)));
    expect(rootsEqual(later.root(stampAt(SPAN_MS)), before)).toBe(false);
    database.close();
  });

  test('a save that was rolled back: the next one writes everything', () => {
    const database = new Database(':memory:');
    const ledger = new Ledger();
    ledger.add(versionAt(1), 1n, 1);
    ledger.save(database);
    ledger.add(versionAt(30_000), 2n, 1);
    database.exec('BEGIN');
    ledger.save(database);
    database.exec('ROLLBACK');
    ledger.add(versionAt(50_000), 3n, 1);
    ledger.save(database);
    const loaded = new Ledger();
    loaded.load(database);
    expect(loaded.versions()).toHaveLength(3);
    database.close();
  });
});

test('a root near the newest end, and a save, look at few of many epochs', () => {
  const EPOCHS = 2_000;
  const database = new Database(':memory:');
  const ledger = new Ledger();
  ledger.attach((read) => read(database));
  for (let i = 0; i < EPOCHS; i++) ledger.add(versionAt(i * 10_000), BigInt(i + 1), 1);
  const save = () => {
    ledger.save(database);
    ledger.saved();
  };
  save();
  const get = vi.spyOn(Map.prototype, 'get');
  const looksOf = (action: () => void) => {
    get.mockClear();
    action();
    return get.mock.calls.length;
  };
  try {
    expect(looksOf(() => ledger.root(stampAt((EPOCHS - 3) * 10_000)))).toBeLessThan(50);
    ledger.add(versionAt(EPOCHS * 10_000), 1n, 1);
    expect(looksOf(save)).toBeLessThan(200);
  } finally {
    get.mockRestore();
    database.close();
  }
});

describe('identity lists', () => {
  test('any ascending list survives coding; any cut of the bytes is a LedgerError', () => {
    fc.assert(
      fc.property(arrivals, (list) => {
        const identities: Identity[] = list
          .map(({ ms, content }, i) => ({
            version: versionAt(ms, i, i % 2 ? NODE_A : NODE_B),
            rows: i * 1_000,
            content,
          }))
          .sort((a, b) => (a.version < b.version ? -1 : 1));
        const bytes = encodeIdentities(identities);
        expect(decodeIdentities(bytes)).toEqual(identities);
        for (const end of [0, 1, bytes.length - 1])
          expect(() => decodeIdentities(bytes.subarray(0, end))).toThrow(LedgerError);
      }),
    );
  });
});
