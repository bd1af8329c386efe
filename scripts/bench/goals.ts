/** The figures that Starling is to reach, and what each row of the tables is made of. */
import type { RunFigures } from './measure.ts';

export interface Row {
  readonly label: string;
  /** In the table's unit. */
  pick(figures: RunFigures): number;
  readonly digits: number;
  /** Whether more is better. */
  readonly isRate: boolean;
  /** By workload: a bound, or `ahead` of every peer that is there. */
  readonly goals: Readonly<Record<string, number | 'ahead'>>;
}

export const ROWS: readonly Row[] = [
  {
    label: 'CPU-seconds per million values, acknowledged',
    pick: ({ acknowledgedCpu }) => acknowledgedCpu,
    digits: 3,
    isRate: false,
    goals: { A: 0.1, B: 0.12, C: 0.3, E: 0.3, G: 'ahead', three: 0.22 },
  },
  {
    label: 'CPU-seconds per million values, settled',
    pick: ({ settledCpu }) => settledCpu,
    digits: 3,
    isRate: false,
    goals: { G: 'ahead' },
  },
  {
    label: 'million values/s',
    pick: ({ valuesPerSecond }) => valuesPerSecond / 1e6,
    digits: 2,
    isRate: true,
    goals: { A: 15 },
  },
  {
    label: 'bytes a value on disk, settled',
    pick: ({ bytesPerValue }) => bytesPerValue,
    digits: 2,
    isRate: false,
    goals: { A: 1.08, B: 1.8, G: 'ahead' },
  },
  { label: 'write p50, ms', pick: ({ writeP50Ms }) => writeP50Ms, digits: 1, isRate: false, goals: {} },
  { label: 'write p99, ms', pick: ({ writeP99Ms }) => writeP99Ms, digits: 1, isRate: false, goals: { A: 25 } },
  {
    label: 'resident MB after the load',
    pick: ({ residentBytes }) => residentBytes / 1e6,
    digits: 0,
    isRate: false,
    goals: { B: 300 },
  },
  {
    // Excluded from all others. Starling warms up in it, so it is shown.
    label: 'CPU-seconds from start until idle',
    pick: ({ startCpu }) => startCpu,
    digits: 2,
    isRate: false,
    goals: {},
  },
  {
    label: "the load generator's CPU-seconds per million values",
    pick: ({ generatorCpu }) => generatorCpu,
    digits: 3,
    isRate: false,
    goals: {},
  },
];

/** Of what was loaded with `--warm`. The goals are for the first load of a process. */
export const WARM_ROWS: readonly Row[] = [
  {
    label: 'in a process that has taken as much before: CPU-seconds per million values',
    pick: ({ warm }) => warm!.acknowledgedCpu,
    digits: 3,
    isRate: false,
    goals: {},
  },
  {
    label: 'there: million values/s',
    pick: ({ warm }) => warm!.valuesPerSecond / 1e6,
    digits: 2,
    isRate: true,
    goals: {},
  },
  { label: 'there: write p99, ms', pick: ({ warm }) => warm!.writeP99Ms, digits: 1, isRate: false, goals: {} },
];

/** F against A: times A's CPU and bytes. The last digit of a size may differ by how files are cut. */
export const LATE_CPU_RATIO_MAX = 1.6;
export const LATE_BYTES_RATIO_MAX = 1.02;
