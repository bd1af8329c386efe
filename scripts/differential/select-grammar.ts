/**
 * SELECT statements drawn from the grammar, over what a world has: mostly such that something is answered.
 */
import { type ConditionTree, type ExpressionTree, type FieldTree, LONG_WINDOW, type SelectTree } from './query-tree.ts';
import { type Dice, type FieldKind, POLICIES, type World } from './world.ts';

/** What a query can name: a world's, or what a subquery gives. */
interface Names {
  readonly fields: readonly { readonly name: string; readonly kind: FieldKind }[];
  readonly tags: readonly string[];
}

const text = (of: string): ExpressionTree => ({ kind: 'text', text: of });
const call = (name: string, ...args: readonly ExpressionTree[]): ExpressionTree => ({ kind: 'call', name, args });

const REGEXES = ['/.*/', '/^v$/', '/[nk]/', '/^(s|u)/', '/(?i)V|W/', '/o/', '/zz/'];
const NUMBERS = ['0', '1', '2', '-3', '0.5', '10', '1.25'];
const DURATIONS = ['1s', '10s', '1m', '5m', '1h', '1d', '7s', '90s'];
const MATH_ONE = [
  'abs',
  'ceil',
  'floor',
  'round',
  'sqrt',
  'exp',
  'ln',
  'log2',
  'log10',
  'sin',
  'cos',
  'tan',
  'asin',
  'acos',
  'atan',
];
const MATH_TWO = ['pow', 'atan2', 'log'];
const AGGREGATES = ['count', 'sum', 'mean', 'median', 'mode', 'spread', 'stddev'];
const SELECTORS = ['min', 'max', 'first', 'last'];
const TRANSFORMATIONS = [
  'derivative',
  'non_negative_derivative',
  'difference',
  'non_negative_difference',
  'moving_average',
  'cumulative_sum',
  'elapsed',
  'technical',
];
const TECHNICAL = [
  'exponential_moving_average',
  'double_exponential_moving_average',
  'triple_exponential_moving_average',
  'relative_strength_index',
  'triple_exponential_derivative',
  'kaufmans_efficiency_ratio',
  'kaufmans_adaptive_moving_average',
  'chande_momentum_oscillator',
];
const ZONES = ['Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'UTC'];
const SUBQUERIES_MAX = 2;
const HOLT_WINTERS = ['holt_winters', 'holt_winters_with_fit'];

/** Which ends of time a condition names. */
type Bounds = 'any' | 'both' | 'end' | 'none';

export class SelectGrammar {
  readonly #dice: Dice;
  readonly #world: World;
  readonly #subqueryShare: number;
  #columns = 0;

  constructor(dice: Dice, world: World, subqueryShare: number) {
    this.#dice = dice;
    this.#world = world;
    this.#subqueryShare = subqueryShare;
  }

  select(depth = 0): SelectTree {
    const dice = this.#dice;
    const { from, names } = this.#sources(depth);
    const shape = dice.below(10);
    const fields: FieldTree[] = [];
    let groupBy: string[] = [];
    let windowed = false;
    let calls = true;
    if (shape < 3) {
      calls = false;
      for (let i = 1 + dice.below(3); i > 0; i--) fields.push(this.#field(this.#raw(names, depth), depth));
    } else {
      windowed = dice.chance(0.5);
      const only = shape < 5;
      for (let i = only ? 1 : 1 + dice.below(3); i > 0; i--)
        fields.push(this.#field(this.#computed(names, windowed, only), depth));
      if (dice.chance(0.1)) fields.push(this.#field(this.#reference(names), depth));
    }
    const bounds = depth === 0 ? this.#bounds(windowed, from) : 'any';
    if (windowed) groupBy.push(bounds === 'none' ? `time(${LONG_WINDOW})` : this.#time(bounds !== 'end'));
    if (dice.chance(0.35)) groupBy = [...groupBy, ...this.#groupTags(names)];
    const where = this.#where(names, bounds);
    return { kind: 'select', fields, from, where, groupBy, tail: this.#tail(calls, depth) };
  }

  #sources(depth: number): { from: (string | SelectTree)[]; names: Names } {
    const dice = this.#dice;
    if (depth < SUBQUERIES_MAX && dice.chance(this.#subqueryShare)) {
      const inner = this.select(depth + 1);
      return { from: [inner], names: namesOf(inner) };
    }
    const { measurements, database } = this.#world;
    const chosen = dice.chance(0.8) ? [dice.of(measurements)] : dice.some(measurements, 0.6);
    const all = dice.chance(0.1);
    const from = all
      ? [dice.of(['/m/', '/^m[01]$/', '/.*/', '/x/'])]
      : chosen.map(({ name }) => {
          if (dice.chance(0.9)) return name;
          const policy = dice.of(POLICIES);
          return dice.of([`${policy}.${name}`, `${database}.${policy}.${name}`, `${database}..${name}`, 'absent']);
        });
    const fields = new Map<string, FieldKind>();
    const tags = new Set<string>();
    for (const measurement of all ? measurements : chosen) {
      for (const [name, kind] of Object.entries(measurement.fields)) fields.set(name, kind);
      for (const tag of measurement.tags) tags.add(tag);
    }
    return { from, names: { fields: [...fields].map(([name, kind]) => ({ name, kind })), tags: [...tags] } };
  }

  #field(expression: ExpressionTree, depth: number): FieldTree {
    // Two columns of a subquery that have one name are one to InfluxDB, and not always the same one.
    if (depth > 0) return { expression, alias: `c${this.#columns++}` };
    const alias = this.#dice.chance(0.15) ? this.#dice.of(['x', 'y', 'v', '"a b"', 'host']) : null;
    return { expression, alias };
  }

  #numeric(names: Names): string {
    const numbers = names.fields.filter(({ kind }) => kind === 'float' || kind === 'integer');
    return numbers.length === 0 || this.#dice.chance(0.04) ? this.#any(names) : this.#dice.of(numbers).name;
  }

  #any(names: Names): string {
    const dice = this.#dice;
    if (names.fields.length === 0 || dice.chance(0.03)) return dice.of(['absent', 'v', ...names.tags]);
    return dice.of(names.fields).name;
  }

  #reference(names: Names): ExpressionTree {
    const dice = this.#dice;
    if (dice.chance(0.15) && names.tags.length > 0) return text(dice.of(names.tags) + dice.of(['', '', '::tag']));
    const cast = dice.chance(0.12) ? `::${dice.of(['field', 'float', 'integer', 'string', 'boolean'])}` : '';
    return text(this.#any(names) + cast);
  }

  #raw(names: Names, depth: number): ExpressionTree {
    const dice = this.#dice;
    const kind = depth > 0 ? 2 + dice.below(10) : dice.below(12);
    if (kind === 0) return text(dice.of(['*', '*', '*::field', '*::tag']));
    if (kind === 1) return text(dice.of(REGEXES));
    if (kind === 2) return this.#arithmetic(() => text(this.#numeric(names)));
    if (kind === 3) return this.#math(() => text(this.#numeric(names)));
    return this.#reference(names);
  }

  #arithmetic(operand: () => ExpressionTree): ExpressionTree {
    const dice = this.#dice;
    const op = dice.of(['+', '-', '*', '/', '+', '-', '*', '/', '%', '&', '|', '^']);
    const number = (): ExpressionTree => text(dice.of(NUMBERS));
    const [left, right] = dice.of<[ExpressionTree, ExpressionTree]>([
      [number(), operand()],
      [operand(), number()],
      [operand(), operand()],
    ]);
    const both: ExpressionTree = { kind: 'binary', op, left, right };
    return dice.chance(0.2) ? this.#arithmetic(() => both) : both;
  }

  #math(operand: () => ExpressionTree): ExpressionTree {
    const dice = this.#dice;
    if (dice.chance(0.75)) return call(dice.of(MATH_ONE), operand());
    return call(dice.of(MATH_TWO), operand(), dice.chance(0.7) ? text(dice.of(NUMBERS)) : operand());
  }

  #computed(names: Names, windowed: boolean, only: boolean): ExpressionTree {
    const dice = this.#dice;
    const kind = dice.below(20);
    if (kind < 2) return this.#arithmetic(() => this.#aggregate(names));
    if (kind < 4) return this.#math(() => this.#aggregate(names));
    if (kind < 8 && (windowed || !this.#world.hasTies)) return this.#transformation(names, windowed);
    if (kind === 8 && only) return this.#extreme(names);
    if (kind === 9) return call('count', call('distinct', text(this.#any(names))));
    if (kind === 10 && only) return call('distinct', text(this.#any(names)));
    return this.#aggregate(names);
  }

  #aggregate(names: Names): ExpressionTree {
    const dice = this.#dice;
    const target = (name: string): ExpressionTree =>
      dice.chance(0.06) ? text(dice.of(['*', ...REGEXES])) : text(name);
    switch (dice.below(8)) {
      case 0:
        return call('percentile', target(this.#numeric(names)), text(dice.of(['0', '5', '50', '90', '99.9', '100'])));
      case 1:
        if (this.#world.hasTies) return call('count', target(this.#any(names)));
        return dice.chance(0.5)
          ? call('integral', target(this.#numeric(names)))
          : call('integral', target(this.#numeric(names)), text(dice.of(DURATIONS)));
      case 2:
      case 3: {
        const fn = dice.of(SELECTORS);
        return call(fn, target(fn === 'first' || fn === 'last' ? this.#any(names) : this.#numeric(names)));
      }
      default: {
        const fn = dice.of(AGGREGATES);
        return call(fn, target(fn === 'count' || fn === 'mode' ? this.#any(names) : this.#numeric(names)));
      }
    }
  }

  #extreme(names: Names): ExpressionTree {
    const dice = this.#dice;
    const tags = dice.chance(0.4) && names.tags.length > 0 ? dice.some(names.tags, 0.5) : [];
    return call(
      dice.of(['top', 'bottom']),
      text(this.#numeric(names)),
      ...tags.map(text),
      text(dice.of(['1', '2', '3', '7'])),
    );
  }

  #transformation(names: Names, windowed: boolean): ExpressionTree {
    const dice = this.#dice;
    const input = windowed ? this.#aggregate(names) : text(dice.chance(0.05) ? '*' : this.#numeric(names));
    if (windowed && dice.chance(0.03))
      return call(dice.of(HOLT_WINTERS), input, text(dice.of(['1', '2', '5'])), text(dice.of(['0', '0', '2', '3'])));
    const fn = dice.of(TRANSFORMATIONS);
    if (fn === 'technical') return this.#technical(input);
    if (fn === 'moving_average') return call(fn, input, text(dice.of(['2', '3', '5'])));
    const hasUnit = fn.endsWith('derivative') || fn === 'elapsed';
    return hasUnit && dice.chance(0.5) ? call(fn, input, text(dice.of(DURATIONS))) : call(fn, input);
  }

  #technical(input: ExpressionTree): ExpressionTree {
    const dice = this.#dice;
    const fn = dice.of(TECHNICAL);
    const args = [input, text(dice.of(['1', '2', '3', '5']))];
    if (dice.chance(0.5)) args.push(text(dice.of(['-1', '0', '1', '4'])));
    if (args.length === 3 && !fn.startsWith('kaufmans') && dice.chance(0.6))
      args.push(text(dice.of(["'simple'", "'exponential'", ...(fn.startsWith('chande') ? ["'none'"] : [])])));
    return call(fn, ...args);
  }

  /** Windows up to now would be many: only long ones go without an end. */
  #bounds(windowed: boolean, from: SelectTree['from']): Bounds {
    const dice = this.#dice;
    if (from.some((source) => typeof source !== 'string')) return 'both';
    if (!windowed) return 'any';
    if (dice.chance(0.9)) return 'both';
    return dice.chance(0.8) ? 'end' : 'none';
  }

  /** Shifted windows without a beginning are those of all time in InfluxDB. */
  #time(mayShift: boolean): string {
    const dice = this.#dice;
    const { minNs, maxNs } = this.#world;
    const span = Number((maxNs - minNs) / 1_000_000_000n) + 1;
    const seconds = Math.max(1, Math.round(span / (1 + dice.below(12))));
    const duration = dice.chance(0.5) ? `${seconds}s` : dice.of(DURATIONS.filter((one) => secondsOf(one) * 200 > span));
    const shift = mayShift && dice.chance(0.2) ? `, ${dice.of(['1s', '-7s', '30s', '1m', '-1h'])}` : '';
    return `time(${duration ?? '1d'}${shift})`;
  }

  #groupTags(names: Names): string[] {
    const dice = this.#dice;
    if (dice.chance(0.2)) return ['*'];
    if (dice.chance(0.15)) return [dice.of(['/host/', '/.*/', '/r/', '/zz/'])];
    if (names.tags.length === 0) return [dice.of(['host', 'absent'])];
    return dice.some(names.tags, 0.5);
  }

  #where(names: Names, bounds: Bounds): ConditionTree | null {
    const dice = this.#dice;
    let where: ConditionTree | null = null;
    const add = (next: ConditionTree): void => {
      where = where === null ? next : { kind: 'both', op: 'AND', left: where, right: next };
    };
    const hasStart = bounds === 'both' || (bounds === 'any' && dice.chance(0.3));
    if (hasStart) add({ kind: 'test', text: `time >= ${this.#moment(0, 0.3)}` });
    if (bounds === 'both' || bounds === 'end' || (hasStart && dice.chance(0.7)))
      add({ kind: 'test', text: `time ${dice.of(['<', '<='])} ${this.#moment(0.5, 1.1)}` });
    if (dice.chance(0.3)) add(this.#condition(names));
    return where;
  }

  /** A moment between two shares of the world's time, in one of the forms in which times are written. */
  #moment(from: number, to: number): string {
    const dice = this.#dice;
    const { minNs, maxNs } = this.#world;
    const span = Number(maxNs - minNs) + 1e9;
    const at = minNs + BigInt(Math.round((span * (from + ((to - from) * dice.below(20)) / 20)) / 1e6)) * 1_000_000n;
    const iso = new Date(Number(at / 1_000_000n)).toISOString();
    return dice.of([
      `${at}`,
      `'${iso}'`,
      `'${iso.slice(0, 19).replace('T', ' ')}'`,
      `${at / 1_000_000n}ms`,
      `'${iso.slice(0, 10)}' + ${(at / 1_000_000n) % 86_400_000n}ms`,
    ]);
  }

  #condition(names: Names): ConditionTree {
    const dice = this.#dice;
    if (dice.chance(0.3))
      return {
        kind: 'both',
        op: dice.of(['AND', 'OR']),
        left: this.#condition(names),
        right: this.#condition(names),
      };
    return { kind: 'test', text: dice.chance(0.5) ? this.#tagTest(names) : this.#fieldTest(names) };
  }

  #tagTest(names: Names): string {
    const dice = this.#dice;
    const tag = names.tags.length === 0 || dice.chance(0.05) ? 'absent' : dice.of(names.tags);
    if (dice.chance(0.35))
      return `${tag} ${dice.of(['=~', '!~'])} ${dice.of(['/a/', '/^$/', '/b|c/', '/.*/', '/^a$/'])}`;
    return `${tag} ${dice.of(['=', '!='])} '${dice.of([...this.#world.tagValues, ''])}'`;
  }

  #fieldTest(names: Names): string {
    const dice = this.#dice;
    if (names.fields.length === 0 || dice.chance(0.05)) return dice.of(['absent > 1', 'true', "absent = 'a'", '1 = 1']);
    const { name, kind } = dice.of(names.fields);
    if (kind === 'boolean') return `${name} ${dice.of(['=', '!='])} ${dice.of(['true', 'false'])}`;
    if (kind === 'string')
      return dice.chance(0.3)
        ? `${name} ${dice.of(['=~', '!~'])} ${dice.of(['/u/', '/^$/', '/ /'])}`
        : `${name} ${dice.of(['=', '!='])} '${dice.of(['up', 'down', '', 'a b'])}'`;
    const left = dice.chance(0.2) ? `${name} ${dice.of(['+', '-', '*', '/'])} ${dice.of(NUMBERS)}` : name;
    return `${left} ${dice.of(['=', '!=', '<', '<=', '>', '>='])} ${dice.of(NUMBERS)}`;
  }

  #tail(calls: boolean, depth: number): string[] {
    const dice = this.#dice;
    const tail: string[] = [];
    if (calls && dice.chance(0.3))
      tail.push(`fill(${dice.of(['none', 'null', 'previous', 'linear', '0', '-1.5', '100'])})`);
    if (dice.chance(0.2)) tail.push(`ORDER BY time ${dice.of(['DESC', 'DESC', 'ASC'])}`);
    const cuts = !this.#world.hasTies;
    if (cuts && dice.chance(0.17)) {
      if (dice.chance(0.9)) tail.push(`LIMIT ${dice.of(['1', '2', '3', '10'])}`);
      if (dice.chance(0.5)) tail.push(`OFFSET ${dice.of(['1', '2', '5'])}`);
    }
    if (dice.chance(0.09)) {
      if (dice.chance(0.9)) tail.push(`SLIMIT ${dice.of(['1', '2'])}`);
      if (dice.chance(0.5)) tail.push(`SOFFSET ${dice.of(['1', '2'])}`);
    }
    if (depth === 0 && dice.chance(0.07)) tail.push(`tz('${dice.of(ZONES)}')`);
    return tail;
  }
}

function secondsOf(duration: string): number {
  const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };
  return Number.parseInt(duration, 10) * units[duration.at(-1)!]!;
}

/** Names of a subquery's columns, as far as they can be told; their kinds are a guess. */
function namesOf({ fields, groupBy }: SelectTree): Names {
  const columns = fields.map(({ expression, alias }) => {
    const own = expression.kind === 'call' ? expression.name : expression.kind === 'text' ? expression.text : '';
    return { name: alias ?? own.replace(/::.*/, ''), kind: 'float' as const };
  });
  const tags = groupBy.filter((one) => /^[a-z]+$/.test(one));
  return { fields: columns.filter(({ name }) => /^("|[a-z])/.test(name)), tags };
}
