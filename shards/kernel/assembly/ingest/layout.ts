/**
 * Layout of the stage's records (stage.ts, columns.ts), the codes with which steps end, and limits.
 *
 * Part:    0 u32 rows  4 u32 capacity  8 u32 series of the rows (entries)  12 u32 times (f64 after the window's start)
 *         16 u32 first column of the last row  20 u32 columns in use  24 u32 their count  28 u32 room there
 *         32 u32 measurement  36 u32 stage  40 u32 body  44 u32 rows before that body  48 u32 columns by field index
 *         52 u32 room there  56 u32 target: window x shards + shard  60 u32 batch that series of its rows are marked with
 *         64 u32 1: a series' times have not ascended
 * Column:  0 u32 length of the name  4 u32 name  8 u32 type  12 u32 1: values are doubles  16 u32 count  20 u32 capacity
 *         24 u32 values  28 u32 row after the last one written  32 u32 presence bits or 0  36 u32 bytes of their block
 *         40 u32 exponent  44 u32 column that followed last time  48 u32 field  52 u32 stage  56 u32 string bytes
 *         60 u32 room there  64 u32 block for presence bits
 */
export const FLOAT: u32 = 0;
export const INTEGER: u32 = 1;
export const UNSIGNED: u32 = 2;
export const STRING: u32 = 3;
export const BOOLEAN: u32 = 4;

export const P_ROWS: usize = 0;
export const P_CAPACITY: usize = 4;
export const P_SERIES: usize = 8;
export const P_TIMES: usize = 12;
export const P_FIRST: usize = 16;
export const P_COLUMNS: usize = 20;
export const P_COLUMN_COUNT: usize = 24;
export const P_COLUMN_ROOM: usize = 28;
export const P_MEASUREMENT: usize = 32;
export const P_STAGE: usize = 36;
export const P_BODY: usize = 40;
export const P_BODY_ROWS: usize = 44;
export const P_BY_FIELD: usize = 48;
export const P_BY_FIELD_ROOM: usize = 52;
export const P_TARGET: usize = 56;
export const P_MARK: usize = 60;
export const P_UNORDERED: usize = 64;
export const P_BYTES: usize = 72;

export const C_LENGTH: usize = 0;
export const C_NAME: usize = 4;
export const C_TYPE: usize = 8;
export const C_RAW: usize = 12;
export const C_COUNT: usize = 16;
export const C_CAPACITY: usize = 20;
export const C_VALUES: usize = 24;
export const C_FILLED: usize = 28;
export const C_PRESENCE: usize = 32;
export const C_PRESENCE_BYTES: usize = 36;
export const C_EXPONENT: usize = 40;
export const C_NEXT: usize = 44;
export const C_FIELD: usize = 48;
export const C_STAGE: usize = 52;
export const C_BYTES: usize = 56;
export const C_BYTES_ROOM: usize = 60;
export const C_PRESENCE_BLOCK: usize = 64;
export const C_RECORD_BYTES: usize = 72;

/** What a step over a line may end with; the host knows the numbers (ingest-kernel.ts). */
export const DONE: i32 = 0;
/** The line at `lineStart` is for the careful parser; nothing of it is kept. */
export const CAREFUL: i32 = 1;
/** No window holds `rowTime`; the line is read again when there is one. */
export const WINDOW: i32 = 2;
/** The line would make the stage unfold to more than it may. */
export const FULL: i32 = 3;
/** Something that only the general path judges: a tag or field named time, a string beyond the limit. */
export const SPECIAL: i32 = 4;
/** More fields in one measurement than the limit. */
export const WIDE: i32 = 5;
/** Internal: the row was taken back, its window is set now, read it again. */
export const AGAIN: i32 = -2;
/** Not an end: go on. */
export const OK: i32 = -1;

export const WINDOWS_MAX: u32 = 8;
/** Names beyond this are always left to the careful parser: with the key they might exceed its limit. */
export const NAME_BYTES_FAST_MAX: u32 = 1000;
export const ROWS_INITIAL: u32 = 16;
export const UNFOLDED_ROW_BYTES: i64 = 12;
export const UNFOLDED_CELL_BYTES: i64 = 9;
/** What an unused part costs at least. */
export const UNFOLDED_PART_BYTES: i64 = 1024;
export const MANTISSA_END: f64 = 9007199254740992.0;
