/** Workers that have no series for a question are left out exactly as long as that is true. */
import { afterEach, expect, test } from 'vitest';
import type { PartialAnswer } from '../../server/partial-answer.ts';
import { Nothings, questionOf, SaidNothing, type SaidOf, wantedOf } from '../../server/said-nothing.ts';
import type { PartialRequest, SelectRequest } from '../../shards/query/partial.ts';
import { schemaOf } from '../../shards/query/shard-schema.ts';
import { Bench, deleteBatch, SHARD, versionAt } from '../storage/helpers.ts';
import { randomOf } from '../storage/random-batches.ts';

const PICK = { names: ['m'] };
const counter = (): Int32Array => new Int32Array(new SharedArrayBuffer(4));

const askedOf = (request: PartialRequest) => questionOf(wantedOf(request), [SHARD], request);

function answerAsOf(nothingAsOf: number | null): PartialAnswer {
  return {
    results: [],
    absent: [],
    damaged: [],
    young: [],
    losses: [],
    convergedThroughMs: 1,
    liveConvergedThroughMs: 1,
    nothingAsOf,
  };
}

function questionFor(host: string, fingerprint: string): string {
  const planned = { measurements: PICK, fingerprints: { [SHARD]: fingerprint } };
  const condition = { op: '=', key: 'host', value: host } as const;
  const request: Partial<SelectRequest> = { kind: 'select', planned, measurements: PICK.names, condition };
  return askedOf(request as SelectRequest)!;
}

const benches: Bench[] = [];
afterEach(() => {
  for (const bench of benches.splice(0)) bench.remove();
});

test.each([1, 2, 3, 4, 5, 6])(
  'what is left out has no series, and the schema that was planned with (seed %i)',
  (seed) => {
    const bench = new Bench({ unusedMs: 10_000 });
    benches.push(bench);
    const random = randomOf(seed);
    const changes = counter();
    const said = new SaidNothing(changes, bench.engine.shards);
    const nothings = new Nothings();
    let leftOut = 0;
    let planned = '';
    for (let n = 0; n < 600; n++) {
      const what = random(16);
      const host = `h${random(25)}`;
      const condition = { op: '=', key: 'host', value: host } as const;
      if (what === 0) bench.writeRows(versionAt(n), [{ key: `m,host=${host}`, time: n, fields: { f: n } }]);
      else if (what === 1)
        bench.writeRows(versionAt(n), [{ key: 'm,host=h0', time: n, fields: { [`f${random(3)}`]: n } }]);
      else if (what === 2 && seed > 3) bench.write(deleteBatch(versionAt(n), { condition }));
      else if (what === 3) bench.shard().flush();
      else if (what === 4) bench.nowMs += random(20_000);
      else if (what === 5) while (bench.step());
      // What a worker does before anything leaves it.
      said.check(bench.nowMs);
      // A plan may be older than what it is about.
      if (planned === '' || what === 6) planned = schemaOf(bench.shard(), PICK).fingerprint;
      const question = questionFor(host, planned);
      if (nothings.recall(question, changes) !== null) {
        leftOut++;
        expect(bench.shard().series('m', condition)).toHaveLength(0);
        expect(schemaOf(bench.shard(), PICK).fingerprint).toBe(planned);
        continue;
      }
      const isStale = schemaOf(bench.shard(), PICK).fingerprint !== planned;
      const isNothing = !isStale && bench.shard().series('m', condition).length === 0;
      nothings.note(question, answerAsOf(isNothing ? said.say([SHARD], bench.nowMs) : null));
    }
    expect(leftOut).toBeGreaterThan(20);
  },
);

/** Shards that say what the test wants. */
function fakes(count: number): Map<string, SaidOf> {
  return new Map(Array.from({ length: count }, (_, i) => [`s${i}`, { schemaStamp: 'a', isResident: true }]));
}

test('a shard that is another one, has been let go of or is gone: nothing holds any more', () => {
  for (const change of [
    (shards: ReturnType<typeof fakes>) => void Object.assign(shards.get('s1')!, { schemaStamp: 'b' }),
    (shards: ReturnType<typeof fakes>) => void Object.assign(shards.get('s0')!, { isResident: false }),
    (shards: ReturnType<typeof fakes>) => void shards.delete('s0'),
    (shards: ReturnType<typeof fakes>) => void shards.set('s1', { schemaStamp: 'a', isResident: true }),
  ]) {
    const shards = fakes(3);
    const changes = counter();
    const said = new SaidNothing(changes, shards);
    expect(said.say(['s0', 's1'], 0)).toBe(0);
    Object.assign(shards.get('s2')!, { schemaStamp: 'c' });
    said.check(1);
    expect(changes[0]).toBe(0);
    change(shards);
    said.check(2);
    expect(changes[0]).toBe(1);
  }
});

test('nothing is said for ever, nor of too many shards at a time', () => {
  const changes = counter();
  const said = new SaidNothing(changes, fakes(40));
  const ids = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => `s${from + i}`);
  expect(said.say(ids(0, 2), 0)).toBe(0);
  said.check(30_000);
  expect(changes[0]).toBe(0);
  said.check(30_001);
  expect(changes[0]).toBe(1);
  expect(said.say(ids(0, 10), 40_000)).toBe(1);
  expect(said.say(ids(10, 16), 40_000)).toBe(1);
  expect(said.say(ids(16, 17), 40_000)).toBe(2);
  expect(said.say(ids(0, 17), 40_000)).toBeNull();
  expect(said.say(['other'], 40_000)).toBeNull();
});

test('questions without a condition, or that rest on no remembered schema, are asked', () => {
  const planned = { measurements: PICK, fingerprints: {} };
  const condition = { op: 'true' } as const;
  const question = (some: Partial<SelectRequest>): string | null =>
    askedOf({ kind: 'select', measurements: ['m'], planned, condition, ...some } as SelectRequest);
  expect(question({ condition: null })).toBeNull();
  expect(question({ planned: null })).toBeNull();
  expect(askedOf({ kind: 'schema', measurements: null })).toBeNull();
  expect(question({})).not.toBe(question({ measurements: ['n'] }));
});
