/**
 * In which order test files run, so that both processors of a small machine are busy until the end.
 *
 * Files that start nodes wait much of the time, all others compute. Where both kinds share workers, the order is that in
 * which each kind would be taken by lanes of its own, longest first. Vitest's own order takes one project after the other,
 * and without a memory of earlier runs the largest files first.
 */
import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** By project: workers that it would have if it kept them for itself. */
const LANES: Readonly<Record<string, number>> = { timed: 1, simulation: 1, process: 2, unit: 1 };

/** Of those that take long, on a slow machine; only what they are to each other counts. */
const SECONDS: Readonly<Record<string, number>> = {
  'test/sim/simulation.test.ts': 123,
  'test/sim/scenarios.test.ts': 84,
  'test/sim/mutations.test.ts': 70,
  'test/sim/regressions.test.ts': 24,
  'test/process/crash.test.ts': 114,
  'test/process/alerts.test.ts': 74,
  'test/process/moves.test.ts': 62,
  'test/process/quarantine.test.ts': 61,
  'test/process/node-cluster.test.ts': 45,
  'test/process/read-repair.test.ts': 30,
  'test/process/node.test.ts': 30,
  'test/storage/values-model.test.ts': 15,
  'test/ingest/stage.test.ts': 15,
  'test/storage/held-frame.test.ts': 14,
};
const USUAL_SECONDS: Readonly<Record<string, number>> = { process: 15, simulation: 3, unit: 2 };

/** When each file starts, if so many lanes take them one after the other. */
function starts(files: readonly { spec: TestSpecification; seconds: number }[], lanes: number) {
  const freeAt = new Array<number>(lanes).fill(0);
  return files
    .toSorted((a, b) => b.seconds - a.seconds)
    .map(({ spec, seconds }) => {
      const at = Math.min(...freeAt);
      freeAt[freeAt.indexOf(at)] = at + seconds;
      return { spec, at };
    });
}

export class RunningOrder extends BaseSequencer {
  override async sort(specs: TestSpecification[]): Promise<TestSpecification[]> {
    const { root } = this.ctx.config;
    const secondsOf = ({ moduleId, project }: TestSpecification) =>
      SECONDS[relative(root, moduleId).replaceAll('\\', '/')] ?? USUAL_SECONDS[project.name] ?? 0;
    const projects = [...new Set(specs.map(({ project }) => project.name))];
    return projects
      .flatMap((name) => {
        const own = specs.filter(({ project }) => project.name === name);
        return starts(
          own.map((spec) => ({ spec, seconds: secondsOf(spec) })),
          LANES[name] ?? 1,
        );
      })
      .sort((a, b) => a.at - b.at)
      .map(({ spec }) => spec);
  }
}
