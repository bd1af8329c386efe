/**
 * The door of plain requests beside node:http on the same handlers: whatever bytes come, in whatever pieces, both must say the
 * same (ids and dates apart), and the coordinator and the query service must be given the same.
 */
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Segments } from '../../server/http/segments.ts';
import { QueryParseError } from '../../server/query/result.ts';
import { answersIn, form, LIMITS, POINT, query, Side, write } from './side.ts';

/** More answers than come. */
const UNTIL_CLOSED = Number.POSITIVE_INFINITY;

/** What cannot be the same twice is made so. */
function masked(text: string): string {
  return text
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'ID')
    .replace(/Date: [^\r]*/g, 'Date: D');
}

interface Part {
  readonly pieces: readonly Buffer[];
  /** To be had before the next part is sent; after the last, before the connection is closed. */
  readonly answers: number;
}

/** Sends pieces one by one, each when the last has left; resolves with all that came back. */
function exchange(side: Side, parts: readonly Part[]): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    let part = 0;
    let expected = 0;
    const socket = side.connect();
    const send = ([piece, ...others]: readonly Buffer[]): void => {
      // A turn of the loop between pieces, so that they arrive apart as a rule.
      if (piece !== undefined && !socket.destroyed) socket.write(piece, () => setImmediate(send, others));
    };
    const begin = (): void => {
      expected += parts[part]!.answers;
      send(parts[part]!.pieces);
    };
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (answersIn(text) < expected) return;
      if (++part < parts.length) begin();
      else socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(masked(text)));
    begin();
  });
}

function splitAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const cuts = [...new Set(places.map((place) => place % bytes.length))].sort((a, b) => a - b);
  return [0, ...cuts].map((from, i) => bytes.subarray(from, cuts[i])).filter((piece) => piece.length > 0);
}

const chunked = (text: string) =>
  Buffer.from(
    `POST /write?db=t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`,
  );

const v2Write = (body: string | Buffer, parameters: string, headers = '') =>
  write(body, headers, parameters, '/api/v2/write');

/** Requests after which a connection goes on. */
const KINDS: Readonly<Record<string, (n: number) => Buffer>> = {
  plain: (n) => write(`${POINT} ${n}`),
  empty: () => write(''),
  long: (n) => write(`${POINT} ${n}\n`.repeat(150)),
  gzip: (n) => write(gzipSync(`${POINT} ${n}`), 'Content-Encoding: gzip\r\n'),
  'bad gzip': () => write('no gzip at all', 'Content-Encoding: gzip\r\n'),
  'bad line': (n) => write(`bad ${n}`),
  'all headers': (n) =>
    write(
      `${POINT} ${n}`,
      'User-Agent: Telegraf/1.30\r\nContent-Type: text/plain; charset=utf-8\r\nAccept: */*\r\nAuthorization: Token x\r\nconnection: keep-alive\r\n',
    ),
  seconds: (n) => write(`${POINT} ${n}`, '', 'db=t&precision=s&rp=x'),
  'given id': (n) => write(`${POINT} ${n}`, 'X-Request-Id: mine\r\n'),
  origin: (n) => write(`${POINT} ${n}`, 'Origin: http://page\r\n'),
  unknown: (n) => write(`${POINT} ${n}`, 'X-Anything: 1\r\n'),
  'no database': (n) => write(`${POINT} ${n}`, '', 'precision=s'),
  'bad precision': (n) => write(`${POINT} ${n}`, '', 'db=t&precision=x'),
  chunked: (n) => chunked(`${POINT} ${n}`),
  'write of 2.x': (n) => v2Write(`${POINT} ${n}`, 'org=o&bucket=t%2Frp&precision=ms', 'Authorization: Token x\r\n'),
  'packed write of 2.x': (n) => v2Write(gzipSync(`${POINT} ${n}`), 'bucket=t', 'Content-Encoding: gzip\r\n'),
  'bad gzip of 2.x': () => v2Write('no gzip at all', 'bucket=t', 'Content-Encoding: gzip\r\n'),
  'bad line of 2.x': (n) => v2Write(`bad ${n}`, 'bucket=t&org=o'),
  'no bucket': (n) => v2Write(`${POINT} ${n}`, 'org=o'),
  'precision that 2.x does not have': (n) => v2Write(`${POINT} ${n}`, 'bucket=t&precision=h'),
  query: (n) => query(`db=t&epoch=s&q=SELECT+${n}`, 'Accept: */*\r\nUser-Agent: a\r\n'),
  'query with escapes': (n) => query(`q=%22%C3%A4%22+%zz%FF'(a)/*${n}*/?&q=second&&=&db&db=t&rp=%20`),
  'query with a length': (n) => query(`q=${n}`, 'Content-Length: 0\r\nContent-Encoding: gzip\r\n'),
  'query with a body': (n) => Buffer.concat([query(`q=${n}`, 'Content-Length: 3\r\n'), Buffer.from('q=1')]),
  'query as csv': (n) => query(`db=t&q=${n}`, 'Accept: text/csv\r\n'),
  'query, indented': (n) => query(`db=t&q=${n}&pretty=true`),
  'query with a long answer': (n) => query(`db=t&q=${n}+rows+9000`),
  'query in chunks': (n) => query(`db=t&q=${n}+rows+9;2&chunked=true&chunk_size=2`),
  'query behind its answer': (n) => query(`db=t&q=${n}&async=true`),
  'form of one behind its answer': (n) => form(`q=${n}&async=true`),
  'query behind its answer that cannot be parsed': (n) => query(`db=t&q=bad+${n}&async=true&pretty=true`),
  'query of nothing': () => query('db=t&q='),
  'query that cannot be parsed': (n) => query(`db=t&q=bad+${n}`),
  'query at a bad time': (n) => query(`db=t&q=busy+${n}`),
  'query from a page': (n) => query(`db=t&q=${n}`, 'Origin: http://page\r\n'),
  'no parameters': () => Buffer.from('GET /query HTTP/1.1\r\nHost: x\r\n\r\n'),
  'posted query': (n) => form('', '', `db=t&q=${n}`),
  form: (n) => form(`q=SELECT+${n}&db=other&chunked=true`),
  'packed form': (n) => {
    const body = gzipSync(`q=${n}`);
    const head = form('', `Content-Encoding: gzip\r\n`)
      .toString('latin1')
      .replace('Length: 0', `Length: ${body.length}`);
    return Buffer.concat([Buffer.from(head, 'latin1'), body]);
  },
  'no form': (n) => Buffer.concat([Buffer.from(form(`q=${n}`).toString().replace('x-www-form-urlencoded', 'json'))]),
  post: (n) => Buffer.from(`POST /other/${n} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc`),
};

