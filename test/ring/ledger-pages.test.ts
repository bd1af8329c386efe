/** Identity lists that are in the shard's file only (repair/ledger-pages.ts). */
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EMPTY_ROOT, Ledger } from '../../repair/ledger.ts';
import { DecodedLists } from '../../repair/ledger-epoch.ts';
import { StorageError } from '../../shards/errors.ts';
import { damageNamed } from '../../shards/shard-file.ts';
import { makeStamp, STAMP_ZERO, type Stamp, type Version } from '../../shards/version.ts';

const START = 1_700_000_000_000;
const NODES = ['00000000000000aa', '00000000000000bb'];
const EPOCH_MS = 10_000;
/** A dozen epochs. */
const SPAN_MS = 12 * EPOCH_MS;
const versionAt = (ms: number, node = NODES[0]!): Version => makeStamp(START + ms, 0) + node;
const stampAt = (ms: number): Stamp => makeStamp(START + ms, 0xffff);
const END = stampAt(SPAN_MS);

/** A ledger and its file, as a shard keeps them. */
class Kept {
  readonly database = new Database(':memory:');
  readonly make: () => Ledger;
  readonly isPaged: boolean;
  ledger: Ledger;
  /** The disk gives nothing. */
  fails = false;
  reads = 0;
  unreadable: StorageError | null = null;

  constructor(isPaged: boolean, make: () => Ledger = () => new Ledger()) {
    this.isPaged = isPaged;
    this.make = make;
    this.ledger = this.open();
  }

  private open(): Ledger {
    const ledger = this.make();
    if (this.isPaged) ledger.attach((read) => this.read(read));
    ledger.load(this.database);
    return ledger;
  }

  private read<T>(read: (database: Database.Database) => T): T {
    this.reads++;
    if (this.fails) throw new StorageError('disk-failed', 'the disk refuses');
    return damageNamed(
      'file',
      () => read(this.database),
      (error) => {
        this.unreadable = error;
      },
    );
  }

  /** `between`: what comes while the flush runs. */
  save(between: () => void = () => {}): void {
    const write = this.ledger.freeze();
    between();
    this.database.transaction(() => write(this.database))();
    this.ledger.saved();
  }

  /** The process ends before it knows that the save has succeeded; nothing is in the log. */
  crash(isSaved: boolean): void {
    if (isSaved) this.ledger.save(this.database);
    this.ledger = this.open();
  }

  rollBack(): void {
    this.database.exec('BEGIN');
    this.ledger.save(this.database);
    this.database.exec('ROLLBACK');
  }
}

const told = (ledger: Ledger, cut: Stamp) => {
  const through = cut < ledger.floor ? ledger.floor : cut;
  const { sums } = ledger.epochSums(ledger.floor, through, 0, 1e6);
  return {
    floor: ledger.floor,
    newest: ledger.newest,
    oldest: ledger.oldest(),
    listed: ledger.listed,
    roots: [ledger.floorRoot(), ledger.root(through), ledger.root(END)],
    live: ledger.liveConverged,
    sums,
    lists: sums.map(({ epoch }) => ledger.identities(epoch, ledger.floor, through, '', 1e6)),
    versions: ledger.versions(),
  };
};

