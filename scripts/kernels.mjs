// Compiles the kernels (shards/kernel/assembly/<name>.ts) to dist/shards/kernel/<name>.wasm.
//
//   node scripts/kernels.mjs [--only NAME] [--text]      --text: also the WebAssembly text, to look at
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const NAMES = ['ingest', 'storage', 'answers'];
/** 2 GiB, as load.ts has it, too: addresses stay positive where WebAssembly hands them to JavaScript as signed numbers. */
const MEMORY_PAGES_MAX = '32768';
const only = process.argv.includes('--only') ? process.argv[process.argv.indexOf('--only') + 1] : null;

const folder = join(root, 'dist/shards/kernel');
mkdirSync(folder, { recursive: true });
for (const name of NAMES) {
  if (only !== null && name !== only) continue;
  const { error, stderr } = await asc.main([
    `shards/kernel/assembly/${name}.ts`,
    '--baseDir',
    root,
    '--outFile',
    `dist/shards/kernel/${name}.wasm`,
    ...(process.argv.includes('--text') ? ['--textFile', `dist/shards/kernel/${name}.wat`] : []),
    '-O3',
    '--converge',
    '--noAssert',
    '--enable',
    'simd',
    // A memory of the shared kind, which the host brings (shards/kernel/load.ts says why).
    '--enable',
    'threads',
    '--sharedMemory',
    '--importMemory',
    '--runtime',
    'minimal',
    '--maximumMemory',
    MEMORY_PAGES_MAX,
  ]);
  if (error) {
    console.error(stderr.toString());
    console.error(`kernel ${name}: ${error.message}`);
    process.exit(1);
  }
}
