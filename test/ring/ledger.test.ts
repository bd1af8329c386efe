import Database from 'better-sqlite3';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Ledger, rootsEqual, stampBefore } from '../../repair/ledger.ts';
import { decodeIdentities, encodeIdentities, type Identity, LedgerError } from '../../repair/ledger-codec.ts';
import { makeStamp } from '../../shards/version.ts';

const NODE_A = '00000000000000aa';
const NODE_B = '00000000000000bb';
const versionAt = (ms: number, counter = 0, node = NODE_A) => makeStamp(1_700_000_000_000 + ms, counter) + node;
const stampAt = (ms: number) => makeStamp(1_700_000_000_000 + ms, 0xffff);

const arrivals = fc.uniqueArray(
  fc.record({ ms: fc.integer({ min: 0, max: 60_000 }), content: fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }) }),
  {
    selector: (a) => a.ms,
    maxLength: 60,
  },
);

describe('ledger', () => {
  test('batches in any order, some twice: equal roots at every cutoff', () => {
    fc.assert(
      fc.property(arrivals, fc.integer({ min: 0, max: 60_000 }), (list, cut) => {
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

  test('a floor collapses what lies below it and changes no root at or above it', () => {
    fc.assert(
      fc.property(arrivals, fc.integer({ min: 0, max: 60_000 }), (list, cut) => {
        const ledger = new Ledger();
        for (const { ms, content } of list) ledger.add(versionAt(ms), content, 1);
        const [atCut, atEnd] = [ledger.root(stampAt(cut)), ledger.root(stampAt(60_000))];
        ledger.adoptFloor(stampAt(cut));
        expect(ledger.root(stampAt(cut))).toEqual(atCut);
        expect(ledger.root(stampAt(60_000))).toEqual(atEnd);
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
      fc.property(arrivals, arrivals, fc.integer({ min: 0, max: 60_000 }), (first, second, cut) => {
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
        expect(loaded.root(stampAt(60_000))).toEqual(ledger.root(stampAt(60_000)));
        database.close();
      }),
      { numRuns: 30 },
    );
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
