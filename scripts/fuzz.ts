/** `npm run fuzz`: mutated requests to a node with small limits. Exits with 1 when one goes wrong. */
import { parseArgs } from 'node:util';
import { Cluster } from '../test/process/harness.ts';
import { fuzz } from './fuzz/campaign.ts';
import { SMALL_LIMITS } from './fuzz/limits.ts';

const USAGE = `npm run fuzz -- [options]
  --seed N         of the requests (default: 1)
  --count N        how many of them (default: 100000)
  --from N         the first of them (default: 0)`;

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '100000' },
    from: { type: 'string', default: '0' },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit();
}
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
