/**
 * The stage: rows that wait to become batches, as columns, one set for each measurement, time window and shard number (a
 * *part*), so that sealing a batch needs no sorting.
 *
 * A row is open until `closeRow`; `retract` takes it back. A body is open from `beginBody`; `rollBack` takes all its rows
 * back. Parts, columns and their memory are kept from stage to stage, and emptied at first use (their stage number tells).
 */
import { keep, moveCellBack } from './columns';
import { E_BATCH, E_NEWEST } from './entries';
import {
  C_COUNT,
  C_EXPONENT,
  C_FIELD,
  C_FILLED,
  C_LENGTH,
  C_NAME,
  C_PRESENCE,
  C_RAW,
  C_RECORD_BYTES,
  C_STAGE,
  C_TYPE,
  FULL,
  OK,
  P_BODY,
  P_BODY_ROWS,
  P_BYTES,
  P_BY_FIELD,
  P_BY_FIELD_ROOM,
  P_CAPACITY,
  P_COLUMNS,
  P_COLUMN_COUNT,
  P_COLUMN_ROOM,
  P_MARK,
  P_MEASUREMENT,
  P_ROWS,
  P_SERIES,
  P_STAGE,
  P_TARGET,
  P_TIMES,
  P_UNORDERED,
  ROWS_INITIAL,
  SPECIAL,
  UNFOLDED_CELL_BYTES,
  UNFOLDED_PART_BYTES,
  UNFOLDED_ROW_BYTES,
  WIDE,
  WINDOWS_MAX,
} from './layout';
import {
  F_CHECK,
  F_INDEX,
  F_LENGTH,
  F_MEASUREMENT,
  F_NAME,
  F_NUMBER,
  F_STAGE,
  M_FIELDS_USED,
  M_PARTS,
  M_STAGE,
  fieldAt,
  fieldOf,
} from './measurements';
import { batchesNumbered, nextBatch } from './series';
import { clearWindows } from './windows';

let shardsPerGroup: u32 = 4;
let columnsMax: u32 = 10000;
/** Of a string value. */
export let stringBytesMax: usize = 1048576;
let unfoldedMax: i64 = 0;
export let stage: u32 = 0;
export let body: u32 = 0;
let unfolded: i64 = 0;
let unfoldedBefore: i64 = 0;
/** The least mark of a part of this stage. */
let firstMark: u32 = 0;
/** Parts of the stage that have been used, in that order. */
let active: usize = 0;
let activeCount: u32 = 0;
let activeRoom: u32 = 0;
/** Fields that the open body uses first in this stage. */
let fresh: usize = 0;
let freshCount: u32 = 0;
let freshRoom: u32 = 0;

/** Targets that rows of the open body have gone to: a bit each, WINDOWS_MAX x shards are at most 32. */
let touched: u32 = 0;
/** A row of the open body was taken back: there may be columns in use that have no values. */
let retracted: bool = false;

export function startStage(shards: u32, columns: u32, stringBytes: usize, bytesMax: i64): void {
  shardsPerGroup = shards;
  columnsMax = columns;
  stringBytesMax = stringBytes;
  unfoldedMax = bytesMax;
  activeRoom = 64;
  active = heap.alloc(<usize>activeRoom << 2);
  freshRoom = 64;
  fresh = heap.alloc(<usize>freshRoom << 3);
}

export function beginStage(): void {
  stage++;
  clearWindows();
  firstMark = batchesNumbered() + 1;
  activeCount = 0;
  freshCount = 0;
  unfolded = 0;
  beginBody();
}

export function beginBody(): void {
  body++;
  freshCount = 0;
  touched = 0;
  retracted = false;
  unfoldedBefore = unfolded;
}

/** A function: the host pays more for looking at an exported variable. */
export function targetsTouched(): u32 {
  return touched;
}

export function partCount(): u32 {
  return activeCount;
}

export function partAt(index: u32): usize {
  return <usize>load<u32>(active + (<usize>index << 2));
}

/** Pairs of field number and window that the open body is the first to use. */
export function freshFields(): usize {
  return fresh;
}

export function freshFieldCount(): u32 {
  return freshCount;
}

/** Rows that this stage holds in the shard `target` (window x shards + shard). */
export function rowsIn(target: u32): u32 {
  let rows: u32 = 0;
  for (let i: u32 = 0; i < activeCount; i++) {
    const part = partAt(i);
    if (load<u32>(part, P_TARGET) == target) rows += load<u32>(part, P_ROWS);
  }
  return rows;
}

