/** A data directory that was copied and started beside the original is refused; one that was moved is not. */
import { cp } from 'node:fs/promises';
import { afterEach, expect, test } from 'vitest';
import { Cluster } from './harness.ts';

let cluster: Cluster;
afterEach(() => cluster.close());

test('a copy that is started beside the original stops with one clear line, and the original goes on', async () => {
  cluster = await Cluster.make();
  const [n1, n2] = [cluster.node('n1'), cluster.node('n2')];
  await (await n1.start()).ready();
  await (await n2.start({ join: n1.url })).ready();
  await cluster.createDatabase('d');
  expect((await n2.write('d', 'm v=1 1')).status).toBe(204);
  const copy = cluster.node('copy', { node: 'n2' });
  // What is written beside, to take the place of a file, may be gone before it is copied.
  await cp(n2.data, copy.data, { recursive: true, filter: (path) => !path.endsWith('.new') });
  expect(await copy.runToEnd()).toBe(1);
  expect(copy.stdout).not.toContain('listening');
  const line = new RegExp(`starling: node "n2" \\([0-9a-f]{16}\\) runs at ${n2.url} since .* already: .*empty one.*\n`);
  expect(copy.stderr).toMatch(line);
  expect((await n2.write('d', 'm v=2 2', { consistency: 'all' })).status).toBe(204);

  // The very same directory is taken once the original has ended: that is a move.
  await n2.kill();
  await (await copy.start()).ready();
  await cluster.allLive(2);
  expect(await copy.value('SELECT count(v) FROM m', 'd')).not.toBeNull();
});
