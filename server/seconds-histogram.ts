/**
 * A histogram of seconds as Prometheus wants it, for what happens with every request.
 *
 * prom-client's own checks and hashes the labels of each observation, which takes some twenty calls: with small bodies that
 * is as much as the rest of the answer. Here whoever observes keeps the series of its labels, and an observation is two
 * additions; what prom-client prints is made when somebody asks.
 */
import type { Histogram, Registry } from 'prom-client';

type Labels = Readonly<Record<string, string>>;

interface Sample {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly sharedLabels: Labels;
  readonly value: number;
}

/** The observations of one set of labels. */
export class ObservedSeconds {
  readonly labels: Labels;
  readonly #bounds: readonly number[];
  /** By the first bound that is not below; those above all bounds come last. */
  readonly #counts: Float64Array;
  /** Of one: a property gets another shape with its first fraction, and code that has seen the former is thrown away. */
  readonly #sum = new Float64Array(1);

  constructor(labels: Labels, bounds: readonly number[]) {
    this.labels = labels;
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(seconds: number): void {
    const bounds = this.#bounds;
    let at = 0;
    while (at < bounds.length && seconds > bounds[at]!) at++;
    this.#counts[at]!++;
    this.#sum[0]! += seconds;
  }

  get count(): number {
    return this.#counts.reduce((sum, each) => sum + each, 0);
  }

  get sum(): number {
    return this.#sum[0]!;
  }

  samples(name: string): Sample[] {
    const sharedLabels = this.labels;
    let count = 0;
    const buckets = Array.from(this.#counts, (observed, i): Sample => {
      count += observed;
      return { metricName: `${name}_bucket`, labels: { le: this.#bounds[i] ?? '+Inf' }, sharedLabels, value: count };
    });
    const sum = { metricName: `${name}_sum`, labels: {}, sharedLabels, value: this.sum };
    return [...buckets, sum, { metricName: `${name}_count`, labels: {}, sharedLabels, value: count }];
  }
}

/** What a registry of prom-client asks of a metric. */
export class SecondsHistogram {
  readonly name: string;
  readonly help: string;
  readonly type = 'histogram';
  readonly aggregator = 'sum';
  readonly #bounds: readonly number[];
  readonly #series: ObservedSeconds[] = [];

  constructor(name: string, help: string, bounds: readonly number[], registry: Registry) {
    this.name = name;
    this.help = help;
    this.#bounds = bounds;
    registry.registerMetric(this as unknown as Histogram);
  }

  /** A new series; to be asked for once for each set of labels. */
  series(labels: Labels): ObservedSeconds {
    const series = new ObservedSeconds(labels, this.#bounds);
    this.#series.push(series);
    return series;
  }

  async get(): Promise<object> {
    const { name, help, type, aggregator } = this;
    return { name, help, type, aggregator, values: this.#series.flatMap((each) => each.samples(name)) };
  }
}
