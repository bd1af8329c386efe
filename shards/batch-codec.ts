/**
 * Batches as bytes: the one frame that goes into the log, to the other owners, into the outbox, and out again when
 * repair asks. Little-endian.
 *
 *   offset size
 *    0      4   magic 'STLB'
 *    4      1   format version, 1; a higher one is `future-batch`
 *    5      1   kind: 1 write, 2 delete
 *    6      2   flags, 0; a bit that is set is `future-batch`
 *    8      4   length of the whole frame
 *   12      4   CRC-32 of bytes 0..12 and 16..length
 *   16     16   version, big-endian as everywhere
 *   32      4+n shard key: length, JSON (shard-key.ts)
 *   then for kind delete: 4+n predicate as JSON;
 *   for kind write:
 *     series count u32, 16 bytes of hash each
 *     group count u32; each group:
 *       measurement (u32 length, UTF-8), rows u32
 *       series of the rows: width u8, indexes
 *       times (batch-values.ts)
 *       column count u32; each column:
 *         field (u32 length, UTF-8), type u8, presence u8 (0 all rows, 1 a bit per row follows), values (batch-values.ts)
 *
 * Written once by the coordinator (and by repair, from stored rows), never changed. Where a frame is kept, its keeper
 * finds torn writes; here every length, index and time is checked again, so that a damaged or hostile frame is a
 * BatchError and nothing else. What the CRC cannot tell is bounded: DECODED_BYTES_MAX limits what one frame may
 * unfold to.
 */
import type { Batch, BatchGroup, DeleteBatch, DeletePredicate, WriteBatch } from './batch.ts';
import { countPresent, readBits, readTimes, readValues, writeBits, writeTimes, writeValues } from './batch-values.ts';
import { BOOLEAN, type Column, type ColumnValues, type FieldType, makeValues, STRING } from './column.ts';
import { isDeleteShard } from './delete-shard.ts';
import { FrameError, FrameReader, FrameWriter, readOffsets, widthFor, writeOffsets } from './frame.ts';
import { checkWhole, finishFrame, guarded, newFrame, parseJson, readHead } from './frame-head.ts';
import { copyInto } from './kernel/copy.ts';
import { SERIES_HASH_BYTES, type SeriesHash } from './series-key.ts';
import type { ShardKey } from './shard-key.ts';
import type { TagCondition } from './tag-condition.ts';
import type { Version } from './version.ts';

export { BatchError, checkFrame, type FrameHead, openFrame, peekBatch } from './frame-head.ts';

/** A frame may unfold to this much memory: constant columns take no bytes in the frame. */
export const DECODED_BYTES_MAX = 512 << 20;
const COLUMN_BYTES_MIN = 7;
const GROUP_BYTES_MIN = 31;
const CONDITION_DEPTH_MAX = 64;
const UNFOLDED_ROW_BYTES = 12;
const UNFOLDED_CELL_BYTES = 9;

export function encodeBatch(batch: Batch): Uint8Array {
  const writer = new FrameWriter();
  if (batch.kind === 'delete') writer.text(JSON.stringify(predicateToJson(batch.predicate)));
  else writeBody(writer, batch);
  return framed(batch.kind, batch.shard, batch.version, writer.bytes.subarray(0, writer.length));
}

/** The frame of a write whose body the ingest kernel has written. */
export function frameOf(shard: ShardKey, version: Version, body: Uint8Array): Uint8Array<ArrayBuffer> {
  return framed('write', shard, version, body);
}

function framed(kind: Batch['kind'], shard: ShardKey, version: Version, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { frame, body } = newFrame(kind, shard, version, bytes.length);
  copyInto(frame, body, bytes);
  finishFrame(frame);
  return frame;
}

/** Throws BatchError. */
export function decodeBatch(frame: Uint8Array): Batch {
  return guarded(() => {
    const { kind, version, shard, body } = readHead(frame);
    checkWhole(frame);
    const reader = new FrameReader(frame, body, frame.length);
    const batch = kind === 'write' ? readBody(reader, shard, version) : readDelete(reader, shard, version);
    if (reader.at !== reader.end) throw new FrameError(`${reader.end - reader.at} bytes too many`);
    return batch;
  });
}

