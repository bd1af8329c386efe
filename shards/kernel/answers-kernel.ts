/** The main thread's kernel for answers: numbers to text (assembly/answers). One instance, made at first use. */
import { type KernelMemory, loadKernel } from './load.ts';

interface AnswersExports extends KernelMemory {
  numberText(value: number, at: number): number;
  rowTexts(
    times: number,
    columns: number,
    stride: number,
    count: number,
    unit: number,
    from: number,
    to: number,
    at: number,
    full: number,
    limit: number,
  ): number;
  rowsEnd(): number;
  powersOfTen(): number;
}

export interface NumberWriter {
  /** Where texts are put; as long as was asked for. */
  readonly bytes: Uint8Array;
  /**
   * Writes String(value) at a place of `bytes` that has NUMBER_BYTES_MAX left, and returns the number of bytes; 0: it is
   * none that is written without an exponent. -0 is written with its sign.
   */
  write(value: number, at: number): number;
  readonly rows: RowWriter;
}

/** Writes rows of tables of numbers, a stretch of which is staged in the kernel's memory. */
export interface RowWriter {
  /** Stages rows from `first` on, as many as there is room for, and returns the one behind them. */
  stage(times: BigInt64Array, columns: readonly Float64Array[], first: number): number;
  /**
   * Writes rows first .. behind - 1 of what is staged, from a place of `bytes` on, as `rowTexts` of assembly/answers/rows.ts
   * says, and returns the first that is left. None begins at `full` or beyond.
   */
  write(first: number, behind: number, unit: number, at: number, full: number): number;
  /** The place behind what was written last. */
  readonly end: number;
}

export const NUMBER_BYTES_MAX = 26;
/** Times and values that are staged at most. */
const STAGED_MAX = 1 << 16;

const POWER_MIN = -292;
const POWER_MAX = 324;

export function numberWriter(bytes: number): NumberWriter {
  const kernel = loadKernel<AnswersExports>('answers');
  // Everything is taken at once: the memory does not grow later, so that the view stays valid.
  const address = kernel.alloc(bytes);
  const staged = kernel.alloc(STAGED_MAX * 8);
  const table = new BigUint64Array(kernel.memory.buffer, kernel.powersOfTen(), (POWER_MAX - POWER_MIN + 1) * 2);
  for (let k = POWER_MIN; k <= POWER_MAX; k++) {
    const power = powerOfTen(k);
    table[(k - POWER_MIN) * 2] = power >> 64n;
    table[(k - POWER_MIN) * 2 + 1] = power;
  }
  return {
    bytes: new Uint8Array(kernel.memory.buffer, address, bytes),
    write: (value, at) => kernel.numberText(value, address + at),
    rows: rowWriter(kernel, staged, address, bytes),
  };
}

function rowWriter(kernel: AnswersExports, staged: number, address: number, bytes: number): RowWriter {
  const stagedTimes = new BigInt64Array(kernel.memory.buffer, staged, STAGED_MAX);
  const stagedNumbers = new Float64Array(kernel.memory.buffer, staged, STAGED_MAX);
  let count = 0;
  let stride = 0;
  let start = 0;
  return {
    stage(times, columns, first) {
      count = columns.length;
      start = first;
      stride = Math.min(times.length - first, Math.floor(STAGED_MAX / (count + 1)));
      const isWhole = stride === times.length;
      stagedTimes.set(isWhole ? times : times.subarray(first, first + stride));
      for (let c = 0; c < count; c++)
        stagedNumbers.set(isWhole ? columns[c]! : columns[c]!.subarray(first, first + stride), (c + 1) * stride);
      return first + stride;
    },
    write(first, behind, unit, at, full) {
      const columns = staged + stride * 8;
      const [from, to] = [first - start, behind - start];
      const [begin, limit] = [address + at, address + bytes];
      return start + kernel.rowTexts(staged, columns, stride * 8, count, unit, from, to, begin, address + full, limit);
    },
    get end() {
      return kernel.rowsEnd() - address;
    },
  };
}

/** 10^k as 128 bits of which the first is 1, rounded up. */
function powerOfTen(k: number): bigint {
  const ten = 10n ** BigInt(Math.abs(k));
  const bits = BigInt(ten.toString(2).length);
  if (k >= 0) {
    const cut = bits - 128n;
    return cut <= 0n ? ten << -cut : (ten + (1n << cut) - 1n) >> cut;
  }
  // 2^(bits + 127) / ten lies in (2^127, 2^128]; only a power of two would be 2^128.
  return ((1n << (bits + 127n)) + ten - 1n) / ten;
}
