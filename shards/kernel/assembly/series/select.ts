/**
 * Sets of a measurement's members as bits, 64 bytes for each block of 512, and the conditions that make them.
 *
 * Bits behind the last member are 0. A comparison with a value reads the codes of a column 16, 8 or 4 at a time; a
 * verdict for each code (what a regular expression says of the values) is looked up. Blocks whose codes are out of
 * range are passed over.
 */
import {
  BLOCK_MEMBER_SHIFT,
  BLOCK_MEMBERS,
  blockCodes,
  blockGreatest,
  blockLeast,
  blockOf,
  blockWidth,
  codeAt,
  readCode,
} from './columns';
import { orderUpdate } from './order';
import { columnOf, measurementAt, measurementOf, memberOf } from './table';

const BLOCK_BIT_BYTES: u32 = BLOCK_MEMBERS / 8;

/** Bytes of a set of the measurement's members. */
export function setBytes(table: usize, number: u32): u32 {
  return blocksOf(load<u32>(measurementAt(table, number))) * BLOCK_BIT_BYTES;
}

@inline
function blocksOf(members: u32): u32 {
  return (members + BLOCK_MEMBERS - 1) >> BLOCK_MEMBER_SHIFT;
}

/** All members, or none. */
export function setFill(table: usize, number: u32, all: bool, out: usize): void {
  memory.fill(out, all ? 0xff : 0, setBytes(table, number));
  if (all) clearBehind(table, number, out);
}

export function setAnd(into: usize, other: usize, bytes: u32): void {
  for (let i: u32 = 0; i < bytes; i += 16) v128.store(into + i, v128.and(v128.load(into + i), v128.load(other + i)));
}

export function setOr(into: usize, other: usize, bytes: u32): void {
  for (let i: u32 = 0; i < bytes; i += 16) v128.store(into + i, v128.or(v128.load(into + i), v128.load(other + i)));
}

export function setNot(table: usize, number: u32, set: usize): void {
  const bytes = setBytes(table, number);
  for (let i: u32 = 0; i < bytes; i += 16) v128.store(set + i, v128.not(v128.load(set + i)));
  clearBehind(table, number, set);
}

function clearBehind(table: usize, number: u32, set: usize): void {
  const members = load<u32>(measurementAt(table, number));
  const end = blocksOf(members) << BLOCK_MEMBER_SHIFT;
  for (let member = members; member < end; member++) {
    const byte = set + (member >> 3);
    store<u8>(byte, load<u8>(byte) & ~(<u8>1 << <u8>(member & 7)));
  }
}

export function setCount(set: usize, bytes: u32): u32 {
  let count: u64 = 0;
  for (let i: u32 = 0; i < bytes; i += 8) count += popcnt(load<u64>(set + i));
  return <u32>count;
}

/** Members whose value of the tag key has the code (plus one); 0: those that do not have the tag. */
export function setEqual(table: usize, number: u32, key: u32, code: u32, out: usize): void {
  const measurement = measurementAt(table, number);
  const column = columnOf(measurement, key);
  const blocks = blocksOf(load<u32>(measurement));
  for (let i: u32 = 0; i < blocks; i++) {
    const bits = out + i * BLOCK_BIT_BYTES;
    const block = column == 0 ? 0 : blockOf(column, i);
    if (block == 0) memory.fill(bits, code == 0 ? 0xff : 0, BLOCK_BIT_BYTES);
    else if (code != 0 && (code < blockLeast(block) || code > blockGreatest(block))) memory.fill(bits, 0, BLOCK_BIT_BYTES);
    else equalBits(blockCodes(block), blockWidth(block), code, bits);
  }
  clearBehind(table, number, out);
}

function equalBits(codes: usize, width: u32, code: u32, bits: usize): void {
  if (width == 0) {
    const wanted = i8x16.splat(<i8>code);
    for (let i: u32 = 0; i < BLOCK_MEMBERS; i += 16) {
      store<u16>(bits + (i >> 3), <u16>i8x16.bitmask(i8x16.eq(v128.load(codes + i), wanted)));
    }
  } else if (width == 1) {
    const wanted = i16x8.splat(<i16>code);
    for (let i: u32 = 0; i < BLOCK_MEMBERS; i += 8) {
      store<u8>(bits + (i >> 3), <u8>i16x8.bitmask(i16x8.eq(v128.load(codes + (i << 1)), wanted)));
    }
  } else {
    const wanted = i32x4.splat(code);
    for (let i: u32 = 0; i < BLOCK_MEMBERS; i += 8) {
      const low = i32x4.bitmask(i32x4.eq(v128.load(codes + (i << 2)), wanted));
      const high = i32x4.bitmask(i32x4.eq(v128.load(codes + (i << 2), 16), wanted));
      store<u8>(bits + (i >> 3), <u8>(low | (high << 4)));
    }
  }
}

