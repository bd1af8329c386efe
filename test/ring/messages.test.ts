import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { convergenceBound } from '../../repair/bound.ts';
import { bytesWithoutCrc, type MailAnswer } from '../../repair/mail-messages.ts';
import { MessageError } from '../../repair/message-checks.ts';
import { decodeMessage, encodeMessage } from '../../repair/replica-messages.ts';
import { shardKeyToJson } from '../../shards/shard-key.ts';

const key = { database: 'd', databaseGeneration: 0, retentionPolicy: 'autogen', retentionPolicyGeneration: 0 };
const shard = { ...key, startNs: -10n, endNs: 10n, number: 3 };
const version = 'ab'.repeat(16);
const frame = Uint8Array.of(1, 2, 3);
const keys = Uint8Array.of(4, 5);
const fetch = { t: 'fetch' as const, request: 7, key: shardKeyToJson(shard), versions: [version] };
const answers: MailAnswer[] = [
  ['0123456789abcdef', version, 'stored', '', true, ''],
  ['0123456789abcdef', 'cd'.repeat(16), 'refused', 'drift', false, 'versión is ahead'],
];
const mail = encodeMessage({ t: 'mail', key: shard, version }, [frame, keys]);
const answered = encodeMessage({ t: 'mail-answers', answers, view: 'f'.repeat(32) });
const offers = { t: 'mail-offers' as const, number: 3, offers: answers.map(([id, of]) => [id, of] as const) };
const offered = encodeMessage(offers);
const fetched = encodeMessage(fetch, [frame, new Uint8Array(0)]);

