/** Runs the seeds that its parent sends, one after the other. Ends with its parent. */
import { type SimOptions, simulate } from '../../test/sim/cluster.ts';

process.on('message', (options: SimOptions) => {
  process.send!(simulate(options));
});
process.on('disconnect', () => process.exit(0));