/** What ends a connection. */
const ENDS: Readonly<Record<string, () => Buffer>> = {
  'two lengths': () => write(POINT, 'Content-Length: 5\r\n'),
  'length and chunks': () => write(POINT, 'Transfer-Encoding: chunked\r\n'),
  'signed length': () => Buffer.from('POST /write?db=t HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nm v=1'),
  'length in hexadecimal': () =>
    Buffer.from('POST /write?db=t HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nm v=1'),
  'blank before the colon': () =>
    Buffer.from('POST /write?db=t HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nm v=1'),
  'no host': () => Buffer.from('POST /write?db=t HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nm v=1'),
  'version 1.0': () => Buffer.from('POST /write?db=t HTTP/1.0\r\nHost: x\r\nContent-Length: 5\r\n\r\nm v=1'),
  'to be closed': () => write(POINT, 'Connection: close\r\n'),
  noise: () => Buffer.from('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 noise\r\n\r\n', 'latin1'),
  'query to be closed': () => query('q=1', 'Connection: close\r\n'),
  'query without a host': () => Buffer.from('GET /query?q=1 HTTP/1.1\r\nConnection: close\r\n\r\n'),
  'blank in a query': () => query('q=a b'),
  'control character': () => write(POINT, 'User-Agent: a\x01b\r\n'),
};

let plain: Side;
let door: Side;
/** Another door, to which bodies of a few bytes are long ones. */
let direct: Side;
beforeAll(async () => {
  plain = new Side(false);
  door = new Side(true);
  direct = new Side(true, new Segments(64, 3));
  await Promise.all([plain.open(), door.open(), direct.open()]);
});
afterAll(() => Promise.all([plain.close(), door.close(), direct.close()]));
beforeEach(() => {
  for (const side of [plain, door, direct]) {
    side.arrived.length = 0;
    side.observed.length = 0;
    side.slow = 0;
    side.problem = null;
  }
});

async function expectSame(parts: readonly Part[]): Promise<void> {
  const [expected, ...got] = await Promise.all([plain, door, direct].map((side) => exchange(side, parts)));
  expect(got).toEqual([expected, expected]);
  // Requests of one connection are served in order behind the door; node:http serves them at once.
  for (const side of [door, direct]) expect([...side.arrived].sort()).toEqual([...plain.arrived].sort());
  for (const side of [plain, door, direct]) side.arrived.length = 0;
  expect(direct.door!.segments.taken).toBe(0);
}

