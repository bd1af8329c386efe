/** Young garbage is collected by several threads at once, as workers do at the end of a warm-up. */
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';

const MODULE = new URL('../../dist/server/garbage.js', import.meta.url).href;
const CALLS = 200;

test('threads that collect at the same moment do not take it from each other', async () => {
  const code = `
    const { parentPort } = require('node:worker_threads');
    import(${JSON.stringify(MODULE)}).then(({ collectYoungGarbage }) => {
      for (let i = 0; i < ${CALLS}; i++) collectYoungGarbage();
      parentPort.postMessage('done');
    });`;
  const ends = Array.from(
    { length: 3 },
    () =>
      new Promise((resolve, reject) => {
        const worker = new Worker(code, { eval: true });
        worker.once('message', resolve);
        worker.once('error', reject);
      }),
  );
  expect(await Promise.all(ends)).toEqual(['done', 'done', 'done']);
});
