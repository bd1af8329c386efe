/**
 * The cells of a column. Values are packed: only rows that have the field take room, and a presence bit per row exists
 * once a row has lacked it.
 *
 * Floats are kept as decimals, integer and one exponent for the column, rescaled when a longer one comes: exact while
 * |integer| < 2^53 and the exponent is at most 15. A column that gets anything else (more digits, -0) turns to doubles.
 */
import { PAD_BYTES } from './bytes';
import { BOOLEAN, C_BYTES, C_BYTES_ROOM, C_CAPACITY, C_COUNT, C_EXPONENT, C_FILLED, C_PRESENCE, C_PRESENCE_BLOCK, C_PRESENCE_BYTES, C_RAW, C_TYPE, C_VALUES, MANTISSA_END, ROWS_INITIAL, STRING } from './layout';

let bytesKept: usize = 0;

/** Counts memory that stays for later stages. */
export function keep(bytes: usize): void {
  bytesKept += bytes;
}

/** Memory of parts and columns. */
export function stageBytes(): usize {
  return bytesKept;
}

/** Makes room for the value of `row` and returns its index among the packed ones. */
@inline
function takeCell(column: usize, row: u32): u32 {
  if (load<u32>(column, C_FILLED) != row || load<u32>(column, C_PRESENCE) != 0) markPresent(column, row);
  const index = load<u32>(column, C_COUNT);
  if (index == load<u32>(column, C_CAPACITY)) growColumn(column);
  store<u32>(column, index + 1, C_COUNT);
  store<u32>(column, row + 1, C_FILLED);
  return index;
}

/** The row is not the one after the last, or presence is noted anyway. */
function markPresent(column: usize, row: u32): void {
  const filled = load<u32>(column, C_FILLED);
  if (filled > row) {
    // A field repeated in its line: the later value takes the place of the earlier one, as in InfluxDB.
    store<u32>(column, load<u32>(column, C_COUNT) - 1, C_COUNT);
    return;
  }
  let bits = <usize>load<u32>(column, C_PRESENCE);
  const bytesWanted = (<usize>row >> 3) + 1;
  if (bits == 0) {
    bits = <usize>load<u32>(column, C_PRESENCE_BLOCK);
    if (bits == 0 || <usize>load<u32>(column, C_PRESENCE_BYTES) < bytesWanted) {
      if (bits != 0) heap.free(bits);
      bits = heap.alloc(bytesWanted * 2);
      bytesKept += bytesWanted * 2 - <usize>load<u32>(column, C_PRESENCE_BYTES);
      store<u32>(column, <u32>(bytesWanted * 2), C_PRESENCE_BYTES);
      store<u32>(column, <u32>bits, C_PRESENCE_BLOCK);
    }
    memory.fill(bits, 0, <usize>load<u32>(column, C_PRESENCE_BYTES));
    // So far no row lacked the field.
    memory.fill(bits, 0xff, <usize>filled >> 3);
    store<u8>(bits + (<usize>filled >> 3), <u8>(((<u32>1) << (filled & 7)) - 1));
    store<u32>(column, <u32>bits, C_PRESENCE);
  } else if (bytesWanted > <usize>load<u32>(column, C_PRESENCE_BYTES)) {
    const before = <usize>load<u32>(column, C_PRESENCE_BYTES);
    bits = heap.realloc(bits, bytesWanted * 2);
    memory.fill(bits + before, 0, bytesWanted * 2 - before);
    bytesKept += bytesWanted * 2 - before;
    store<u32>(column, <u32>(bytesWanted * 2), C_PRESENCE_BYTES);
    store<u32>(column, <u32>bits, C_PRESENCE_BLOCK);
    store<u32>(column, <u32>bits, C_PRESENCE);
  }
  const place = bits + (<usize>row >> 3);
  store<u8>(place, load<u8>(place) | <u8>((<u32>1) << (row & 7)));
}

/** Bytes of a value as the shift of its index. */
@inline
function valueShift(type: u32): usize {
  return type == BOOLEAN ? 0 : type == STRING ? 2 : 3;
}

function growColumn(column: usize): void {
  const capacity = load<u32>(column, C_CAPACITY);
  const larger = max<u32>(ROWS_INITIAL, capacity * 2);
  const shift = valueShift(load<u32>(column, C_TYPE));
  const values = <usize>load<u32>(column, C_VALUES);
  const bytes = <usize>larger << shift;
  store<u32>(column, <u32>(values == 0 ? heap.alloc(bytes) : heap.realloc(values, bytes)), C_VALUES);
  store<u32>(column, larger, C_CAPACITY);
  bytesKept += bytes - (<usize>capacity << shift);
}

/** A value that is `mantissa` / 10^`decimals`: |mantissa| < 2^53, decimals at most 15, not -0. */
@inline
export function putDecimal(column: usize, row: u32, mantissa: i64, decimals: u32): void {
  const index = takeCell(column, row);
  const values = <usize>load<u32>(column, C_VALUES);
  if (load<u32>(column, C_EXPONENT) == decimals && load<u32>(column, C_RAW) == 0) {
    store<i64>(values + (<usize>index << 3), mantissa);
  } else {
    putScaled(column, index, mantissa, decimals);
  }
}

