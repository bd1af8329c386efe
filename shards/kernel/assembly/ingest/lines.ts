/**
 * One pass over a body's bytes: lines whose reading needs no thought go into the stage; at any other the parser stops and
 * says why (columns.ts has the codes), with nothing of that line kept.
 *
 * It guesses that this line's key follows the last one as it did before, and likewise each field, so that both are
 * compared and not looked up. It may be incomplete but must never take what the careful parser
 * (shards/line-protocol-careful.ts) would read differently.
 */
import { forgetAhead } from './ahead';
import { PAD_BYTES, endOfString, isUtf8, same } from './bytes';
import { putBoolean, putDecimal, putDouble, putString, putWord } from './columns';
import { E_FLAGS, E_LENGTH, E_MEASUREMENT, E_SHARD, FLAG_TIME_TAG } from './entries';
import {
  AGAIN,
  BOOLEAN,
  CAREFUL,
  C_LENGTH,
  C_NAME,
  C_NEXT,
  C_STAGE,
  C_TYPE,
  DONE,
  FLOAT,
  NAME_BYTES_FAST_MAX,
  OK,
  P_FIRST,
  SPECIAL,
  STRING,
  WIDE,
} from './layout';
import {
  IS_DOUBLE,
  IS_FLOAT,
  IS_INTEGER,
  IS_UNSIGNED,
  NOT_HERE,
  eightDigits,
  nonDigits,
  numberDecimals,
  numberDouble,
  numberEnd,
  numberWord,
  takeDigits,
  takeNumber,
} from './numbers';
import { beginRows, defaultTime, finishRow, window } from './rows';
import { guessEntry, lookUpEntry, seriesOf } from './series';
import { columnOf, partOf, retract, stage, stringBytesMax, useColumn } from './stage';
import { forgetTags } from './tags';

const NEWLINE: u32 = 10;
const SPACE: u32 = 32;
const QUOTE: u32 = 34;
const HASH: u32 = 35;
const COMMA: u32 = 44;
const MINUS: u32 = 45;
const DOT: u32 = 46;
const EQUALS: u32 = 61;
const BACKSLASH: u32 = 92;

const INPUT_BYTES_INITIAL: usize = 1 << 16;
const TIME_MAX: u64 = 9223372036854775806;
/** Of a time of this century in nanoseconds. */
const TIME_DIGITS: usize = 19;

let input: usize = 0;
let inputRoom: usize = 0;
let inputEnd: usize = 0;
let at: usize = 0;
let lineBytesMax: usize = 0;
let fieldsEnd: usize = 0;
let lineTime: i64 = 0;
let unit: u64 = 1;
/** Of a timestamp in its unit. */
let timeMax: u64 = 0;
/** The last time of TIME_DIGITS digits with the newline behind it, of this body, and what it says: rows mostly share it. */
const lastTimeText: usize = memory.data(32, 16);
let lastTime: i64 = 0;
let hasLastTime: bool = false;

/** A block for a body of so many bytes, zeros behind it. */
export function inputOf(bytes: usize): usize {
  if (input == 0 || bytes > inputRoom) {
    if (input != 0) heap.free(input);
    inputRoom = max(INPUT_BYTES_INITIAL, max(bytes, inputRoom * 2));
    input = heap.alloc(inputRoom + PAD_BYTES);
  }
  memory.fill(input + bytes, 0, PAD_BYTES);
  inputEnd = input + bytes;
  return input;
}

export function beginParse(unitNs: i64, defaultTimeNs: i64, oldestNs: i64, lineBytes: u32): void {
  at = input;
  unit = <u64>unitNs;
  timeMax = TIME_MAX / unit;
  hasLastTime = false;
  forgetAhead();
  forgetTags();
  lineBytesMax = <usize>lineBytes;
  beginRows(defaultTimeNs, oldestNs);
}

/** Where the line begins at which `parse` has stopped. */
export function position(): usize {
  return at;
}

export function setPosition(to: usize): void {
  at = to;
}

/** From the current position to the end of the body, or to a line that is not for this parser. */
export function parse(): i32 {
  while (at < inputEnd) {
    const c = <u32>load<u8>(at);
    if (c == NEWLINE) {
      at++;
      continue;
    }
    if (c == HASH || c == SPACE) return CAREFUL;
    const code = line(at);
    if (code != OK) return code;
  }
  return DONE;
}

