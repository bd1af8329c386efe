import { describe, expect, test } from 'vitest';
import { Ledger } from '../../repair/ledger.ts';
import { encodeMessage } from '../../repair/replica-messages.ts';
import { encodedKeys } from '../../shards/series-keys.ts';
import { ID, NUMBERS, Trio } from './trio.ts';

describe('a worker among three', () => {
  test('a write with consistency all: on all three when it is acknowledged, and no longer open', () => {
    const trio = new Trio();
    const request = trio.write(0, 'all');
    expect(trio.outcomes.get(request)).toEqual({ ok: true });
    expect(trio.counts()).toEqual([1, 1, 1]);
    expect(trio.hosts[0]!.openVersions()).toEqual([]);
  });

  test('what is posted together is one group of the log, and is mailed after it', () => {
    const trio = new Trio();
    const groups = new Set<number>();
    trio.onSend = (from) => {
      if (from === NUMBERS[0]) groups.add(trio.hosts[0]!.counters().log_groups ?? 0);
    };
    trio.hosts[0]!.submit([trio.prepare(0), trio.prepare(0)], trio.now);
    trio.settle();
    expect(trio.counts()).toEqual([2, 2, 2]);
    expect([...groups]).toEqual([1]);
    expect(trio.hosts[0]!.counters()).toMatchObject({ log_groups: 1, log_batches: 2 });
  });

  test.each([1, 3])('frame and keys are released when all owners have them (replication %i)', (replication) => {
    const trio = new Trio(replication);
    const released: number[] = [];
    for (const at of [0, 1, 2]) {
      const write = { ...trio.prepare(at, 'all'), released: () => released.push(at) };
      trio.hosts[at]!.submit([write], trio.now);
      expect(released).not.toContain(at);
      trio.settle();
    }
    expect(released).toEqual([0, 1, 2]);
  });

  test('frame and keys are kept for an owner that has not answered, and by the outbox', () => {
    const trio = new Trio();
    const released: number[] = [];
    trio.cut.add(NUMBERS[2]!);
    trio.hosts[0]!.submit([{ ...trio.prepare(0, 'one'), released: () => released.push(0) }], trio.now);
    trio.settle();
    trio.pass(60_000);
    expect(trio.hosts[0]!.outboxStatus()).not.toEqual([]);
    expect(released).toEqual([]);
  });

  test('mail is released when it is synced, or refused, and not before', () => {
    const trio = new Trio();
    const mailed: Uint8Array[] = [];
    const mail = () => {
      const { shard, version, frame, allKeys } = trio.prepare(0);
      const bytes = encodeMessage({ t: 'mail', key: shard, version }, [frame, encodedKeys(allKeys())]);
      mailed.push(bytes);
      return bytes;
    };
    trio.hosts[1]!.receive(NUMBERS[0]!, [mail()], trio.now);
    expect(trio.released).toEqual([]);
    trio.settle();
    expect(trio.released).toEqual(mailed);
    expect(trio.counts()).toEqual([0, 1, 0]);
    const damaged = mail();
    damaged[damaged.length - 1]! ^= 1;
    trio.hosts[1]!.receive(NUMBERS[0]!, [damaged], trio.now);
    trio.settle();
    expect(trio.released).toEqual(mailed);
  });

  test('mail that arrives together is one group of the log', () => {
    const trio = new Trio();
    const mail = [trio.prepare(0), trio.prepare(0)].map(({ shard, version, frame, allKeys }) =>
      encodeMessage({ t: 'mail', key: shard, version }, [frame, encodedKeys(allKeys())]),
    );
    trio.hosts[1]!.receive(NUMBERS[0]!, mail, trio.now);
    trio.settle();
    expect(trio.counts()).toEqual([0, 2, 0]);
    expect(trio.hosts[1]!.counters()).toMatchObject({ log_groups: 1, log_batches: 2 });
  });

  test('mail whose frame is of another version than its envelope is refused and counted', () => {
    const trio = new Trio();
    const [one, other] = [trio.prepare(0), trio.prepare(0)];
    const statuses: string[] = [];
    trio.onSend = (_from, _to, message) => {
      if (message.t === 'mail-answers') statuses.push(...message.answers.map(([, , status, code]) => status + code));
    };
    trio.say(0, 1, { t: 'mail', key: one.shard, version: one.version }, [other.frame, encodedKeys(one.allKeys())]);
    trio.settle();
    expect(statuses).toEqual(['refusedcorrupt-batch']);
    expect(trio.counts()).toEqual([0, 0, 0]);
    expect(trio.hosts[1]!.counters()).toMatchObject({ mail_refused_corrupt: 1 });
  });

  test('keys that nobody has are asked for once and the write goes through', () => {
    const trio = new Trio();
    const request = trio.write(0, 'all', false);
    expect(trio.outcomes.get(request)).toEqual({ ok: true });
    trio.write(0, 'all', false);
    expect(trio.sent.filter((kind) => kind === 'mail')).toHaveLength(6);
  });

  test('an owner is away: one is acknowledged, all is refused with 503 and numbers, both stay open for the absent one', () => {
    const trio = new Trio();
    trio.cut.add(NUMBERS[2]!);
    trio.hear();
    const [one, all] = [trio.write(0, 'one'), trio.write(0, 'all')];
    trio.pass(3_500);
    expect(trio.outcomes.get(one)).toEqual({ ok: true });
    const message = 'write not acknowledged: 2 of 3 replicas, without n3 (not live); safe to retry';
    expect(trio.outcomes.get(all)).toEqual({ ok: false, code: 'not-acknowledged', status: 503, message });
    const acknowledgedBy = NUMBERS.slice(0, 2);
    expect(trio.hosts[0]!.openVersions()).toEqual([expect.objectContaining({ shard: ID, acknowledgedBy })]);
    expect(trio.hosts[0]!.outboxStatus()).toEqual([expect.objectContaining({ peer: NUMBERS[2], entries: 2 })]);
    trio.cut.clear();
    trio.hear();
    trio.pass(6_000);
    expect(trio.counts()).toEqual([2, 2, 2]);
    expect(trio.hosts[0]!.outboxStatus()).toEqual([]);
  });

  test('a pass over equal replicas: proven full, watermark on all three, nothing moved, no comparison asked', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    trio.hear();
    trio.sent.length = 0;
    const status = trio.repair(1, 'ring');
    expect(status).toMatchObject({ state: 'done', percentage: 100, batchesMoved: 0 });
    expect(trio.sent).not.toContain('compare');
    const shards = trio.hosts.map((host) => host.describeShard(ID)!);
    expect(new Set(shards.map((shard) => JSON.stringify(shard.ledgerAtWatermark))).size).toBe(1);
    expect(shards.every((shard) => shard.converged?.root.batches === 1)).toBe(true);
    expect(trio.passes.every((record) => record.kind === 'full' && record.hops.length === 4)).toBe(true);
  });

  test('a batch that one owner lacks: preview counts it and changes nothing, the ring moves it', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    // As if the batch had come while the third was away and its outbox had been lost.
    const lost = trio.storages[2]!;
    lost.drop(ID);
    lost.disk.log.length = 0;
    trio.pass(100);
    trio.hear();
    const preview = trio.repair(0, 'preview');
    expect(preview).toMatchObject({ state: 'done', message: expect.anything() });
    expect(preview.differences.find((d) => d.member === NUMBERS[2])).toMatchObject({ note: 'absent' });
    expect(trio.counts()).toEqual([1, 1, 0]);
    const ring = trio.repair(0, 'ring');
    expect(ring).toMatchObject({ state: 'done', batchesMoved: 1, rowsMoved: 2, hops: 4 });
    expect(trio.counts()).toEqual([1, 1, 1]);
  });

  test('an owner with an empty disk behind a floor: fenced, filled from another, proven again', () => {
    const trio = new Trio();
    for (let i = 0; i < 5; i++) trio.write(0, 'all');
    trio.pass(100);
    trio.hear();
    trio.repair(0, 'ring');
    trio.boot(NUMBERS[2]!);
    trio.pass(100);
    trio.hear();
    trio.repair(0, 'ring');
    expect(trio.storages[2]!.ledgers.get(ID)!.replica).toBe('filling');
    expect(trio.passes.at(-1)).toMatchObject({ kind: 'live', skipped: [{ member: NUMBERS[2], reason: 'filling' }] });
    trio.hear();
    trio.pass(2_000);
    trio.hear();
    expect(trio.counts()).toEqual([5, 5, 5]);
    const [copy] = trio.repairs.filter(({ kind }) => kind === 'copy');
    expect(copy).toMatchObject({ shard: ID, outcome: 'done', reason: expect.stringContaining('behind the floor') });
    const { from, to, bytes, ms } = copy!.steps[0]!;
    expect([copy!.steps.length, NUMBERS.slice(0, 2).includes(from), to]).toEqual([1, true, NUMBERS[2]]);
    expect([bytes > 1_000, ms >= 0, ms < 5_000]).toEqual([true, true, true]);
    expect(trio.repair(0, 'ring')).toMatchObject({ state: 'done', message: 'all replicas proven equal' });
  });

  test('equal batches with unequal content: the watermark stays until the wrong ledger is put right', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    const ledger = new Ledger();
    const version = trio.storages[1]!.ledgers.get(ID)!.versions()[0]!;
    ledger.add(version, 42n, 2);
    trio.storages[1]!.ledgers.set(ID, ledger);
    trio.pass(100);
    trio.hear();
    const status = trio.repair(0, 'ring');
    expect(status).toMatchObject({ state: 'failed', message: expect.stringContaining('unequal content') });
    expect(trio.hosts.every((host) => host.describeShard(ID)!.converged === null)).toBe(true);
    expect(trio.storages[1]!.ledgers.get(ID)!.contentOf(version)).toBe(
      trio.storages[0]!.ledgers.get(ID)!.contentOf(version),
    );
    trio.hear();
    expect(trio.repair(0, 'ring')).toMatchObject({ state: 'done', message: 'all replicas proven equal' });
  });

  test('a stored row is gone: scrub says so, the replica is in no proof until it has been mended', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    expect(trio.repair(1, 'scrub')).toMatchObject({ state: 'done' });
    trio.storages[1]!.shards.get(ID)!.batches.clear();
    expect(trio.repair(1, 'scrub')).toMatchObject({
      state: 'failed',
      message: expect.stringContaining('1 batches missing'),
    });
    trio.hear();
    trio.repair(0, 'ring');
    expect(trio.passes.at(-1)).toMatchObject({ kind: 'live', skipped: [{ member: NUMBERS[1], reason: 'damaged' }] });
    trio.pass(200);
    trio.hear();
    expect(trio.counts()).toEqual([1, 1, 1]);
    expect(trio.repair(0, 'ring')).toMatchObject({ state: 'done', message: 'all replicas proven equal' });
  });

  test('a paused pass waits, goes on when told, and a cancelled one proves nothing', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    trio.hear();
    trio.hosts[0]!.startRepair({ id: 'p', shard: ID, mode: 'ring' }, trio.now);
    trio.hosts[0]!.controlRepair('p', 'pause');
    trio.settle();
    trio.pass(5_000);
    expect(trio.hosts[0]!.repairs()[0]).toMatchObject({ state: 'paused' });
    trio.hosts[0]!.controlRepair('p', 'resume');
    trio.pass(500);
    expect(trio.hosts[0]!.repairs()[0]).toMatchObject({ state: 'done' });
    trio.hosts[0]!.startRepair({ id: 'c', shard: ID, mode: 'ring' }, trio.now);
    trio.hosts[0]!.controlRepair('c', 'cancel');
    trio.settle();
    expect(trio.hosts[0]!.repairs()[1]).toMatchObject({ state: 'cancelled' });
  });

  test('bytes that are no message are counted and change nothing', () => {
    const trio = new Trio();
    trio.hosts[0]!.receive(NUMBERS[1]!, [Uint8Array.of(1, 2, 3)], trio.now);
    expect(trio.hosts[0]!.counters()).toMatchObject({ messages_malformed: 1 });
  });
});
