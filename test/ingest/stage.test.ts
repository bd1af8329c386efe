/** The ingest kernel's stage against the parser, the builder and the encoder in TypeScript. */
import { existsSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { WriteBatch } from '../../shards/batch.ts';
import { BatchBuilder, type GroupSchema, type RoutingPolicy, routePoints } from '../../shards/batch-builder.ts';
import { decodeBatch, encodeBatch } from '../../shards/batch-codec.ts';
import type { FieldType } from '../../shards/column.ts';
import { type AddResult, IngestStage } from '../../shards/kernel/ingest-stage.ts';
import { LineParser, type Precision } from '../../shards/line-protocol.ts';
import { LINE_LIMITS } from '../../shards/line-protocol-errors.ts';
import { SeriesCache } from '../../shards/series-cache.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { decodeKeys } from '../../shards/series-keys.ts';
import { edit, edited, line, noise, precision, regularLine } from './lines.ts';
import { cellsOf, POLICY, VERSION, WEEK_NS } from './support.ts';

const CORPUS = new URL('../../../shared/conformance/lineproto_open.json.gz', import.meta.url);
const NOW = 1_700_000_000_123_456_789n;
const SEED = 'seed';
class Schemas {
  readonly types: Map<string, FieldType>;
  constructor(types = new Map<string, FieldType>()) {
    this.types = new Map(types);
  }
  of = (startNs: bigint): GroupSchema => {
    const name = (measurement: string, field: string) => JSON.stringify([startNs.toString(), measurement, field]);
    return {
      typeOf: (measurement, field) => this.types.get(name(measurement, field)) ?? null,
      learn: (measurement, field, type) => void this.types.set(name(measurement, field), type),
      revision: 0,
    };
  };
  sorted() {
    return [...this.types].sort();
  }
}

/** What TypeScript makes of the bodies, one stage. */
class Reference {
  readonly series = new SeriesCache((key) => hashSeriesKey(SEED, key), 100_000, 4);
  readonly parser = new LineParser(this.series, LINE_LIMITS);
  builders = new Map<string, BatchBuilder>();

  add(body: Buffer, unit: Precision, schemas: Schemas, policy: RoutingPolicy) {
    const parsed = this.parser.parse(body, unit, NOW);
    const rejected = routePoints(parsed, policy, this.series, schemas.of, (shard) => {
      const name = `${shard.startNs} ${shard.number}`;
      const builder = this.builders.get(name) ?? new BatchBuilder(shard);
      this.builders.set(name, builder);
      return builder;
    });
    return { parsed, rejected };
  }

  batches(): WriteBatch[] {
    const batches = [...this.builders.values()].map((builder) => builder.build(VERSION).batch);
    this.builders = new Map();
    return batches.map((batch) => decodeBatch(encodeBatch(batch)) as WriteBatch);
  }
}

const placed = (batches: readonly WriteBatch[]) =>
  batches
    .map((batch) => [`${batch.shard.startNs} ${batch.shard.endNs} ${batch.shard.number}`, cellsOf(batch)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));

interface Body {
  readonly bytes: Buffer;
  readonly unit: Precision;
}

/** In one or more pieces. */
function pieces(bytes: Buffer): Buffer[] {
  const middle = bytes.length >> 1;
  return bytes.length % 3 === 0 ? [bytes] : [bytes.subarray(0, middle), bytes.subarray(middle)];
}

/** Rows of one series and time. */
function repeats(reference: Reference): boolean {
  const before = new Map([...reference.builders].map(([name, builder]) => [name, builder.rows]));
  return [...reference.builders].some(([name, builder]) => {
    const rows = builder.build(VERSION).batch.groups.reduce((sum, group) => sum + group.times.length, 0);
    return rows < before.get(name)!;
  });
}

/** A stage for many comparisons, now and then a new one, which knows no series. */
let shared = { stage: new IngestStage(SEED, 100_000, 4, LINE_LIMITS), uses: 0 };
function sharedStage(): IngestStage {
  if (++shared.uses > 30) shared = { stage: new IngestStage(SEED, 100_000, 4, LINE_LIMITS), uses: 0 };
  return shared.stage;
}

/** Rounds of the same bodies: in the second one all series are known. */
function compare(bodies: readonly Body[], policy = POLICY, stage = sharedStage()) {
  const kinds: AddResult['kind'][] = [];
  for (let round = 0; round < 2; round++) {
    const reference = new Reference();
    const [ours, theirs] = [new Schemas(), new Schemas()];
    stage.begin(policy, NOW);
    for (const { bytes, unit } of bodies) {
      const result = stage.add(pieces(bytes), unit, NOW, ours.of);
      kinds.push(result.kind);
      if (result.kind === 'general') {
        // The general path has it; here only what it left behind counts: nothing.
        const alone = new Reference();
        const { parsed, rejected } = alone.add(bytes, unit, new Schemas(theirs.types), policy);
        const groups = new Set([...alone.builders.values()].map((builder) => builder.shard.startNs));
        const conflicting = rejected.reason !== null;
        const beyond = [...groups].some((startNs) => startNs < -(2n ** 63n));
        expect([bytes.toString(), groups.size > 7 || conflicting || beyond || timeField(bytes)]).toEqual([
          bytes.toString(),
          true,
        ]);
        expect(parsed.rows).toBeGreaterThan(0);
        continue;
      }
      if (result.kind !== 'taken') throw new Error(`body was ${result.kind}`);
      const { parsed, rejected } = reference.add(bytes, unit, theirs, policy);
      expect(result.errors).toEqual(parsed.errors);
      expect([result.failed, result.rows, result.aged]).toEqual([parsed.failed, parsed.rows, rejected.dropped]);
      expect([null, 'points beyond retention policy']).toContain(rejected.reason);
    }
    stage.teach();
    expect(ours.sorted()).toEqual(theirs.sorted());
    if (stage.hasDuplicates()) {
      expect(repeats(reference)).toBe(true);
      continue;
    }
    const wanted = reference.batches();
    const found: WriteBatch[] = [];
    for (const target of stage.targets()) {
      const { frame, keys, allKeys } = stage.seal(target, VERSION, 1, round === 1, true);
      const batch = decodeBatch(frame) as WriteBatch;
      found.push(batch);
      const records = decodeKeys(allKeys ?? keys);
      expect(records.map(({ hash }) => hash)).toEqual(batch.series);
      expect(records.map(({ key }) => hashSeriesKey(SEED, key))).toEqual(batch.series);
    }
    expect(placed(found)).toEqual(placed(wanted));
  }
  return kinds;
}

function timeField(bytes: Buffer): boolean {
  return bytes.includes('time');
}

const body = (lines: readonly string[], unit: Precision = 'n'): Body => ({
  bytes: Buffer.from(lines.join('\n')),
  unit,
});

describe('the stage', () => {
  it('generated bodies give the cells, keys and errors of the TypeScript path', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.array(line, { maxLength: 5 }), precision), { maxLength: 3 }),
        (list) => void compare(list.map(([lines, unit]) => body(lines, unit))),
      ),
      { numRuns: 1000, seed: 21 },
    );
  });

  it('mutated bodies give the cells, keys and errors of the TypeScript path', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(line, regularLine), { minLength: 1, maxLength: 4 }),
        fc.array(edit, { maxLength: 4 }),
        precision,
        (lines, edits, unit) => void compare([{ bytes: edited(lines, edits), unit }]),
      ),
      { numRuns: 2000, seed: 22 },
    );
  });

  it('noise of significant bytes gives the errors of the TypeScript path', () => {
    fc.assert(
      fc.property(noise, (bytes) => void compare([{ bytes: Buffer.from(bytes.join('')), unit: 'n' }])),
      { numRuns: 3000, seed: 23 },
    );
  });

  it('bodies of agents, many in one stage, in one kernel that lives on', () => {
    const stage = new IngestStage(SEED, 100_000, 4, LINE_LIMITS);
    const kinds = new Map<string, number>();
    fc.assert(
      fc.property(
        fc.array(fc.array(regularLine, { minLength: 1, maxLength: 60 }), { minLength: 1, maxLength: 4 }),
        fc.constantFrom<Precision>('n', 's', 'ms'),
        (list, unit) => {
          for (const kind of compare(
            list.map((lines) => body(lines, unit)),
            POLICY,
            stage,
          ))
            kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
        },
      ),
      { numRuns: 400, seed: 24 },
    );
    expect(kinds.get('taken')).toBeGreaterThan(1000);
  });

  it('the conformance corpus gives the cells, keys and errors of the TypeScript path', ({ skip }) => {
    if (!existsSync(CORPUS)) return skip('the corpus is not on this machine');
    const { cases } = JSON.parse(gunzipSync(readFileSync(CORPUS)).toString('utf8'));
    const stage = new IngestStage(SEED, 100_000, 4, LINE_LIMITS);
    for (const item of cases) {
      const bytes = item.input_b64 ? Buffer.from(item.input_b64, 'base64') : Buffer.from(item.input, 'utf8');
      const unit = (item.precision === 'ns' ? 'n' : (item.precision ?? 'n')) as Precision;
      compare([{ bytes, unit }], POLICY, stage);
    }
  });

  it('lines that follow one another with one series and time become one row, in which the last value wins', () => {
    const cell = fc.constantFrom(
      'a=1',
      'a=2.5',
      'a=-0',
      'b=1i',
      'b=2i',
      's="x"',
      's="yz"',
      's=""',
      't=true',
      't=f',
      'u=7u',
    );
    const point = fc.tuple(fc.nat(2), fc.nat(3), fc.array(cell, { minLength: 1, maxLength: 5 }));
    const stage = new IngestStage(SEED, 100_000, 4, LINE_LIMITS);
    fc.assert(
      fc.property(
        fc.array(fc.array(point, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 2 }),
        (bodies) => {
          // Each time is used once in a body, and by one body only.
          let at = 0;
          const lines = bodies.map((points) =>
            points.flatMap(([host, gap, cells]) => {
              at += gap + 1;
              return cells.map((text) => `m,host=${host} ${text} ${at}`);
            }),
          );
          compare(
            lines.map((each) => body(each)),
            POLICY,
            stage,
          );
          expect(stage.hasDuplicates()).toBe(false);
        },
      ),
      { numRuns: 500, seed: 26 },
    );
  });

  it('a row of an earlier body is not touched by a body that is rolled back', () => {
    const stage = new IngestStage(SEED, 100_000, 4, LINE_LIMITS);
    const schemas = new Schemas();
    stage.begin(POLICY, NOW);
    stage.add([Buffer.from('m v=1 1')], 'n', NOW, schemas.of);
    expect(stage.add([Buffer.from('m v=2 1\nm v=3i 2')], 'n', NOW, schemas.of).kind).toBe('general');
    expect(stage.hasDuplicates()).toBe(false);
    const { frame } = stage.seal(stage.targets()[0]!, VERSION, 1, false, false);
    expect(cellsOf(decodeBatch(frame)).map((text) => JSON.parse(text).slice(2))).toEqual([
      [1, 'v', 0, '3ff0000000000000'],
    ]);
    stage.begin(POLICY, NOW);
    stage.add([Buffer.from('m v=1 1')], 'n', NOW, schemas.of);
    expect(stage.add([Buffer.from('m v=2 1')], 'n', NOW, schemas.of).kind).toBe('taken');
    expect(stage.hasDuplicates()).toBe(true);
  });

  it('sees a time twice in a series whose rows alternate between shard groups, and nothing else', () => {
    const stage = new IngestStage(SEED, 100_000, 4, LINE_LIMITS);
    const schemas = new Schemas();
    const hasDuplicates = (times: readonly bigint[]) => {
      stage.begin(POLICY, NOW);
      const lines = times.map((time, i) => `m v=${i} ${time}`);
      expect(stage.add([Buffer.from(lines.join('\n'))], 'n', NOW, schemas.of).kind).toBe('taken');
      return stage.hasDuplicates();
    };
    const [a, b] = [NOW, NOW + WEEK_NS];
    expect(hasDuplicates([a, a + 1n, b, a])).toBe(true);
    expect(hasDuplicates([a, b, b + 1n, a + 1n, b])).toBe(true);
    expect(hasDuplicates([a + 1n, b + 1n, a, b, a + 2n])).toBe(false);
    expect(hasDuplicates([a, b])).toBe(false);
  });

  it('takes no time for that of the line before which differs in a digit, is longer, or is not there', () => {
    const stage = new IngestStage(SEED, 100_000, 4, LINE_LIMITS);
    const schemas = new Schemas();
    const times = (text: string, unit: Precision = 'n') => {
      stage.begin(POLICY, NOW);
      expect(stage.add([Buffer.from(text)], unit, NOW, schemas.of)).toMatchObject({ kind: 'taken', failed: 0 });
      const found = stage.targets().flatMap((target) => {
        const batch = decodeBatch(stage.seal(target, VERSION, 1, false, false).frame) as WriteBatch;
        return batch.groups.flatMap((group) => [...group.times].map((time) => target.shard.startNs + BigInt(time)));
      });
      return found.sort((x, y) => (x < y ? -1 : 1));
    };
    const old = NOW - 10n ** 17n;
    const lines = [NOW, NOW, NOW + 1n, old, NOW].map((time, i) => `m,t=${i} v=1 ${time}`);
    const more = ['m,t=5 v=1', 'm,t=6 v=1 ', `m,t=7 v=1 ${NOW + 2n} `, `m,t=8 v=1 ${NOW + 2n}`, 'm,t=9 v=1'];
    const expected = [old, NOW, NOW, NOW, NOW, NOW, NOW, NOW + 1n, NOW + 2n, NOW + 2n];
    expect(times([...lines, ...more].join('\n'))).toEqual(expected);
    expect(times(`m v=1 ${NOW}\n`)).toEqual([NOW]);
    expect(times('m v=1')).toEqual([NOW]);
    expect(times('m v=1 1700000000\n', 's')).toEqual([1_700_000_000n * 10n ** 9n]);
  });

  it('rows beyond retention are counted and dropped', () => {
    const policy = { ...POLICY, oldestNs: 10n * WEEK_NS };
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(3), fc.nat(20)), { minLength: 1, maxLength: 20 }), (rows) => {
        const lines = rows.map(([host, week], i) => `m,h=${host} v=${i} ${BigInt(week) * WEEK_NS + BigInt(i)}`);
        compare([body(lines)], policy);
      }),
      { numRuns: 200, seed: 25 },
    );
  });

  it('a body that is general, full or of an unknown group leaves nothing behind', () => {
    const stage = new IngestStage(SEED, 100_000, 4, { ...LINE_LIMITS, scratchBytesMax: 200_000 });
    const schemas = new Schemas();
    const add = (text: string, of: (startNs: bigint) => GroupSchema | null = schemas.of) =>
      stage.add([Buffer.from(text)], 'n', NOW, of);
    stage.begin(POLICY, NOW);
    expect(add('m v=1,s="x" 1\nm v=2 2').kind).toBe('taken');
    expect(add('m v=1i 3\nm w=1,v=1 3').kind).toBe('general');
    expect(add('m,time=x v=1 3').kind).toBe('general');
    expect(add('m time=1 3').kind).toBe('general');
    expect(add(`m s="${'x'.repeat(1_048_577)}" 3`).kind).toBe('general');
    expect(add(`m v=1 4\nm n=1 ${5n * WEEK_NS}`, (startNs) => (startNs === 0n ? schemas.of(0n) : null))).toEqual({
      kind: 'unknown',
      startsNs: [5n * WEEK_NS],
    });
    expect(add(Array.from({ length: 9 }, (_, i) => `m v=1 ${BigInt(i + 20) * WEEK_NS}`).join('\n')).kind).toBe(
      'general',
    );
    expect(add(Array.from({ length: 20_000 }, (_, i) => `m v=1 ${i}`).join('\n')).kind).toBe('full');
    expect(add('m v=3,s="y" 5').kind).toBe('taken');
    const [target, ...more] = stage.targets();
    expect(more).toEqual([]);
    const cells = cellsOf(decodeBatch(stage.seal(target!, VERSION, 1, false, false).frame));
    expect(cells.map((cell) => JSON.parse(cell).slice(2))).toEqual([
      [1, 's', 3, 'x'],
      [1, 'v', 0, '3ff0000000000000'],
      [2, 'v', 0, '4000000000000000'],
      [5, 's', 3, 'y'],
      [5, 'v', 0, '4008000000000000'],
    ]);
  });

  it('a field whose only line was refused teaches no type', () => {
    const stage = new IngestStage(SEED, 100_000, 4, LINE_LIMITS);
    const schemas = new Schemas();
    stage.begin(POLICY, NOW);
    expect(stage.add([Buffer.from('m v=1i,x= 1\nm w=1 2')], 'n', NOW, schemas.of)).toMatchObject({
      failed: 1,
      rows: 1,
    });
    expect(stage.add([Buffer.from('m v=1 3')], 'n', NOW, schemas.of).kind).toBe('taken');
    expect(stage.add([Buffer.from('m v=1i 4')], 'n', NOW, schemas.of).kind).toBe('general');
    expect(schemas.sorted()).toEqual([]);
    stage.teach();
    expect(schemas.sorted().map(([name]) => JSON.parse(name)[2])).toEqual(['v', 'w']);
    // A stage that is not sealed is forgotten.
    stage.begin(POLICY, NOW);
    expect(stage.add([Buffer.from('m x=1i 5')], 'n', NOW, schemas.of).kind).toBe('taken');
    stage.begin(POLICY, NOW);
    expect(stage.add([Buffer.from('m x=1 6')], 'n', NOW, schemas.of).kind).toBe('taken');
  });

  it('limits of line, columns and memory refuse the line and take the rest', () => {
    const limits = { ...LINE_LIMITS, columnsMax: 5, lineBytesMax: 60, scratchBytesMax: 100_000 };
    const stage = new IngestStage(SEED, 100_000, 4, limits);
    const schemas = new Schemas();
    const texts = (text: string) => {
      stage.begin(POLICY, NOW);
      const result = stage.add([Buffer.from(text)], 'n', NOW, schemas.of);
      return result.kind === 'taken' ? [result.rows, ...result.errors.map(({ message }) => message)] : result.kind;
    };
    const wide = 'm a=1,b=1,c=1,d=1,e=1,f=1 1';
    expect(texts(`${wide}\nm a=1 2`)).toEqual([1, `unable to parse '${wide}': more than 5 fields in one measurement`]);
    const long = `m s="${'x'.repeat(60)}" 1`;
    expect(texts(`${long}\nm a=1 2`)).toEqual([1, `unable to parse '${long}': line of 68 bytes exceeds 60`]);
    const narrow = Array.from({ length: 4_000 }, (_, i) => `m a=1 ${i}`).join('\n');
    const reason = 'too many fields for the rows of one body; send it in smaller parts';
    expect(texts(`${narrow}\nm b=1,c=1 1\nm a=1 5000`)).toEqual([4_001, `unable to parse 'm b=1,c=1 1': ${reason}`]);
  });

  it('keys go along until they are sent, and again when that is forgotten', () => {
    const stage = new IngestStage(SEED, 100_000, 4, LINE_LIMITS);
    const schemas = new Schemas();
    const keys = (destinations: number, everyKey = false, policy = POLICY) => {
      stage.begin(policy, NOW);
      stage.add([Buffer.from('m,a=1 v=1 1\nm,a=1 v=1 2')], 'n', NOW, schemas.of);
      const { keys, allKeys } = stage.seal(stage.targets()[0]!, VERSION, destinations, everyKey, true);
      return [decodeKeys(keys).map(({ key }) => key), allKeys === null ? null : decodeKeys(allKeys).length];
    };
    expect(keys(0b01)).toEqual([['m,a=1'], null]);
    expect(keys(0b01)).toEqual([[], 1]);
    expect(keys(0b11)).toEqual([['m,a=1'], null]);
    expect(keys(0b11, true)).toEqual([['m,a=1'], null]);
    stage.forgetSent();
    expect(keys(0b10)).toEqual([['m,a=1'], null]);
    const other = { ...POLICY, databaseGeneration: 1 };
    expect(keys(0b10, false, other)).toEqual([['m,a=1'], null]);
    expect(keys(0b10, false, other)).toEqual([[], 1]);
    expect(keys(0b10)).toEqual([[], 1]);
    stage.forgetSent(stage.targets()[0]!.id);
    expect(keys(0b10, false, other)).toEqual([[], 1]);
    expect(keys(0b10)).toEqual([['m,a=1'], null]);
  });

  it('a table that is full starts anew, with the same series', () => {
    const stage = new IngestStage(SEED, 4, 4, LINE_LIMITS);
    for (let round = 0; round < 4; round++) {
      compare(
        [body(['m,a=1 v=1 1', 'm,a=2 v=2 1', 'm,a=3 v=3 1', 'm,b\\ c=4 v=4 1', `m,a=${round} v=5 9`])],
        POLICY,
        stage,
      );
      expect(stage.seriesCount).toBeLessThanOrEqual(7);
    }
  });

  it('a table whose keys take too many bytes starts anew as well', () => {
    const stage = new IngestStage(SEED, 1_000_000, 4, LINE_LIMITS, 2 << 20);
    let most = 0;
    for (let round = 0; round < 40; round++) {
      stage.begin(POLICY, NOW);
      const lines = Array.from({ length: 10 }, (_, i) => `m,a=${round}-${i}${'x'.repeat(20_000)} v=${i} ${i}`);
      expect(stage.add([body(lines).bytes], 'n', NOW, new Schemas().of)).toMatchObject({ kind: 'taken', rows: 10 });
      most = Math.max(most, stage.seriesCount);
    }
    expect(most).toBeGreaterThan(50);
    expect(most).toBeLessThan(200);
  });

  it('says when it has grown by as much as one stage may, whatever became of the body', () => {
    const stage = new IngestStage(SEED, 1_000_000, 4, LINE_LIMITS, 8 << 20);
    stage.begin(POLICY, 0n);
    expect(stage.hasGrown).toBe(false);
    const lines = Array.from({ length: 100 }, (_, i) => `m,a=${i}${'x'.repeat(20_000)} v=${i} ${i}`);
    const refused = stage.add([body([...lines, 'm,time=1 v=1 1']).bytes], 'n', 0n, new Schemas().of);
    expect(refused.kind).toBe('general');
    expect(stage.hasGrown).toBe(true);
    stage.begin(POLICY, 0n);
    expect(stage.hasGrown).toBe(false);
  });
});
