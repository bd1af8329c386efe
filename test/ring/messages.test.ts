import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { convergenceBound } from '../../repair/bound.ts';
import { decodeMessage, encodeMessage, MessageError } from '../../repair/replica-messages.ts';

const mail = { t: 'mail' as const, key: ['d', 0, 'autogen', 0, '-10', '10', 3] as const, version: 'ab'.repeat(16) };
const encoded = encodeMessage({ ...mail, key: [...mail.key] }, [Uint8Array.of(1, 2, 3), new Uint8Array(0)]);

describe('messages', () => {
  test('header and attachments come out as they went in', () => {
    const { message, attachments } = decodeMessage(encoded);
    expect(message).toMatchObject({ t: 'mail', version: mail.version, key: mail.key });
    expect(attachments.map((part) => [...part])).toEqual([[1, 2, 3], []]);
  });

  test('any cut, and any changed byte, is a MessageError or another valid message, never another error', () => {
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
  });

  test.each([
    ['a version that is too short', { ...mail, version: 'ab' }, 'malformed-message'],
    ['a shard key with a field missing', { ...mail, key: ['d', 0, 'autogen', 0, '1', '2'] }, 'malformed-message'],
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
      1_520 + 30_000 + 3_200 + 20 + 2_000 + 33_200,
    ],
  ])('%s', (_, parameters, hops, boundMs) => {
    expect(convergenceBound(parameters)).toMatchObject({ boundMs, parts: { hops } });
  });
});