/** Takes the line at `start` and moves behind it, or gives the code. */
function line(start: usize): i32 {
  let entry = guessEntry(start, inputEnd);
  if (entry == 0) {
    entry = lookUpEntry(start, inputEnd);
    if (entry == 0) return CAREFUL;
  }
  const series = seriesOf(entry);
  if ((<u32>load<u8>(series, E_FLAGS) & FLAG_TIME_TAG) != 0) return SPECIAL;
  const measurement = <usize>load<u32>(series, E_MEASUREMENT);
  const shard = <u32>load<u8>(series, E_SHARD);
  const fieldsAt = start + <usize>load<u32>(entry, E_LENGTH) + 1;
  while (true) {
    const part = partOf(measurement, window, shard);
    let code = takeFields(part, fieldsAt, start);
    if (code == OK) code = takeTime(start);
    if (code != OK) {
      retract(part);
      return code;
    }
    code = finishRow(part, series, lineTime);
    if (code == AGAIN) continue;
    if (code != OK) return code;
    at = fieldsEnd + 1;
    return OK;
  }
}

/** Fields up to a space, a newline or the end, where `fieldsEnd` is then. */
function takeFields(part: usize, fieldsAt: usize, lineStart: usize): i32 {
  const row = load<u32>(part);
  let from = fieldsAt;
  while (<u32>load<u8>(from) == SPACE) from++;
  let before: usize = 0;
  let column = <usize>load<u32>(part, P_FIRST);
  while (true) {
    let name = from;
    let nameLength: u32 = 0;
    if (column != 0) {
      nameLength = load<u32>(column, C_LENGTH);
      if (same(<usize>load<u32>(column, C_NAME), from, <usize>nameLength + 1)) from += <usize>nameLength + 1;
      else column = 0;
    }
    if (column == 0) {
      nameLength = plainName(from);
      if (nameLength == 0) return CAREFUL;
      from += <usize>nameLength + 1;
    }
    const first = <u32>load<u8>(from);
    if (first - 48 < 10 || first == MINUS || first == DOT) {
      // Up to seven bytes of number and what follows them, in one word.
      const negative = first == MINUS;
      const digitsAt = from + (negative ? 1 : 0);
      const word = load<u64>(digitsAt);
      const digits = word ^ 0x3030303030303030;
      const others = nonDigits(digits);
      let kind = NOT_HERE;
      let mantissa: i64 = 0;
      let decimals: u32 = 0;
      if (others != 0) {
        const whole = ctz(others) >> 3;
        const stop = <u32>(word >> (whole << 3)) & 0xff;
        if (stop == DOT) {
          const rest = others & (others - 1);
          if (rest != 0) {
            const length = ctz(rest) >> 3;
            const follows = <u32>(word >> (length << 3)) & 0xff;
            if ((follows == COMMA || follows == SPACE || follows == NEWLINE) && length > 1) {
              const low = (<u64>1 << (whole << 3)) - 1;
              const joined = (digits & low) | ((digits >> 8) & ~low);
              mantissa = <i64>eightDigits(joined << (64 - ((length - 1) << 3)));
              decimals = <u32>(length - whole - 1);
              kind = IS_FLOAT;
              from = digitsAt + <usize>length;
            }
          }
        } else if (whole > 0) {
          mantissa = <i64>eightDigits(digits << (64 - (whole << 3)));
          if (stop == COMMA || stop == SPACE || stop == NEWLINE) {
            kind = IS_FLOAT;
            from = digitsAt + <usize>whole;
          } else if (stop == 105) {
            kind = IS_INTEGER;
            from = digitsAt + <usize>whole + 1;
          } else if (stop == 117 && !negative) {
            kind = IS_UNSIGNED;
            from = digitsAt + <usize>whole + 1;
          }
        }
        if (negative) {
          // Not the negative zero.
          if (kind == IS_FLOAT && mantissa == 0) {
            kind = NOT_HERE;
            from = digitsAt - 1;
          }
          mantissa = -mantissa;
        }
      }
      if (kind == NOT_HERE) {
        kind = takeNumber(digitsAt - (negative ? 1 : 0));
        if (kind == NOT_HERE) return CAREFUL;
        mantissa = numberWord;
        decimals = numberDecimals;
        from = numberEnd;
      }
      const type = kind == IS_DOUBLE ? FLOAT : <u32>kind;
      if (column == 0 || load<u32>(column, C_TYPE) != type) column = follower(part, before, name, nameLength, type);
      if (load<u32>(column, C_STAGE) != stage) {
        const code = useColumn(part, column);
        if (code != OK) return code == WIDE ? CAREFUL : code;
      }
      if (kind == IS_FLOAT) putDecimal(column, row, mantissa, decimals);
      else if (kind == IS_DOUBLE) putDouble(column, row, numberDouble);
      else putWord(column, row, mantissa);
    } else {
      const type = first == QUOTE ? STRING : BOOLEAN;
      const value = from;
      let length: usize = 0;
      if (first == QUOTE) {
        const close = endOfString(from + 1, min(inputEnd, lineStart + lineBytesMax));
        if (close == 0) return CAREFUL;
        length = close - from - 1;
        if (length > stringBytesMax) return SPECIAL;
        if (!isUtf8(from + 1, length)) return CAREFUL;
        from = close + 1;
      } else {
        from = endOfBoolean(from);
        if (from == 0) return CAREFUL;
      }
      if (column == 0 || load<u32>(column, C_TYPE) != type) column = follower(part, before, name, nameLength, type);
      if (load<u32>(column, C_STAGE) != stage) {
        const code = useColumn(part, column);
        if (code != OK) return code == WIDE ? CAREFUL : code;
      }
      if (type == STRING) putString(column, row, value + 1, <u32>length);
      else putBoolean(column, row, (first | 32) == 116 ? 1 : 0);
    }
    const c = <u32>load<u8>(from);
    before = column;
    if (c == COMMA && from < inputEnd) {
      from++;
      column = <usize>load<u32>(column, C_NEXT);
      continue;
    }
    if (from < inputEnd && c != SPACE && c != NEWLINE) return CAREFUL;
    if (from > inputEnd) return CAREFUL;
    fieldsEnd = from;
    return OK;
  }
}

