/** Generated line protocol: lines that are mostly right, and what is needed to break them. */
import fc from 'fast-check';
import type { Precision } from '../../shards/line-protocol.ts';

const name = fc.constantFrom(
  'cpu',
  'm',
  'a b',
  'x,y',
  'k=v',
  'q"q',
  'wè',
  '\u{1f600}',
  '\ufffd',
  'back\\slash',
  'disk.io',
  '#n',
);
const tagText = (text: string) => text.replace(/[, =]/g, '\\$&');
const number = fc.oneof(
  fc.integer().map((value) => `${value}i`),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => `${value}i`),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => `${value}u`),
  fc.double({ noDefaultInfinity: true, noNaN: true }).map(String),
  fc
    .tuple(fc.integer({ min: -99999, max: 99999 }), fc.integer({ min: 0, max: 5 }))
    .map(([m, e]) => (m / 10 ** e).toFixed(e)),
  fc.constantFrom('0', '-0', '1.', '.5', '-.5', '1e5', '1E-400', '1e400', '00012', '123456789012345678901234567890'),
);
const value = fc.oneof(
  number,
  fc.constantFrom('t', 'T', 'true', 'True', 'TRUE', 'f', 'F', 'false', 'False', 'FALSE', 'tRUE', 'TRue'),
  fc.string({ maxLength: 8 }).map((text) => `"${text.replace(/["\\]/g, '\\$&')}"`),
  fc.constantFrom('""', '"a\nb"', '"a\\b"', '"x, y=z"', '"\\\\"'),
);

export const line = fc
  .record({
    measurement: name.map((text) => text.replace(/[, ]/g, '\\$&')),
    tags: fc.array(fc.tuple(name.map(tagText), name.map(tagText)), { maxLength: 3 }),
    fields: fc.array(fc.tuple(name.map(tagText), value), { minLength: 1, maxLength: 4 }),
    time: fc.oneof(
      fc.constant(''),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n }).map((t) => ` ${t}`),
      fc.nat().map((t) => ` ${t}`),
    ),
  })
  .map(({ measurement, tags, fields, time }) => {
    const key = [measurement, ...tags.map(([k, v]) => `${k}=${v}`)].join(',');
    return `${key} ${fields.map(([k, v]) => `${k}=${v}`).join(',')}${time}`;
  });

export const precision = fc.constantFrom<Precision>('n', 'u', 'ms', 's', 'm', 'h');

/** Places and what is put there; `delete` takes a byte away. */
export const edit = fc.tuple(
  fc.nat(400),
  fc.constantFrom(...', =\\"\n\r\t\0#-.ieut0', ...'\x80\xa8\xc3\xe2\xed\xf0\xff', 'delete'),
);

export function edited(lines: readonly string[], edits: readonly (readonly [number, string])[]): Buffer {
  let text = Buffer.from(lines.join('\n')).toString('latin1');
  for (const [where, what] of edits) {
    const at = where % (text.length + 1);
    text = what === 'delete' ? text.slice(0, at) + text.slice(at + 1) : text.slice(0, at) + what + text.slice(at);
  }
  return Buffer.from(text, 'latin1');
}

export const noise = fc.array(fc.constantFrom(...'a,b= \\"\n1it.-e\t'), { maxLength: 40 });

/** Lines as agents send them: one shape for each measurement, times close together. */
export const regularLine = fc
  .record({
    measurement: fc.constantFrom('cpu', 'mem', 'disk\\ io'),
    host: fc.nat(9),
    values: fc.array(
      fc.oneof(fc.integer({ min: -9999, max: 9999 }), fc.double({ noNaN: true, noDefaultInfinity: true })),
      {
        minLength: 1,
        maxLength: 6,
      },
    ),
    kind: fc.constantFrom(
      'decimal',
      'decimal',
      'decimal',
      'shortest',
      'integer',
      'unsigned',
      'boolean',
      'string',
      'odd',
    ),
    skip: fc.nat(3),
    at: fc.integer({ min: 0, max: 5000 }),
  })
  .map(({ measurement, host, values, kind, skip, at }) => {
    const text = (value: number, i: number) => {
      switch (kind) {
        case 'decimal':
          return `d${i}=${(Math.round(value) / 100).toFixed(i % 4)}`;
        case 'integer':
          return `i${i}=${Math.round(value % 1e9)}i`;
        case 'unsigned':
          return `u${i}=${Math.abs(Math.round(value % 1e9))}u`;
        case 'boolean':
          return `b${i}=${value > 0 ? 'true' : 'F'}`;
        case 'string':
          return `s${i}="text ${Math.round(value) % 3} é"`;
        case 'odd':
          return `s${i}="a \\"quoted\\" ${Math.round(value) % 3}"`;
        default:
          return `d${i}=${value}`;
      }
    };
    const fields = values.map(text).filter((_, i) => skip === 0 || i % 3 !== skip - 1);
    if (fields.length === 0) fields.push('d0=-0');
    return `${measurement},host=h${host},zone=z${host % 3} ${fields.join(',')} ${at}`;
  });