function putScaled(column: usize, index: u32, m: i64, d: u32): void {
  let mantissa = m;
  let decimals = d;
  const place = <usize>load<u32>(column, C_VALUES) + (<usize>index << 3);
  if (load<u32>(column, C_RAW) == 0) {
    let exponent = load<u32>(column, C_EXPONENT);
    while (decimals > exponent && mantissa % 10 == 0) {
      mantissa /= 10;
      decimals--;
    }
    if (decimals > exponent && rescale(column, index, decimals)) exponent = decimals;
    if (decimals <= exponent) {
      const scaled = scaledBy(mantissa, exponent - decimals);
      if (scaled != i64.MIN_VALUE) {
        store<i64>(place, scaled);
        return;
      }
    }
    turnRaw(column, index);
  }
  store<f64>(place, <f64>mantissa / pow10(decimals));
}

export function putDouble(column: usize, row: u32, value: f64): void {
  const index = takeCell(column, row);
  if (load<u32>(column, C_RAW) == 0) turnRaw(column, index);
  store<f64>(<usize>load<u32>(column, C_VALUES) + (<usize>index << 3), value);
}

@inline
export function putWord(column: usize, row: u32, value: i64): void {
  const index = takeCell(column, row);
  store<i64>(<usize>load<u32>(column, C_VALUES) + (<usize>index << 3), value);
}

@inline
export function putBoolean(column: usize, row: u32, value: u32): void {
  const index = takeCell(column, row);
  store<u8>(<usize>load<u32>(column, C_VALUES) + <usize>index, <u8>value);
}

/** Values of a string column are the ends of the strings in its bytes. */
export function putString(column: usize, row: u32, at: usize, length: u32): void {
  const index = takeCell(column, row);
  const values = <usize>load<u32>(column, C_VALUES);
  const start: u32 = index == 0 ? 0 : load<u32>(values + (<usize>(index - 1) << 2));
  let bytes = <usize>load<u32>(column, C_BYTES);
  const room = load<u32>(column, C_BYTES_ROOM);
  if (start + length > room) {
    const larger = max<u32>(256, max<u32>(room * 2, start + length));
    bytes = bytes == 0 ? heap.alloc(<usize>larger + PAD_BYTES) : heap.realloc(bytes, <usize>larger + PAD_BYTES);
    store<u32>(column, <u32>bytes, C_BYTES);
    store<u32>(column, larger, C_BYTES_ROOM);
    bytesKept += <usize>(larger - room);
  }
  memory.copy(bytes + <usize>start, at, <usize>length);
  store<u32>(values + (<usize>index << 2), start + length);
}

/** The last value is of `row`: it becomes that of the row before, in the place of the value there, if there is one. */
export function moveCellBack(column: usize, row: u32): void {
  const bits = <usize>load<u32>(column, C_PRESENCE);
  store<u32>(column, row, C_FILLED);
  if (bits != 0) {
    const from = bits + (<usize>row >> 3);
    store<u8>(from, load<u8>(from) & <u8>~((<u32>1) << (row & 7)));
    const to = bits + (<usize>(row - 1) >> 3);
    const bit = (<u32>1) << ((row - 1) & 7);
    if (((<u32>load<u8>(to)) & bit) == 0) {
      store<u8>(to, load<u8>(to) | <u8>bit);
      return;
    }
  }
  const last = load<u32>(column, C_COUNT) - 1;
  store<u32>(column, last, C_COUNT);
  const type = load<u32>(column, C_TYPE);
  const values = <usize>load<u32>(column, C_VALUES);
  if (type == STRING) {
    const place = values + (<usize>(last - 1) << 2);
    const start: u32 = last == 1 ? 0 : load<u32>(place - 4);
    const from = load<u32>(place);
    const length = load<u32>(place, 4) - from;
    const bytes = <usize>load<u32>(column, C_BYTES);
    memory.copy(bytes + <usize>start, bytes + <usize>from, <usize>length);
    store<u32>(place, start + length);
  } else if (type == BOOLEAN) {
    store<u8>(values + <usize>(last - 1), load<u8>(values + <usize>last));
  } else {
    store<u64>(values + (<usize>(last - 1) << 3), load<u64>(values + (<usize>last << 3)));
  }
}

/** Brings the first `count` values to a larger exponent; false (and nothing changed) when one would be inexact. */
function rescale(column: usize, count: u32, exponent: u32): bool {
  const by = exponent - load<u32>(column, C_EXPONENT);
  const values = <usize>load<u32>(column, C_VALUES);
  const end = values + (<usize>count << 3);
  for (let at = values; at < end; at += 8) if (scaledBy(load<i64>(at), by) == i64.MIN_VALUE) return false;
  const factor = <i64>pow10(by);
  for (let at = values; at < end; at += 8) store<i64>(at, load<i64>(at) * factor);
  store<u32>(column, exponent, C_EXPONENT);
  return true;
}

/** mantissa x 10^by, or the least i64 when that is not below 2^53. */
function scaledBy(mantissa: i64, by: u32): i64 {
  // Whole numbers: the product is exact when it is below 2^53, and not below it when it should not be.
  const scaled = <f64>mantissa * pow10(by);
  return abs(scaled) < MANTISSA_END ? <i64>scaled : i64.MIN_VALUE;
}

/** The first `count` values become doubles. */
function turnRaw(column: usize, count: u32): void {
  const scale = pow10(load<u32>(column, C_EXPONENT));
  const values = <usize>load<u32>(column, C_VALUES);
  const end = values + (<usize>count << 3);
  for (let at = values; at < end; at += 8) store<f64>(at, <f64>load<i64>(at) / scale);
  store<u32>(column, 1, C_RAW);
}

const POWERS: usize = memory.data<f64>([
  1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
  1e21, 1e22,
]);

/** Up to 22: exact. */
@inline
export function pow10(exponent: u32): f64 {
  return load<f64>(POWERS + (<usize>exponent << 3));
}