/** The part for the next row of this body. */
@inline
export function partOf(measurement: usize, window: u32, shard: u32): usize {
  const parts = <usize>load<u32>(measurement, M_PARTS);
  if (parts != 0) {
    const part = <usize>load<u32>(parts + (<usize>(window * shardsPerGroup + shard) << 2));
    if (part != 0 && load<u32>(part, P_BODY) == body) return part;
  }
  return openPart(measurement, window * shardsPerGroup + shard);
}

function openPart(measurement: usize, target: u32): usize {
  let parts = <usize>load<u32>(measurement, M_PARTS);
  if (parts == 0) {
    const bytes = <usize>(WINDOWS_MAX * shardsPerGroup) << 2;
    parts = heap.alloc(bytes);
    memory.fill(parts, 0, bytes);
    store<u32>(measurement, <u32>parts, M_PARTS);
    keep(bytes);
  }
  let part = <usize>load<u32>(parts + (<usize>target << 2));
  if (part == 0) {
    part = heap.alloc(P_BYTES);
    memory.fill(part, 0, P_BYTES);
    store<u32>(part, ROWS_INITIAL, P_CAPACITY);
    store<u32>(part, <u32>heap.alloc(<usize>ROWS_INITIAL << 2), P_SERIES);
    store<u32>(part, <u32>heap.alloc(<usize>ROWS_INITIAL << 3), P_TIMES);
    store<u32>(part, <u32>measurement, P_MEASUREMENT);
    store<u32>(part, target, P_TARGET);
    store<u32>(parts + (<usize>target << 2), <u32>part);
    keep(P_BYTES + <usize>ROWS_INITIAL * 12);
  }
  if (load<u32>(part, P_STAGE) != stage) {
    store<u32>(part, stage, P_STAGE);
    store<u32>(part, 0, P_ROWS);
    store<u32>(part, 0, P_COLUMN_COUNT);
    store<u32>(part, nextBatch(), P_MARK);
    store<u32>(part, 0, P_UNORDERED);
    unfolded += UNFOLDED_PART_BYTES;
    if (activeCount == activeRoom) {
      activeRoom *= 2;
      active = heap.realloc(active, <usize>activeRoom << 2);
    }
    store<u32>(active + (<usize>activeCount << 2), <u32>part);
    activeCount++;
  }
  touched |= <u32>1 << target;
  store<u32>(part, body, P_BODY);
  store<u32>(part, load<u32>(part, P_ROWS), P_BODY_ROWS);
  return part;
}

/** The column of a field whose name is spelled at `at`; made when it is new. Not yet in use in this stage, maybe. */
export function columnOf(part: usize, at: usize, length: usize, type: u32): usize {
  const field = fieldOf(<usize>load<u32>(part, P_MEASUREMENT), at, length, type);
  const index = load<u32>(field, F_INDEX);
  let list = <usize>load<u32>(part, P_BY_FIELD);
  const room = load<u32>(part, P_BY_FIELD_ROOM);
  if (index >= room) {
    const larger = max<u32>(8, max<u32>(room * 2, index + 1));
    list = list == 0 ? heap.alloc(<usize>larger << 2) : heap.realloc(list, <usize>larger << 2);
    memory.fill(list + (<usize>room << 2), 0, <usize>(larger - room) << 2);
    store<u32>(part, <u32>list, P_BY_FIELD);
    store<u32>(part, larger, P_BY_FIELD_ROOM);
    keep(<usize>(larger - room) << 2);
  }
  let column = <usize>load<u32>(list + (<usize>index << 2));
  if (column == 0) {
    column = heap.alloc(C_RECORD_BYTES);
    memory.fill(column, 0, C_RECORD_BYTES);
    store<u32>(column, <u32>length, C_LENGTH);
    store<u32>(column, load<u32>(field, F_NAME), C_NAME);
    store<u32>(column, type, C_TYPE);
    store<u32>(column, <u32>field, C_FIELD);
    store<u32>(list + (<usize>index << 2), <u32>column);
    keep(C_RECORD_BYTES + 16);
  }
  return column;
}

