/** Which batches a ledger can tell of after its floor has passed them: those of the time when a member was given up. */
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { Ledger } from '../../repair/ledger.ts';
import { PassedLists } from '../../repair/passed-lists.ts';
import { verdictOf } from '../../server/leftover-owners.ts';
import { makeStamp } from '../../shards/version.ts';
import { ID, KEY, NUMBERS, Trio } from './trio.ts';

const GONE = '00000000000000aa';
const OTHER = '00000000000000bb';
const stampAt = (ms: number) => makeStamp(1_700_000_000_000 + ms, 0xffff);
const versionAt = (ms: number, node: string) => makeStamp(1_700_000_000_000 + ms, 0) + node;
const REMOVED_MS = 10_000;

/** Has every second batch of both nodes; its floor was at 2 s when the member went. */
function passedLedger(): Ledger {
  const ledger = new Ledger();
  for (let ms = 0; ms < 20_000; ms += 200) for (const node of [GONE, OTHER]) ledger.add(versionAt(ms, node), 1n, 1);
  ledger.adoptFloor(stampAt(2_000));
  ledger.gone = [{ number: GONE, removedAt: stampAt(REMOVED_MS) }];
  ledger.adoptFloor(stampAt(6_000));
  ledger.adoptFloor(stampAt(12_000));
  ledger.adoptFloor(stampAt(30_000));
  return ledger;
}

function checkPassed({ passed }: Ledger): void {
  for (let ms = 0; ms < 20_000; ms += 100) {
    const isThere = ms % 200 === 0 || ms <= 2_000;
    expect([ms, passed.had(versionAt(ms, GONE), GONE)]).toEqual([ms, isThere]);
    // Those that others made later are not in the list, and may be anywhere.
    const ofOther = isThere || (ms > REMOVED_MS ? null : false);
    expect([ms, passed.had(versionAt(ms, OTHER), GONE)]).toEqual([ms, ofOther]);
  }
}

describe('lists that a floor has passed', () => {
  test('tell each batch from those that never were, also after a restart', () => {
    const ledger = passedLedger();
    checkPassed(ledger);
    const database = new Database(':memory:');
    ledger.save(database);
    // What has not changed is not written again, and stays.
    ledger.save(database);
    const again = new Ledger();
    again.load(database);
    checkPassed(again);
    // Another file.
    const other = new Database(':memory:');
    again.save(other);
    const copied = new Ledger();
    copied.load(other);
    checkPassed(copied);
  });

  test('a floor that was beyond the removal tells nothing', () => {
    const ledger = new Ledger();
    ledger.add(versionAt(1_000, GONE), 1n, 1);
    ledger.adoptFloor(stampAt(12_000));
    ledger.gone = [{ number: GONE, removedAt: stampAt(REMOVED_MS) }];
    ledger.adoptFloor(stampAt(20_000));
    expect(ledger.passed.had(versionAt(1_000, GONE), GONE)).toBeNull();
  });

  test('a list that grew too long tells of what was proven before only, and is not begun anew', () => {
    const passed = new PassedLists(32);
    const gone = [{ number: GONE, removedAt: stampAt(REMOVED_MS) }];
    const listed = (...at: number[]) => at.map((ms) => versionAt(ms, GONE));
    passed.note(gone, stampAt(1_000), stampAt(3_000), listed(2_000, 2_500, 2_600));
    passed.note(gone, stampAt(3_000), stampAt(11_000), listed(4_000));
    expect([900, 2_000, 2_900, 4_000].map((ms) => passed.had(versionAt(ms, GONE), GONE))).toEqual([
      true,
      null,
      null,
      null,
    ]);
  });

  test('of a lost file what is later takes no room', () => {
    const passed = new PassedLists(32);
    const gone = [{ number: GONE, removedAt: stampAt(2_500), isFile: true }];
    const listed = Array.from({ length: 20 }, (_, i) => versionAt(2_000 + 400 * i, OTHER));
    passed.note(gone, stampAt(1_000), stampAt(30_000), listed);
    expect([900, 2_000, 2_200, 2_400].map((ms) => passed.had(versionAt(ms, OTHER), GONE))).toEqual([
      true,
      true,
      false,
      true,
    ]);
  });

  test('of many members the one that was removed first is forgotten', () => {
    const passed = new PassedLists();
    for (let i = 0; i < 18; i++) {
      const gone = [{ number: String(i).padStart(16, '0'), removedAt: stampAt(100 * i + 50) }];
      passed.note(gone, stampAt(100 * i), stampAt(100 * i + 99), []);
    }
    const told = (i: number) => passed.had(versionAt(100 * i + 10, GONE), String(i).padStart(16, '0'));
    expect([told(0), told(1), told(2), told(17)]).toEqual([null, null, false, false]);
  });
});

describe('batches found with a member that was given up', () => {
  /** n3 takes a batch that nobody else gets, and is given up; the others prove on. */
  function givenUp() {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    trio.hear();
    trio.repair(0, 'ring');
    trio.hear();
    const shared = trio.prepare(2);
    for (const at of [0, 1, 2])
      trio.say(2, at, { t: 'mail', key: KEY, version: shared.version }, [shared.frame, new Uint8Array()]);
    trio.pass(100);
    trio.cut.add(NUMBERS[2]!);
    const alone = trio.prepare(2);
    trio.changed.set(NUMBERS[2]!, { state: 'removed', removal: 'forced', removedAt: makeStamp(trio.now + 10, 0) });
    trio.view = 'w';
    trio.hear();
    const ask = (at: number) =>
      trio.hosts[at]!.findWrites(
        [shared.version, alone.version].map((version) => ({ shard: KEY, version, foundWith: NUMBERS[2]! })),
      ).map(({ knowledge }) => knowledge);
    return { trio, ask };
  }

  test('before the floor has passed them, and after it', () => {
    const { trio, ask } = givenUp();
    expect([ask(0), ask(1)]).toEqual([
      ['known', 'not-here'],
      ['known', 'not-here'],
    ]);
    trio.now += 1_000;
    trio.hear();
    trio.repair(0, 'ring');
    trio.hear();
    expect(trio.passes.at(-1)).toMatchObject({ kind: 'full', outcome: 'proven' });
    expect([ask(0), ask(1)]).toEqual([
      ['known', 'never'],
      ['known', 'never'],
    ]);
    trio.storages[0]!.ledgers.get(ID)!.replica = 'filling';
    expect(ask(0)).toEqual(['unsure', 'unsure']);
  });

  test('what many members say together', () => {
    const say = (...said: string[]) =>
      verdictOf(
        said.map((each) => ({
          isOver: each === 'over',
          isInOutbox: each === 'outbox',
          knowledge: each === 'over' || each === 'outbox' ? 'not-here' : (each as 'known'),
        })),
      );
    expect(say('never', 'known', 'unsure')).toBe('known');
    expect(say('never', 'outbox')).toBe('known');
    expect(say('known', 'over')).toBe('over');
    expect(say('unsure', 'never', 'not-here')).toBe('lost');
    expect(say('unsure', 'not-here')).toBe('unsure');
    expect(say('not-here', 'not-here')).toBe('lost');
  });
});
