/** Heads are kept by their text without the length of the body; what a head says otherwise is plain-door.test.ts's. */
import { expect, test } from 'vitest';
import { PlainHeads } from '../../server/http/plain-head.ts';
import { LIMITS } from './side.ts';

const HEADS = { write: LIMITS, queryBodyBytesMax: LIMITS.bodyBytesMax };
const TOO_MANY = LIMITS.bodyBytesMax + 1;

const written = (...lines: string[]): string => ['POST /write?db=t HTTP/1.1', 'Host: x', ...lines].join('\r\n');

test('a write that differs in its length alone has the same head, with its own length', () => {
  const heads = new PlainHeads(HEADS);
  const first = heads.read(written('Content-Length: 5', 'Accept: */*'))!;
  const second = heads.read(written('Content-Length: 12', 'Accept: */*'))!;
  expect([first.bodyBytes, second.bodyBytes]).toEqual([5, 12]);
  expect(second.head).toBe(first.head);
  expect(heads.read(written('content-length: 7', 'Accept: */*'))?.bodyBytes).toBe(7);
});

test.each([
  ['too large', [`Content-Length: ${TOO_MANY}`]],
  ['none', []],
  ['an empty one', ['Content-Length: ']],
  ['two', ['Content-Length: 5', 'Content-Length: 5']],
  ['one that goes on', ['Content-Length: 5', ' 6']],
  ['one of other characters', ['Content-Length: 5x']],
  ['more digits than a length has', ['Content-Length: 0000000000000005']],
])('a length that is %s is not plain, also behind one that was', (_what, lines) => {
  const heads = new PlainHeads(HEADS);
  for (const length of [0, 5]) expect(heads.read(written(`Content-Length: ${length}`))?.bodyBytes).toBe(length);
  expect(heads.read(written(...lines))).toBeNull();
});

test('a query may have a form with POST alone, and not a packed one', () => {
  const heads = new PlainHeads(HEADS);
  const asked = (method: string, ...lines: string[]) =>
    heads.read([`${method} /query?q=x HTTP/1.1`, 'Host: x', ...lines].join('\r\n'))?.bodyBytes;
  expect(asked('POST', 'Content-Length: 3')).toBe(3);
  expect(asked('POST', `Content-Length: ${TOO_MANY}`)).toBeUndefined();
  expect(asked('POST', 'Content-Length: 3', 'Content-Encoding: gzip')).toBeUndefined();
  expect(asked('GET', 'Content-Length: 3')).toBeUndefined();
  expect(asked('GET', 'Content-Length: 0')).toBe(0);
  expect(asked('GET')).toBe(0);
});
