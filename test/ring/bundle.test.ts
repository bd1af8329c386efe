import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MessageError } from '../../repair/message-checks.ts';
import { decodeMessage, encodeMessage, type Token } from '../../repair/replica-messages.ts';
import { type BundledMessage, BundleWriter } from '../../repair/ring-bundle.ts';
import { evenHops } from '../../repair/ring-walk.ts';
import { type ShardKey, shardId, shardKeyToJson } from '../../shards/shard-key.ts';
import { stampMs } from '../../shards/version.ts';
import { KEY, NUMBERS, Trio } from './trio.ts';

const [FIRST, SECOND, THIRD] = NUMBERS as [string, string, string];
const digits = fc.constantFrom(...'0123456789abcdef');
const hex = (length: number) => fc.string({ unit: digits, minLength: length, maxLength: length });
const size = fc.nat(1_000_000);
const stamp = fc
  .constantFrom('018c000000000001', '018c0000000000ff')
  .chain((one) => fc.oneof(fc.constant(one), hex(16)));
const root = fc.tuple(fc.constantFrom(0, 7, 0xffff_ffff), fc.constant('ab'.repeat(16)), hex(32));
const roots = fc.oneof(fc.constant([3, '1'.repeat(32), '2'.repeat(32)] as const), root);
const node = fc.constantFrom(...NUMBERS);
const nodes = fc.uniqueArray(node, { maxLength: 3 });
const kind = fc.constantFrom('full' as const, 'live' as const);
const pass = fc.tuple(fc.constantFrom(`${FIRST}-ls5k-1a`, `${SECOND}-ls5k-2b`), fc.nat(65_535)).map((p) => p.join('-'));
const key = fc
  .tuple(
    fc.constantFrom('d', 'datenbank "größer"'),
    fc.bigInt(-(2n ** 62n), 2n ** 62n),
    fc.bigInt(1n, 7n * 86_400_000_000_000n),
  )
  .map(([database, startNs, span]) => shardKeyToJson({ ...KEY, database, startNs, endNs: startNs + span, number: 2 }));
const skipped = fc.array(fc.record({ member: node, reason: fc.string() }), { maxLength: 2 });
const still = { epochsDiffering: fc.constant(0), batches: fc.constant(0), rows: fc.constant(0), bytes: fc.constant(0) };
const moving = { epochsDiffering: fc.nat(9), batches: fc.nat(9), rows: size, bytes: size };
const decided = fc.record({ later: size, type: size, same: size, unexamined: size }, { requiredKeys: ['later'] });
const hop = fc.oneof(
  fc.record({ from: node, to: node, ms: size, ...still }),
  fc.record({ from: node, to: node, ms: size, ...moving, batches: fc.integer({ min: 1, max: 9 }) }),
  fc.record({ from: node, to: node, ms: size, ...moving, batches: fc.constant(1), decided }),
);
const hops = fc.array(hop, { maxLength: 3 });
const anyToken = fc.record({
  t: fc.constant('token' as const),
  pass,
  key,
  through: stamp,
  view: hex(32),
  kind,
  order: nodes,
  gathered: size,
  verified: nodes,
  hop: size,
  root: roots,
  final: fc.option(roots),
  skipped,
  hops,
  startedMs: size,
  watched: fc.boolean(),
  even: fc.boolean(),
  floor: stamp,
  floorRoot: roots,
});
/** Along its order, nothing moved: what is said of it in few bytes. */
const regular = fc
  .tuple(anyToken, fc.constantFrom([FIRST, SECOND], [FIRST, SECOND, THIRD]), fc.array(size, { maxLength: 1 }))
  .map(([one, order, ms]) => {
    const come = { gathered: ms.length + 1, hop: ms.length + 1, hops: evenHops(order, ms) };
    return { ...one, pass: `${FIRST}-ls5k-1a-7`, order, verified: [], skipped: [], ...come };
  });