function writeBody(writer: FrameWriter, batch: WriteBatch): void {
  writer.u32(batch.series.length);
  writer.hex(batch.series.join(''));
  writer.u32(batch.groups.length);
  for (const group of batch.groups) {
    const rows = group.times.length;
    writer.text(group.measurement);
    writer.u32(rows);
    const width = widthFor(batch.series.length - 1);
    writer.u8(width);
    writeOffsets(writer, group.rowSeries, rows, width);
    writeTimes(writer, group.times);
    writer.u32(group.columns.length);
    for (const { field, type, present, values } of group.columns) {
      writer.text(field);
      writer.u8(type);
      if (present === null) writer.u8(0);
      else writeBits(writer, present, 1);
      writeValues(writer, type, present, values);
    }
  }
}

function readBody(reader: FrameReader, shard: ShardKey, version: Version): WriteBatch {
  const seriesCount = reader.count(SERIES_HASH_BYTES);
  const series: SeriesHash[] = [];
  for (let i = 0; i < seriesCount; i++) series.push(reader.hex(SERIES_HASH_BYTES));
  const groupCount = reader.count(GROUP_BYTES_MIN);
  const span = Number(shard.endNs - shard.startNs);
  const budget = { bytes: DECODED_BYTES_MAX };
  const groups: BatchGroup[] = [];
  for (let i = 0; i < groupCount; i++) groups.push(readGroup(reader, seriesCount, span, budget));
  return { kind: 'write', shard, version, series, groups };
}

function readGroup(reader: FrameReader, seriesCount: number, span: number, budget: { bytes: number }): BatchGroup {
  const measurement = reader.text();
  const rows = reader.u32();
  spend(budget, rows * UNFOLDED_ROW_BYTES);
  const indexes = readOffsets(reader, rows, reader.u8());
  const rowSeries = new Uint32Array(rows);
  for (let row = 0; row < rows; row++) {
    if (!(indexes[row]! < seriesCount)) throw new FrameError(`row ${row} of series ${indexes[row]} of ${seriesCount}`);
    rowSeries[row] = indexes[row]!;
  }
  const times = readTimes(reader, rows, span);
  const columnCount = reader.count(COLUMN_BYTES_MIN);
  const columns: Column[] = [];
  const names = new Set<string>();
  for (let i = 0; i < columnCount; i++) {
    const column = readColumn(reader, rows, budget);
    const name = column.type + column.field;
    if (names.has(name)) throw new FrameError(`field ${JSON.stringify(column.field)} twice`);
    names.add(name);
    columns.push(column);
  }
  return { measurement, rowSeries, times, columns };
}

function readColumn(reader: FrameReader, rows: number, budget: { bytes: number }): Column {
  const field = reader.text();
  const type = reader.u8();
  if (type > BOOLEAN) throw new FrameError(`field type ${type}`);
  spend(budget, rows * UNFOLDED_CELL_BYTES);
  const presence = reader.u8();
  if (presence > 1) throw new FrameError(`presence ${presence}`);
  const present = presence === 0 ? null : readBits(reader, rows);
  const count = present === null ? rows : countPresent(present);
  const packed = readValues(reader, type as FieldType, count);
  const values = present === null ? packed : spread(packed, type as FieldType, present);
  return { field, type: type as FieldType, present, values };
}

function spend(budget: { bytes: number }, bytes: number): void {
  budget.bytes -= bytes;
  if (budget.bytes < 0) throw new FrameError(`more than ${DECODED_BYTES_MAX} bytes when unfolded`);
}

/** Puts packed values at the rows that have them. */
function spread(packed: ColumnValues, type: FieldType, present: Uint8Array): ColumnValues {
  const values = makeValues(type, present.length);
  if (type === STRING) {
    let from = 0;
    for (let row = 0; row < present.length; row++) {
      if (present[row] === 1) (values as string[])[row] = (packed as string[])[from++]!;
    }
    return values;
  }
  if (type === BOOLEAN) {
    spreadWords(packed as Uint8Array, values as Uint8Array, present, 1);
    return values;
  }
  spreadWords(wordsOf(packed as Float64Array), wordsOf(values as Float64Array), present, 2);
  return values;
}

