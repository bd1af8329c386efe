/**
 * Columns: the one form in which values travel through Starling (batch, memtable, block, query).
 *
 * One array type per field type, so that every hot loop is monomorphic:
 *   float -> Float64Array, integer -> BigInt64Array, unsigned -> BigUint64Array, boolean -> Uint8Array (0 or 1),
 *   string -> string[].
 * Integers are stored as BigInt64Array but hot loops read them through a Uint32Array/Int32Array view of the same buffer
 * (little-endian halves), never as a bigint per element.
 * `present` has one byte per row (1 = the row has the field) or is null when every row has it; values of absent rows
 * are unspecified and must not be read.
 */
export const FLOAT = 0;
export const INTEGER = 1;
export const UNSIGNED = 2;
export const STRING = 3;
export const BOOLEAN = 4;
/** The order is the order of precedence where stored cells of a field disagree in type (protocol rule 6). */
export type FieldType = 0 | 1 | 2 | 3 | 4;

/** InfluxDB's names, as SHOW FIELD KEYS prints them and as its type conflict errors spell them. */
export const FIELD_TYPE_NAMES = ['float', 'integer', 'unsigned', 'string', 'boolean'] as const;

export type ColumnValues = Float64Array | BigInt64Array | BigUint64Array | Uint8Array | string[];

export interface Column {
  readonly field: string;
  readonly type: FieldType;
  readonly present: Uint8Array | null;
  readonly values: ColumnValues;
}

export function makeValues(type: FieldType, length: number): ColumnValues {
  switch (type) {
    case FLOAT:
      return new Float64Array(length);
    case INTEGER:
      return new BigInt64Array(length);
    case UNSIGNED:
      return new BigUint64Array(length);
    case BOOLEAN:
      return new Uint8Array(length);
    case STRING:
      return new Array<string>(length).fill('');
  }
}
