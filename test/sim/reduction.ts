/**
 * A run with less in it: faults, writes and kinds of trouble that are left out. Each fault and each write has a number and
 * a stream of chance of its own, so that leaving one out leaves the others as they are.
 */
export const KINDS_OF_TROUBLE = [
  'loss',
  'duplication',
  'lateness',
  'deafness',
  'joiners',
  'definitions',
  'clocks',
] as const;
export type KindOfTrouble = (typeof KINDS_OF_TROUBLE)[number];

export interface Reduction {
  readonly withoutFaults: ReadonlySet<number>;
  readonly withoutWrites: ReadonlySet<number>;
  readonly calm: ReadonlySet<KindOfTrouble>;
  /** Writes and faults end then; null: as the scenario says. */
  readonly untilMs: number | null;
  /** Members at the start; null: as the scenario says. */
  readonly nodes: number | null;
}

export const NOTHING_LEFT_OUT: Reduction = {
  withoutFaults: new Set(),
  withoutWrites: new Set(),
  calm: new Set(),
  untilMs: null,
  nodes: null,
};

/** `1,4-6` */
export function rangesOf(numbers: ReadonlySet<number>): string {
  const sorted = [...numbers].sort((a, b) => a - b);
  const ranges: [number, number][] = [];
  for (const n of sorted) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === n - 1) last[1] = n;
    else ranges.push([n, n]);
  }
  return ranges.map(([low, high]) => (low === high ? `${low}` : `${low}-${high}`)).join();
}

/** Throws RangeError on anything else than what `rangesOf` gives. */
export function numbersOf(text: string): Set<number> {
  const numbers = new Set<number>();
  for (const part of text === '' ? [] : text.split(',')) {
    const found = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(part);
    if (found === null) throw new RangeError(`'${part}' is neither a number nor a range of numbers`);
    const [low, high] = [Number(found[1]), Number(found[2] ?? found[1])];
    for (let n = low; n <= high; n++) numbers.add(n);
  }
  return numbers;
}

/** As options of `npm run sim`. */
export function reductionOptions({ withoutFaults, withoutWrites, calm, untilMs, nodes }: Reduction): string[] {
  return [
    ...(withoutFaults.size === 0 ? [] : ['--without-faults', rangesOf(withoutFaults)]),
    ...(withoutWrites.size === 0 ? [] : ['--without-writes', rangesOf(withoutWrites)]),
    ...(calm.size === 0 ? [] : ['--calm', [...calm].join()]),
    ...(untilMs === null ? [] : ['--until', String(untilMs)]),
    ...(nodes === null ? [] : ['--nodes', String(nodes)]),
  ];
}
