/** Comparing only: what each replica lacks or has otherwise, above the floor and below it, and who was not compared. */
import { describe, expect, test } from 'vitest';
import { Ledger } from '../../repair/ledger.ts';
import type { RepairStatus } from '../../repair/records.ts';
import type { ReplicaLimits } from '../../repair/replica-limits.ts';
import { ID, NUMBERS, Trio } from './trio.ts';

const [FIRST, SECOND, THIRD] = NUMBERS as [string, string, string];

function equalTrio(replication = 3, limits: Partial<ReplicaLimits> = {}): Trio {
  const trio = new Trio(replication, limits);
  for (let i = 0; i < 3; i++) trio.write(0, replication === 3 ? 'all' : 'one');
  trio.pass(100);
  trio.hear();
  return trio;
}

const ledgerOf = (trio: Trio, at: number): Ledger => trio.storages[at]!.ledgers.get(ID)!;
const stateOf = (trio: Trio) => trio.storages.map(({ ledgers }) => [ledgers.get(ID)?.floor, ledgers.get(ID)?.replica]);
const of = ({ differences }: RepairStatus, member: string) => differences.find((each) => each.member === member)!;

/** As its own ledger, but for what `change` does to each batch. */
function rewrite(trio: Trio, at: number, change: (content: bigint, i: number) => bigint): void {
  const old = ledgerOf(trio, at);
  const floor = old.floor;
  const ledger = new Ledger();
  for (const [i, version] of old.versions().entries())
    ledger.add(version, change(old.contentOf(version)!, i), old.rowsIn(version));
  ledger.adoptFloor(floor);
  trio.storages[at]!.ledgers.set(ID, ledger);
}

