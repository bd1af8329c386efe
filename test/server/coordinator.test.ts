/** The coordinator against ports in memory: what it posts to workers and what it answers. */

import { beforeEach, describe, expect, test } from 'vitest';
import type { WriteOutcome } from '../../repair/replica-host.ts';
import type { WriteRequest } from '../../server/http/influx-write.ts';
import { decodeBatch } from '../../shards/batch-codec.ts';
import { FLOAT } from '../../shards/column.ts';
import { decodeKeys } from '../../shards/series-keys.ts';
import { Bench, NOW_MS, SELF } from './coordinator-bench.ts';

describe('the coordinator', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = new Bench();
    const warm = bench.write(`warm v=1 ${NOW_MS}`);
    await bench.turn();
    bench.settle({ ok: true });
    expect(await warm).toEqual({ status: 204 });
    bench.posts = 0;
  });

  test('merges requests that wait together into one batch per shard and answers all of them', async () => {
    const answers = Array.from({ length: 50 }, (_, i) => bench.write(`cpu,host=a v=${i} ${NOW_MS + i}`));
    await bench.turn();
    expect(bench.posted).toHaveLength(1);
    const batch = decodeBatch(bench.posted[0]!.frame);
    expect(batch.kind === 'write' && batch.groups.map((group) => group.times.length)).toEqual([50]);
    bench.settle({ ok: true });
    expect(new Set((await Promise.all(answers)).map(({ status }) => status))).toEqual(new Set([204]));
    expect(bench.coordinator.inFlightBytes).toBe(0);
  });

  test('takes large bodies in several turns, in order', async () => {
    const large = new Bench(0, 100 << 20);
    const empty = '\n'.repeat(9 << 20);
    const answers = [1, 2, 3].map((value) => large.write(`${empty}cpu,host=a v=${value} ${NOW_MS}`));
    for (let turns = 0; large.posted.length < 3; turns++) {
      if (turns > 10) throw new Error(`${large.posted.length} batches`);
      await large.turn();
    }
    expect(large.posts).toBe(3);
    large.settle({ ok: true });
    expect(await Promise.all(answers)).toEqual([{ status: 204 }, { status: 204 }, { status: 204 }]);
    expect(large.coordinator.inFlightBytes).toBe(0);
  });

  test('while a batch is on its way, small requests gather, and leave with those who were in it or when it takes long', async () => {
    const lines = (n: number) => Array.from({ length: n }, (_, i) => `cpu,host=a v=${i} ${NOW_MS + i}`);
    const sent: Promise<unknown>[] = [];
    const send = async (count: number) => {
      for (const line of lines(count)) {
        sent.push(bench.write(line));
        await bench.turn();
      }
      return bench.posts;
    };
    expect(await send(3)).toBe(1);
    bench.settle({ ok: true });
    await bench.turn();
    expect(bench.posts).toBe(1);
    expect(await send(1)).toBe(2);
    expect(await send(3)).toBe(2);
    bench.wait();
    expect(bench.posts).toBe(3);
    bench.settle({ ok: true });
    expect(await Promise.all(sent)).toEqual(Array(7).fill({ status: 204 }));
  });

  test('names the batches of a write that asks for a receipt, also those that it shares with others', async () => {
    const lines = Array.from({ length: 40 }, (_, i) => `cpu,host=h${i} v=1 ${NOW_MS}`).join('\n');
    const named = bench.write(lines, { receipt: true });
    const other = bench.write(`cpu,host=h1 v=2 ${NOW_MS + 1}`);
    await bench.turn();
    const posted = bench.posted.map(({ shard, version }) => `${shard.number} ${version}`);
    bench.settle({ ok: true });
    const { batches } = (await named) as unknown as { batches: { shard: { number: number }; version: string }[] };
    expect(batches.map(({ shard, version }) => `${shard.number} ${version}`).sort()).toEqual(posted.sort());
    expect(await other).toEqual({ status: 204 });
    const failed = bench.write(`cpu,host=h1 v=2 ${NOW_MS + 2}`, { receipt: true });
    await bench.turn();
    bench.wait(); // for the other one, which does not come back
    bench.settle({ ok: false, code: 'not-acknowledged', message: 'no', status: 503 });
    expect(await failed).toEqual({ status: 503, error: 'no', retryAfterSeconds: 1 });
    // Lines that the fast path does not take.
    const general = bench.write(`cpu,host=h1 v=1 ${NOW_MS}\ncpu,host=h1 v=2 ${NOW_MS}`, { receipt: true });
    await bench.turn();
    bench.settle({ ok: true });
    expect(await general).toMatchObject({ status: 204, batches: [{}] });
  });

  test('tells of the points that are stored, with the body that they came in, and of none that are not', async () => {
    bench.accepted = [];
    const bodies = [`cpu v=1 ${NOW_MS}\nbad\ncpu v=2 ${NOW_MS + 1}`, 'bad', `cpu v=3 ${NOW_MS + 2}`];
    const answers = bodies.map((body) => bench.write(body));
    await bench.turn();
    bench.settle({ ok: true });
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([400, 400, 204]);
    const lost = bench.write(`cpu v=4 ${NOW_MS}`);
    await bench.turn();
    bench.wait(); // for the others
    bench.settle({ ok: false, code: 'disk-failed', message: 'full', status: 503 });
    expect((await lost).status).toBe(503);
    expect(bench.accepted.sort()).toEqual([
      [1, bodies[2]],
      [2, bodies[0]],
    ]);
  });

  test('keeps levels of consistency in batches of their own', async () => {
    void bench.write(`cpu,host=a v=1 ${NOW_MS}`, { consistency: 'all' });
    void bench.write(`cpu,host=a v=2 ${NOW_MS + 1}`);
    await bench.turn();
    expect(bench.posted.map(({ consistency }) => consistency).sort()).toEqual(['all', 'one']);
  });

  test('sends a key once for a shard, and again where it may be lacking', async () => {
    const send = async () => {
      void bench.write(`cpu,host=a v=1 ${NOW_MS}`);
      await bench.turn();
      const [posted] = bench.posted;
      bench.settle({ ok: true });
      return {
        keys: decodeKeys(posted!.keys).length,
        all: posted!.allKeys === null ? null : decodeKeys(posted!.allKeys).length,
      };
    };
    expect((await send()).keys).toBe(1);
    expect(await send()).toEqual({ keys: 0, all: null });
    bench.coordinator.forgetKeysOf(SELF);
    expect((await send()).keys).toBe(1);
  });

  test('answers InfluxDB’s texts for what cannot be stored', async () => {
    expect(await bench.write('x v=1', { database: 'nope' })).toEqual({
      status: 404,
      error: 'database not found: "nope"',
    });
    expect(await bench.write('x v=1', { retentionPolicy: 'bad' })).toEqual({
      status: 500,
      error: 'retention policy not found: bad',
    });
    const bad = bench.write('cpu,host=a');
    const empty = bench.write('\n# nothing\n');
    const old = bench.write('cpu v=1 1000', { retentionPolicy: 'day' });
    const partial = bench.write(`cpu v=1 ${NOW_MS}\ncpu`);
    await bench.turn();
    bench.settle({ ok: true });
    expect(await bad).toEqual({ status: 400, error: "unable to parse 'cpu,host=a': missing fields" });
    expect(await empty).toEqual({ status: 204 });
    expect(await old).toEqual({ status: 400, error: 'partial write: points beyond retention policy dropped=1' });
    expect(await partial).toEqual({
      status: 400,
      error: "partial write: unable to parse 'cpu': missing fields dropped=0",
    });
  });

  test('checks types against what the owners have, loaded before the first write to a shard group', async () => {
    bench.fields = [{ measurement: 'cpu', field: 'v', type: FLOAT }];
    const later = NOW_MS + 30 * 86_400_000;
    const conflict = bench.write(`cpu v=1i ${later}\ncpu w=1i ${later}`);
    await bench.turn();
    bench.settle({ ok: true });
    expect(await conflict).toEqual({
      status: 400,
      error:
        'partial write: field type conflict: input field "v" on measurement "cpu" is type integer, already exists as type float dropped=1',
    });
  });

  test('the first write to a group that nobody has is posted in its first turn', async () => {
    bench.isNewGroup = true;
    const write = bench.write(`cpu v=1i ${NOW_MS + 60 * 86_400_000}`);
    bench.runTurn();
    expect(bench.posted.length).toBe(1);
    bench.settle({ ok: true });
    expect(await write).toEqual({ status: 204 });
  });

  test('rows of one series and time become one row, also when they come in different requests', async () => {
    void bench.write(`cpu,host=a v=1,w=1 ${NOW_MS}`);
    const second = bench.write(`cpu,host=a v=2 ${NOW_MS}`);
    await bench.turn();
    const batch = decodeBatch(bench.posted[0]!.frame);
    expect(batch.kind === 'write' && batch.groups.map(({ times }) => times.length)).toEqual([1]);
    expect(decodeKeys(bench.posted[0]!.keys)).toHaveLength(1);
    bench.settle({ ok: true });
    expect(await second).toEqual({ status: 204 });
  });

  test('a failed batch brings its keys again', async () => {
    const keys = async (outcome: WriteOutcome) => {
      void bench.write(`cpu,host=a v=1 ${NOW_MS}`);
      await bench.turn();
      const count = decodeKeys(bench.posted[0]!.keys).length;
      bench.settle(outcome);
      return count;
    };
    expect(await keys({ ok: false, code: 'overloaded', message: '', status: 503 })).toBe(1);
    expect(await keys({ ok: true })).toBe(1);
    expect(await keys({ ok: true })).toBe(0);
  });

  test('a failed batch fails its requests as retryable', async () => {
    const answer = bench.write(`cpu v=1 ${NOW_MS}`);
    await bench.turn();
    bench.settle({
      ok: false,
      code: 'timeout',
      message: 'write not acknowledged: 1 of 2 replicas; safe to retry',
      status: 503,
    });
    expect(await answer).toEqual({
      status: 503,
      error: 'write not acknowledged: 1 of 2 replicas; safe to retry',
      retryAfterSeconds: 1,
    });
  });

  test('an answer that cannot be given does not keep the others of its batch from theirs', async () => {
    const request = (lines: string): WriteRequest => ({
      database: 't',
      retentionPolicy: '',
      precision: 'ms',
      consistency: 'one',
      body: [Buffer.from(lines)],
      nowNs: BigInt(NOW_MS) * 1_000_000n,
    });
    const fault = new Error('buffers that were freed already');
    bench.coordinator.write(request(`cpu,host=a v=1 ${NOW_MS}`), () => {
      throw fault;
    });
    const sharing = bench.write(`cpu,host=b v=1 ${NOW_MS}`);
    const behind = bench.write(`cpu,host=c v=1 ${NOW_MS}`, { consistency: 'all' });
    await bench.turn();
    expect(bench.posted).toHaveLength(2);
    bench.settle({ ok: true });
    expect(await Promise.all([sharing, behind])).toEqual([{ status: 204 }, { status: 204 }]);
    expect(bench.faults).toEqual([fault]);
    expect(bench.coordinator.inFlightBytes).toBe(0);
  });

  test('a node that may not mint, has not joined, or has too much in flight says 503', async () => {
    bench.mintError = Object.assign(new Error('skewed: set the clock'), { code: 'skewed', status: 503 });
    const skewed = bench.write(`cpu v=1 ${NOW_MS}`);
    await bench.turn();
    expect(await skewed).toMatchObject({ status: 503, error: 'skewed: set the clock', retryAfterSeconds: 1 });
    bench.mintError = null;
    void bench.write('x'.repeat(8_000));
    expect(await bench.write('x'.repeat(8_000))).toMatchObject({ status: 503 });
    bench.ready = false;
    expect(await bench.write('x v=1')).toMatchObject({ status: 503, error: expect.stringMatching(/joining/) });
  });
});