/** Empties a column for this stage. OK, or why the row cannot have it. */
export function useColumn(part: usize, column: usize): i32 {
  const field = <usize>load<u32>(column, C_FIELD);
  // 'time', little-endian
  if (load<u32>(field, F_LENGTH) == 4 && load<u32>(<usize>load<u32>(field, F_NAME)) == 0x656d6974) return SPECIAL;
  const measurement = <usize>load<u32>(part, P_MEASUREMENT);
  if (load<u32>(measurement, M_STAGE) != stage) {
    store<u32>(measurement, stage, M_STAGE);
    store<u32>(measurement, 0, M_FIELDS_USED);
  }
  if (load<u32>(field, F_STAGE) != stage) {
    const used = load<u32>(measurement, M_FIELDS_USED);
    if (used >= columnsMax) return WIDE;
    store<u32>(measurement, used + 1, M_FIELDS_USED);
    store<u32>(field, stage, F_STAGE);
  }
  const cost = UNFOLDED_CELL_BYTES * <i64>load<u32>(part, P_ROWS);
  if (unfolded + cost > unfoldedMax) return FULL;
  unfolded += cost;
  store<u32>(column, 0, C_COUNT);
  store<u32>(column, 0, C_FILLED);
  store<u32>(column, 0, C_PRESENCE);
  store<u32>(column, 0, C_RAW);
  store<u32>(column, 0, C_EXPONENT);
  store<u32>(column, stage, C_STAGE);
  const count = load<u32>(part, P_COLUMN_COUNT);
  let list = <usize>load<u32>(part, P_COLUMNS);
  const room = load<u32>(part, P_COLUMN_ROOM);
  if (count == room) {
    const larger = max<u32>(8, room * 2);
    list = list == 0 ? heap.alloc(<usize>larger << 2) : heap.realloc(list, <usize>larger << 2);
    store<u32>(part, <u32>list, P_COLUMNS);
    store<u32>(part, larger, P_COLUMN_ROOM);
    keep(<usize>(larger - room) << 2);
  }
  store<u32>(list + (<usize>count << 2), <u32>column);
  store<u32>(part, count + 1, P_COLUMN_COUNT);
  reportFresh(field, load<u32>(part, P_TARGET) / shardsPerGroup);
  return OK;
}

/** Each window has a schema of its own. The shards of a window share one: mostly only the first part reports. */
function reportFresh(field: usize, window: u32): void {
  const check = stage * WINDOWS_MAX + window;
  if (load<u32>(field, F_CHECK) == check) return;
  store<u32>(field, check, F_CHECK);
  if (freshCount == freshRoom) {
    freshRoom *= 2;
    fresh = heap.realloc(fresh, <usize>freshRoom << 3);
  }
  store<u32>(fresh + (<usize>freshCount << 3), load<u32>(field, F_NUMBER));
  store<u32>(fresh + (<usize>freshCount << 3), window, 4);
  freshCount++;
}

/** Adds the open row, or its cells to the row before; OK or FULL (then it is taken back). */
@inline
export function closeRow(part: usize, series: usize, time: f64): i32 {
  const row = load<u32>(part, P_ROWS);
  const entries = <usize>load<u32>(part, P_SERIES);
  const times = <usize>load<u32>(part, P_TIMES);
  if (row > load<u32>(part, P_BODY_ROWS) && <usize>load<u32>(entries + (<usize>(row - 1) << 2)) == series) {
    if (load<f64>(times + (<usize>(row - 1) << 3)) == time) {
      mergeRow(part);
      return OK;
    }
  }
  const cost = UNFOLDED_ROW_BYTES + UNFOLDED_CELL_BYTES * <i64>load<u32>(part, P_COLUMN_COUNT);
  if (unfolded + cost > unfoldedMax) {
    retract(part);
    return FULL;
  }
  unfolded += cost;
  if (row == load<u32>(part, P_CAPACITY)) growRows(part);
  // The series is at hand now; `hasDuplicates` would have to fetch each once more. It may be marked by another part.
  const mark = load<u32>(part, P_MARK);
  const seen = load<u32>(series, E_BATCH);
  if (seen >= firstMark && (seen != mark || !(time > load<f64>(series, E_NEWEST)))) store<u32>(part, 1, P_UNORDERED);
  store<u32>(series, mark, E_BATCH);
  store<f64>(series, time, E_NEWEST);
  store<u32>(<usize>load<u32>(part, P_SERIES) + (<usize>row << 2), <u32>series);
  store<f64>(<usize>load<u32>(part, P_TIMES) + (<usize>row << 3), time);
  store<u32>(part, row + 1, P_ROWS);
  return OK;
}

/** The open row is the one before once more, as from agents that send a line for each field: its cells go there. */
function mergeRow(part: usize): void {
  const row = load<u32>(part, P_ROWS);
  const list = <usize>load<u32>(part, P_COLUMNS);
  const count = load<u32>(part, P_COLUMN_COUNT);
  for (let i: u32 = 0; i < count; i++) {
    const column = <usize>load<u32>(list + (<usize>i << 2));
    if (load<u32>(column, C_FILLED) > row) moveCellBack(column, row);
  }
}

function growRows(part: usize): void {
  const capacity = load<u32>(part, P_CAPACITY) * 2;
  store<u32>(part, <u32>heap.realloc(<usize>load<u32>(part, P_SERIES), <usize>capacity << 2), P_SERIES);
  store<u32>(part, <u32>heap.realloc(<usize>load<u32>(part, P_TIMES), <usize>capacity << 3), P_TIMES);
  store<u32>(part, capacity, P_CAPACITY);
  keep(<usize>capacity * 6);
}

