/**
 * Rows of a table of numbers as JSON: `[1700000000,1.5,null],[1700000060,2,3]`. Calls of the kernel for each row or number
 * would cost as much as the digits.
 */
import { NUMBER_BYTES_MAX, numberText, writeDecimal, writePair } from './number-text';

const SECOND: i64 = 1000000000;
const DAY_SECONDS: i64 = 86400;
/** A date with nanoseconds, quoted; an int64 is shorter. */
const TIME_BYTES_MAX: usize = 32;
/** Brackets, and the comma in front. */
const FRAME_BYTES: usize = 3;
const QUOTE: u8 = 34;
const COMMA: u8 = 44;
const MINUS: u8 = 45;
const POINT: u8 = 46;
const COLON: u8 = 58;
const OPEN: u8 = 91;
const CLOSE: u8 = 93;
/** The four letters of null. */
const NULL: u32 = 0x6c6c756e;

let end: usize = 0;

/** Where the rows last written end. */
export function rowsEnd(): usize {
  return end;
}

/**
 * Writes rows from .. to - 1 with commas between them, and returns the first that is left: of a row with a number that is
 * written with an exponent nothing is written, nor does one begin at `full` or beyond, or have less than it may need up to
 * `limit`. `times`: int64 nanoseconds, `columns`: `count` columns of doubles (what is not finite is null), each of `stride`
 * bytes as the times are. `unit`: nanoseconds of the unit in which times are counted, cut towards zero; 0: dates.
 */
export function rowTexts(
  times: usize,
  columns: usize,
  stride: usize,
  count: i32,
  unit: f64,
  from: i32,
  to: i32,
  at: usize,
  full: usize,
  limit: usize,
): i32 {
  const divisor = <i64>unit;
  const room = FRAME_BYTES + TIME_BYTES_MAX + <usize>count * (NUMBER_BYTES_MAX + 1);
  end = at;
  let row = from;
  for (; row < to; row++) {
    if (end >= full || end + room > limit) break;
    let next = end;
    if (row > from) store<u8>(next++, COMMA);
    store<u8>(next++, OPEN);
    const place = <usize>row << 3;
    const time = load<i64>(times + place);
    next = divisor == 0 ? dateText(time, next) : unitsText(time / divisor, next);
    let value = columns + place;
    for (let c = 0; c < count; c++) {
      store<u8>(next++, COMMA);
      const number = load<f64>(value);
      value += stride;
      if (!isFinite(number)) {
        store<u32>(next, NULL);
        next += 4;
        continue;
      }
      const length = numberText(number, next);
      if (length === 0) return row;
      next += length;
    }
    store<u8>(next++, CLOSE);
    end = next;
  }
  return row;
}

function unitsText(units: i64, to: usize): usize {
  if (units == 0) {
    store<u8>(to, 48);
    return to + 1;
  }
  if (units > 0) return writeDecimal(<u64>units, 0, to);
  store<u8>(to, MINUS);
  // Of the least int64 the negative is itself, which as an unsigned number is what is wanted.
  return writeDecimal(<u64>-units, 0, to + 1);
}

/** `"2020-09-13T12:26:40.12Z"`: nanoseconds without trailing zeros. */
function dateText(time: i64, at: usize): usize {
  let seconds = time / SECOND;
  let nanos = <u32>(time - seconds * SECOND);
  if (time < seconds * SECOND) {
    seconds--;
    nanos = <u32>(time - seconds * SECOND);
  }
  let days = seconds / DAY_SECONDS;
  if (days * DAY_SECONDS > seconds) days--;
  const second = <u32>(seconds - days * DAY_SECONDS);
  let to = at;
  store<u8>(to++, QUOTE);
  to = dayText(<i32>days, to);
  store<u8>(to++, 84);
  writePair(second / 3600, to);
  store<u8>(to, COLON, 2);
  writePair((second / 60) % 60, to + 3);
  store<u8>(to, COLON, 5);
  writePair(second % 60, to + 6);
  to += 8;
  if (nanos != 0) {
    store<u8>(to++, POINT);
    let digits = 9;
    while (nanos % 10 == 0) {
      nanos /= 10;
      digits--;
    }
    for (let i = digits; i-- > 0; nanos /= 10) store<u8>(to + i, 48 + (nanos % 10));
    to += digits;
  }
  store<u8>(to, 90);
  store<u8>(to, QUOTE, 1);
  return to + 2;
}

/** Days since 1970 of the years 1677 to 2262, which int64 nanoseconds reach: Hinnant, "chrono-compatible date algorithms". */
function dayText(days: i32, to: usize): usize {
  // Years begin in March, and are counted from the year 0.
  const z = <u32>(days + 719468);
  const era = z / 146097;
  const dayOfEra = z - era * 146097;
  const yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146096) / 365;
  const dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
  const fromMarch = (5 * dayOfYear + 2) / 153;
  const day = dayOfYear - (153 * fromMarch + 2) / 5 + 1;
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  writePair(year / 100, to);
  writePair(year % 100, to + 2);
  store<u8>(to, MINUS, 4);
  writePair(month, to + 5);
  store<u8>(to, MINUS, 7);
  writePair(day, to + 8);
  return to + 10;
}