const token = fc.oneof(anyToken, regular);
const even = fc.record({
  t: fc.constant('even' as const),
  pass: fc.tuple(fc.constantFrom('ls5k-1a', 'ls5k-2b', 'odd'), fc.nat(65_535)).map((p) => p.join('-')),
  hop: size,
  ms: fc.array(size, { maxLength: 4 }),
  finishedMs: fc.option(size),
});
const answer = fc.record({
  t: fc.constant('token-answer' as const),
  pass,
  hop: size,
  status: fc.constantFrom('working' as const, 'handed' as const),
  reason: fc.string(),
  claim: fc.constant(null),
});
const proven = fc.record({ pass, key, through: stamp, kind, view: hex(32), members: nodes, root: roots }).chain((one) =>
  fc
    .record({ starter: node, order: nodes, skipped, hops, rest: fc.array(size, { minLength: 6, maxLength: 6 }) })
    .map((r) => {
      const [hopsPlanned, startedMs, finishedMs, batchesMoved, rowsMoved, bytesMoved] = r.rest as [
        number,
        number,
        number,
        number,
        number,
        number,
      ];
      const [batches, identitySum, contentSum] = one.root;
      const record = {
        id: one.pass,
        shard: shardId(keyOf(one.key)),
        kind: one.kind,
        starter: r.starter,
        order: r.order,
        skipped: r.skipped,
        hops: r.hops,
        cutoff: one.through,
        cutoffMs: stampMs(one.through),
        ...{ hopsPlanned, startedMs, finishedMs, batchesMoved, rowsMoved, bytesMoved },
        outcome: 'proven' as const,
        reason: null,
        root: { through: one.through, batches, identitySum, contentSum },
      };
      return { t: 'proven' as const, ...one, record };
    }),
);
const converged = fc.record({ t: fc.constant('converged' as const), key, through: stamp });
const anything = fc.array(fc.oneof(token, answer, even, proven, converged), { minLength: 1, maxLength: 12 });

function keyOf(json: ReturnType<typeof shardKeyToJson>): ShardKey {
  const [database, databaseGeneration, retentionPolicy, retentionPolicyGeneration, start, end, number] = json;
  const names = { database, databaseGeneration, retentionPolicy, retentionPolicyGeneration };
  return { ...names, startNs: BigInt(start), endNs: BigInt(end), number };
}

function sorted(messages: readonly BundledMessage[]): string[] {
  return messages.map((message) => JSON.stringify(message, Object.keys(flat(message)).sort())).sort();
}

function flat(value: unknown, names: Record<string, true> = {}): Record<string, true> {
  if (typeof value !== 'object' || value === null) return names;
  for (const [name, each] of Object.entries(value)) {
    names[name] = true;
    flat(each, names);
  }
  return names;
}

function bundleOf(messages: readonly BundledMessage[]): Uint8Array {
  const writer = new BundleWriter(2);
  for (const message of messages) expect(writer.add(message)).toBe(true);
  return writer.finish();
}

function messagesOf(bytes: Uint8Array): readonly BundledMessage[] {
  const { message } = decodeMessage(bytes);
  if (message.t !== 'bundle') throw new Error(message.t);
  return message.messages;
}

