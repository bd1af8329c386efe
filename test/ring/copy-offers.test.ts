/** Whom a place for a copy goes to that has become free at a source: a filling alone, with answers as the test gives them. */
import { expect, test } from 'vitest';
import { Filling } from '../../repair/filling.ts';
import { EMPTY_ROOT } from '../../repair/ledger.ts';
import { type ShardKey, shardId } from '../../shards/shard-key.ts';
import { KEY, START } from './trio.ts';

const [ONE, TWO] = ['1', '2'].map((digit) => digit.repeat(16)) as [string, string];
const RETRY_MS = 1_000;
const NAMES = ['only at two', 'a', 'b', 'c'];
const KEYS: ShardKey[] = NAMES.map((_, n) => ({ ...KEY, startNs: BigInt(n) << 50n, endNs: BigInt(n + 1) << 50n }));

interface Asked {
  readonly source: string;
  readonly t: string;
  readonly name: string;
  readonly answer: (message: object | null) => void;
}

/** Sources are asked in the order of their names. */
function fillingOf() {
  const asked: Asked[] = [];
  const held = (keys: readonly ShardKey[]) => keys.map((key) => ({ id: shardId(key), key, state: 'full' }));
  const around = {
    self: '3'.repeat(16),
    nowMs: START,
    wallMs: START,
    limits: { requestTimeoutMs: RETRY_MS, backoffMsMin: 100, backoffMsMax: RETRY_MS, fillPageBytes: 64 },
    snapshot: { members: [], heldBy: { [ONE]: held(KEYS.slice(1)), [TWO]: held(KEYS.slice(0, 1)) } },
    isLive: () => true,
    random: () => 0,
    count: () => {},
    heldChanged: () => {},
    repaired: () => {},
    owners: () => [],
    budget: { charge: () => {}, settle: () => {}, whenOpen: (_kind: string, _bytes: number, run: () => void) => run() },
  };
  const replicas = new Map(
    KEYS.map((key) => {
      const ledger = {
        replica: 'full',
        versions: () => [],
        floor: '',
        floorRoot: () => EMPTY_ROOT,
        since: null,
        damage: null,
      };
      const stored = { flush: () => {}, sizes: () => ({ rows: 0 }) };
      return [shardId(key), { id: shardId(key), key, ledger, notes: {}, stored }];
    }),
  );
  const target = { kept: () => null, accept: () => {}, finish: () => {}, abort: () => {}, suspend: () => {} };
  const filling = new Filling({
    storage: { shards: replicas, copyOrigin: () => null, beginFill: () => target },
    replicas: { ids: () => replicas.keys(), get: (id: string) => replicas.get(id) ?? null },
    requests: {
      ask: (
        source: string,
        _shard: number,
        question: { t: string; key: readonly unknown[] },
        answer: (given: unknown) => void,
      ) => {
        const name = NAMES[KEYS.findIndex(({ startNs }) => question.key[4] === `${startNs}`)]!;
        asked.push({
          source,
          t: question.t,
          name,
          answer: (message) => answer(message === null ? undefined : { message, attachments: [] }),
        });
      },
    },
    around,
    disown: () => {},
  } as unknown as ConstructorParameters<typeof Filling>[0]);
  for (const replica of replicas.values()) filling.demote(replica as never, 'it lacks something');
  /** What was asked for since, by shard. */
  const take = () => Object.fromEntries(asked.splice(0).map((each) => [each.name, each]));
  const pass = (ms: number) => {
    around.nowMs += ms;
    filling.tick();
    return take();
  };
  return { take, pass };
}

test('goes on to one that waits and can use it: none that has begun meanwhile, none that the source does not have', () => {
  const { take, pass } = fillingOf();
  const page = { t: 'fill-answer', status: 'ok', snapshot: 1, index: 0, last: false, bytesTotal: 1 };
  const first = pass(1);
  expect(Object.keys(first)).toEqual(NAMES);
  for (const name of ['only at two', 'a', 'c']) first[name]!.answer({ t: 'fill-answer', status: 'busy' });
  first.b!.answer(page);
  const next = take().b!;
  // One of those that wait is given a place when it tries again by itself.
  const again = pass(RETRY_MS);
  expect(Object.keys(again)).toEqual(['only at two', 'a', 'c']);
  for (const name of ['only at two', 'c']) again[name]!.answer({ t: 'fill-answer', status: 'busy' });
  again.a!.answer(page);
  take();
  next.answer({ ...page, index: 1, last: true });
  expect(Object.values(take()).map(({ name, t, source }) => [name, t, source])).toEqual([['c', 'fill-open', ONE]]);
});
