/** InfluxDB line protocol, parsed from bytes to columns. */
import type { Column } from './column.ts';
import type { SeriesCache } from './series-cache.ts';

export type Precision = 'n' | 'u' | 'ms' | 's' | 'm' | 'h';

export interface LineError {
  /** InfluxDB's text: `unable to parse '...': ...`. */
  readonly message: string;
}

/** The rows of one measurement in a body. */
export interface ParsedGroup {
  readonly measurement: string;
  readonly rows: number;
  /** Per row: SeriesCache id. */
  readonly rowSeries: Uint32Array;
  readonly timesNs: BigInt64Array;
  /** Each (field, type) at most once. */
  readonly columns: readonly Column[];
}

export interface ParsedPoints {
  readonly groups: readonly ParsedGroup[];
  readonly rows: number;
  /** At most `errorsMax`; `failed` counts all. */
  readonly errors: readonly LineError[];
  readonly failed: number;
  /** Lines that are neither empty nor comments. */
  readonly lines: number;
}

export interface LineLimits {
  readonly lineBytesMax: number;
  readonly errorsMax: number;
  readonly columnsMax: number;
}

export const LINE_LIMITS: LineLimits = { lineBytesMax: 8 << 20, errorsMax: 1000, columnsMax: 100_000 };

export class LineParser {
  constructor(_series: SeriesCache, _limits: LineLimits) {}

  parse(_body: Uint8Array, _precision: Precision, _defaultTimeNs: bigint): ParsedPoints {
    throw new Error('in construction');
  }
}