describe('a bundle', () => {
  test('messages come out as they went in, those with equal heads in their order', () => {
    fc.assert(
      fc.property(anything, (messages) => {
        expect(sorted(messagesOf(bundleOf(messages as BundledMessage[])))).toEqual(
          sorted(messages as BundledMessage[]),
        );
      }),
      { numRuns: 100 },
    );
  });

  test('any cut, and any changed byte, is a MessageError or other valid messages', () => {
    fc.assert(
      fc.property(anything, fc.nat(), fc.integer({ min: 1, max: 255 }), (messages, place, change) => {
        const bytes = bundleOf(messages as BundledMessage[]);
        const at = place % bytes.length;
        const damaged = Uint8Array.from(bytes);
        damaged[at] = damaged[at]! ^ change;
        for (const each of [damaged, bytes.subarray(0, at)]) {
          try {
            decodeMessage(each);
          } catch (error) {
            expect(error).toBeInstanceOf(MessageError);
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  const named = [2, 1, ...Array(8).fill(0xaa), 1, 1];
  const through = Array(8).fill(1);
  test.each([
    ['no head at all', []],
    ['a kind that does not travel so', [9]],
    ['a pass whose name ends early', [2, 1, 0xaa]],
    ['a name that is longer than the head', [1, 0, 200, 65]],
    ['an answer that is none', [1, 0, 1, 65, 0, 7, 0]],
    ['places of members that are none', [...named, 0, ...through, 1, 0, 1, 65, 0, 0, 0, 1, 9, 0, 0, 0]],
    ['more members than there are bytes', [...named, 0, ...through, 1, 0, 1, 65, 0, 0, 0, 200, 0, 0, 0, 0]],
    ['hops that are none', [...named, 0, ...through, 1, 0, 1, 65, 0, 0, 0, 0, 0, 0, 1, 0]],
    ['numbers beyond 2^53', [...named, 0, ...through, 1, 0, 1, 65, ...Array(8).fill(255), 0, 0, 0, 0, 0, 0]],
    ['more than belongs to a head', [...named, 0, ...through, 1, 0, 1, 65, 0, 0, 0, 0, 0, 0, 0, 0]],
  ])('%s: malformed', (_, head) => {
    const table = [1, 100, 0, 1, 112, 0, ...Array(7).fill(0), 1];
    const start = [0x53, 5, 2, 1, ...table, head.length, 0, 1, 0, ...head];
    expect(() => decodeMessage(Uint8Array.from([...start, ...Array(60).fill(0)]))).toThrow(MessageError);
  });

  test('a token alone has at most 200 bytes', () => {
    const own = fc.sample(token, { numRuns: 1, seed: 1 })[0]! as unknown as Token;
    const members = [...NUMBERS];
    const hops = members.map((from) => ({ from, to: FIRST, ms: 3, epochsDiffering: 0, batches: 0, rows: 0, bytes: 0 }));
    const ring = { order: members, verified: members, skipped: [], hops, startedMs: 1_700_000_000_000, gathered: 3 };
    const root = own.root;
    const equal = { floorRoot: root, final: root, hop: 4, pass: `${FIRST}-m1abcdef-1a2b3c4d-7` };
    const bytes = bundleOf([{ ...own, ...ring, ...equal }]);
    expect(bytes.byteLength).toBeLessThanOrEqual(200);
    expect(messagesOf(bytes)).toEqual([{ ...own, ...ring, ...equal }]);
  });

  test('what does not fit its form is left to travel alone', () => {
    const own: Token = { ...fc.sample(token, { numRuns: 1, seed: 1 })[0]! } as Token;
    const refused = { t: 'token-answer' as const, pass: own.pass, hop: 1, status: 'refused' as const, reason: '' };
    const claim = { floor: own.floor, floorRoot: own.floorRoot };
    const odd: BundledMessage[] = [
      { ...own, pass: `${FIRST}-x` },
      { ...own, pass: `${FIRST}-x-007` },
      { ...own, key: [...own.key.slice(0, 6), 1] as never },
      { ...own, key: [...own.key.slice(0, 4), (2n ** 63n).toString(), (2n ** 63n + 1n).toString(), 2] as never },
      { ...refused, claim },
    ];
    for (const message of odd) {
      expect(new BundleWriter(2).add(message)).toBe(false);
      const sent = decodeMessage(encodeMessage(message)).message;
      expect(sent).toMatchObject(message);
    }
  });
});

describe('passes of many shards', () => {
  const SHARDS = 150;
  const keyAt = (i: number): ShardKey => ({ ...KEY, startNs: BigInt(i) << 50n, endNs: BigInt(i + 1) << 50n });

  function many(limits: ConstructorParameters<typeof Trio>[1] = {}, shards = SHARDS): Trio {
    const trio = new Trio(3, { passIntervalMs: 2_000, staggerMs: 500, ...limits });
    for (let i = 0; i < shards; i++) trio.hosts[i % 3]!.submit([trio.prepare(i % 3, 'all', true, keyAt(i))], trio.now);
    trio.settle();
    beat(trio, 4_500);
    return trio;
  }

  /** Time, with heartbeats. */
  function beat(trio: Trio, ms: number): void {
    for (const end = trio.now + ms; trio.now < end; ) {
      trio.pass(200);
      trio.hear();
    }
  }

  test('equal shards cost at most 40 bytes a hop, with answers and proofs, and all are proven within the interval', () => {
    const trio = many();
    const counters = () => trio.hosts.map((host) => host.counters());
    const sum = (name: string) => counters().reduce((total, each) => total + (each[name] ?? 0), 0);
    trio.bytes.clear();
    trio.sent.length = 0;
    const [before, refused] = [sum('passes_proven_full'), sum('tokens_refused')];
    const from = trio.now;
    beat(trio, 8_000);
    const passes = sum('passes_proven_full') - before;
    // Not more often than they have to, and none is late.
    expect(passes).toBeGreaterThanOrEqual(4 * SHARDS);
    expect(passes).toBeLessThanOrEqual((4 / 0.5) * SHARDS);
    expect(sum('tokens_refused') - refused).toBe(0);
    const bytes = [...trio.bytes.values()].reduce((total, each) => total + each, 0);
    expect(bytes / (passes * 4)).toBeLessThanOrEqual(40);
    for (const host of trio.hosts)
      for (const shard of host.describeShards())
        expect(stampMs(shard.converged!.through)).toBeGreaterThan(from + 8_000 - 2_000 - 1_000);
  });

  test('those that differ are levelled one by one, while the others go on together', () => {
    const trio = many();
    const odd = 17;
    trio.onSend = (_, to, message) => (message.t === 'mail' && to === THIRD ? 'lost' : null);
    trio.hosts[0]!.submit([trio.prepare(0, 'one', true, keyAt(odd))], trio.now);
    trio.settle();
    trio.passes.length = 0;
    trio.sent.length = 0;
    beat(trio, 2_400);
    const moved = trio.passes.filter((record) => record.batchesMoved > 0);
    expect(new Set(moved.map(({ shard }) => shard))).toEqual(new Set([shardId(keyAt(odd))]));
    expect(trio.storages.map((storage) => storage.shards.get(shardId(keyAt(odd)))!.batches.size)).toEqual([2, 2, 2]);
    expect(trio.sent.filter((kind) => kind === 'compare').length).toBeLessThanOrEqual(4);
  });

  test('a bundle that gets lost is said again, and no pass fails', () => {
    const trio = many({ passIntervalMs: 6_000, staggerMs: 3_000 }, 40);
    const lost = new Set<string>();
    trio.onSend = (_from, _to, message) => {
      if (message.t !== 'token' || message.hop !== 2 || lost.has(message.pass)) return null;
      lost.add(message.pass);
      return 'lost';
    };
    trio.passes.length = 0;
    beat(trio, 9_000);
    expect(lost.size).toBeGreaterThanOrEqual(40);
    expect(trio.passes.length).toBeGreaterThanOrEqual(3 * 40);
    expect(trio.passes.filter(({ outcome }) => outcome !== 'proven')).toEqual([]);
  });

  test('while there are few places, shards with a debt or a difference go first, and none starves', () => {
    const trio = many({ passesAtOnceMax: 1, passesPerTickMax: 1, staggerMs: 1e6 }, 30);
    const waits = trio.hosts
      .flatMap((host) => host.describeShards())
      .map(({ converged }) => trio.now - (converged === null ? 0 : stampMs(converged.through)));
    expect(Math.max(...waits)).toBeLessThan(6_000);
  });
});
