/** SHOW STATS and SHOW DIAGNOSTICS: tables in InfluxDB's shape, of what the server says of itself. */
import { expect, test } from 'vitest';
import { ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const write = { name: 'write', columns: ['req', 'writeOk'], values: [[4, 3]] };
const httpd = { name: 'httpd', tags: { bind: 'host:1' }, columns: ['req'], values: [[7]] };
const build = { name: 'build', columns: ['Branch', 'Version'], values: [['', '1']] };
const system = { name: 'system', columns: ['PID'], values: [[5]] };

test.each([
  ['SHOW STATS', [write, httpd]],
  [`SHOW STATS FOR 'httpd'`, [httpd]],
  [`SHOW STATS FOR 'HTTPD'`, undefined],
  ['SHOW DIAGNOSTICS', [build, system]],
  [`SHOW DIAGNOSTICS FOR 'build'`, [build]],
  [`SHOW DIAGNOSTICS FOR 'none'`, undefined],
])('%s', async (text, series) => {
  expect(await ask(new MemoryBackend(), text)).toEqual([{ statement_id: 0, ...(series && { series }) }]);
});
