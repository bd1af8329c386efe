/** Several runs of one system, as one: the median of each figure. */
import type { QueryFigures, RunFigures } from './measure.ts';
import { median } from './statistics.ts';

export function medianRun(runs: readonly RunFigures[]): RunFigures {
  const first = runs[0]!;
  const of = (pick: (run: RunFigures) => number) => median(runs.map(pick));
  const queries: Record<string, QueryFigures> = {};
  for (const name of Object.keys(first.queries))
    queries[name] = { p50Ms: of((run) => run.queries[name]!.p50Ms), p95Ms: of((run) => run.queries[name]!.p95Ms) };
  return {
    system: first.system,
    startCpu: of((run) => run.startCpu),
    valuesPerSecond: of((run) => run.valuesPerSecond),
    acknowledgedCpu: of((run) => run.acknowledgedCpu),
    settledCpu: of((run) => run.settledCpu),
    writeP50Ms: of((run) => run.writeP50Ms),
    writeP99Ms: of((run) => run.writeP99Ms),
    residentBytes: of((run) => run.residentBytes),
    residentBytesPeak: of((run) => run.residentBytesPeak),
    bytesPerValue: of((run) => run.bytesPerValue),
    generatorCpu: of((run) => run.generatorCpu),
    repeatedWrites: of((run) => run.repeatedWrites),
    replicasSeconds: first.replicasSeconds === null ? null : of((run) => run.replicasSeconds!),
    queries,
    warm:
      first.warm === null
        ? null
        : {
            valuesPerSecond: of((run) => run.warm!.valuesPerSecond),
            acknowledgedCpu: of((run) => run.warm!.acknowledgedCpu),
            writeP99Ms: of((run) => run.warm!.writeP99Ms),
          },
  };
}