describe('messages', () => {
  test.each([
    ['content-windows', { from: { window: -1, measurement: 'm', group: 0 } }],
    ['content-windows', { from: { window: 1, measurement: 'm', group: 16 } }],
    ['content-groups', { window: 0.5, from: null }],
    ['content-copy', { window: 1, measurement: 'm', groups: [16], fromTime: 0 }],
    ['content-copy', { window: 1, measurement: 7, groups: [0], fromTime: 0 }],
    ['content-copy', { window: 1, measurement: 'm', groups: [0], fromTime: null }],
  ])('a %s that asks for what there cannot be is malformed: %j', (t, fields) => {
    const claim = { floor: '0'.repeat(16), floorRoot: [0, '0'.repeat(32), '0'.repeat(32)] };
    const right = { t: 'content-windows', request: 1, key: shardKeyToJson(shard), ...claim, from: null } as const;
    expect(decodeMessage(encodeMessage(right as never)).message).toMatchObject(right);
    const wrong = { ...right, t, ...fields };
    expect(() => decodeMessage(encodeMessage(wrong as never))).toThrow(MessageError);
  });

  test('header and attachments come out as they went in', () => {
    const { message, attachments } = decodeMessage(fetched);
    expect(message).toMatchObject(fetch);
    expect(attachments.map((part) => [...part])).toEqual([[1, 2, 3], []]);
  });

  test.each([
    [
      'with keys',
      [frame, keys],
      [
        [1, 2, 3],
        [4, 5],
      ],
    ],
    ['without keys', [frame], [[1, 2, 3], []]],
  ])('mail %s comes out as it went in', (_, sent, got) => {
    const { message, attachments } = decodeMessage(encodeMessage({ t: 'mail', key: shard, version }, sent));
    expect(message).toEqual({ t: 'mail', key: shard, version });
    expect(attachments.map((part) => [...part])).toEqual(got);
    const late = decodeMessage(encodeMessage({ t: 'mail', key: shard, version, isFromOutbox: true }, sent));
    expect(late.message).toEqual({ t: 'mail', key: shard, version, isFromOutbox: true });
    expect(late.attachments.map((part) => [...part])).toEqual(got);
  });

  test('what of mail covers itself is its keys and its frame, and of other messages nothing', () => {
    expect(bytesWithoutCrc(mail)).toBe(mail.byteLength - frame.byteLength - keys.byteLength);
    for (const bytes of [answered, offered, fetched, frame]) expect(bytesWithoutCrc(bytes)).toBe(bytes.byteLength);
  });

  test('answers come out as they went in', () => {
    expect(decodeMessage(answered).message).toEqual({ t: 'mail-answers', answers, view: 'f'.repeat(32) });
  });

  test('offers come out as they went in', () => {
    expect(decodeMessage(offered).message).toEqual(offers);
  });

  test.each([
    ['mail', mail],
    ['offers', offered],
    ['answers', answered],
    ['another kind', fetched],
  ])(
    '%s: any cut, and any changed byte, is a MessageError or another valid message, never another error',
    (_, encoded) => {
      fc.assert(
        fc.property(fc.integer({ min: 0, max: encoded.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
          const damaged = Uint8Array.from(encoded);
          damaged[at] = damaged[at]! ^ change;
          for (const bytes of [damaged, encoded.subarray(0, at)]) {
            try {
              decodeMessage(bytes);
            } catch (error) {
              expect(error).toBeInstanceOf(MessageError);
            }
          }
        }),
      );
    },
  );

  test.each([
    ['a version that is too short', { ...fetch, versions: ['ab'] }, 'malformed-message'],
    ['a shard key with a field missing', { ...fetch, key: fetch.key.slice(1) }, 'malformed-message'],
    [
      'mail for a shard of two centuries',
      { t: 'mail', key: { ...shard, endNs: 2n ** 62n }, version },
      'malformed-message',
    ],
    [
      'mail for a shard number beyond the lanes',
      { t: 'mail', key: { ...shard, number: 255 }, version },
      'malformed-message',
    ],
    ['a kind that nobody knows', { t: 'sing' }, 'unknown-message'],
    ['the name of an object method as kind', { t: 'toString' }, 'unknown-message'],
  ])('%s: refused', (_, message, code) => {
    expect(() => decodeMessage(encodeMessage(message as never, [new Uint8Array(1), new Uint8Array(1)]))).toThrow(
      expect.objectContaining({ code }),
    );
  });
});

describe('bound', () => {
  const base = {
    passIntervalMs: 30_000,
    hopMs: 50,
    heartbeatMs: 500,
    messageDelayMs: 20,
    openMsMax: 1_000,
    hopTimeoutMs: 3_000,
    detectionMs: 1_500,
    copies: { shards: 0, bytes: 0, largestBytes: 0, pageBytes: 1_000, atOnce: 4, pageMs: 10, retryMs: 100 },
  };
  const none = { deaths: 0, staggerMs: 1_000, startersMayBeDead: false, predecessorMayDie: false };
  test.each([
    ['one replica: no hops', { ...base, ...none, replicas: 1 }, 0, 1_520 + 30_000 + 0 + 20],
    ['three replicas: four hops', { ...base, ...none, replicas: 3 }, 4, 1_520 + 30_000 + 200 + 20],
    [
      'a pass longer than the interval',
      { ...base, ...none, replicas: 3, hopMs: 10_000 },
      4,
      1_520 + 40_000 + 40_000 + 20,
    ],
    [
      'dead starters, a death, and a dead predecessor',
      { ...base, replicas: 3, deaths: 1, staggerMs: 1_000, startersMayBeDead: true, predecessorMayDie: true },
      4,
      1_520 + 1_500 + 30_000 + 3_200 + 20 + 2_000 + 33_200,
    ],
  ])('%s', (_, parameters, hops, boundMs) => {
    expect(convergenceBound(parameters)).toMatchObject({ boundMs, parts: { hops } });
  });

  test('a lost disk: two replicas are found one after the other, its shards are copied four at a time', () => {
    const copies = { ...base.copies, shards: 9, bytes: 40_000, largestBytes: 20_000 };
    const { boundMs, withCopiesMs, parts } = convergenceBound({ ...base, ...none, replicas: 3, copies });
    expect(parts.fencedMs).toBe(1_520 + 2 * (30_000 + 200));
    expect(parts.copyMs).toBe(((80 + 9 * 25) / 4 + 40 + 25) * 10 + 3 * 100);
    expect(withCopiesMs).toBe(parts.fencedMs + parts.copyMs + boundMs);
    expect(convergenceBound({ ...base, ...none, replicas: 1, copies }).parts.copyMs).toBe(0);
  });
});
