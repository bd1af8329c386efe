/**
 * Minimises a function of several variables without derivatives: J. A. Nelder and R. Mead, "A simplex method for function
 * minimization", The Computer Journal 7 (1965), 308-313, from the regular first simplex of W. Spendley, G. R. Hext and
 * F. R. Himsworth, "Sequential application of simplex designs", Technometrics 4 (1962), 441-461.
 */
import type { Steps } from '../../shards/steps.ts';
import { Pace } from '../turns.ts';

const EXPANSION = 2;
const CONTRACTION = 0.5;
const ITERATIONS_MAX = 1000;

export interface Minimum {
  readonly value: number;
  readonly point: Float64Array;
}

interface Vertex {
  readonly point: Float64Array;
  value: number;
}

/**
 * `objective` may move the point that it is asked about. The edges of the first simplex are 1 long; it ends when the
 * values at the corners deviate by less than `epsilon`. In short steps, be there many variables.
 */
export function* minimise(
  objective: (point: Float64Array) => Steps<number>,
  start: Float64Array,
  epsilon: number,
): Steps<Minimum> {
  const size = start.length;
  const pace = new Pace();
  const simplex: Vertex[] = [];
  for (const point of firstSimplex(start)) {
    simplex.push({ point, value: yield* objective(point) });
    yield;
  }
  for (let iteration = 0; iteration < ITERATIONS_MAX; iteration++) {
    const { best, nextToWorst, worst } = ranks(simplex);
    const low = simplex[best]!;
    const high = simplex[worst]!;
    const middle = yield* centroid(simplex, worst, pace);
    const at = function* (from: Float64Array, share: number): Steps<Vertex> {
      const point = new Float64Array(size);
      for (let i = 0; i < size; i++) point[i] = middle[i]! + share * (from[i]! - middle[i]!);
      return { point, value: yield* objective(point) };
    };
    const reflected = yield* at(high.point, -1);
    let taken: Vertex | null = reflected;
    if (reflected.value < low.value) {
      const expanded = yield* at(reflected.point, EXPANSION);
      if (expanded.value < reflected.value) taken = expanded;
    } else if (!(reflected.value < simplex[nextToWorst]!.value)) {
      const contracted = yield* at(reflected.value < high.value ? reflected.point : high.point, CONTRACTION);
      taken = contracted.value < high.value ? contracted : null;
    }
    if (taken !== null) simplex[worst] = taken;
    else {
      yield* shrink(simplex, low, pace);
      // Those of the others stay as they were: InfluxDB's answers depend on that, too.
      for (const corner of new Set([worst, nextToWorst]))
        simplex[corner]!.value = yield* objective(simplex[corner]!.point);
    }
    if (deviation(simplex) < epsilon) break;
    yield;
  }
  const { point, value } = simplex[ranks(simplex).best]!;
  return { point, value };
}

/** One corner after the other. */
function* firstSimplex(start: Float64Array): Iterable<Float64Array> {
  const size = start.length;
  const far = (Math.sqrt(size + 1) - 1 + size) / (size * Math.SQRT2);
  const near = (Math.sqrt(size + 1) - 1) / (size * Math.SQRT2);
  yield start.slice();
  for (let corner = 0; corner < size; corner++) yield start.map((x, i) => x + (i === corner ? far : near));
}

function ranks(simplex: readonly Vertex[]): { best: number; nextToWorst: number; worst: number } {
  let best = 0;
  let worst = 0;
  for (let i = 1; i < simplex.length; i++) {
    if (simplex[i]!.value > simplex[worst]!.value) worst = i;
    if (simplex[i]!.value < simplex[best]!.value) best = i;
  }
  let nextToWorst = best;
  for (let i = 0; i < simplex.length; i++)
    if (simplex[i]!.value > simplex[nextToWorst]!.value && simplex[i]!.value < simplex[worst]!.value) nextToWorst = i;
  return { best, nextToWorst, worst };
}

/** Of all corners but one. */
function* centroid(simplex: readonly Vertex[], without: number, pace: Pace): Steps<Float64Array> {
  const size = simplex.length - 1;
  const middle = new Float64Array(size);
  for (let corner = 0; corner <= size; corner++) {
    if (corner === without) continue;
    const { point } = simplex[corner]!;
    for (let i = 0; i < size; i++) middle[i] = middle[i]! + point[i]!;
    if (pace.isOver(size)) yield;
  }
  for (let i = 0; i < size; i++) middle[i] = middle[i]! / size;
  return middle;
}

function* shrink(simplex: readonly Vertex[], low: Vertex, pace: Pace): Steps {
  for (const { point } of simplex) {
    for (let i = 0; i < point.length; i++) point[i] = low.point[i]! + (point[i]! - low.point[i]!) / 2;
    if (pace.isOver(point.length)) yield;
  }
}

function deviation(simplex: readonly Vertex[]): number {
  let sum = 0;
  for (const { value } of simplex) sum += value;
  const mean = sum / simplex.length;
  let squares = 0;
  for (const { value } of simplex) squares += (value - mean) ** 2 / (simplex.length - 1);
  return Math.sqrt(squares);
}
