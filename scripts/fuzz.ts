/** `npm run fuzz -- --seed N --count N [--from N]`: mutated requests to a node with small limits. Exits with 1 when one goes wrong. */
import { parseArgs } from 'node:util';
import { Cluster } from '../test/process/harness.ts';
import { fuzz } from './fuzz/campaign.ts';
import { SMALL_LIMITS } from './fuzz/limits.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '100000' },
    from: { type: 'string', default: '0' },
  },
});
const seed = Number(values.seed);
const from = Number(values.from);
const cluster = await Cluster.make();
try {
  const node = await (await cluster.node('n1', SMALL_LIMITS).start()).ready();
  const failure = await fuzz(node, seed, from, from + Number(values.count));
  if (failure === null) console.log(`${values.count} requests of seed ${seed}: nothing went wrong`);
  else {
    const { number, problem, request } = failure;
    console.error(`seed ${seed}, request ${number}: ${problem}`);
    console.error(`npm run fuzz -- --seed ${seed} --from ${number} --count 1`);
    console.error(
      `${request.method} ${decodeURIComponent(request.path)}\n${(request.raw ?? request.body).toString('latin1')}`,
    );
    process.exitCode = 1;
  }
} finally {
  await cluster.close();
}
