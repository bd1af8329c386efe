/**
 * A random database: measurements with tags that some series lack, fields of each type, and points at regular and
 * irregular times, some written twice. The same for a seed.
 */
import { randomOf } from '../bench/random.ts';

export type FieldKind = 'float' | 'integer' | 'string' | 'boolean';

export interface Measurement {
  readonly name: string;
  readonly fields: Readonly<Record<string, FieldKind>>;
  readonly tags: readonly string[];
}

export interface World {
  readonly seed: number;
  readonly database: string;
  readonly measurements: readonly Measurement[];
  readonly tagValues: readonly string[];
  /** Several series have points at the same times: InfluxDB then has no order among these. */
  readonly hasTies: boolean;
  /** Of all points. */
  readonly minNs: bigint;
  readonly maxNs: bigint;
  /** Batches of line protocol, in the order in which they are written, with the retention policy of each. */
  readonly writes: readonly { readonly policy: string; readonly lines: readonly string[] }[];
}

/** What is drawn from. */
export class Dice {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = randomOf(seed);
  }

  /** 0 .. below - 1. */
  below(below: number): number {
    return Math.floor(this.#random() * below);
  }

  chance(share: number): boolean {
    return this.#random() < share;
  }

  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** At least one, each once, in their order. */
  some<T>(items: readonly T[], share: number): T[] {
    const chosen = items.filter(() => this.chance(share));
    return chosen.length > 0 ? chosen : [this.of(items)];
  }
}

export const POLICIES = ['autogen', 'short'] as const;

const START_NS = 1_577_836_800_000_000_000n;
const SECOND = 1_000_000_000n;
const TAG_VALUES = ['a', 'b', 'c', 'a b', 'x,y'];
const FIELD_NAMES = ['v', 'w', 'n', 'k', 's', 'u', 'ok'];
const USUAL: Readonly<Record<string, FieldKind>> = {
  v: 'float',
  w: 'float',
  n: 'integer',
  k: 'integer',
  s: 'string',
  u: 'string',
  ok: 'boolean',
};
const FIELD_KINDS = ['float', 'integer', 'string', 'boolean'] as const;
const TEXTS = ['up', 'down', 'a b', '', 'x"y', '1'];

export function worldOf(seed: number): World {
  const dice = new Dice(seed);
  const count = 1 + dice.below(3);
  const kinds = Object.fromEntries(
    Object.entries(USUAL).map(([name, kind]) => [name, dice.chance(0.9) ? kind : dice.of(FIELD_KINDS)]),
  );
  const measurements = Array.from({ length: count }, (_, i) => measurementOf(dice, `m${i}`, kinds));
  const stepNs = SECOND * BigInt(dice.of([1, 10, 60, 600, 3600]));
  const hasTies = dice.chance(0.15);
  let series = 0;
  const writes: { policy: string; lines: string[] }[] = [];
  let maxNs = START_NS;
  for (const measurement of measurements) {
    const usual = dice.chance(0.15) ? 'short' : 'autogen';
    const mixed = dice.chance(0.1);
    for (const tags of seriesOf(dice, measurement)) {
      const policy = mixed ? dice.of(POLICIES) : usual;
      const lines: string[] = [];
      const regular = dice.chance(0.6);
      let at = START_NS + (dice.chance(0.5) ? 0n : stepNs * BigInt(dice.below(5)));
      // Each has a microsecond of its own.
      if (!hasTies) at += BigInt(series++) * 1000n;
      const points = 1 + dice.below(dice.chance(0.2) ? 60 : 12);
      for (let i = 0; i < points; i++) {
        const fields = fieldsOf(dice, measurement);
        if (fields !== '') lines.push(`${measurement.name}${tags} ${fields} ${at}`);
        if (at > maxNs) maxNs = at;
        if (dice.chance(0.9)) at += regular ? stepNs : BigInt(1 + dice.below(Number(stepNs / 1_000_000n))) * 2_000_000n;
      }
      if (lines.length > 0) writes.push({ policy, lines });
    }
  }
  return {
    seed,
    database: `world${seed}`,
    measurements,
    tagValues: TAG_VALUES,
    hasTies,
    minNs: START_NS,
    maxNs,
    writes,
  };
}

function measurementOf(dice: Dice, name: string, kinds: Readonly<Record<string, FieldKind>>): Measurement {
  const fields: Record<string, FieldKind> = {};
  for (const field of dice.some(FIELD_NAMES, 0.5)) fields[field] = kinds[field]!;
  return { name, fields, tags: dice.chance(0.9) ? dice.some(['host', 'region', 'dc'], 0.5) : [] };
}

function seriesOf(dice: Dice, { tags }: Measurement): string[] {
  const all = new Set<string>();
  const count = 1 + dice.below(5);
  for (let i = 0; i < count; i++) {
    let text = '';
    for (const tag of tags)
      if (dice.chance(0.8)) text += `,${tag}=${dice.of(TAG_VALUES).replace(/[ ,=]/g, (special) => `\\${special}`)}`;
    all.add(text);
  }
  return [...all];
}

function fieldsOf(dice: Dice, { fields }: Measurement): string {
  const out: string[] = [];
  for (const [name, kind] of Object.entries(fields))
    if (dice.chance(0.75)) out.push(`${name}=${fieldValue(dice, kind)}`);
  return out.join(',');
}

function fieldValue(dice: Dice, kind: FieldKind): string {
  switch (kind) {
    case 'float': {
      const value = dice.chance(0.5) ? dice.below(20) - 5 : (dice.below(200_000) - 100_000) / 64;
      return String(value);
    }
    case 'integer':
      return `${dice.chance(0.05) ? 0 : dice.below(60) - 20}i`;
    case 'boolean':
      return dice.chance(0.5) ? 'true' : 'false';
    case 'string':
      return `"${dice.of(TEXTS).replace(/["\\]/g, (special) => `\\${special}`)}"`;
  }
}