/** The column of that name and type, from now on guessed to follow `before`. */
function follower(part: usize, before: usize, name: usize, length: u32, type: u32): usize {
  const column = columnOf(part, name, <usize>length, type);
  if (length <= NAME_BYTES_FAST_MAX) {
    if (before == 0) store<u32>(part, <u32>column, P_FIRST);
    else store<u32>(before, <u32>column, C_NEXT);
  }
  return column;
}

/** Length of a name of ordinary bytes that is followed by `=`; 0 when it is something else. */
function plainName(start: usize): u32 {
  const first = <u32>load<u8>(start);
  if (first == 9 || first == 0) return 0;
  const most = min(inputEnd, start + NAME_BYTES_FAST_MAX + 1);
  for (let i = start; i < most; i++) {
    const c = <u32>load<u8>(i);
    if (c == EQUALS) return i > start && isUtf8(start, i - start) ? <u32>(i - start) : 0;
    if (c == COMMA || c == SPACE || c == QUOTE || c == BACKSLASH || c == NEWLINE) return 0;
  }
  return 0;
}

/** t f T F, true True TRUE, false False FALSE; what follows it, or 0. */
function endOfBoolean(start: usize): usize {
  const first = <u32>load<u8>(start);
  const letter = first | 32;
  if (letter != 116 && letter != 102) return 0;
  const next = <u32>load<u8>(start + 1);
  if (next == COMMA || next == SPACE || next == NEWLINE || start + 1 >= inputEnd) return start + 1;
  // The three letters after the first, and the fourth of false, little-endian: 'rue', 'als', 'e'.
  const length: usize = letter == 116 ? 4 : 5;
  const rest = load<u32>(start + 1) & (letter == 116 ? 0x00ffffff : 0xffffffff);
  const lower: u32 = letter == 116 ? 0x00657572 : 0x65736c61;
  const upper: u32 = letter == 116 ? 0x00455552 : 0x45534c41;
  if (rest == lower || (rest == upper && (first & 32) == 0)) return start + length;
  return 0;
}

/** The time behind the fields, or the default, into `lineTime`, and the end of the line into `fieldsEnd`. */
function takeTime(lineStart: usize): i32 {
  let from = fieldsEnd;
  while (<u32>load<u8>(from) == SPACE) from++;
  if (from - lineStart > lineBytesMax) return CAREFUL;
  // The newline is of the input: behind it stand zeros.
  if (hasLastTime && load<u32>(from, 16) == load<u32>(lastTimeText, 16)) {
    if (!v128.any_true(v128.xor(v128.load(from), v128.load(lastTimeText)))) {
      lineTime = lastTime;
      fieldsEnd = from + TIME_DIGITS;
      return OK;
    }
  }
  if (from >= inputEnd || <u32>load<u8>(from) == NEWLINE) {
    lineTime = defaultTime;
    fieldsEnd = from;
    return OK;
  }
  const negative = <u32>load<u8>(from) == MINUS;
  if (negative) from++;
  const digits = takeDigits(from, 0);
  const value = <u64>numberWord;
  // 19 digits are below 2^64.
  if (digits == 0 || digits > 19 || value > timeMax) return CAREFUL;
  lineTime = <i64>(value * unit);
  if (negative) lineTime = -lineTime;
  else if (digits == TIME_DIGITS && <u32>load<u8>(numberEnd) == NEWLINE) {
    v128.store(lastTimeText, v128.load(from));
    store<u32>(lastTimeText, load<u32>(from, 16), 16);
    lastTime = lineTime;
    hasLastTime = true;
  }
  from = numberEnd;
  while (<u32>load<u8>(from) == SPACE) from++;
  if (from < inputEnd && <u32>load<u8>(from) != NEWLINE) return CAREFUL;
  fieldsEnd = from;
  return OK;
}
