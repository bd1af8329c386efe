/**
 * A member that is broken: damaged packets, damaged frames inside good packets, nonsense of every kind, a clock an hour
 * ahead. It gets its connection closed or is not listened to; nothing else changes on the nodes that hear it.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { crc32 } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { encodeMessage, type Message } from '../../repair/replica-messages.ts';
import { encodePacket, LANE_NODE, type PacketMessage } from '../../server/peers-packet.ts';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { encodeKeys } from '../../shards/series-keys.ts';
import { type ShardKey, shardKeyToJson } from '../../shards/shard-key.ts';
import { makeStamp, makeVersion, type Stamp, stampMs } from '../../shards/version.ts';
import { keysOf, writeBatch } from '../storage/helpers.ts';
import { Cluster, eventually, type TestNode } from './harness.ts';

const HOUR_MS = 3_600_000;
const DRIFT_MS_MAX = 10_000;
const ANSWER_MS_MAX = 10_000;

interface ShardPage {
  readonly id: string;
  readonly database: string;
  readonly databaseGeneration: number;
  readonly retentionPolicy: string;
  readonly retentionPolicyGeneration: number;
  readonly startNs: string;
  readonly endNs: string;
  readonly number: number;
  readonly newestVersion: string | null;
}

interface ClusterPage {
  readonly clusterId: string;
  readonly node: string;
  readonly members: readonly { number: string; name: string; live: boolean; skewed?: boolean; why?: string }[];
}

describe('nodes with a broken member', () => {
  let cluster: Cluster;
  let n1: TestNode;
  let n2: TestNode;
  let n3: TestNode;
  let page: ClusterPage;
  let shards: readonly ShardPage[];
  let pids: (number | undefined)[];
  let good = 0;
  const startMs = Date.now();

  beforeAll(async () => {
    cluster = await Cluster.make();
    [n1, n2, n3] = await cluster.startThree({ 'pass-interval': '1s', workers: '2' });
    await n1.query('CREATE DATABASE t');
    await eventually('rows of all shards are taken', 10_000, async () => (await writeGood(n1)) === 204);
    page = await n1.json<ClusterPage>('/api/cluster');
    shards = (await n1.json<{ shards: ShardPage[] }>('/api/shards')).shards;
    pids = [n1, n2].map((node) => node.pid);
  });
  afterAll(() => cluster.close());
  afterEach(async () => {
    expect(await writeGood(n1)).toBe(204);
    expect([n1.running, n2.running], n1.stderr.slice(-2_000)).toEqual([true, true]);
    expect([n1, n2].map((node) => node.pid)).toEqual(pids);
    for (const node of [n1, n2]) {
      await eventually(
        'all good rows are there',
        10_000,
        async () => (await node.value('SELECT count(v) FROM good', 't')) === good,
      );
      expect(await node.value('SELECT count(v) FROM evil', 't')).toBeNull();
    }
  });

  async function internalCall(method: string, args: readonly unknown[]): Promise<unknown> {
    const response = await fetch(`${n1.url}/internal/query`, {
      method: 'POST',
      body: new Uint8Array(serialize({ method, args })),
      headers: { 'starling-cluster': page.clusterId },
    });
    return deserialize(Buffer.from(await response.arrayBuffer()));
  }

  async function writeGood(node: TestNode): Promise<number> {
    const lines = Array.from({ length: 20 }, (_, i) => `good,host=h${i} v=1 ${startMs + good + i}000000`).join('\n');
    const { status } = await node.write('t', lines, { consistency: 'quorum' });
    if (status === 204) good += 20;
    return status;
  }

  const numberOf = (name: string) => page.members.find((member) => member.name === name)!.number;
  const stampNow = (aheadMs = 0): Stamp => makeStamp(Date.now() + aheadMs, 0);
  const keyOf = (shard: ShardPage): ShardKey => ({
    ...shard,
    startNs: BigInt(shard.startNs),
    endNs: BigInt(shard.endNs),
  });

  async function count(event: string): Promise<number> {
    const { text } = await n1.get('/metrics');
    return Number(new RegExp(`starling_events\\{event="${event}"\\} (\\d+)`).exec(text)?.[1] ?? 0);
  }

  function packetOf(messages: readonly PacketMessage[], stamp = stampNow(), sender = numberOf('n2')): Buffer {
    return Buffer.concat(encodePacket({ sender, stamp, clusterId: page.clusterId, messages }));
  }

  /** A connection to n1 as n2 would make it. */
  async function asMember(): Promise<Socket> {
    const { hostname, port } = new URL(n1.url);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    socket.write(
      `GET /internal/peer HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: starling/2\r\nStarling-Cluster: ${page.clusterId}\r\nStarling-Number: ${numberOf('n2')}\r\nStarling-Name: n2\r\nStarling-To: ${numberOf('n1')}\r\n\r\n`,
    );
    await new Promise<void>((done, reject) => {
      socket.once('data', (answer: Buffer) => {
        if (answer.toString('latin1').startsWith('HTTP/1.1 101')) done();
        else reject(new Error(answer.toString('latin1')));
      });
    });
    return socket;
  }

  /** Sends packets one after the other, each after the last was taken; rejects when the connection is closed. */
  async function send(packets: readonly Uint8Array[]): Promise<void> {
    const socket = await asMember();
    let taken = 0;
    try {
      await new Promise<void>((done, reject) => {
        socket.setTimeout(ANSWER_MS_MAX, () => reject(new Error(`${taken} of ${packets.length} packets were taken`)));
        socket.on('close', () => reject(new Error('the connection was closed')));
        socket.on('data', (answers: Buffer) => {
          taken += answers.length;
          if (taken >= packets.length) done();
        });
        for (const packet of packets) socket.write(packet);
      });
    } finally {
      socket.destroy();
    }
  }

  async function closedAfter(bytes: Uint8Array): Promise<void> {
    const socket = await asMember();
    await new Promise<void>((done, reject) => {
      socket.setTimeout(ANSWER_MS_MAX, () => reject(new Error('the connection stays open')));
      socket.on('close', () => done());
      socket.on('data', () => {});
      socket.write(bytes);
    });
  }

  /** A frame as n2 would mail it. */
  function frameFor(shard: ShardPage, version = makeVersion(stampNow(), numberOf('n2'))) {
    const key = keyOf(shard);
    const rows = Array.from({ length: 50 }, (_, i) => ({ key: `evil,host=h${i % 5}`, time: i, fields: { v: i } }));
    const frame = encodeBatch(writeBatch(version, rows, key));
    const keys = encodeKeys(keysOf(rows));
    const message: Message = { t: 'mail', key, version };
    return { key, version, frame: Buffer.from(frame), keys: Buffer.from(keys), message };
  }

  test('nonsense between nodes about levels and receipts is answered as such', async () => {
    const shard = ['t', 0, 'autogen', 0, '0', '1', 0];
    const order = { shard, level: 'all', viewHash: 'v', holders: [], without: [], timeoutMs: 1_000 };
    const version = '0'.repeat(32);
    for (const [method, args] of [
      ['level', [[{ ...order, shard: ['t'] }]]],
      ['level', [[{ ...order, shard: ['t', 0, 'autogen', 0, '1', '0', 0] }]]],
      ['level', [[{ ...order, level: 'most' }]]],
      ['level', [[{ ...order, holders: ['me'] }]]],
      ['level', ['all']],
      ['findWrites', [[{ shard, version: 'x' }]]],
      ['findWrites', [[{ version }]]],
      ['findWrites', []],
    ] as const)
      expect(await internalCall(method, args), JSON.stringify(args)).toEqual({
        ok: false,
        message: 'malformed request',
      });
    // Well-formed, and of shards and views that there are not.
    expect(await internalCall('level', [[order]])).toMatchObject({ ok: true, value: [{ outcome: 'other-view' }] });
    expect(await internalCall('findWrites', [[{ shard, version }]])).toMatchObject({ value: [{ state: 'absent' }] });
    expect(await internalCall('whereabouts', [{ known: 7 }])).toMatchObject({ ok: true });
  });

  test('nonsense between nodes about reads of shards is answered as such', async () => {
    const [{ id, number }] = shards as [ShardPage & { number: number }];
    const asked = { id, number };
    const limits = { msMax: 1000, rowsScannedMax: 100, rowsMax: 100, seriesMax: 100, cellsMax: 100 };
    const select = {
      kind: 'select',
      planned: null,
      measurements: ['good'],
      minNs: 0n,
      maxNs: 2n ** 62n,
      condition: null,
      filter: null,
      dimensions: [],
      windows: null,
      states: [{ fn: 'count', field: 'v', type: 0 }],
      aux: [],
      rows: null,
      descending: false,
      limits,
    };
    const deep = { op: 'and', terms: [{ op: 'or', terms: [{ op: '=', key: 'host' }] }] };
    const boundaries = new BigInt64Array(3);
    for (const [method, args] of [
      ['describeShard', [asked, 5]],
      ['describeShard', [asked, {}]],
      ['describeShard', [asked, 'ffffffffffffffffx']],
      ['describeShard', [null, null]],
      ['describeShard', [{ id, number: 'x' }, null]],
      ['describeShard', [{ id, number: -1 }, null]],
      ['partial', [[asked], {}]],
      ['partial', [[asked], null]],
      ['partial', [[asked], { kind: 'constructor' }]],
      ['partial', ['x', select]],
      ['partial', [[{ id, number: 1.5 }], select]],
      ['partial', [[asked], { ...select, minNs: 0 }]],
      ['partial', [[asked], { ...select, limits: {} }]],
      ['partial', [[asked], { ...select, condition: deep }]],
      ['partial', [[asked], { ...select, filter: { kind: 'and', terms: [] } }]],
      ['partial', [[asked], { ...select, filter: { kind: 'truth', operand: { kind: 'field' } } }]],
      ['partial', [[asked], { ...select, states: [{ fn: 'toString', field: 'v', type: 0 }] }]],
      ['partial', [[asked], { ...select, states: [{ fn: 'sum', field: 'v', type: 9 }] }]],
      ['partial', [[asked], { ...select, windows: { startNs: 0n, intervalNs: 0n, count: 3, boundaries: null } }]],
      ['partial', [[asked], { ...select, windows: { startNs: 0n, intervalNs: 0n, count: 3, boundaries } }]],
      ['partial', [[asked], { kind: 'schema' }]],
      ['partial', [[asked], { kind: 'catalog', what: 'series', measurements: null, condition: {}, limits }]],
      ['schemas', [[null]]],
      ['schemas', ['x']],
      ['schemas', [[{ ...asked, known: 'x' }]]],
      ['census', [[asked]]],
      ['census', [[{ ...asked, isListed: true, hashes: 'x'.repeat(16) }]]],
      ['census', [[{ ...asked, isListed: true, hashes: new Uint8Array(15) }]]],
    ] as const)
      expect(await internalCall(method, args), `${method} ${args.length}`).toEqual({
        ok: false,
        message: 'malformed request',
      });
    expect(await internalCall('partial', [[asked], select])).toMatchObject({ ok: true, value: { absent: [] } });
    expect(await internalCall('describeShard', [asked, 'f'.repeat(16)])).toMatchObject({ ok: true, value: { id } });
    expect(await internalCall('schemas', [[{ ...asked, known: 0 }]])).toMatchObject({ ok: true, value: [{ id }] });
    expect(await internalCall('census', [[{ ...asked, isListed: true, hashes: new Uint8Array(16) }]])).toMatchObject({
      ok: true,
      value: [{ id, unknown: Uint32Array.of(0) }],
    });
    // Well-formed, and more than can be held.
    const windows = { startNs: 0n, intervalNs: 1n, count: 2 ** 50, boundaries: null };
    const huge = { ...select, windows, limits: { ...limits, cellsMax: Number.MAX_SAFE_INTEGER } };
    expect(await internalCall('partial', [[asked], huge])).toMatchObject({
      ok: false,
      message: expect.stringContaining('array length'),
    });
  });

  test('damaged packets close their connection and are counted', async () => {
    const before = await count('corrupt_packets');
    const sound = packetOf([{ lane: 0, bytes: randomBytes(100) }]);
    const flipped = Buffer.from(sound);
    flipped[40]! ^= 1;
    const endless = Buffer.from(sound);
    endless.writeUInt32LE(0xffff_fff0, 0);
    const overrun = Buffer.from(sound);
    // The inner length says more than there is; the CRC is right.
    overrun.writeUInt32LE(50_000, 8 + 16 + 1 + page.clusterId.length + 4 + 1);
    overrun.writeUInt32LE(crc32(overrun.subarray(8)), 4);
    const stranger = packetOf([], stampNow(), 'e'.repeat(16));
    const foreign = Buffer.concat(
      encodePacket({ sender: numberOf('n2'), stamp: stampNow(), clusterId: 'another', messages: [] }),
    );
    const bad = [flipped, endless, overrun, stranger, foreign, randomBytes(64 * 1024), Buffer.alloc(100)];
    for (const bytes of bad) await closedAfter(bytes);
    // Good packets ahead of a bad one count.
    await closedAfter(Buffer.concat([sound, sound, flipped]));
    expect(await count('corrupt_packets')).toBe(before + bad.length + 1);
  });

  test('batches with a broken CRC inside good packets are refused, each one', async () => {
    const packets: Uint8Array[] = [];
    let sent = 0;
    for (const shard of shards) {
      const { frame, keys, message } = frameFor(shard);
      for (let at = 0; at < frame.length; at += 7) {
        const damaged = Buffer.from(frame);
        damaged[at]! ^= 1 << (at % 8);
        packets.push(packetOf([{ lane: shard.number, bytes: encodeMessage(message, [damaged, keys]) }]));
        sent++;
      }
      for (const cut of [0, 1, frame.length >> 1, frame.length - 1]) {
        packets.push(packetOf([{ lane: shard.number, bytes: encodeMessage(message, [frame.subarray(0, cut), keys]) }]));
        sent++;
      }
    }
    const before = await count('mail_refused_corrupt');
    await send(packets);
    await eventually(
      'most are counted when they are looked at',
      10_000,
      async () => (await count('mail_refused_corrupt')) > before,
    );
    expect(sent).toBeGreaterThan(100);
  });

  test('damaged keys, wrong shards and wrong names beside a good frame are refused', async () => {
    const [shard] = shards;
    const { frame, message, keys, key } = frameFor(shard!);
    const other = { ...key, number: (key.number + 1) % 4 };
    const unknown = { ...key, database: 'nowhere' };
    const absurd = { ...key, startNs: 7n, endNs: 9_000_000_000_000_000_000n };
    const messages = [
      encodeMessage(message, [frame, randomBytes(keys.length)]),
      encodeMessage(message, [frame, keys.subarray(0, keys.length - 3)]),
      encodeMessage(message, [frame]),
      encodeMessage(message, []),
      encodeMessage({ t: 'mail', key: other, version: makeVersion(stampNow(), numberOf('n2')) }, [frame, keys]),
      encodeMessage({ t: 'mail', key: unknown, version: makeVersion(stampNow(), numberOf('n2')) }, [frame, keys]),
      encodeMessage({ t: 'mail', key: absurd, version: makeVersion(stampNow(), numberOf('n2')) }, [frame, keys]),
    ];
    const lanes = [0, 1, 2, 3, 4, 77, 254];
    await send(messages.flatMap((bytes) => lanes.map((lane) => packetOf([{ lane, bytes }]))));
  });

  test('nonsense of every kind is counted and passed over', async () => {
    const [shard] = shards;
    const { key } = frameFor(shard!);
    const json = shardKeyToJson(key);
    const zero = '0'.repeat(16);
    const root: [number, string, string] = [0, '0'.repeat(32), '0'.repeat(32)];
    const claim = { floor: zero, floorRoot: root };
    const huge = Number.MAX_SAFE_INTEGER;
    const bodies: Message[] = [
      { t: 'mail-answers', answers: [[shard!.id, 'f'.repeat(32), 'stored', '', true, '']], view: 'x' },
      { t: 'token-answer', pass: 'none', hop: huge, status: 'working', reason: '', claim },
      {
        t: 'bundle',
        messages: [
          { t: 'token-answer', pass: 'none-1', hop: 1, status: 'handed', reason: '', claim: null },
          { t: 'converged', key: json, through: 'f'.repeat(16) },
        ],
      },
      { t: 'converged-ask', key: json },
      { t: 'compare', request: huge, key: json, through: 'f'.repeat(16), from: huge, preview: false, ...claim },
      {
        t: 'compare',
        request: 1,
        key: shardKeyToJson({ ...key, database: 'x' }),
        through: zero,
        from: 0,
        preview: true,
        ...claim,
      },
      { t: 'compare-answer', request: 1, shard: shard!.id, status: 'ok', root, sums: [], next: huge, ...claim },
      { t: 'identities', request: 1, key: json, after: zero, through: 'f'.repeat(16), epochs: [0, 1, huge], above: '' },
      { t: 'identities-answer', request: huge, shard: shard!.id, status: 'ok', more: true },
      { t: 'fetch', request: 1, key: json, versions: ['f'.repeat(32), '0'.repeat(32)] },
      { t: 'fetch-answer', request: 1, shard: shard!.id, status: 'ok', versions: ['f'.repeat(32)] },
      { t: 'fill-page', request: 1, key: json, snapshot: huge, index: huge },
      {
        t: 'fill-answer',
        request: 1,
        shard: shard!.id,
        status: 'ok',
        snapshot: 1,
        index: 0,
        bytesTotal: huge,
        last: true,
      },
      { t: 'pass-control', shard: shard!.id, pass: 'none', action: 'cancel' },
      { t: 'pass-progress', shard: shard!.id, pass: 'none', hop: huge, hops: 0, batches: 0, rows: 0, bytes: 0 },
    ];
    const encoded = bodies.map((body) => encodeMessage(body, [randomBytes(20), Buffer.alloc(0)]));
    const nonsense: Uint8Array[] = [
      ...encoded,
      ...encoded.flatMap((bytes) =>
        Array.from({ length: 20 }, (_, i) => {
          const damaged = Buffer.from(bytes);
          damaged[(i * 37) % damaged.length]! ^= 1 << (i % 8);
          return damaged;
        }),
      ),
      Buffer.alloc(0),
      Buffer.from([0x53, 1, 0xff, 0xff, 0xff, 0xff]),
      Buffer.from('\x53\x01\0\0\0\x02{}', 'latin1'),
      Buffer.from('\x53\x01\0\0\0\x0f{"t":"constructor"}', 'latin1'),
      ...Array.from({ length: 50 }, (_, i) => randomBytes(i * 13)),
    ];
    const toNode = [
      Buffer.from([1]),
      Buffer.from('\x01{}', 'latin1'),
      Buffer.from('\x01{"kind":"heartbeat"}', 'latin1'),
      Buffer.from('\x01{"kind":"digest","buckets":[]}', 'latin1'),
      Buffer.from('\x01{"kind":"registers","registers":[{"key":"x","rank":-1}],"want":[]}', 'latin1'),
      Buffer.from(`\x01${'['.repeat(100_000)}`, 'latin1'),
      Buffer.from('\xff{"kind":"heartbeat"}', 'latin1'),
      randomBytes(5_000),
    ];
    const before = (await count('messages_malformed')) + (await count('bad-messages'));
    await send([
      ...nonsense.map((bytes) => packetOf([{ lane: shard!.number, bytes }])),
      ...toNode.map((bytes) => packetOf([{ lane: LANE_NODE, bytes }])),
      packetOf(nonsense.map((bytes, i) => ({ lane: i % 256 === LANE_NODE ? 0 : i % 256, bytes }))),
    ]);
    await eventually(
      'they are counted',
      10_000,
      async () => (await count('messages_malformed')) + (await count('bad-messages')) > before + 50,
    );
  });

  test('stamps and versions an hour ahead neither move the clock nor are stored', async () => {
    const before = await count('skewed_packets');
    const [shard] = shards;
    const ahead = makeVersion(stampNow(HOUR_MS), numberOf('n2'));
    const { frame, keys, message } = frameFor(shard!, ahead);
    await send([
      packetOf([{ lane: shard!.number, bytes: encodeMessage(message, [frame, keys]) }], stampNow(HOUR_MS)),
      packetOf([], 'ffff'.repeat(4)),
    ]);
    expect(await count('skewed_packets')).toBeGreaterThanOrEqual(before + 2);
    const refused = await count('mail_refused_drift');
    await send([packetOf([{ lane: shard!.number, bytes: encodeMessage(message, [frame, keys]) }])]);
    await eventually('the version is refused', 5_000, async () => (await count('mail_refused_drift')) > refused);
    await cluster.allLive(3);
    expect(await writeGood(n1)).toBe(204);
    await newestIsNow();
  });

  test('a member whose clock runs an hour ahead is left out, says so, and is back when its clock is right', async () => {
    const shim = join(cluster.directory, 'clock.cjs');
    await writeFile(shim, `const now = Date.now; Date.now = () => now() + ${HOUR_MS};\n`);
    await n3.stop();
    n3.environment = { NODE_OPTIONS: `--require ${shim}` };
    await n3.start();
    await eventually(
      'the others count two',
      15_000,
      async () => (await liveOn(n1)) === 'n1,n2' && (await liveOn(n2)) === 'n1,n2',
    );
    await eventually('it knows that it is the one', 15_000, async () => (await liveOn(n3)) === 'n1,n2');
    const refused = await eventually('its own writes are refused', 15_000, async () => {
      const answer = await n3.write('t', `evil v=1 ${startMs}000000`);
      return answer.status === 204 ? null : answer;
    });
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).not.toBeNull();
    expect(refused.text).toMatch(/clock of this node is \d+ ms ahead/);
    expect(refused.text).not.toMatch(/partial write|hinted handoff|unable to parse|not found|beyond retention/);
    for (const node of [n1, n2]) expect(await writeGood(node)).toBe(204);
    await newestIsNow();
    await n3.stop();
    n3.environment = {};
    await n3.start();
    await cluster.allLive(3);
    await eventually('it takes writes again', 15_000, async () => (await writeGood(n3)) === 204);
    await eventually(
      'it has all rows',
      15_000,
      async () => (await n3.value('SELECT count(v) FROM good', 't')) === good,
    );
    await newestIsNow();
  });

  async function liveOn(node: TestNode): Promise<string> {
    const { members } = await node.json<ClusterPage>('/api/cluster');
    return members
      .filter((member) => member.live)
      .map((member) => member.name)
      .sort()
      .join();
  }

  /** No version of n1 and n2 is ahead of real time by more than the drift that is allowed. */
  async function newestIsNow(): Promise<void> {
    for (const node of [n1, n2]) {
      for (const { newestVersion } of (await node.json<{ shards: ShardPage[] }>('/api/shards')).shards) {
        if (newestVersion !== null) expect(stampMs(newestVersion) - Date.now()).toBeLessThan(DRIFT_MS_MAX);
      }
    }
  }
});