const ms = fc.integer({ min: 0, max: SPAN_MS - 1 });
/** Floors: most batches are to come above them. */
const low = fc.integer({ min: 0, max: SPAN_MS / 4 });
const content = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });
const batch = fc.record({ ms, node: fc.constantFrom(...NODES), content });
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('add' as const), batch }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('restate' as const), batch }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('save' as const), between: fc.array(batch, { maxLength: 3 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('roll back' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const), isSaved: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('floor' as const), ms: low }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('proof' as const), ms }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function take(kept: Kept, each: Step): unknown {
  const { ledger } = kept;
  const add = ({ ms: at, node, content: sum }: { ms: number; node: string; content: bigint }) =>
    ledger.add(versionAt(at, node), sum, at + 1);
  switch (each.kind) {
    case 'add':
      return add(each.batch);
    case 'restate':
      return ledger.restate(versionAt(each.batch.ms, each.batch.node), each.batch.content);
    case 'save':
      return kept.save(() => each.between.forEach(add));
    case 'roll back':
      return kept.rollBack();
    case 'crash':
      return kept.crash(each.isSaved);
    case 'floor':
      return ledger.adoptFloor(stampAt(each.ms));
    case 'proof': {
      const through = stampAt(each.ms);
      if (through > ledger.floor)
        ledger.liveConverged = { through, pass: 'p', members: [], root: [EMPTY_ROOT.count, '0', '0'] };
      return null;
    }
  }
}

