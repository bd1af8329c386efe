/**
 * What clients get wrong, on purpose: each mistake gets its error, the same process goes on, and what was good is kept.
 *
 * Every test writes one good row as well; the last ones count them, before and after a restart.
 */
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, eventually, type TestNode } from './harness.ts';

const MIB = 1024 * 1024;
const RAW_ANSWER_MS_MAX = 10_000;

describe('a node among hostile clients', () => {
  let cluster: Cluster;
  let node: TestNode;
  let pid: number | undefined;
  let good = 0;
  const nowMs = Date.now();

  beforeAll(async () => {
    cluster = await Cluster.make();
    node = await (await cluster.node('n1', { workers: '2' }).start()).ready();
    await node.query('CREATE DATABASE t');
    pid = node.pid;
  });
  afterAll(() => cluster.close());
  afterEach(async () => {
    const answer = await node.write('t', goodLine());
    expect(answer.status, answer.text).toBe(204);
    expect(node.pid).toBe(pid);
    expect(node.running, node.stderr.slice(-2_000)).toBe(true);
    expect(await node.value('SELECT count(v) FROM good', 't')).toBe(good);
  });

  const goodLine = () => `good v=1 ${nowMs + good++}000000`;
  const errorOf = (answer: { text: string }) => (JSON.parse(answer.text) as { error: string }).error;
  const post = (body: Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
    node.request('POST', '/write?db=t', body, headers);

  /** Sends bytes as they are; what comes back until the other side closes. `end`: the client sends no more. */
  function raw(bytes: string | Uint8Array, finish: 'end' | 'destroy' | 'wait' = 'end'): Promise<string> {
    const { hostname, port } = new URL(node.url);
    return new Promise((resolve, reject) => {
      let text = '';
      const socket = connect(Number(port), hostname, () => {
        socket.write(bytes, () => {
          if (finish === 'end') socket.end();
          if (finish === 'destroy') socket.destroy();
        });
      });
      socket.setTimeout(RAW_ANSWER_MS_MAX, () => {
        socket.destroy();
        reject(new Error(`no end within ${RAW_ANSWER_MS_MAX} ms; so far: ${text.slice(0, 200)}`));
      });
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
      });
      // Being cut off is an answer as well.
      socket.on('error', () => {});
      socket.on('close', () => resolve(text));
    });
  }

  describe('bodies', () => {
    test('a truncated gzip body is 400 unexpected EOF, and nothing of it is stored', async () => {
      const packed = gzipSync(Array.from({ length: 5_000 }, (_, i) => `cut v=${i} ${nowMs + i}000000`).join('\n'));
      for (const length of [packed.length - 8, packed.length >> 1, 12, 3]) {
        const answer = await post(new Uint8Array(packed.subarray(0, length)), { 'Content-Encoding': 'gzip' });
        expect([length, answer.status, errorOf(answer)]).toEqual([length, 400, 'unexpected EOF']);
        expect(answer.headers.get('x-influxdb-error')).toBe('unexpected EOF');
      }
      expect(await node.value('SELECT count(v) FROM cut', 't')).toBeNull();
    });

    test('damaged gzip bodies are 400', async () => {
      const packed = gzipSync(`cut v=1 ${nowMs}000000\n`.repeat(1_000));
      const damaged = Buffer.from(packed);
      damaged.fill(0xa5, 20, 40);
      const noise = await post(new Uint8Array(randomBytes(1_000)), { 'Content-Encoding': 'gzip' });
      expect([noise.status, errorOf(noise)]).toEqual([400, 'gzip: invalid header']);
      expect((await post(new Uint8Array(damaged), { 'Content-Encoding': 'gzip' })).status).toBe(400);
      expect(await node.value('SELECT count(v) FROM cut', 't')).toBeNull();
    });

    test('a gzip bomb is 413, without unpacking all of it', async () => {
      const bomb = gzipSync(Buffer.alloc(300 * MIB), { level: 6 });
      const answer = await post(new Uint8Array(bomb), { 'Content-Encoding': 'gzip' });
      expect([answer.status, errorOf(answer)]).toEqual([413, 'Request Entity Too Large']);
    });

    test('a line of 100 MB is 413, plain and in chunks', async () => {
      const line = new Uint8Array(100 * MIB).fill(0x61);
      line.set(Buffer.from('m v="'));
      const plain = await post(line);
      expect([plain.status, errorOf(plain)]).toEqual([413, 'Request Entity Too Large']);
      const chunk = `100000\r\n${'a'.repeat(MIB)}\r\n`;
      const head = 'POST /write?db=t HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n';
      expect(await raw(`${head}${chunk.repeat(100)}0\r\n\r\n`, 'wait')).toMatch(/^HTTP\/1\.1 413 /);
    });

    test('a body that is announced as endless is refused before it is read', async () => {
      const head = 'POST /write?db=t HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\nm v=1';
      expect(await raw(head)).toMatch(/^HTTP\/1\.1 413 /);
    });

    test('a line of 20 MB within the limit of a body is refused, and its neighbours are stored', async () => {
      const line = `m v="${'x'.repeat(20 * MIB)}" ${nowMs}000000`;
      const answer = await node.write('t', `${goodLine()}\n${line}\n${goodLine()}`);
      expect(answer.status).toBe(400);
      expect(errorOf(answer)).toMatch(/^partial write: /);
      expect(answer.text.length).toBeLessThan(64 * 1024);
    });

    test('bytes that are no UTF-8 harm nothing but their own line', async () => {
      const bad = [
        Buffer.from(`bad\xff\xfe,host=a v=1 ${nowMs}000000`, 'latin1'),
        Buffer.from(`bad,host=\xc3\x28 v=2 ${nowMs}000001`, 'latin1'),
        Buffer.from(`bad v\x80=3 ${nowMs}000002`, 'latin1'),
        Buffer.from(`bad s="\xe2\x82" ${nowMs}000003`, 'latin1'),
        Buffer.from(`bad\0zero v=4 ${nowMs}000004`, 'latin1'),
        // No quote: after an equals sign it would begin a string, to which the good line behind belongs.
        randomBytes(300).map((byte) => (byte === 0x22 ? 0x20 : byte)),
      ];
      const body = Buffer.concat(bad.flatMap((line) => [line, Buffer.from(`\n${goodLine()}\n`)]));
      const answer = await post(new Uint8Array(body));
      expect([204, 400]).toContain(answer.status);
      if (answer.status === 400) expect(errorOf(answer)).toMatch(/^partial write: /);
      // Whatever was taken of them is answered as valid JSON.
      for (const q of ['SELECT * FROM /bad.*/', 'SHOW SERIES', 'SHOW FIELD KEYS']) await node.query(q, 't');
    });

    test('a body that is cut off in the middle stores nothing', async () => {
      const lines = `half v=1 ${nowMs}000000\nhalf v=2 ${nowMs}000001\nhalf v=3 16`;
      const head = `POST /write?db=t HTTP/1.1\r\nHost: x\r\nContent-Length: ${lines.length + 100}\r\n\r\n`;
      const chunked = 'POST /write?db=t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n';
      await raw(head + lines, 'destroy');
      await raw(`${chunked}${lines.length.toString(16)}\r\n${lines}\r\n`, 'destroy');
      const half = await raw(head + lines);
      if (half !== '') expect(half).toMatch(/^HTTP\/1\.1 400 /);
      const halfChunked = await raw(`${chunked}ffff\r\n${lines}`);
      if (halfChunked !== '') expect(halfChunked).toMatch(/^HTTP\/1\.1 400 /);
      expect(await node.value('SELECT count(v) FROM half', 't')).toBeNull();
    });

    test('a field of another type than before is refused by name, and the rest is stored', async () => {
      expect((await node.write('t', `typed v=1.5 ${nowMs}000000`)).status).toBe(204);
      const answer = await node.write('t', `typed v=1i ${nowMs}000001\n${goodLine()}`);
      expect([answer.status, errorOf(answer)]).toEqual([
        400,
        'partial write: field type conflict: input field "v" on measurement "typed" is type integer, already exists as type float dropped=1',
      ]);
      expect(await node.value('SELECT count(v) FROM typed', 't')).toBe(1);
    });

    test('two types of one field in the first body that has it leave one type', async () => {
      const answer = await node.write(
        't',
        `mixed v=1 ${nowMs}000000\nmixed v="x" ${nowMs}000001\nmixed v=2 ${nowMs}000002`,
      );
      expect([answer.status, errorOf(answer)]).toEqual([
        400,
        expect.stringMatching(/field type conflict.* dropped=1$/),
      ]);
      expect(await node.value('SELECT count(v) FROM mixed', 't')).toBe(2);
    });

    test('rows spread over forty weeks in one body are all stored', async () => {
      const week = 7 * 86_400_000;
      const lines = Array.from({ length: 40 }, (_, i) => `spread v=1 ${nowMs - i * week}000000`).join('\n');
      const answer = await node.write('t', lines);
      expect([answer.status, await node.value('SELECT count(v) FROM spread', 't')]).toEqual([204, 40]);
    });
  });

  describe('queries', () => {
    const ask = (q: string) =>
      node.request('POST', '/query?db=t', new URLSearchParams({ q }).toString(), {
        'Content-Type': 'application/x-www-form-urlencoded',
      });

    test('a typo is 400 with InfluxDB’s text', async () => {
      const answer = await ask('SELEC v FROM good');
      expect([answer.status, errorOf(answer)]).toEqual([
        400,
        expect.stringMatching(
          /^error parsing query: found SELEC, expected SELECT, DELETE, SHOW, .* at line 1, char 1$/,
        ),
      ]);
      expect((await node.get('/query?db=t')).status).toBe(400);
    });

    test('a huge GROUP BY time(1ns) is the statement’s error at once', async () => {
      const began = Date.now();
      const queries = [
        'SELECT mean(v) FROM good GROUP BY time(1ns)',
        `SELECT mean(v) FROM good WHERE time >= 0 AND time < ${nowMs}ms GROUP BY time(1ns) fill(0)`,
        `SELECT mean(v) FROM good WHERE time > now() - 1000w GROUP BY time(1ns), * fill(linear)`,
      ];
      for (const q of queries) {
        const [result] = await node.query(q, 't');
        expect(result?.error, q).toMatch(/max-select-buckets limit exceeded/);
      }
      expect(Date.now() - began).toBeLessThan(10_000);
    });

    test('texts that are deep or huge are errors, not a broken stack', async () => {
      const texts = [
        `SELECT ${'('.repeat(100_000)}v${')'.repeat(100_000)} FROM good`,
        `SELECT v FROM ${'(SELECT v FROM '.repeat(5_000)}good${')'.repeat(5_000)}`,
        `SELECT v FROM good WHERE ${'NOT '.repeat(10_000)}v > 1`,
        `SELECT v FROM good WHERE v > ${'-'.repeat(50_000)}1`,
        `SELECT v ${' '.repeat(2 * MIB)}FROM good`,
        `SELECT ${'mean('.repeat(3_000)}v${')'.repeat(3_000)} FROM good`,
        `SELECT "${'x'.repeat(1_500_000)}" FROM good`,
      ];
      for (const text of texts) {
        const answer = await ask(text);
        expect([answer.status, text.slice(0, 40)]).toEqual([400, text.slice(0, 40)]);
        expect(answer.text.length).toBeLessThan(16 * 1024);
      }
    });

    test('long flat texts are answered or refused in bounded time', async () => {
      const texts = [
        `SELECT v FROM good WHERE ${Array.from({ length: 20_000 }, (_, i) => `v = ${i}`).join(' OR ')}`,
        `SELECT v FROM good WHERE ${Array.from({ length: 20_000 }, (_, i) => `host = 'h${i}'`).join(' OR ')}`,
        `SELECT ${Array.from({ length: 20_000 }, () => 'v').join(' + ')} FROM good`,
        `SELECT ${Array.from({ length: 10_000 }, () => 'mean(v)').join(', ')} FROM good`,
        Array.from({ length: 20_000 }, () => 'SELECT v FROM good LIMIT 1').join(';'),
        `SELECT v FROM good WHERE host =~ /${'(a+)+'.repeat(20)}$/`,
        `SELECT v FROM good WHERE host =~ /${'('.repeat(5_000)}a${')'.repeat(5_000)}/`,
        'SELECT v FROM good WHERE host =~ /[/',
        'SELECT percentile(v, 1e308) FROM good GROUP BY time(9223372036854775807w)',
        'SELECT v FROM good WHERE time > 99999999999999999999999',
        "SELECT v FROM good WHERE time > '2262-99-99'",
        'SELECT v FROM good LIMIT 99999999999999999999 OFFSET 99999999999999999999',
      ];
      for (const text of texts) {
        const answer = await ask(text);
        expect([200, 400], `${text.slice(0, 60)}: ${answer.text.slice(0, 200)}`).toContain(answer.status);
        JSON.parse(answer.text);
      }
    });

    test('parameters that are no JSON, no number and no encoding are 400, or ignored as InfluxDB does', async () => {
      const paths = [
        '/query?db=t&q=SHOW+SERIES&params=%7B',
        '/query?db=t&q=SHOW+SERIES&params=%5B1%5D',
        '/query?db=t&q=SHOW+SERIES&chunked=true&chunk_size=-5',
        '/query?db=t&q=SHOW+SERIES&chunked=true&chunk_size=1e99',
        '/query?db=t&q=SHOW+SERIES&epoch=nonsense',
        '/query?db=%FF%FE&q=%C3%28',
        '/query?db=t&q=SELECT+v+FROM+good+WHERE+v+%3D+%24x&params=%7B%22x%22%3A%7B%22a%22%3A1%7D%7D',
      ];
      for (const path of paths) expect([200, 400], path).toContain((await node.get(path)).status);
    });
  });

  describe('the port', () => {
    test('random bytes and broken HTTP are answered with 400 or a closed connection', async () => {
      const requests: (string | Uint8Array)[] = [
        ...Array.from({ length: 20 }, (_, i) => randomBytes(1 << (i % 12))),
        'HELO example.org\r\n\r\n',
        'GET / HTTP/9.9\r\n\r\n',
        'POST /write?db=t HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n',
        'POST /write?db=t HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
        'POST /write?db=t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
        `GET /${'a'.repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
        `GET / HTTP/1.1\r\nHost: x\r\nX: ${'b'.repeat(1_000_000)}\r\n\r\n`,
        `GET / HTTP/1.1\r\n${'A: b\r\n'.repeat(5_000)}\r\n`,
        'GET http://[ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
        'GET /query?q=%ZZ&db=%E0%A4%A HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
        'GET // HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
        'GET /api/shards/%E0%A4%A HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
        'OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
        'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n',
        'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
        'GET /internal/peer HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: starling/2\r\n\r\n',
        'POST /write?db=t HTTP/1.1\r\nHost: x\r\nExpect: nonsense\r\nContent-Length: 0\r\n\r\n',
      ];
      for (const request of requests) {
        const answer = await raw(request);
        if (answer !== '') expect(answer, String(request).slice(0, 60)).toMatch(/^HTTP\/1\.1 (4\d\d|20[04]) /);
      }
      const pipelined = 'GET /ping HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(200);
      expect((await raw(pipelined)).match(/HTTP\/1\.1 204/g)).toHaveLength(200);
    });

    test('many connections that say nothing do not keep others out', async () => {
      const { hostname, port } = new URL(node.url);
      const silent = Array.from({ length: 300 }, () => connect(Number(port), hostname).on('error', () => {}));
      await Promise.all(silent.map((socket) => new Promise((done) => socket.once('connect', done))));
      expect((await node.get('/ping')).status).toBe(204);
      for (const socket of silent) socket.destroy();
    });

    test('unknown paths and methods are errors in JSON', async () => {
      for (const path of [
        '/nothing',
        '/api',
        '/api/nothing/x',
        '/api/shards/nothing',
        '/api/repairs/x/pause/y',
        '/..%2f..%2fetc/passwd',
      ]) {
        const answer = await node.get(path);
        expect([path, answer.status]).toEqual([path, 404]);
        expect(JSON.parse(answer.text), path).toMatchObject({ message: expect.any(String) as string });
      }
      expect((await node.request('DELETE', '/write?db=t')).status).toBe(405);
      expect((await node.request('PUT', '/query?q=x')).status).toBe(405);
    });

    test('bad JSON to every admin endpoint is 400 with a reason', async () => {
      const wrong = ['{', '[]', '"text"', '17', 'null', '{"a":', '{"mode":7}', '\0\xff', `{"a":${'['.repeat(30_000)}`];
      const targets: [string, string][] = [
        ['POST', '/api/repairs'],
        ['PUT', '/api/rules/r'],
      ];
      for (const [method, path] of targets) {
        for (const body of wrong) {
          const answer = await node.request(method, path, body, { 'Content-Type': 'application/json' });
          expect([path, body.slice(0, 20), answer.status]).toEqual([path, body.slice(0, 20), 400]);
          expect(JSON.parse(answer.text), body).toMatchObject({ code: expect.any(String) as string });
        }
        const huge = await node.request(method, path, 'x'.repeat(2 * MIB));
        expect([path, huge.status]).toEqual([path, 413]);
      }
      for (const action of ['pause', 'resume', 'cancel']) {
        const answer = await node.request('POST', `/api/repairs/none/${action}`, '{', {
          'Content-Type': 'application/json',
        });
        expect([action, answer.status]).toEqual([action, 404]);
      }
      expect((await node.request('DELETE', '/api/rules/none', '{')).status).toBe(404);
      expect((await node.request('PUT', '/api/rules/%20%2e%2e', '{}')).status).toBe(400);
      expect((await node.get('/api/history?limit=x')).status).toBeLessThan(500);
      const aliases = `a: &a [x,x,x,x,x,x,x,x,x]\n${Array.from({ length: 9 }, (_, i) => {
        const of = i === 0 ? 'a' : `b${i - 1}`;
        return `b${i}: &b${i} [*${of},*${of},*${of},*${of},*${of},*${of},*${of},*${of},*${of}]\n`;
      }).join('')}`;
      expect((await node.request('PUT', '/api/rules/r', aliases)).status).toBe(400);
    });

    test('garbage to the paths between nodes changes nothing', async () => {
      const { clusterId } = await node.json<{ clusterId: string }>('/api/cluster');
      const bodies = [
        randomBytes(100),
        Buffer.alloc(0),
        Buffer.from([1, 0x7b]),
        Buffer.from('\x01{"kind":"join"}', 'latin1'),
      ];
      for (const body of bodies) {
        const call = await node.request('POST', '/internal/call', new Uint8Array(body));
        expect([200, 204, 400]).toContain(call.status);
        expect((await node.request('POST', '/internal/query', new Uint8Array(body))).status).toBe(403);
        const member = await node.request('POST', '/internal/query', new Uint8Array(body), {
          'Starling-Cluster': clusterId,
        });
        expect([200, 400]).toContain(member.status);
      }
      expect((await node.request('GET', '/internal/query')).status).toBe(403);
    });
  });

  test('after all of it nothing that was good is lost, also over a kill and a restart', async () => {
    expect(node.pid).toBe(pid);
    expect((await node.get('/health')).status).toBe(200);
    expect(await node.value('SELECT count(v) FROM good', 't')).toBe(good);
    await node.kill();
    await (await node.start()).ready();
    pid = node.pid;
    await eventually(
      'all good rows are there',
      5_000,
      async () => (await node.value('SELECT count(v) FROM good', 't')) === good,
    );
  });
});