/** Members for whose code (plus one) of the tag key the verdict (a byte each, 0 or 1; `count` of them) is 1. */
export function setVerdict(table: usize, number: u32, key: u32, verdicts: usize, count: u32, out: usize): void {
  const measurement = measurementAt(table, number);
  const column = columnOf(measurement, key);
  const blocks = blocksOf(load<u32>(measurement));
  const absent = load<u8>(verdicts) == 1;
  let least: u32 = 1;
  while (least < count && load<u8>(verdicts + least) == 0) least++;
  let greatest = count - 1;
  while (greatest > 0 && load<u8>(verdicts + greatest) == 0) greatest--;
  for (let i: u32 = 0; i < blocks; i++) {
    const bits = out + i * BLOCK_BIT_BYTES;
    const block = column == 0 ? 0 : blockOf(column, i);
    if (block == 0) memory.fill(bits, absent ? 0xff : 0, BLOCK_BIT_BYTES);
    else if (!absent && (greatest < blockLeast(block) || least > blockGreatest(block))) {
      memory.fill(bits, 0, BLOCK_BIT_BYTES);
    } else verdictBits(blockCodes(block), blockWidth(block), verdicts, bits);
  }
  clearBehind(table, number, out);
}

function verdictBits(codes: usize, width: u32, verdicts: usize, bits: usize): void {
  for (let i: u32 = 0; i < BLOCK_MEMBERS; i += 8) {
    let byte: u32 = 0;
    for (let bit: u32 = 0; bit < 8; bit++) byte |= <u32>load<u8>(verdicts + readCode(codes, width, i + bit)) << bit;
    store<u8>(bits + (i >> 3), <u8>byte);
  }
}

/** Marks (a byte each) of the codes plus one of a tag key that members of the measurement have. */
export function markCodes(table: usize, number: u32, key: u32, marks: usize): void {
  const measurement = measurementAt(table, number);
  const column = columnOf(measurement, key);
  if (column == 0) return;
  const blocks = blocksOf(load<u32>(measurement));
  for (let i: u32 = 0; i < blocks; i++) {
    const block = blockOf(column, i);
    if (block == 0) continue;
    const codes = blockCodes(block);
    const width = blockWidth(block);
    for (let place: u32 = 0; place < BLOCK_MEMBERS; place++) store<u8>(marks + readCode(codes, width, place), 1);
  }
}

/** Ids of the set in the order of hash; `out` has room for all of them. Returns how many. */
export function setIds(table: usize, number: u32, set: usize, out: usize): u32 {
  const measurement = measurementAt(table, number);
  const sorted = orderUpdate(table, number);
  const ranks: usize = load<u32>(table, 40);
  const ids: usize = load<u32>(measurement, 4);
  const bytes = setBytes(table, number);
  const ranked = heap.alloc(max<u32>(bytes, 16));
  memory.fill(ranked, 0, bytes);
  for (let i: u32 = 0; i < bytes; i += 8) {
    let word = load<u64>(set + i);
    while (word != 0) {
      const member = (i << 3) + <u32>ctz(word);
      word &= word - 1;
      const rank = load<u32>(ranks + (load<u32>(ids + (member << 2)) << 2));
      const byte = ranked + (rank >> 3);
      store<u8>(byte, load<u8>(byte) | (<u8>1 << <u8>(rank & 7)));
    }
  }
  let count: u32 = 0;
  for (let i: u32 = 0; i < bytes; i += 8) {
    let word = load<u64>(ranked + i);
    while (word != 0) {
      const rank = (i << 3) + <u32>ctz(word);
      word &= word - 1;
      store<u32>(out + (count++ << 2), load<u32>(sorted + (rank << 2)));
    }
  }
  heap.free(ranked);
  return count;
}

/** Codes plus one (0: it does not have the tag) of a tag key for ids of the measurement, u32 each. */
export function codesOf(table: usize, number: u32, key: u32, ids: usize, count: u32, out: usize): void {
  const column = columnOf(measurementAt(table, number), key);
  for (let i: u32 = 0; i < count; i++) {
    const id = load<u32>(ids + (i << 2));
    const known = column != 0 && measurementOf(table, id) == number;
    store<u32>(out + (i << 2), known ? codeAt(column, memberOf(table, id)) : 0);
  }
}

/** Tag keys of the measurement in byte order (u32 numbers; room for `measurementColumns`). */
export function measurementKeys(table: usize, number: u32, out: usize): void {
  const measurement = measurementAt(table, number);
  const order: usize = load<u32>(measurement, 36);
  const columns: usize = load<u32>(measurement, 24);
  for (let i: u32 = 0; i < load<u32>(measurement, 28); i++) {
    store<u32>(out + (i << 2), load<u32>(columns + load<u32>(order + (i << 2)) * 16));
  }
}

export function measurementColumns(table: usize, number: u32): u32 {
  return load<u32>(measurementAt(table, number), 28);
}
