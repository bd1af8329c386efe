/** When a coordinator asks for series near their limit, and what it then takes. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { KnownGroup } from '../../server/schema-cache.ts';
import { SeriesCount } from '../../server/series-count.ts';
import { SeriesLimit } from '../../server/series-limit.ts';
import type { Waiting } from '../../server/waiting-write.ts';
import { Bench, NOW_MS, SELF } from './coordinator-bench.ts';

describe('the limit of series', () => {
  const hosts = (names: string, value = 1) =>
    [...names].map((name) => `cpu,host=${name} v=${value} ${NOW_MS + value}`).join('\n');
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench(4);
  });
  const written = async (lines: string) => {
    const answer = bench.write(lines);
    await bench.turn();
    bench.settle({ ok: true });
    return answer;
  };
  const exceeded = (dropped: number) => ({
    status: 400,
    error: `partial write: max-series-per-database limit exceeded: (4) dropped=${dropped}`,
  });

  test('nobody is asked while it is far, nor about series that were sealed before', async () => {
    expect(await written(hosts('abcd'))).toEqual({ status: 204 });
    expect(await written(hosts('abcd', 2))).toEqual({ status: 204 });
    expect(bench.censuses).toBe(0);
    expect(await written(hosts('ae', 3))).toEqual(exceeded(1));
    expect(bench.censuses).toBe(1);
    expect(await written(hosts('abcd', 4))).toEqual({ status: 204 });
    expect(bench.censuses).toBe(1);
  });

  test('series whose keys are sent again are asked about, and stay', async () => {
    expect(await written(hosts('abcd'))).toEqual({ status: 204 });
    bench.coordinator.forgetKeysOf(SELF);
    expect(await written(hosts('abcd', 2))).toEqual({ status: 204 });
    expect(bench.censuses).toBe(1);
    // Their keys went along once more: from here on they are known.
    expect(await written(hosts('abcd', 3))).toEqual({ status: 204 });
    expect(bench.censuses).toBe(1);
    expect(await written(hosts('e', 4))).toEqual(exceeded(1));
  });

  test('who comes while new series are on their way waits for them', async () => {
    const first = bench.write(hosts('abc'));
    await bench.turn();
    const second = bench.write(hosts('de'));
    await bench.turn();
    bench.wait();
    await bench.turn();
    expect(bench.censuses).toBe(0);
    bench.settle({ ok: true });
    await bench.turn();
    expect(bench.censuses).toBe(1);
    const third = bench.write(hosts('fa'));
    await bench.turn();
    bench.wait();
    await bench.turn();
    expect(bench.censuses).toBe(1);
    bench.settle({ ok: true });
    await bench.turn();
    expect(await first).toEqual({ status: 204 });
    expect(await second).toEqual(exceeded(1));
    expect(bench.censuses).toBe(2);
    bench.settle({ ok: true });
    expect(await third).toEqual(exceeded(1));
    expect(bench.stored!.size).toBe(4);
  });

  test('when new series could not be written the room is free again', async () => {
    const lost = bench.write(hosts('abc'));
    await bench.turn();
    bench.settle({ ok: false, code: 'overloaded', message: 'no', status: 503 });
    expect((await lost).status).toBe(503);
    expect(await written(hosts('defg'))).toEqual({ status: 204 });
  });

  test('what is refused teaches no types', async () => {
    expect(await written(hosts('abcd'))).toEqual({ status: 204 });
    expect(await written(`cpu,host=e w=1i ${NOW_MS}`)).toEqual(exceeded(1));
    expect(await written(`cpu,host=a w=1.5 ${NOW_MS}`)).toEqual({ status: 204 });
    // In part.
    expect(await written(`cpu,host=e x=1i ${NOW_MS + 1}\ncpu,host=a y=1i ${NOW_MS + 1}`)).toEqual(exceeded(1));
    expect(await written(`cpu,host=a x="s",y=2i ${NOW_MS + 2}`)).toEqual({ status: 204 });
    const conflict = await written(`cpu,host=a y=1.5 ${NOW_MS + 3}`);
    expect(conflict.error).toContain('field type conflict');
  });

  test('where nobody can answer all series are taken', async () => {
    expect(await written(hosts('abcd'))).toEqual({ status: 204 });
    bench.stored = null;
    expect(await written(hosts('efg'))).toEqual({ status: 204 });
    expect(bench.censuses).toBe(1);
  });
});

test('a round reads as many bodies as one turn may take, the others stay bodies', async () => {
  const group = { series: new SeriesCount(), shards: [] } as unknown as KnownGroup;
  const looked: string[] = [];
  const read: string[] = [];
  const limit = new SeriesLimit(1, { census: async () => [], again: ({ request }) => looked.push(request.database) });
  const held = ['a', 'b', 'c', 'd', 'e'].map((database) => {
    const bytes = database === 'd' ? 9 << 20 : 2 << 20;
    const waiting = { request: { database }, bytes } as unknown as Waiting;
    limit.hold(
      waiting,
      [0n],
      () => group,
      () => {
        read.push(database);
        return new Map();
      },
    );
    return waiting;
  });
  const rounds: string[] = [];
  while (held.length > 0) {
    while (looked.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(read.splice(0)).toEqual(looked);
    rounds.push(looked.join(''));
    for (const waiting of held.splice(0, looked.splice(0).length)) limit.finished(waiting);
  }
  // The first one was alone.
  expect(rounds).toEqual(['a', 'bc', 'd', 'e']);
});
