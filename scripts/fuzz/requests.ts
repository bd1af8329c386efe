/** Requests of a fuzz run: good ones of every door, changed in a few places. A number makes the same one again. */
import { gzipSync } from 'node:zlib';
import { randomOf } from '../bench/random.ts';

export interface FuzzRequest {
  readonly path: string;
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Sent as it is, head and all, when it is not null. */
  readonly raw: Buffer | null;
}

const FIELDS = ['v', '"i"', 's', 'b', '*', '/./', 'host', 'nothing'];
const FUNCTIONS =
  'count sum mean median mode spread stddev min max first last distinct integral derivative difference moving_average cumulative_sum elapsed abs floor sqrt holt_winters top bottom percentile sample'.split(
    ' ',
  );
const CLAUSES = [
  " WHERE host = 'h1'",
  ' WHERE time > 10s AND time < 50s',
  ' WHERE v > 3 OR s =~ /x/',
  ' GROUP BY time(10s), host',
  ' GROUP BY *',
  ' GROUP BY time(1s) fill(linear)',
  ' ORDER BY time DESC LIMIT 3 OFFSET 1 SLIMIT 2',
  " tz('Europe/Berlin')",
];
/** None makes a password: hashing one takes its time by right, in a thread of its own. */
const OTHERS = [
  'SHOW DATABASES',
  "SHOW SERIES ON d FROM m WHERE host = 'h1' LIMIT 2",
  'SHOW TAG VALUES FROM m WITH KEY =~ /h/ WHERE v > 1',
  'SHOW FIELD KEYS; SHOW TAG KEYS; SHOW MEASUREMENTS WITH MEASUREMENT =~ /m/',
  'SHOW SERIES EXACT CARDINALITY; SHOW TAG VALUES CARDINALITY WITH KEY = host',
  'EXPLAIN ANALYZE SELECT mean(v) FROM m GROUP BY time(10s)',
  'SELECT v INTO copy FROM m GROUP BY host',
  'CREATE CONTINUOUS QUERY q ON d BEGIN SELECT mean(v) INTO x FROM m GROUP BY time(1h) END; DROP CONTINUOUS QUERY q ON d',
  'SHOW QUERIES; KILL QUERY 3; SHOW STATS; SHOW DIAGNOSTICS; SHOW SHARDS',
  "DELETE FROM copy WHERE time < 5; DROP SERIES FROM copy WHERE host = 'h2'",
  'GRANT READ ON d TO u; REVOKE READ ON d FROM u; DROP USER u; SHOW USERS',
];
const TOKENS = [
  ...`SELECT FROM WHERE GROUP BY time( ( ) , ; . :: * / /a/ 'x' "y" ' " \\ $p $ 1h 1 -1 .5 9223372036854775808 1e9 1e400 -- /* */ =~ !~ AND OR fill( tz( INTO é 😀 NaN 0s -9223372036854775808`.split(
    ' ',
  ),
  '\u0000',
  '\r\n',
  ' ',
  '%zz',
  '&',
];
const LINES = [
  'm,host=h1 v=1.5,i=3i,s="te xt",b=true 1000000000',
  'm\\ x,a\\,b=c\\=d f="q\\"uo\\\\te" -5\nother v=1u,w=-0 9223372036854775806',
  '# comment\n\n  m v=1e300,v=2\nm i=9223372036854775807i 5\nm b=F,s="" 6',
];
const DELETES = ['{"start":"1970-01-01T00:00:00Z","stop":"2030-01-01T00:00:00Z","predicate":"host=\\"h1\\""}'];

export function requestOf(seed: number, number: number): FuzzRequest {
  const random = randomOf(Math.imul(seed, 0x9e3779b1) ^ number);
  const below = (count: number): number => Math.floor(random() * count);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;
  const changed = (text: string): string => {
    let found = text;
    for (let edits = below(5); edits > 0; edits--) {
      const from = below(found.length + 1);
      const inserted = random() < 0.7 ? pick(TOKENS) : String.fromCharCode(below(300));
      found = found.slice(0, from) + inserted + found.slice(from + below(8));
    }
    return found;
  };
  const select = (depth: number): string => {
    const field = random() < 0.6 ? `${pick(FUNCTIONS)}(${pick(FIELDS)}${pick(['', ', 2', ', 1s'])})` : pick(FIELDS);
    const source = depth < 2 && random() < 0.3 ? `(${select(depth + 1)})` : pick(['m', '/m/', 'd.autogen.m', 'copy']);
    return `SELECT ${field}${pick(['', ' AS a', ` + ${pick(FIELDS)}`, ' * 2'])} FROM ${source}${pick(['', ...CLAUSES])}${pick(['', ...CLAUSES])}`;
  };
  const flip = (bytes: Buffer): Buffer => {
    for (let flips = below(3); flips > 0 && bytes.length > 0; flips--) bytes[below(bytes.length)] = below(256);
    return bytes;
  };
  const packed = random() < 0.2;
  const bodyOf = (text: string): Buffer => {
    const plain = random() < 0.2 ? flip(Buffer.from(changed(text))) : Buffer.from(changed(text));
    return packed ? flip(gzipSync(plain)) : plain;
  };
  const headers: Record<string, string> = packed ? { 'Content-Encoding': 'gzip' } : {};
  const kind = random();
  const empty = { headers, raw: null, body: Buffer.alloc(0) };
  if (kind < 0.6) {
    const fields = new URLSearchParams({ q: changed(random() < 0.7 ? select(0) : pick(OTHERS)), db: 'd' });
    for (const [name, value] of [
      ['epoch', 's'],
      ['chunked', 'true'],
      ['chunk_size', '3'],
      ['pretty', 'true'],
      ['params', '{"p":1}'],
    ] as const)
      if (random() < 0.15) fields.set(name, changed(value));
    if (random() < 0.1) headers.Accept = 'application/csv';
    return { ...empty, headers: { ...headers, 'Content-Encoding': '' }, path: `/query?${fields}`, method: 'POST' };
  }
  if (kind < 0.8) {
    const fields = new URLSearchParams({ db: changed(random() < 0.8 ? 'w' : ''), precision: changed('ns') });
    return { ...empty, path: `/write?${fields}`, method: 'POST', body: bodyOf(pick(LINES)) };
  }
  if (kind < 0.88) {
    const fields = new URLSearchParams({ bucket: changed('w/autogen'), org: 'o', precision: changed('s') });
    return { ...empty, path: `/api/v2/write?${fields}`, method: 'POST', body: bodyOf(pick(LINES)) };
  }
  if (kind < 0.92)
    return { ...empty, path: '/api/v2/delete?bucket=w&org=o', method: 'POST', body: bodyOf(pick(DELETES)) };
  const body = pick(LINES);
  const head = `POST /write?db=w HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`;
  return { ...empty, path: '', method: 'POST', raw: flip(Buffer.from(changed(head))) };
}