describe('a preview', () => {
  test('of equal replicas says so, of all three, and lists nothing', () => {
    const trio = equalTrio();
    trio.sent.length = 0;
    const preview = trio.repair(0, 'preview');
    expect(preview).toMatchObject({ state: 'done', message: 'no differences among the 3 compared replicas' });
    expect(preview.differences.map(({ result }) => result)).toEqual(['equal', 'equal', 'equal']);
    expect(trio.sent).not.toContain('identities');
  });

  test.each([
    ['sums', 'compare-answer'],
    ['identities', 'identities-answer'],
  ])('and a pass end with a source whose list of %s does not go on', (what, answered) => {
    const trio = equalTrio(3, { identitiesPerPage: 1 });
    trio.onSend = (_, to, { t }) => (t === 'mail' && to === SECOND ? 'lost' : null);
    trio.write(0);
    trio.pass(100);
    trio.hear();
    let asked = 0;
    trio.onSend = (from, _, { t }) => {
      if (from === FIRST && t === answered && ++asked > 50) throw new Error('asked for ever');
    };
    const ledger = ledgerOf(trio, 0);
    if (what === 'sums') ledger.epochSums = (_after, _through, from) => ({ sums: [], next: from });
    else {
      const { identities } = ledger;
      ledger.identities = (epoch, after, through, _above, max) =>
        identities.call(ledger, epoch, after, through, '', max);
    }
    const preview = trio.repair(1, 'preview');
    expect(of(preview, FIRST)).toMatchObject({
      result: 'not-compared',
      note: 'the list of the source does not go on: not compared',
    });
    const pass = trio.repair(0, 'ring');
    expect(pass).toMatchObject({ state: 'failed', message: expect.stringContaining('the list of the source') });
  });

  test('finds a batch that has another content at one replica, and changes nothing', () => {
    const trio = equalTrio();
    rewrite(trio, 1, (content, i) => (i === 1 ? content + 1n : content));
    const before = stateOf(trio);
    const preview = trio.repair(0, 'preview');
    expect(preview).toMatchObject({ state: 'done', message: expect.stringContaining('1 of 3 replicas differ') });
    expect(of(preview, SECOND)).toMatchObject({
      result: 'differs',
      batchesUnequal: 1,
      batchesMissing: 0,
      epochsDiffering: 1,
    });
    expect(of(preview, THIRD)).toMatchObject({ result: 'equal', note: 'lacks nothing' });
    expect(stateOf(trio)).toEqual(before);
  });

  test('finds other content and other batches below the floor, where no batches are listed', () => {
    const trio = equalTrio();
    trio.repair(0, 'ring');
    trio.write(0, 'all');
    trio.pass(100);
    trio.hear();
    const { floor, root } = { floor: ledgerOf(trio, 0).floor, root: ledgerOf(trio, 0).floorRoot() };
    expect(root.count).toBe(3);
    const below = (extra: bigint, count: number): void => {
      const ledger = ledgerOf(trio, 1) as unknown as { collapsed: typeof root };
      ledger.collapsed = { count, identity: root.identity + BigInt(3 - count), content: root.content + extra };
    };
    below(1n, 3);
    const content = trio.repair(0, 'preview');
    expect(of(content, SECOND)).toMatchObject({ result: 'differs', note: 'unequal content up to the floor' });
    expect(of(content, THIRD)).toMatchObject({ result: 'equal' });
    below(0n, 2);
    expect(of(trio.repair(0, 'preview'), SECOND)).toMatchObject({
      result: 'differs',
      note: expect.stringContaining('up to the floor 2 batches, 3 where'),
    });
    expect(stateOf(trio).map(([at]) => at)).toEqual([floor, floor, floor]);
  });

  test('compares at the highest of all floors, whoever has it', () => {
    const trio = equalTrio();
    const { newest } = ledgerOf(trio, 0);
    for (const at of [0, 1, 2]) {
      const copy = equalTrio();
      ledgerOf(copy, at).adoptFloor(newest!.slice(0, 16));
      expect(copy.repair(0, 'preview')).toMatchObject({ message: 'no differences among the 3 compared replicas' });
      expect(stateOf(copy).filter(([floor]) => floor === newest!.slice(0, 16))).toHaveLength(1);
    }
  });

  test('compares with holders that own nothing', () => {
    const trio = equalTrio();
    trio.replication = 1;
    trio.hear();
    rewrite(trio, 2, (content, i) => (i === 0 ? content + 1n : content));
    rewrite(trio, 1, (content, i) => (i === 0 ? content + 1n : content));
    const preview = trio.repair(0, 'preview');
    expect(preview.differences.map(({ member }) => member).sort()).toEqual([FIRST, SECOND, THIRD]);
    expect(preview.differences.filter(({ batchesUnequal }) => batchesUnequal === 1)).toHaveLength(2);
  });

  test('names a member that is down, and one that does not answer', () => {
    const trio = equalTrio();
    trio.cut.add(THIRD);
    trio.hear();
    const down = trio.repair(0, 'preview');
    expect(down.message).toBe(
      'no differences among the 2 compared replicas; not compared: n3 (not live: not compared)',
    );
    expect(of(down, THIRD)).toMatchObject({ result: 'not-compared' });
    const mute = equalTrio();
    mute.onSend = (from, _, message) => (from === SECOND && message.t === 'compare-answer' ? 'lost' : null);
    const { id } = mute.repair(0, 'preview');
    mute.pass(10_000);
    const [preview] = mute.hosts[0]!.repairs(id);
    expect(preview).toMatchObject({ state: 'done', message: expect.stringContaining('n2 (no answer: not compared)') });
    expect(of(preview!, THIRD)).toMatchObject({ result: 'equal' });
  });

  test('counts what this node lacks as well, by rows', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.onSend = (_, to, message) => (to === FIRST && message.t === 'mail' ? 'lost' : null);
    trio.write(1);
    trio.pass(100);
    trio.hear();
    const preview = trio.repair(0, 'preview');
    expect(of(preview, FIRST)).toMatchObject({ result: 'differs', batchesMissing: 1, rowsMissing: 2 });
    expect(preview.message).toBe('1 of 3 replicas differ: 1 batches are missing, 0 unequal');
    expect(trio.counts()).toEqual([1, 2, 2]);
  });

  test('a damaged replica is compared by its ledger, and called damaged', () => {
    const trio = equalTrio();
    trio.storages[1]!.shards.get(ID)!.batches.clear();
    trio.cut.add(FIRST).add(THIRD);
    trio.repair(1, 'scrub');
    trio.cut.clear();
    trio.hear();
    expect(of(trio.repair(0, 'preview'), SECOND)).toMatchObject({
      result: 'differs',
      note: expect.stringContaining('damaged'),
    });
  });
});
