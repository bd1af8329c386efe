import { existsSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Precision } from '../../shards/line-protocol.ts';
import { edit, edited, line, noise, precision } from './lines.ts';
import { referenceParse } from './reference-parser.ts';
import { newParser, parseOnce, pointsOf, sortedPoints } from './support.ts';

const CORPUS = new URL('../../../shared/conformance/lineproto_open.json.gz', import.meta.url);
const NOW = 1_700_000_000_123_456_789n;

function compare(body: Buffer, precision: Precision): void {
  const expected = referenceParse(body, precision, NOW);
  const { series, parser } = newParser();
  // The second time the series are known and the fast parser takes what it can.
  for (let round = 0; round < 2; round++) {
    const parsed = parser.parse(body, precision, NOW);
    expect(parsed.errors.map((error) => error.message)).toEqual(expected.errors);
    expect(sortedPoints(pointsOf(parsed, series))).toEqual(sortedPoints(expected.points));
  }
}

describe('line protocol', () => {
  it('generated bodies give the points of the reference parser', () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 6 }), precision, (lines, p) => compare(Buffer.from(lines.join('\n')), p)),
      { numRuns: 1500, seed: 7 },
    );
  });

  it('mutated bodies give the points and the errors of the reference parser', () => {
    fc.assert(
      fc.property(
        fc.array(line, { minLength: 1, maxLength: 4 }),
        fc.array(edit, { maxLength: 4 }),
        precision,
        (lines, edits, p) => {
          compare(edited(lines, edits), p);
        },
      ),
      { numRuns: 9000, seed: 11 },
    );
  });

  it('noise of significant bytes gives the points and the errors of the reference parser', () => {
    fc.assert(
      fc.property(noise, (bytes) => compare(Buffer.from(bytes.join('')), 'n')),
      { numRuns: 5000, seed: 13 },
    );
  });

  it('the conformance corpus is accepted and refused as recorded', ({ skip }) => {
    if (!existsSync(CORPUS)) return skip('the corpus is not on this machine');
    const { cases } = JSON.parse(gunzipSync(readFileSync(CORPUS)).toString('utf8'));
    const wrong: string[] = [];
    for (const item of cases) {
      const body = item.input_b64 ? Buffer.from(item.input_b64, 'base64') : Buffer.from(item.input, 'utf8');
      const unit = (item.precision === 'ns' ? 'n' : (item.precision ?? 'n')) as Precision;
      compare(body, unit);
      const { series, parser } = newParser();
      const parsed = parser.parse(body, unit, NOW);
      const messages = parsed.errors.map((error) => error.message).join('\n');
      if ((parsed.failed === 0) !== item.valid) wrong.push(item.id);
      if (item.err && item.source === 'influxdb-points' && !messages.includes(item.err)) wrong.push(item.id);
      if (item.valid && item.points) {
        // Lines of the same series and time are one point only after batching.
        const times = new Set(item.points.map((point: { time: string | null }) => point.time ?? NOW.toString()));
        if (pointsOf(parsed, series).some((point) => unit === 'n' && !times.has(point.time))) wrong.push(item.id);
        if (parsed.rows !== item.points.length) wrong.push(item.id);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('bytes that are no UTF-8 are refused wherever they stand, before and after their line is known', () => {
    const { series, parser } = newParser();
    const spoilt = [
      'm\xff,h=x v="s" 1',
      'm,\xfe=x v="s" 1',
      'm,h=x\xff v="s" 1',
      'm,h=x \xc3=1 1',
      'm,h=x v="a\xff\xfeb" 1',
    ];
    // Overlong, a surrogate, beyond U+10FFFF, cut short by what a string's end is taken for.
    spoilt.push(
      'm,h=x v="\xc0\xaf" 1',
      'm,h=x v="\xed\xa0\x80" 1',
      'm,h=x v="\xf4\x90\x80\x80" 1',
      'm,h=x v="s"\xc3\xa9 1',
    );
    const good = 'm,h=\xc3\xa9 v="\xf0\x9f\x98\x80\xef\xbf\xbd" 1\nm,h=x v="s" 2';
    const body = Buffer.from([...spoilt, good].join('\n'), 'latin1');
    for (let round = 0; round < 3; round++) {
      const parsed = parser.parse(body, 'n', NOW);
      expect(parsed.failed).toBe(spoilt.length);
      for (const { message } of parsed.errors) expect(message).toMatch(/: invalid UTF-8$/);
      expect(pointsOf(parsed, series).map(({ key }) => key)).toEqual(['["m","h=é"]', '["m","h=x"]']);
    }
    expect(series.size).toBe(2);
  });

  it('good lines beside bad ones are kept, and the bad ones are quoted', () => {
    const parsed = parseOnce('cpu v=1 1\ncpu,host=a\ncpu v=2 2\ncpu v=x 3');
    expect(parsed.rows).toBe(2);
    expect(parsed.lines).toBe(4);
    expect(parsed.errors).toEqual([
      { message: "unable to parse 'cpu,host=a': missing fields" },
      { message: "unable to parse 'cpu v=x 3': invalid boolean" },
    ]);
  });

  it('a bad line leaves nothing behind in the columns of the next', () => {
    const { series, parser } = newParser();
    parser.parse(Buffer.from('cpu a=1,b=2 1'), 'n', 0n);
    const parsed = parser.parse(Buffer.from('cpu a=1,b=2,c= 1\ncpu a=3 2'), 'n', 0n);
    expect(pointsOf(parsed, series)).toEqual([
      { key: '["cpu"]', time: '2', fields: new Map([['["a",0]', '4008000000000000']]) },
    ]);
  });

  it('a line beyond the limit is an error and the rest is read', () => {
    const parsed = parseOnce(`cpu s="${'x'.repeat(5 << 20)}" 1\ncpu v=1 2`);
    expect([parsed.rows, parsed.failed]).toEqual([1, 1]);
    expect(parsed.errors[0]!.message.length).toBeLessThan(20_000);
  });

  it('wide lines after very many narrow ones are refused before memory runs out', () => {
    const narrow = 'm a=1 1\n'.repeat(300_000);
    const wide = `m ${Array.from({ length: 2000 }, (_, i) => `f${i}=1`).join(',')} 2\n`;
    const parsed = parseOnce(`${narrow}${wide}m a=2 3`);
    expect([parsed.rows, parsed.failed]).toEqual([300_001, 1]);
    expect(parsed.errors[0]!.message).toContain('smaller parts');
  });

  it('two spellings and two orders of tags are one series', () => {
    const { series, parser } = newParser();
    const [group] = parser.parse(Buffer.from('m,b=2,a=1 v=1 1\nm,a=1,b=2 v=1 2\n'), 'n', 0n).groups;
    expect(group!.rowSeries[0]).toBe(group!.rowSeries[1]);
    expect(series.key(group!.rowSeries[0]!)).toBe('m,a=1,b=2');
  });

  it('ids of the generation before stay readable when the cache is full', () => {
    const { series, parser } = newParser(4);
    const first = parser.parse(Buffer.from('m,a=1 v=1 1\nm,a=2 v=1 1\nm,a=3 v=1 1'), 'n', 0n);
    const second = parser.parse(Buffer.from('m,a=1 v=1 1'), 'n', 0n);
    expect(series.generation).toBe(1);
    const [before, after] = [first.groups[0]!.rowSeries[0]!, second.groups[0]!.rowSeries[0]!];
    expect(before).not.toBe(after);
    expect(series.hash(before)).toBe(series.hash(after));
  });
});
