/** The load generator, a process of its own: makes a workload's requests when told to, and sends them when told to. */
import type { GeneratorAnswer, GeneratorOrder } from './generator.ts';
import { sendAll } from './load-run.ts';
import { makeWorkload, type Workload } from './workloads.ts';

let workload: Workload | null = null;

async function follow(order: GeneratorOrder): Promise<GeneratorAnswer> {
  if (order.kind === 'prepare') {
    workload = null; // lets go of the former one before the next is made
    workload = makeWorkload(order.options);
    return { kind: 'prepared', summary: workload.summary };
  }
  if (workload === null) throw new Error('nothing was prepared');
  if (order.kind === 'advance') {
    workload.requests.advance(order.seconds);
    return { kind: 'advanced' };
  }
  return { kind: 'sent', result: await sendAll(workload.requests.all, order.options) };
}

process.on('message', (order: GeneratorOrder) => {
  follow(order).then(
    (answer) => process.send!(answer),
    (error: Error) => process.send!({ kind: 'failed', problem: error.message } satisfies GeneratorAnswer),
  );
});
process.on('disconnect', () => process.exit(0));
