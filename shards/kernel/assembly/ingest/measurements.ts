/**
 * Names: measurements, and the fields of each by name and type. Fields get small numbers in order of appearance, by which
 * the host keeps their names as strings.
 *
 * Measurement:  0 u32 length  4 u32 name  8 u32 parts (windows x shards, stage.ts)  12 u32 fields used in the stage
 *              16 u32 stage of that count  20 u32 fields of all stages
 * Field:        0 u32 length  4 u32 name, followed by `=`  8 u32 type  12 u32 measurement  16 u32 number
 *              20 u32 number within the measurement  24 u32 check in which it was reported (stage.ts)  28 u32 stage in
 *              which it was counted
 */
import { hashBytes, same } from './bytes';

export const M_LENGTH: usize = 0;
export const M_NAME: usize = 4;
export const M_PARTS: usize = 8;
export const M_FIELDS_USED: usize = 12;
export const M_STAGE: usize = 16;
const M_FIELDS: usize = 20;
const M_BYTES: usize = 24;

export const F_LENGTH: usize = 0;
export const F_NAME: usize = 4;
const F_TYPE: usize = 8;
export const F_MEASUREMENT: usize = 12;
export const F_NUMBER: usize = 16;
export const F_INDEX: usize = 20;
export const F_CHECK: usize = 24;
export const F_STAGE: usize = 28;
const F_BYTES: usize = 32;

const SLOTS_INITIAL: u32 = 1024;
/** Behind a name: `=`, and what comparisons read beyond. */
const NAME_PAD_BYTES: usize = 32;

let measurementSlots: usize = 0;
let measurementMask: u32 = 0;
let measurements: u32 = 0;
let fieldSlots: usize = 0;
let fieldMask: u32 = 0;
let fields: u32 = 0;
let bytesUsed: usize = 0;
/** Fields by number. */
let fieldList: usize = 0;

export function startMeasurements(): void {
  measurementSlots = newSlots(SLOTS_INITIAL);
  measurementMask = SLOTS_INITIAL - 1;
  fieldSlots = newSlots(SLOTS_INITIAL);
  fieldMask = SLOTS_INITIAL - 1;
  fieldList = heap.alloc(<usize>SLOTS_INITIAL * 2);
}

export function namesBytes(): usize {
  return bytesUsed;
}

export function fieldAt(number: u32): usize {
  return <usize>load<u32>(fieldList + (<usize>number << 2));
}

/** Found or made. */
export function measurementOf(at: usize, length: usize): usize {
  const hash = hashBytes(at, length);
  let slot = hash & measurementMask;
  for (; ; slot = (slot + 1) & measurementMask) {
    const place = measurementSlots + (<usize>slot << 3);
    const known = <usize>load<u32>(place);
    if (known == 0) break;
    if (load<u32>(place, 4) != hash || <usize>load<u32>(known, M_LENGTH) != length) continue;
    if (same(<usize>load<u32>(known, M_NAME), at, length)) return known;
  }
  const made = newNamed(M_BYTES, at, length);
  measurements++;
  putSlot(measurementSlots, measurementMask, made, hash);
  if (measurements * 2 > measurementMask) {
    measurementSlots = grown(measurementSlots, measurementMask);
    measurementMask = measurementMask * 2 + 1;
  }
  return made;
}

/** Found or made. */
export function fieldOf(measurement: usize, at: usize, length: usize, type: u32): usize {
  const hash = hashBytes(at, length) ^ ((<u32>measurement) * 0x9e3779b1) ^ (type * 0x85ebca6b);
  let slot = hash & fieldMask;
  for (; ; slot = (slot + 1) & fieldMask) {
    const place = fieldSlots + (<usize>slot << 3);
    const known = <usize>load<u32>(place);
    if (known == 0) break;
    if (load<u32>(place, 4) != hash || <usize>load<u32>(known, F_LENGTH) != length) continue;
    if (<usize>load<u32>(known, F_MEASUREMENT) != measurement || load<u32>(known, F_TYPE) != type) continue;
    if (same(<usize>load<u32>(known, F_NAME), at, length)) return known;
  }
  const made = newNamed(F_BYTES, at, length);
  store<u32>(made, type, F_TYPE);
  store<u32>(made, <u32>measurement, F_MEASUREMENT);
  store<u32>(made, fields, F_NUMBER);
  const index = load<u32>(measurement, M_FIELDS);
  store<u32>(made, index, F_INDEX);
  store<u32>(measurement, index + 1, M_FIELDS);
  store<u32>(fieldList + (<usize>fields << 2), <u32>made);
  fields++;
  putSlot(fieldSlots, fieldMask, made, hash);
  if (fields * 2 > fieldMask) {
    fieldSlots = grown(fieldSlots, fieldMask);
    fieldMask = fieldMask * 2 + 1;
    fieldList = heap.realloc(fieldList, (<usize>fieldMask + 1) * 2);
  }
  return made;
}

/** A record whose first two words are length and address of a copy of the name. */
function newNamed(bytes: usize, at: usize, length: usize): usize {
  const made = heap.alloc(bytes);
  memory.fill(made, 0, bytes);
  const name = heap.alloc(length + NAME_PAD_BYTES);
  memory.copy(name, at, length);
  memory.fill(name + length, 0, NAME_PAD_BYTES);
  store<u8>(name + length, 61);
  store<u32>(made, <u32>length, 0);
  store<u32>(made, <u32>name, 4);
  bytesUsed += bytes + length + NAME_PAD_BYTES + 48;
  return made;
}

function newSlots(count: u32): usize {
  const slots = heap.alloc(<usize>count << 3);
  memory.fill(slots, 0, <usize>count << 3);
  return slots;
}

function putSlot(slots: usize, mask: u32, record: usize, hash: u32): void {
  let slot = hash & mask;
  while (load<u32>(slots + (<usize>slot << 3)) != 0) slot = (slot + 1) & mask;
  store<u32>(slots + (<usize>slot << 3), <u32>record);
  store<u32>(slots + (<usize>slot << 3), hash, 4);
}

/** Twice as many slots. */
function grown(old: usize, oldMask: u32): usize {
  const slots = newSlots((oldMask + 1) * 2);
  for (let i: u32 = 0; i <= oldMask; i++) {
    const record = <usize>load<u32>(old + (<usize>i << 3));
    if (record != 0) putSlot(slots, oldMask * 2 + 1, record, load<u32>(old + (<usize>i << 3), 4));
  }
  heap.free(old);
  return slots;
}