/** Takes the values of the open row back. */
export function retract(part: usize): void {
  retracted = true;
  const row = load<u32>(part, P_ROWS);
  const list = <usize>load<u32>(part, P_COLUMNS);
  const count = load<u32>(part, P_COLUMN_COUNT);
  for (let i: u32 = 0; i < count; i++) {
    const column = <usize>load<u32>(list + (<usize>i << 2));
    if (load<u32>(column, C_FILLED) <= row) continue;
    store<u32>(column, row, C_FILLED);
    store<u32>(column, load<u32>(column, C_COUNT) - 1, C_COUNT);
    const bits = <usize>load<u32>(column, C_PRESENCE);
    if (bits == 0) continue;
    const place = bits + (<usize>row >> 3);
    store<u8>(place, load<u8>(place) & <u8>~((<u32>1) << (row & 7)));
  }
}

/** Takes all rows of the open body back. Fields that it has brought are unused again. */
export function rollBack(): void {
  for (let i: u32 = 0; i < activeCount; i++) {
    const part = partAt(i);
    if (load<u32>(part, P_BODY) != body) continue;
    const rows = load<u32>(part, P_BODY_ROWS);
    truncate(part, rows);
    store<u32>(part, rows, P_ROWS);
    dropUnused(part);
  }
  unfolded = unfoldedBefore;
  beginBody();
}

/** After the last line: columns without values are not in use, and report their field when they get one. */
export function endBody(): void {
  if (!retracted) return;
  for (let i: u32 = 0; i < activeCount; i++) if (load<u32>(partAt(i), P_BODY) == body) dropUnused(partAt(i));
}

function dropUnused(part: usize): void {
  const list = <usize>load<u32>(part, P_COLUMNS);
  const count = load<u32>(part, P_COLUMN_COUNT);
  let kept: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const column = <usize>load<u32>(list + (<usize>i << 2));
    if (load<u32>(column, C_COUNT) != 0) {
      store<u32>(list + (<usize>kept << 2), <u32>column);
      kept++;
    } else {
      store<u32>(column, 0, C_STAGE);
      store<u32>(<usize>load<u32>(column, C_FIELD), 0, F_CHECK);
    }
  }
  store<u32>(part, kept, P_COLUMN_COUNT);
}

/** True when a row of this window has the field. */
export function hasCells(number: u32, window: u32): bool {
  const field = fieldAt(number);
  const parts = <usize>load<u32>(<usize>load<u32>(field, F_MEASUREMENT), M_PARTS);
  const index = load<u32>(field, F_INDEX);
  if (parts == 0) return false;
  for (let shard: u32 = 0; shard < shardsPerGroup; shard++) {
    const part = <usize>load<u32>(parts + (<usize>(window * shardsPerGroup + shard) << 2));
    if (part == 0 || index >= load<u32>(part, P_BY_FIELD_ROOM)) continue;
    const column = <usize>load<u32>(<usize>load<u32>(part, P_BY_FIELD) + (<usize>index << 2));
    if (column != 0 && load<u32>(column, C_STAGE) == stage && load<u32>(column, C_COUNT) != 0) return true;
  }
  return false;
}

/** About what the frames of the stage unfold to. */
export function unfoldedBytes(): f64 {
  return <f64>unfolded;
}

/** Cuts the columns of a part at `rows`. */
function truncate(part: usize, rows: u32): void {
  const list = <usize>load<u32>(part, P_COLUMNS);
  const count = load<u32>(part, P_COLUMN_COUNT);
  for (let i: u32 = 0; i < count; i++) {
    const column = <usize>load<u32>(list + (<usize>i << 2));
    const filled = load<u32>(column, C_FILLED);
    if (filled <= rows) continue;
    const bits = <usize>load<u32>(column, C_PRESENCE);
    if (bits == 0) {
      store<u32>(column, rows, C_COUNT);
    } else {
      const from = <usize>rows >> 3;
      const until = (<usize>(filled - 1) >> 3) + 1;
      store<u8>(bits + from, load<u8>(bits + from) & <u8>(((<u32>1) << (rows & 7)) - 1));
      if (until > from + 1) memory.fill(bits + from + 1, 0, until - from - 1);
      let present: u32 = 0;
      for (let k: usize = 0; k <= from; k++) present += popcnt<u32>(<u32>load<u8>(bits + k));
      store<u32>(column, present, C_COUNT);
    }
    store<u32>(column, rows, C_FILLED);
  }
}
