import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { StartError, startErrorOf } from '../../server/node-identity.ts';
import { deathOf, lastWords } from '../../server/worker-errors.ts';

/** (module (func unreachable) (start 0)) */
const TRAP = '[0,97,115,109,1,0,0,0,1,4,1,96,0,0,3,2,1,0,8,1,0,10,5,1,3,0,0,11]';

test('a kernel that fails in a worker ends the node with one line that says what to do; the stack is kept for the log', async () => {
  const code = `new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(${TRAP})))`;
  const error = await new Promise<Error>((failed) => new Worker(code, { eval: true }).on('error', failed));
  const death = deathOf(1, error);
  expect(death.message).toBe(
    'worker 1 ended: a kernel failed, mostly for want of memory (unreachable); ' +
      'start the node again, and if it ends again, report the stack in its log',
  );
  expect(death.stack).toContain('RuntimeError: unreachable');
  const atStart = startErrorOf(death);
  expect(atStart).toBeInstanceOf(StartError);
  expect(atStart.message).toBe(death.message);
});

test('other faults are named by their first line', () => {
  expect(lastWords(new Error('a bug\nof two lines'))).toMatch(/^a bug; start the node again/);
});
