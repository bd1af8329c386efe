/** What is found on the disk of a removed member, and how it is written as line protocol. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Ledger } from '../../repair/ledger.ts';
import { Outbox } from '../../repair/outbox.ts';
import { openLeftovers } from '../../server/leftovers.ts';
import { deleteText, linesOf, textOf } from '../../server/line-protocol-text.ts';
import { nodeFiles } from '../../server/node-files.ts';
import type { Batch, DeleteBatch, WriteBatch } from '../../shards/batch.ts';
import { decodeBatch, encodeBatch } from '../../shards/batch-codec.ts';
import { type Column, makeValues } from '../../shards/column.ts';
import { Engine } from '../../shards/engine.ts';
import { holdFrame } from '../../shards/held-frame.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { encodeKeys } from '../../shards/series-keys.ts';
import { STORAGE_LIMITS } from '../../shards/storage-limits.ts';
import { stampOf, type Version } from '../../shards/version.ts';
import { newParser, pointsOf } from '../ingest/support.ts';
import { deleteBatch, KEY, keysOf, type PlainRow, SHARD, versionAt, writeBatch } from '../storage/helpers.ts';

const NODE = { number: '00000000000000aa', name: 'n', clusterId: 'c', seed: 's', workers: 1 };
const row = (n: number): PlainRow => ({ key: `m,host=h${n}`, time: n, fields: { f: n } });

describe('leftovers', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'starling-leftovers-'));
    mkdirSync(join(root, 'shards'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  function openEngine(): Engine {
    return Engine.open({
      shardsDirectory: join(root, 'shards'),
      directory: join(root, 'worker-0'),
      owns: () => true,
      files: nodeFiles(),
      companion: () => new Ledger(),
      limits: STORAGE_LIMITS,
      openDatabase: (path) => new Database(path),
      nowMs: () => 0,
    });
  }

  async function put(engine: Engine, batch: Batch, rows: readonly PlainRow[] = []): Promise<void> {
    const shard = engine.create(KEY);
    const frame = encodeBatch(batch);
    const position = engine.append([{ shard: SHARD, keys: keysOf(rows), frame }]);
    await new Promise<void>((resolve, reject) => engine.sync((error) => (error === null ? resolve() : reject(error))));
    const held = holdFrame(frame);
    (engine.companionOf(SHARD) as Ledger).add(held.version, held.content, held.rows);
    shard.apply(held, keysOf(rows), position);
  }

  async function putInOutbox(version: Version, rows: readonly PlainRow[]): Promise<void> {
    const outbox = new Outbox(nodeFiles(), join(root, 'worker-0', 'outbox'), 1 << 20, 1 << 20);
    const frame = encodeBatch(writeBatch(version, rows));
    await new Promise<void>((resolve) =>
      outbox.put(KEY, version, frame, encodeKeys(keysOf(rows)), [], () => [], resolve),
    );
    outbox.close();
  }

  function found(): { lines: string[]; problems: readonly string[] } {
    const leftovers = openLeftovers(root, NODE);
    const lines = [...leftovers.read(leftovers.batches)].flatMap(
      ({ frame, keys }) => textOf(decodeBatch(frame), keys).lines,
    );
    leftovers.close();
    return { lines: lines.sort(), problems: leftovers.problems };
  }

  /** 1 below the floor; 2 flushed above it; 3 in the log; a delete; 4 in the outbox as well; 5 there only. */
  async function fill(): Promise<void> {
    const engine = openEngine();
    await put(engine, writeBatch(versionAt(1), [row(1)]), [row(1)]);
    await put(engine, writeBatch(versionAt(2), [row(2)]), [row(2)]);
    (engine.companionOf(SHARD) as Ledger).adoptFloor(stampOf(versionAt(1)));
    engine.shards.get(SHARD)!.flush();
    await put(engine, writeBatch(versionAt(3), [row(3)]), [row(3)]);
    await put(engine, deleteBatch(versionAt(4), { measurement: { name: 'm' }, maxTime: 2 }));
    engine.close();
    await putInOutbox(versionAt(3), [row(3)]);
    await putInOutbox(versionAt(5), [row(5)]);
  }

  const EXPECTED = [
    '# DELETE FROM m WHERE time >= 0 AND time <= 2',
    'm,host=h2 f=2 2',
    'm,host=h3 f=3 3',
    'm,host=h5 f=5 5',
  ];

  test('are the batches above the floor, of files, log and outbox, each once and as often as they are looked for', async () => {
    await fill();
    expect(found()).toEqual({ lines: EXPECTED, problems: [] });
    expect(found()).toEqual({ lines: EXPECTED, problems: [] });
  });

  test('a damaged shard file or outbox entry costs what was in it, and is said', async () => {
    await fill();
    const outbox = join(root, 'worker-0', 'outbox');
    const [segment] = readdirSync(outbox);
    const bytes = readFileSync(join(outbox, segment!));
    bytes[bytes.length - 5]! ^= 0xff;
    writeFileSync(join(outbox, segment!), bytes);
    const { lines, problems } = found();
    expect(lines).toEqual(EXPECTED.slice(0, 3));
    expect(problems.every((problem) => problem.includes('outbox'))).toBe(true);
    writeFileSync(join(root, 'shards', `${SHARD}.sqlite`), 'no database');
    const later = found();
    expect(later.problems.join()).toContain(`${SHARD}.sqlite`);
    // What the log still has is there.
    expect(later.lines).toContain('m,host=h3 f=3 3');
  });
});