describe('a ledger that leaves lists to its file', () => {
  test('says what one says that keeps them, whatever is saved, lost, rolled back or passed by a floor', () => {
    let reads = 0;
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 20, maxLength: 60 }),
        fc.integer({ min: 0, max: 2 }),
        ms,
        (steps, openMax, cut) => {
          const plain = new Kept(false);
          const paged = new Kept(true, () => new Ledger(openMax, new DecodedLists(1)));
          for (const each of steps) {
            expect(take(paged, each)).toEqual(take(plain, each));
            expect(told(paged.ledger, stampAt(cut))).toEqual(told(plain.ledger, stampAt(cut)));
          }
          reads += paged.reads;
          for (const { database } of [plain, paged]) database.close();
        },
      ),
      { numRuns: 60 },
    );
    expect(reads).toBeGreaterThan(1_000);
  });

  test('changes nothing when a list cannot be read, and neither lacks nor has what it cannot read', () => {
    let failures = 0;
    const failing = fc.record({ fails: fc.boolean(), step });
    fc.assert(
      fc.property(
        fc.array(failing, { minLength: 20, maxLength: 60 }),
        fc.integer({ min: 0, max: 1 }),
        ms,
        (steps, openMax, cut) => {
          const plain = new Kept(false);
          const paged = new Kept(true, () => new Ledger(openMax, new DecodedLists(1)));
          for (const { fails, step: each } of steps) {
            // What comes while a flush runs is several steps, and a start that cannot read is none.
            paged.fails = fails && each.kind !== 'save' && each.kind !== 'crash';
            let taken = true;
            let result: unknown = null;
            try {
              result = take(paged, each);
            } catch (error) {
              expect(error).toMatchObject({ code: 'disk-failed' });
              expect(() => paged.ledger.readAgain()).toThrow(StorageError);
              failures++;
              taken = false;
            }
            paged.fails = false;
            if (taken) expect(result).toEqual(take(plain, each));
            else paged.ledger.readAgain();
            expect(told(paged.ledger, stampAt(cut))).toEqual(told(plain.ledger, stampAt(cut)));
          }
          for (const { database } of [plain, paged]) database.close();
        },
      ),
      { numRuns: 60 },
    );
    expect(failures).toBeGreaterThan(50);
  });

  test('a batch that came while a flush ran keeps its list in memory until the next one', () => {
    const kept = new Kept(true, () => new Ledger(0));
    kept.ledger.add(versionAt(1), 1n, 1);
    kept.save(() => kept.ledger.add(versionAt(2), 2n, 1));
    expect(kept.ledger.versions()).toHaveLength(2);
    expect(kept.reads).toBe(0);
    kept.save();
    expect(kept.ledger.versions()).toHaveLength(2);
    expect(kept.reads).toBe(1);
  });

  test('a save that is not known to be durable lets nothing go', () => {
    const kept = new Kept(true, () => new Ledger(0));
    kept.ledger.add(versionAt(1), 1n, 1);
    kept.ledger.save(kept.database);
    expect(kept.ledger.versions()).toHaveLength(1);
    expect(kept.reads).toBe(0);
  });

  test.each([
    ['with a bit that fell over', 'UPDATE ledger_epochs SET identities = ? WHERE epoch = ?'],
    ['gone', 'DELETE FROM ledger_epochs WHERE ? IS NOT NULL AND epoch = ?'],
  ])('a list %s is damage of the file, not an empty list', (_, sql) => {
    const kept = new Kept(true, () => new Ledger(0, new DecodedLists(1)));
    for (let i = 0; i < 40; i++) kept.ledger.add(versionAt(i * 1_000), BigInt(i), 1);
    kept.save();
    const whole = kept.ledger.root(END);
    const [first] = kept.ledger.epochSums(STAMP_ZERO, END, 0, 1).sums;
    const bytes = kept.database
      .prepare('SELECT identities FROM ledger_epochs WHERE epoch = ?')
      .pluck()
      .get(first!.epoch) as Buffer;
    bytes[bytes.length - 5]! ^= 4;
    kept.database.prepare(sql).run(bytes, first!.epoch);
    const { ledger } = kept;
    const known = versionAt(1_000);
    for (const ask of [
      () => ledger.has(known),
      () => ledger.has(versionAt(1_500)),
      () => ledger.add(versionAt(1_500), 1n, 1),
      () => ledger.contentOf(known),
      () => ledger.rowsIn(known),
      () => ledger.restate(known, 1n),
      () => ledger.identities(first!.epoch, STAMP_ZERO, END, '', 10),
      () => ledger.versions(),
      () => ledger.oldest(),
      () => ledger.root(stampAt(5_000)),
      () => ledger.adoptFloor(stampAt(5_000)),
    ]) {
      kept.unreadable = null;
      expect(ask).toThrow(StorageError);
      expect(kept.unreadable).toMatchObject({ code: 'damaged-file' });
    }
    expect(ledger.root(END)).toEqual(whole);
    expect(ledger.listed).toBe(40);
    // What is not in that list is read as before.
    expect(ledger.has(versionAt(15_000))).toBe(true);
    expect(ledger.floor).toBe(STAMP_ZERO);
  });

  test('a list that names batches of another epoch keeps the file from being opened', () => {
    const kept = new Kept(true);
    kept.ledger.add(versionAt(1), 1n, 1);
    kept.save();
    kept.database.exec('UPDATE ledger_epochs SET epoch = epoch + 1');
    expect(() => kept.crash(false)).toThrow(/batches of another one/);
  });

  test('while a member is away an epoch costs a few hundred bytes, however many batches it has', {
    timeout: 60_000,
  }, () => {
    const kept = new Kept(true);
    const perSecond = 100;
    // A flush every two minutes.
    const perSave = 120 * perSecond;
    const [most, rest]: number[][] = [[], []];
    for (let i = 0; i < 10 * perSave; i++) {
      kept.ledger.add(versionAt((i * 1_000) / perSecond), (BigInt(i) << 90n) + 12_345n, 1_000);
      if (i % perSave !== perSave - 1) continue;
      most!.push(kept.ledger.bytes);
      kept.save();
      rest!.push(kept.ledger.bytes);
    }
    expect(kept.ledger.listed).toBe(10 * perSave);
    // Twelve epochs between two saves.
    const growth = (bytes: readonly number[]) => (bytes.at(-1)! - bytes[0]!) / (bytes.length - 1) / 12;
    for (const bytes of [most!.slice(1), rest!]) expect(growth(bytes)).toBeLessThan(400);
    // Lists that are open, and what came since the save before.
    expect(Math.max(...most!)).toBeLessThan(8 * 1_000 * 250 + perSave * 30);
    const { ledger } = kept;
    kept.crash(false);
    expect(kept.ledger.bytes).toBeLessThan(121 * 400);
    expect(kept.ledger.root(stampAt(10 * 120_000))).toEqual(ledger.root(stampAt(10 * 120_000)));
  });
});
