import { describe, expect, test } from 'vitest';
import { type Response, ResponseReader } from '../../scripts/bench/response-reader.ts';

const LENGTH = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 11\r\n\r\n{"a":"b\\n"}';
const EMPTY = 'HTTP/1.1 204 No Content\r\nX-Request-Id: 1\r\n\r\n';
const CHUNKED =
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\nA;ext=1\r\n0123456789\r\n0\r\nX-Trailer: x\r\n\r\n';
const REFUSED = 'HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n';
const CONTINUED = `HTTP/1.1 100 Continue\r\n\r\n${EMPTY}`;

const ALL = [LENGTH, EMPTY, CHUNKED, REFUSED, CONTINUED, CHUNKED, LENGTH];
const EXPECTED = [
  [200, '{"a":"b\\n"}'],
  [204, ''],
  [200, 'abcd0123456789'],
  [503, ''],
  [204, ''],
  [200, 'abcd0123456789'],
  [200, '{"a":"b\\n"}'],
];

function read(bytes: string, step: number): Response[] {
  const found: Response[] = [];
  const reader = new ResponseReader((response) => found.push(response));
  for (let at = 0; at < bytes.length; at += step) {
    const part = Buffer.from(bytes.slice(at, at + step));
    reader.feed(part);
    part.fill(0); // the buffer belongs to the socket again
  }
  expect(reader.atStart).toBe(true);
  return found;
}

describe('responses one after the other', () => {
  test.each([1, 2, 3, 5, 7, 11, 64, 10_000])('are told apart when they come in pieces of %i bytes', (step) => {
    expect(read(ALL.join(''), step).map(({ status, body }) => [status, body.toString()])).toEqual(EXPECTED);
  });

  test('a connection is not at a start in the middle of one', () => {
    const reader = new ResponseReader(() => undefined);
    reader.feed(Buffer.from(LENGTH.slice(0, 10)));
    expect(reader.atStart).toBe(false);
  });

  test.each(['SSH-2.0-x\r\n\r\n', 'HTTP/1.1 200 OK\r\n\r\n', `${CHUNKED.slice(0, 47)}zz\r\n`])(
    'what is not a response is refused: %j',
    (bytes) => {
      expect(() => new ResponseReader(() => undefined).feed(Buffer.from(bytes))).toThrow();
    },
  );
});