function wordsOf(values: Float64Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
}

function spreadWords(
  from: Uint8Array | Uint32Array,
  into: Uint8Array | Uint32Array,
  present: Uint8Array,
  each: number,
) {
  let at = 0;
  for (let row = 0; row < present.length; row++) {
    if (present[row] !== 1) continue;
    for (let k = 0; k < each; k++) into[row * each + k] = from[at++]!;
  }
}

/** A canonical form: equal predicates give equal text (checksum.ts counts on it). */
export function predicateToJson(predicate: DeletePredicate): unknown {
  const { measurement, condition, minTime, maxTime, times } = predicate;
  const named =
    measurement === null ? null : 'name' in measurement ? ['=', measurement.name] : ['=~', measurement.regex];
  const bounds = times === undefined ? [minTime, maxTime] : [times.minNs.toString(), times.maxNs.toString()];
  return [named, condition === null ? null : conditionToJson(condition), ...bounds];
}

function conditionToJson(condition: TagCondition): unknown {
  switch (condition.op) {
    case 'and':
    case 'or':
      return [condition.op, ...condition.terms.map(conditionToJson)];
    case '=':
    case '!=':
      return [condition.op, condition.key, condition.value];
    case '=~':
    case '!~':
      return [condition.op, condition.key, condition.regex];
    default:
      return [condition.op];
  }
}

function readDelete(reader: FrameReader, shard: ShardKey, version: Version): DeleteBatch {
  const json = parseJson(reader.text());
  if (!Array.isArray(json) || json.length !== 4) throw new FrameError('predicate of another form');
  const [named, condition, from, to] = json as unknown[];
  const predicate: DeletePredicate = {
    measurement: measurementFromJson(named),
    condition: condition === null ? null : conditionFromJson(condition, 0),
    ...(isDeleteShard(shard) ? timesFromJson(from, to) : offsetsFromJson(from, to)),
  };
  return { kind: 'delete', shard, version, predicate };
}

function offsetsFromJson(minTime: unknown, maxTime: unknown): Pick<DeletePredicate, 'minTime' | 'maxTime'> {
  if (!Number.isSafeInteger(minTime) || !Number.isSafeInteger(maxTime)) throw new FrameError('predicate without times');
  return { minTime: minTime as number, maxTime: maxTime as number };
}

function timesFromJson(from: unknown, to: unknown): Pick<DeletePredicate, 'minTime' | 'maxTime' | 'times'> {
  const [minNs, maxNs] = [from, to].map((bound) => {
    if (typeof bound !== 'string' || !/^(0|-?[1-9]\d{0,18})$/.test(bound))
      throw new FrameError('predicate without times');
    return BigInt(bound);
  });
  return { minTime: 0, maxTime: 0, times: { minNs: minNs!, maxNs: maxNs! } };
}

function measurementFromJson(json: unknown): DeletePredicate['measurement'] {
  if (json === null) return null;
  if (Array.isArray(json) && json.length === 2 && typeof json[1] === 'string') {
    if (json[0] === '=') return { name: json[1] };
    if (json[0] === '=~') return { regex: json[1] };
  }
  throw new FrameError('predicate with another form of measurement');
}

function conditionFromJson(json: unknown, depth: number): TagCondition {
  if (Array.isArray(json) && depth < CONDITION_DEPTH_MAX) {
    const [op, key, value] = json as unknown[];
    if (op === 'and' || op === 'or') {
      return { op, terms: json.slice(1).map((term: unknown) => conditionFromJson(term, depth + 1)) };
    }
    if (json.length === 1 && (op === 'true' || op === 'false')) return { op };
    if (json.length === 3 && typeof key === 'string' && typeof value === 'string') {
      if (op === '=' || op === '!=') return { op, key, value };
      if (op === '=~' || op === '!~') return { op, key, regex: value };
    }
  }
  throw new FrameError('condition of another form');
}
