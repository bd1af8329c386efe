/**
 * Limits of line protocol, and the errors of a body's lines, of which the first ones are kept as text.
 */
/** InfluxDB's `MaxKeyLength`, for the key (which may be limited to less) and for key + separator + field name. */
export const KEY_BYTES_MAX = 65_535;
/** InfluxDB's limit for a string value. */
export const STRING_BYTES_MAX = 1_048_576;

export interface LineError {
  /** InfluxDB's text: `unable to parse '...': ...`. */
  readonly message: string;
}

export interface LineLimits {
  /** A longer line is an error by itself (one string of 1 MiB plus a key of 64 KiB must fit). */
  readonly lineBytesMax: number;
  /** Of measurement and tags; at most KEY_BYTES_MAX. */
  readonly keyBytesMax: number;
  /** At most STRING_BYTES_MAX. */
  readonly stringBytesMax: number;
  readonly errorsMax: number;
  /** All error texts of a body together. */
  readonly errorBytesMax: number;
  /** Distinct fields of one measurement in one body: each costs an array as long as the body has rows. */
  readonly columnsMax: number;
  /** Series of one body: points of further ones are refused. */
  readonly seriesMax: number;
  /** Memory that the columns of one body may newly take; copies of the same size follow. */
  readonly scratchBytesMax: number;
}

export const LINE_LIMITS: LineLimits = {
  lineBytesMax: 4 << 20,
  keyBytesMax: KEY_BYTES_MAX,
  stringBytesMax: STRING_BYTES_MAX,
  errorsMax: 1000,
  errorBytesMax: 1 << 20,
  columnsMax: 10_000,
  seriesMax: 1_000_000,
  scratchBytesMax: 256 << 20,
};

const QUOTED_BYTES_MAX = 16_384;

/** The errors of one body's lines. */
export class LineErrors {
  readonly list: LineError[] = [];
  failed = 0;
  private bytes = 0;
  private readonly limits: LineLimits;

  constructor(limits: LineLimits) {
    this.limits = limits;
  }

  add(body: Buffer, start: number, end: number, reason: string): void {
    this.failed++;
    if (this.list.length >= this.limits.errorsMax || this.bytes >= this.limits.errorBytesMax) return;
    const cut = end - start > QUOTED_BYTES_MAX;
    const quoted = body.toString('utf8', start, cut ? start + QUOTED_BYTES_MAX : end);
    const message = `unable to parse '${quoted}${cut ? '...' : ''}': ${reason}`;
    this.list.push({ message });
    this.bytes += message.length;
  }
}
