/**
 * V8 compiles a function again, with what it has seen of it, when so much of its bytecode was run so many times without
 * anything new. While a node warms up less bytecode is enough: it runs in a second what clients run in minutes. At first V8
 * only looks: what it makes of a part of what there is to see it throws away again, and makes anew only when the function
 * has run as often as before.
 */
import { setFlagsFromString } from 'node:v8';

const FLAGS = [
  'interrupt-budget',
  'ticks-before-optimization',
  'max-bytecode-size-for-early-opt',
  'invocation-count-for-osr',
] as const;
/**
 * In order: bytes that a function runs between two looks at it; looks that found nothing new, at least; small ones need one;
 * calls until V8 looks again at a function whose compilation it has asked for, which may have been forgotten (QUEUE_FLAG).
 */
type TierUp = Readonly<Record<(typeof FLAGS)[number], number>>;
/** What V8 takes by itself, by its version: it does not tell a program. */
const USUAL: Readonly<Record<string, TierUp>> = {
  '11.3': {
    'interrupt-budget': 67_584,
    'ticks-before-optimization': 3,
    'max-bytecode-size-for-early-opt': 81,
    'invocation-count-for-osr': 500,
  },
};
const LOOK_DIVISOR = 30;
const COMPILE_DIVISOR = 100;
const NEVER = 1_000_000;
const REPEATED_CALLS = 10;
/** V8 holds eight, and forgets what else is asked for meanwhile: the function has to become hot once more. */
const QUEUE_FLAG = 'concurrent-recompilation-queue-length';
const QUEUE_LENGTH = 1_000;

/** Null: not known of this version, or chosen by whoever started the process; nothing is changed then. */
export function usualTierUp(): TierUp | null {
  if (FLAGS.some(isChosen)) return null;
  return USUAL[process.versions.v8.split('.').slice(0, 2).join('.')] ?? null;
}

function isChosen(flag: string): boolean {
  return `${process.execArgv.join(' ')} ${process.env.NODE_OPTIONS ?? ''}`.replaceAll('_', '-').includes(flag);
}

/** In threads that begin from now on: the queue is made with its thread. */
export function queueMoreCompilations(): void {
  if (!isChosen(QUEUE_FLAG)) setFlagsFromString(`--${QUEUE_FLAG}=${QUEUE_LENGTH}`);
}

/** For all threads of the process. */
export class EagerCompiler {
  readonly #usual = usualTierUp();

  /** V8 looks at functions often, and compiles none. */
  look(): void {
    this.#set(LOOK_DIVISOR, { 'ticks-before-optimization': NEVER, 'max-bytecode-size-for-early-opt': 0 });
  }

  compile(): void {
    this.#set(COMPILE_DIVISOR, { 'invocation-count-for-osr': REPEATED_CALLS });
  }

  /**
   * A function that is called begins to count anew: what was left of the lower budget would otherwise be used up by the first
   * clients' writes, and everything that was nearly hot enough compiled beside them.
   */
  forget(): void {
    this.#set(1, { 'ticks-before-optimization': NEVER, 'max-bytecode-size-for-early-opt': 0 });
  }

  /** Back to what V8 does by itself. */
  end(): void {
    this.#set(1, {});
  }

  #set(divisor: number, other: Partial<TierUp>): void {
    const usual = this.#usual;
    if (usual === null) return;
    const tierUp = { ...usual, 'interrupt-budget': Math.round(usual['interrupt-budget'] / divisor), ...other };
    for (const flag of FLAGS) setFlagsFromString(`--${flag}=${tierUp[flag]}`);
  }
}
