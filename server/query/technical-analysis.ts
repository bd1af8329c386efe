/**
 * Technical analysis: averages and oscillators that traders know, over one value after the other.
 *
 * P. G. Mulloy, "Smoothing data with faster moving averages" (1994; double and triple), J. W. Wilder, "New Concepts in
 * Technical Trading Systems" (1978; relative strength), J. K. Hutson, "Good TRIX" (1983; triple exponential derivative),
 * P. J. Kaufman, "Smarter Trading" (1995; efficiency ratio, adaptive average), T. S. Chande and S. Kroll, "The New
 * Technical Trader" (1994; momentum). How they begin, and how many values they hold back, is InfluxDB's.
 */

/** What an average does with its first values; only the momentum oscillator knows `none`. */
export type WarmUp = 'exponential' | 'simple' | 'none';

export interface Indicator {
  /** Values before the first one that is worth showing. */
  readonly warmUpValues: number;
  add(value: number): number;
}

type Maker = (period: number, warmUp: WarmUp) => Indicator;

const INDICATORS: Readonly<Record<string, Maker>> = {
  exponential_moving_average: (period, warmUp) => chain(period, warmUp, 1, ([one]) => one!),
  double_exponential_moving_average: (period, warmUp) => chain(period, warmUp, 2, ([one, two]) => 2 * one! - two!),
  triple_exponential_moving_average: (period, warmUp) =>
    chain(period, warmUp, 3, ([one, two, three]) => 3 * one! - 3 * two! + three!),
  triple_exponential_derivative: tripleDerivative,
  relative_strength_index: relativeStrength,
  kaufmans_efficiency_ratio: efficiencyRatio,
  kaufmans_adaptive_moving_average: adaptiveAverage,
  chande_momentum_oscillator: (period, warmUp) =>
    warmUp === 'none' ? momentum(period) : smoothedMomentum(period, warmUp),
};

export const TECHNICAL_ANALYSIS: ReadonlySet<string> = new Set(Object.keys(INDICATORS));

export function indicatorOf(name: string, period: number, warmUp: WarmUp): Indicator {
  return INDICATORS[name]!(period, warmUp);
}

class ExponentialAverage {
  readonly #period: number;
  readonly #alpha: number;
  readonly #warmUp: WarmUp;
  #count = 0;
  value = 0;

  constructor(period: number, warmUp: WarmUp, alpha = 2 / (period + 1)) {
    this.#period = period;
    this.#alpha = alpha;
    this.#warmUp = warmUp;
  }

  get isWarm(): boolean {
    return this.#count >= this.#period;
  }

  /** While it warms up it is the mean, or one of as many values as there have been. */
  add(value: number): number {
    if (this.isWarm) this.value += this.#alpha * (value - this.value);
    else {
      this.#count++;
      const share = this.#warmUp === 'simple' ? 1 / this.#count : 2 / (this.#count + 1);
      this.value += share * (value - this.value);
    }
    return this.value;
  }
}

/** Averages of averages; each begins when the one before it is warm, or at once where it is exponential from the start. */
function chain(
  period: number,
  warmUp: WarmUp,
  length: number,
  combine: (averages: readonly number[]) => number,
): Indicator {
  const averages = Array.from({ length }, () => new ExponentialAverage(period, warmUp));
  return {
    warmUpValues: (period - 1) * (warmUp === 'simple' ? length : 1),
    add: (value) => {
      let input = value;
      let runs = true;
      const outputs = averages.map((average) => {
        if (runs) input = average.add(input);
        runs &&= average.isWarm || warmUp === 'exponential';
        return input;
      });
      return combine(outputs);
    },
  };
}

function tripleDerivative(period: number, warmUp: WarmUp): Indicator {
  const triple = chain(period, warmUp, 3, (averages) => averages[2]!);
  let last = 0;
  return {
    warmUpValues: triple.warmUpValues + 1,
    add: (value) => {
      const now = triple.add(value);
      const rate = (now / last - 1) * 100;
      last = now;
      return rate;
    },
  };
}

/** What is no number is no change. */
function upsAndDowns(period: number, warmUp: WarmUp): (value: number) => { up: number; down: number } {
  const up = new ExponentialAverage(period + 1, warmUp, 1 / period);
  const down = new ExponentialAverage(period + 1, warmUp, 1 / period);
  let last = 0;
  return (value) => {
    const change = value - last;
    last = value;
    return { up: up.add(change > 0 ? change : 0), down: down.add(change < 0 ? -change : 0) };
  };
}

function relativeStrength(period: number, warmUp: WarmUp): Indicator {
  const changes = upsAndDowns(period, warmUp);
  return {
    warmUpValues: period,
    add: (value) => {
      const { up, down } = changes(value);
      return 100 - 100 / (1 + up / down);
    },
  };
}

function smoothedMomentum(period: number, warmUp: WarmUp): Indicator {
  const changes = upsAndDowns(period, warmUp);
  return {
    warmUpValues: period,
    add: (value) => {
      const { up, down } = changes(value);
      return (100 * (up - down)) / (up + down);
    },
  };
}

function momentum(period: number): Indicator {
  const changes: number[] = [];
  let last: number | null = null;
  return {
    warmUpValues: period - 1,
    add: (value) => {
      if (last !== null) changes.push(value - last);
      if (changes.length > period) changes.shift();
      last = value;
      let [up, down] = [0, 0];
      for (const change of changes) {
        if (change > 0) up += change;
        else if (change < 0) down -= change;
      }
      return up + down === 0 ? 0 : (100 * (up - down)) / (up + down);
    },
  };
}

/** Of the way that values took in a period, what it brought; before the first one there was 0. Behind no number no way is one. */
function efficiency(period: number): (value: number) => number {
  const values = [0];
  let isLost = false;
  return (value) => {
    isLost ||= Number.isNaN(value);
    values.push(value);
    if (values.length > period + 1) values.shift();
    let way = isLost ? Number.NaN : 0;
    for (let i = 1; i < values.length; i++) way += Math.abs(values[i]! - values[i - 1]!);
    const brought = Math.abs(value - values[0]!);
    return brought === 0 ? 0 : brought / way;
  };
}

function efficiencyRatio(period: number): Indicator {
  return { warmUpValues: period, add: efficiency(period) };
}

const FAST = 2 / (2 + 1);
const SLOW = 2 / (30 + 1);

function adaptiveAverage(period: number): Indicator {
  const ratio = efficiency(period);
  let count = 0;
  let before = 0;
  return {
    warmUpValues: period,
    add: (value) => {
      const share = (ratio(value) * (FAST - SLOW) + SLOW) ** 2;
      const average = before + share * (value - before);
      // As long as a period lasts each value is averaged with the one before it alone.
      count++;
      before = count > period ? average : value;
      return average;
    },
  };
}
