/**
 * Which storage a run is on. The stand-in in memory is fast and has neither blocks nor scans; what lies in stored
 * files, or shows in scans only, needs the storage engine.
 */
import type { Mutation } from './mutations.ts';
import type { ScenarioName } from './scenario.ts';
import type { EngineKind } from './sim-disk.ts';

/** Faults that only the storage engine has a place for. */
export const SCENARIOS_OF_STORAGE: readonly ScenarioName[] = ['damage'];

/** Rules that only the storage engine has. */
export const MUTATIONS_OF_STORAGE: readonly Mutation[] = [
  'dropped-early',
  'floor-not-durable',
  'merge-first',
  'tombstone-dropped',
  'superseded-early',
];

/** `asked`: undefined leaves it to the scenario and the mutation. Throws a RangeError where they cannot run on what is asked for. */
export function engineFor(
  scenario: ScenarioName,
  mutation: Mutation | undefined,
  asked: EngineKind | undefined,
): EngineKind {
  const because = SCENARIOS_OF_STORAGE.includes(scenario)
    ? `scenario ${scenario}`
    : mutation !== undefined && MUTATIONS_OF_STORAGE.includes(mutation)
      ? `mutation ${mutation}`
      : null;
  if (because === null) return asked ?? 'memory';
  if (asked === 'memory') throw new RangeError(`${because} needs the storage engine: --engine real, or none given`);
  return 'real';
}
