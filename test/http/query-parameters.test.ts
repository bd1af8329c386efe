/** Fields of a query's text are those of URLSearchParams, but for bytes that are no UTF-8; params are read in one go. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fieldsOfBody, fieldsOfQuery, NO_TEXT, queryParameters } from '../../server/http/query-parameters.ts';

const PIECES =
  "q db = = & & + % %20 %2B %C3%A9 %c3 %EF%BB%BF %ED%A0%80 %00 %F0%9F%98%80 %zz %2 ' ? / %26 %3D SELECT %FF %C0%80".split(
    ' ',
  );

const FORM = 'application/x-www-form-urlencoded; charset=utf-8';

test('of any text', () => {
  const text = fc.array(fc.constantFrom(...PIECES), { maxLength: 14 }).map((pieces) => pieces.join(''));
  fc.assert(
    fc.property(text, (query) => {
      // No piece is a replacement character by itself.
      const textOf = (text: string) => (text.includes('\ufffd') ? NO_TEXT : text);
      const expected = new Map<string, string>();
      for (const [name, value] of new URL(`http://node/query?${query}`).searchParams)
        if (!expected.has(textOf(name))) expected.set(textOf(name), textOf(value));
      expect([...fieldsOfQuery(query)]).toEqual([...expected]);
      expect([...fieldsOfBody(FORM, Buffer.from(query))]).toEqual([...expected]);
      const more = fieldsOfBody(FORM, Buffer.from(`${query}&%C3%A9=\u00e9`));
      expect([...more]).toEqual([...(expected.has('\u00e9') ? expected : expected.set('\u00e9', '\u00e9'))]);
    }),
    { numRuns: 5_000, seed: 5 },
  );
});

const LATIN1 = Buffer.from([0x71, 0x3d, 0xe9]);
const part = (value: Buffer) =>
  Buffer.concat([
    Buffer.from('--b\r\nContent-Disposition: form-data; name="q"\r\n\r\n'),
    value,
    Buffer.from('\r\n--b--'),
  ]);

test.each([
  ['the URL', () => fieldsOfQuery('q=%E9')],
  ['a form', () => fieldsOfBody(FORM, LATIN1)],
  ['a form with escapes', () => fieldsOfBody(FORM, Buffer.from('q=%E9'))],
  ['a part', () => fieldsOfBody('multipart/form-data; boundary=b', part(Buffer.from([0xe9])))],
])('a text that is no UTF-8 is refused: %s', (_, fields) => {
  expect(queryParameters(fields())).toBe('invalid UTF-8 in parameter "q"');
});

test('names and params that are no UTF-8 are refused; what is not read is not looked at', () => {
  for (const name of ['db', 'rp', 'params'])
    expect(queryParameters(fieldsOfQuery(`q=x&${name}=%FF`))).toBe(`invalid UTF-8 in parameter "${name}"`);
  expect(queryParameters(fieldsOfQuery('q=x&p=%FF'))).toMatchObject({ text: 'x' });
  expect(queryParameters(fieldsOfQuery('q=%EF%BF%BD'))).toMatchObject({ text: '\ufffd' });
});

test('params that nobody can mean take no longer than their length asks for', () => {
  const params = (text: string) =>
    queryParameters(
      new Map([
        ['q', 'x'],
        ['params', text],
      ]),
    );
  const began = process.cpuUsage();
  expect(params(`"${'\\"'.repeat(60_000)}`)).toMatch(/^error parsing query parameters: /);
  expect(params('"'.repeat(100_001))).toMatch(/^error parsing query parameters: /);
  const long = 'x'.repeat(12_000_000);
  expect(params(`{"a":"${long}","b":-1.${'9'.repeat(100_000)}}`)).toMatchObject({ params: { a: long, b: -2 } });
  const many = '9'.repeat(100_000);
  for (const number of [many, `-${many}`, `1e${many}`])
    expect(params(`{"b":${number}}`)).toMatch(/^error parsing json value: .{1,300}$/);
  const { user } = process.cpuUsage(began);
  // A search for the end of a string from each of its quotes takes half a minute.
  expect(user / 1e6).toBeLessThan(5);
});