describe('the door of plain requests', () => {
  test.each(Object.keys(KINDS))('answers as node:http does: %s', async (kind) => {
    await expectSame([{ pieces: [KINDS[kind]!(1)], answers: 1 }]);
  });

  test.each(Object.keys(ENDS))('leaves to node:http what is not plain: %s', async (kind) => {
    await expectSame([{ pieces: [ENDS[kind]!()], answers: UNTIL_CLOSED }]);
  });

  test('serves what is plain itself, and the rest of a connection that it gave away is not its own', async () => {
    await exchange(door, [{ pieces: [write(POINT), write(POINT, 'User-Agent: a\r\n'), KINDS.gzip!(1)], answers: 3 }]);
    expect([door.slow, door.arrived.length, door.observed]).toEqual([0, 3, [204, 204, 204]]);
    await exchange(door, [{ pieces: [write(POINT), KINDS.query!(1), KINDS.form!(1)], answers: 3 }]);
    expect([door.slow, door.arrived.length]).toEqual([0, 6]);
    await exchange(door, [{ pieces: [KINDS['write of 2.x']!(1), KINDS['packed write of 2.x']!(2)], answers: 2 }]);
    expect([door.slow, door.arrived.length]).toEqual([0, 8]);
    await exchange(door, [{ pieces: [write(POINT), KINDS.origin!(1), write(POINT)], answers: 3 }]);
    expect([door.slow, door.arrived.length]).toEqual([2, 11]);
  });

  test('any requests, one after the other on one connection, in any pieces', async () => {
    const requests = fc.array(fc.constantFrom(...Object.keys(KINDS)), { minLength: 1, maxLength: 6 });
    const places = fc.array(fc.nat(20_000), { maxLength: 12 });
    const last = fc.option(fc.constantFrom(...Object.keys(ENDS)), { nil: null });
    await fc.assert(
      fc.asyncProperty(requests, places, last, async (kinds, cuts, end) => {
        const all = kinds.map((kind, i) => KINDS[kind]!(i));
        const parts = [{ pieces: splitAt(Buffer.concat(all), cuts), answers: kinds.length }];
        // node:http refuses what is malformed at once, before it has answered what came earlier.
        if (end !== null) parts.push({ pieces: splitAt(ENDS[end]!(), cuts), answers: UNTIL_CLOSED });
        await expectSame(parts);
      }),
      { numRuns: 150 },
    );
  }, 60_000);

  test('a body that comes byte by byte', async () => {
    const bytes = write(`${POINT}\n`.repeat(60));
    const pieces = Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
    await expectSame([{ pieces, answers: 1 }]);
  }, 20_000);

  test('a body beyond the limit is node:http’s to refuse', async () => {
    const body = 'x'.repeat(LIMITS.bodyBytesMax + 1);
    for (const bytes of [write(body), write(gzipSync(body), 'Content-Encoding: gzip\r\n')])
      await expectSame([{ pieces: splitAt(bytes, [100]), answers: 1 }]);
    expect(door.arrived).toEqual([]);
  });

  test('a node that is not ready leaves all to node:http', async () => {
    door.problem = 'starting';
    await exchange(door, [{ pieces: [write(POINT)], answers: 1 }]);
    expect(door.slow).toBe(1);
  });

  test('a query service that fails is answered with 500, and the connection goes on', async () => {
    const parts = [{ pieces: [query('db=t&q=mistake'), KINDS.query!(1)], answers: 2 }];
    const answers = await exchange(door, parts);
    expect(answers).toMatch(/^HTTP\/1\.1 500 .*a mistake"}\nHTTP\/1\.1 200 /s);
    expect([door.observed, door.slow]).toEqual([[500, 200], 0]);
  });

  test('a query that fails before it begins, or with an error that cannot be written, is answered too, and the next request not with its answer', async () => {
    const { results } = door;
    const tooLong = async function* (): AsyncGenerator<never> {
      yield await Promise.reject(new QueryParseError('x'.repeat(20_000_000)));
    };
    door.results = (text, options) => {
      if (text === 'mistake') throw new Error('a mistake before anything else');
      return text === 'long' ? tooLong() : results(text, options);
    };
    try {
      const mistakes = [query('db=t&q=mistake'), query('db=t&q=long&pretty=true')];
      const answers = await exchange(door, [{ pieces: [...mistakes, KINDS.query!(1)], answers: 3 }]);
      expect(answers).toMatch(/^(HTTP\/1\.1 500 [^}]*"internal error"}\n){2}HTTP\/1\.1 200 /);
      expect([door.observed, door.slow]).toEqual([[500, 500, 200], 0]);
    } finally {
      door.results = results;
    }
  });

  test('a coordinator that fails is answered with 500, and the connection goes on', async () => {
    const answer = door.answer;
    door.answer = () => {
      throw new Error('a mistake');
    };
    try {
      const answers = await exchange(door, [{ pieces: [write(POINT), KINDS.gzip!(1), write(POINT)], answers: 3 }]);
      expect(answers.match(/^HTTP\/1\.1 500 /gm)).toHaveLength(3);
    } finally {
      door.answer = answer;
    }
    expect(door.observed).toEqual(Array(3).fill(500));
  });

  test('an answer that cannot be given closes its connection: the client is not left to wait', async () => {
    const { answer } = door;
    let thrown: unknown = null;
    const unsayable = {
      error: '',
      get status(): number {
        throw new Error('a mistake');
      },
    };
    door.answer = async () => unsayable;
    const told = door.answered;
    door.answered = (result, answered) => {
      try {
        answered(result);
      } catch (error) {
        thrown = error;
      }
    };
    try {
      expect(await exchange(door, [{ pieces: [write(POINT)], answers: UNTIL_CLOSED }])).toBe('');
    } finally {
      Object.assign(door, { answer, answered: told });
    }
    expect(thrown).toEqual(new Error('a mistake'));
  });
});
