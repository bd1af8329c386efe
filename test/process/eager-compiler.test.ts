/** What V8 compiles while a node warms up, in a process of its own: flags count for the whole process. */
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { usualTierUp } from '../../server/eager-compiler.ts';

const BUILD = process.env.STARLING_TEST_DIST ?? resolve(import.meta.dirname, '../../dist');
const compilerModule = join(BUILD, 'server/eager-compiler.js');
const FUNCTIONS = 200;

/** Many functions become hot in a thread at once; V8 prints what it does with them. */
function printed(before: string): string {
  const thread = `
    const functions = Array.from({ length: ${FUNCTIONS} }, (_, i) =>
      new Function('list', 'let sum = ' + i + '; for (const each of list) sum += each * ' + i + '; return sum;'));
    const list = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    for (let round = 0; round < 200; round++) for (const each of functions) each(list);
  `;
  const program = `
    import { Worker } from 'node:worker_threads';
    import { EagerCompiler, queueMoreCompilations } from ${JSON.stringify(compilerModule)};
    ${before}
    new Worker(${JSON.stringify(thread)}, { eval: true });
  `;
  const flags = ['--trace-opt', '--trace-concurrent-recompilation', '--input-type=module', '-e', program];
  return spawnSync(process.execPath, flags, { encoding: 'utf8', maxBuffer: 1 << 28 }).stdout;
}

const isKnown = usualTierUp() !== null;

test.runIf(isKnown)('what many functions ask for at once is forgotten by V8, and is kept in a longer queue', () => {
  const eager = 'new EagerCompiler().compile();';
  expect(printed(eager)).toContain('queue full');
  const queued = printed(`queueMoreCompilations(); ${eager}`);
  expect(queued).toContain('completed optimizing');
  expect(queued).not.toContain('queue full');
});

test.runIf(isKnown)('while V8 only looks it compiles nothing, and afterwards what it has looked at', () => {
  const compiled = (text: string) => text.includes('compiling method');
  expect(compiled(printed('new EagerCompiler().look();'))).toBe(false);
  expect(compiled(printed('const compiler = new EagerCompiler(); compiler.look(); compiler.compile();'))).toBe(true);
});