describe('line protocol of a batch', () => {
  const text = fc.string({
    unit: fc.constantFrom('a', 'Z', ' ', ',', '=', '"', 'ä', '😀', '.'),
    minLength: 1,
    maxLength: 6,
  });
  const value = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((v) => ({ type: 0 as const, v })),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((v) => ({ type: 1 as const, v })),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((v) => ({ type: 2 as const, v })),
    fc
      .string({ unit: fc.constantFrom('a', ' ', ',', '=', '"', '\\', '\n', 'ä', '#'), maxLength: 6 })
      .map((v) => ({ type: 3 as const, v })),
    fc.boolean().map((b) => ({ type: 4 as const, v: b ? 1 : 0 })),
  );

  test('is read back as it was: names, types, values, times', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(text, text), { maxLength: 3 }),
        text,
        fc.uniqueArray(fc.tuple(text, value), { selector: ([name]) => name, minLength: 1, maxLength: 4 }),
        fc.integer({ min: 0, max: 1e12 }),
        (tags, measurement, fields, time) => {
          // As the parser gives it: what it would read otherwise is not the matter here.
          const { parser, series } = newParser();
          const unique = [...new Map(tags)].map(([k, v]) => `,${escaped(k)}=${escaped(v)}`).join('');
          const named = measurement.replace(/[, ]/g, '\\$&');
          const first = parser.parse(Buffer.from(`${named}${unique} x=1 1`), 'n', 0n);
          fc.pre(first.failed === 0 && first.rows === 1);
          const key = series.key(first.groups[0]!.rowSeries[0]!);
          const columns = fields.map(([field, { type, v }]): Column => {
            const values = makeValues(type, 1);
            values[0] = v as never;
            return { field, type, present: null, values };
          });
          const batch: WriteBatch = {
            kind: 'write',
            shard: KEY,
            version: versionAt(1),
            series: [hashSeriesKey('seed', key)],
            groups: [{ measurement, rowSeries: Uint32Array.of(0), times: Float64Array.of(time), columns }],
          };
          const { lines, unnamed } = linesOf(batch, [{ hash: batch.series[0]!, key }]);
          expect([lines.length, unnamed]).toEqual([1, 0]);
          const again = parser.parse(Buffer.from(`# a comment\n${lines.join('\n')}\n`), 'n', 0n);
          expect(again.errors).toEqual([]);
          const points = pointsOf(again, series);
          expect(points).toHaveLength(1);
          expect(series.key(again.groups[0]!.rowSeries[0]!)).toBe(key);
          expect(points[0]!.time).toBe(String(time));
          const read = again.groups[0]!.columns.map((column) => [column.field, column.type, column.values[0]]);
          expect(read.sort()).toEqual(columns.map(({ field, type, values }) => [field, type, values[0]]).sort());
        },
      ),
      { numRuns: 500 },
    );
  });

  test('leaves out cells that a row does not have, and counts rows without a name', () => {
    const rows: PlainRow[] = [
      { key: 'm,host=a', time: 1, fields: { x: 1 } },
      { key: 'm,host=b', time: 2, fields: { y: 2 } },
    ];
    const batch = writeBatch(versionAt(1), rows) as WriteBatch;
    expect(linesOf(batch, keysOf(rows))).toEqual({ lines: ['m,host=a x=1 1', 'm,host=b y=2 2'], unnamed: 0 });
    expect(linesOf(batch, keysOf(rows.slice(0, 1)))).toEqual({ lines: ['m,host=a x=1 1'], unnamed: 1 });
  });

  test('deletes are InfluxQL in a comment of one line', () => {
    const batch = deleteBatch(versionAt(1), {
      measurement: { regex: 'a/b' },
      condition: {
        op: 'or',
        terms: [
          { op: '=', key: 'host', value: "it's\n" },
          { op: '!~', key: 'a key', regex: 'x.*' },
        ],
      },
      minTime: 5,
      maxTime: 9,
    }) as DeleteBatch;
    const expected = `DELETE FROM /a\\/b/ WHERE (host = 'it\\'s\\n' OR "a key" !~ /x.*/) AND time >= 5 AND time <= 9`;
    expect(deleteText(batch)).toBe(expected);
    expect(textOf(batch, []).lines).toEqual([`# ${expected}`]);
  });
});

function escaped(name: string): string {
  return name.replace(/[, =]/g, '\\$&');
}
