/**
 * `bench decode`: how many values a second the worker's kernel decodes of a column of a block, by CPU, for the kinds of values
 * that the codec has ways of its own for. Nothing is stored; a figure is the best of some rounds.
 */
import { decodeBlockHead, encodeBlock } from '../../shards/block.ts';
import { FLOAT } from '../../shards/column.ts';
import { storageBytes, storageKernel, storageWords } from '../../shards/kernel/storage-kernel.ts';
import type { BenchOptions } from './options.ts';
import { randomOf } from './random.ts';

const SERIES = 40;
const ROWS_OF_SERIES = 360;
const ROWS = SERIES * ROWS_OF_SERIES;
const CALLS = 1000;
const ROUNDS = 7;
/** Vectors may read behind what they are given. */
const SPARE_BYTES = 512;

type Random = () => number;

const KINDS: Readonly<Record<string, (random: Random) => () => number>> = {
  'walk of two decimals': (random) => {
    let at = 5000;
    return () => {
      at = Math.min(10_000, Math.max(0, at + Math.floor(random() * 201) - 100));
      return at / 100;
    };
  },
  'whole numbers below 256': (random) => () => Math.floor(random() * 256),
  'counter of some 1,000': (random) => {
    let at = 0;
    return () => {
      at += 1000 + Math.floor(random() * 4);
      return at;
    };
  },
  constant: () => () => 7,
  'full precision': (random) => () => random() * 100 + random() * 1e-9,
};

export async function runDecode(options: BenchOptions): Promise<void> {
  console.log('G values a second of CPU, one thread      bytes a value    columns     times');
  for (const [name, make] of Object.entries(KINDS)) {
    const next = make(randomOf(options.seed));
    const { bytes, columns, times } = speedsOf(Float64Array.from({ length: ROWS }, () => next()));
    console.log(`  ${name.padEnd(38)} ${bytes.toFixed(2).padStart(14)} ${fixed(columns)} ${fixed(times)}`);
  }
}

const fixed = (speed: number): string => speed.toFixed(2).padStart(10);

function speedsOf(values: Float64Array): { bytes: number; columns: number; times: number } {
  const seriesStart = Uint32Array.from({ length: SERIES + 1 }, (_, s) => s * ROWS_OF_SERIES);
  const { head: written, body } = encodeBlock({
    series: Uint32Array.from({ length: SERIES }, (_, s) => s),
    seriesStart,
    times: Float64Array.from({ length: ROWS }, (_, i) => (i % ROWS_OF_SERIES) * 1e10),
    versions: new Uint32Array(ROWS),
    versionTable: ['0'.repeat(32)],
    columns: [{ field: 'a', type: FLOAT, present: null, values }],
  });
  const head = decodeBlockHead(written);
  const column = head.columns[0]!;
  const kernel = storageKernel();
  const sizes = [body.byteLength, seriesStart.byteLength, ROWS * 8, ROWS];
  const blocks = sizes.map((size) => kernel.alloc(size + SPARE_BYTES));
  const [at, starts, out, present] = blocks as [number, number, number, number];
  storageBytes().set(body, at);
  storageWords().set(seriesStart, starts >>> 2);
  const columns = bestSpeed(() =>
    kernel.decodeColumn(
      at,
      column.offset,
      column.offset + column.length,
      FLOAT,
      starts,
      SERIES,
      0,
      SERIES,
      out,
      present,
    ),
  );
  const { timesOffset, timesLength } = head;
  const times = bestSpeed(() =>
    kernel.decodePatterns(at, timesOffset, timesOffset + timesLength, starts, SERIES, 0, SERIES, out),
  );
  for (const block of blocks) kernel.free(block);
  return { bytes: column.length / ROWS, columns, times };
}

function bestSpeed(decode: () => number): number {
  if (decode() < 0) throw new Error(`the kernel refuses its own block: ${decode()}`);
  let best = 0;
  for (let round = 0; round <= ROUNDS; round++) {
    const before = process.cpuUsage();
    for (let i = 0; i < CALLS; i++) decode();
    const { user, system } = process.cpuUsage(before);
    // The first one lets V8 compile.
    if (round > 0) best = Math.max(best, (CALLS * ROWS) / (user + system) / 1000);
  }
  return best;
}
