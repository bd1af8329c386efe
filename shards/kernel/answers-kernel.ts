/** The main thread's kernel for answers: numbers to text (assembly/answers). One instance, made at first use. */
import { type KernelMemory, loadKernel } from './load.ts';

interface AnswersExports extends KernelMemory {
  numberText(value: number, at: number): number;
  numberTexts(values: number, count: number, at: number): number;
  powersOfTen(): number;
}

export interface NumberWriter {
  /** Where texts are put; as long as was asked for. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /**
   * Writes String(value) at a place of `bytes` that has NUMBER_BYTES_MAX left, and returns the number of bytes; 0: it is
   * none that is written without an exponent. -0 is written with its sign.
   */
  write(value: number, at: number): number;
  /** Where numbers are put for `writeAll`. */
  readonly numbers: Float64Array<ArrayBuffer>;
  /**
   * Writes the first `count` of `numbers` at a place of `bytes` that has NUMBER_BYTES_MAX + 1 left for each, with a comma
   * in front of each, and returns the number of bytes. What is not finite is null; 0: one is written with an exponent.
   */
  writeAll(count: number, at: number): number;
}

export const NUMBER_BYTES_MAX = 26;
const NUMBERS_MAX = 64;

const POWER_MIN = -292;
const POWER_MAX = 324;

export function numberWriter(bytes: number): NumberWriter {
  const kernel = loadKernel<AnswersExports>('answers');
  // Everything is taken at once: the memory does not grow later, so that the view stays valid.
  const address = kernel.alloc(bytes);
  const staged = kernel.alloc(NUMBERS_MAX * 8);
  const table = new BigUint64Array(kernel.memory.buffer, kernel.powersOfTen(), (POWER_MAX - POWER_MIN + 1) * 2);
  for (let k = POWER_MIN; k <= POWER_MAX; k++) {
    const power = powerOfTen(k);
    table[(k - POWER_MIN) * 2] = power >> 64n;
    table[(k - POWER_MIN) * 2 + 1] = power;
  }
  return {
    bytes: new Uint8Array(kernel.memory.buffer, address, bytes),
    write: (value, at) => kernel.numberText(value, address + at),
    numbers: new Float64Array(kernel.memory.buffer, staged, NUMBERS_MAX),
    writeAll: (count, at) => kernel.numberTexts(staged, count, address + at),
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
