/** Users on three nodes: known everywhere, over restarts, and no password in what the nodes keep or say. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Cluster, eventually, type TestNode } from './harness.ts';

const PASSWORDS = ['Clair-de-lune-1', 'Clair-de-lune-2', 'Clair-de-lune-3'];

let cluster: Cluster;
afterAll(() => cluster.close());

async function users(node: TestNode): Promise<unknown> {
  return (await node.query('SHOW USERS'))[0]!.series![0]!.values ?? [];
}

async function expectUsers(nodes: readonly TestNode[], expected: unknown): Promise<void> {
  for (const node of nodes)
    await eventually(
      `${node.name} lists ${JSON.stringify(expected)}`,
      10_000,
      async () => JSON.stringify(await users(node)) === JSON.stringify(expected),
    );
}

test('a user that one node made is known to all, and stays; no password is on a disk or in a log', async () => {
  cluster = await Cluster.make();
  const nodes = await cluster.startThree({ workers: '1', 'log-level': 'trace' });
  const [n1, n2, n3] = nodes;
  await cluster.createDatabase('d');
  const logs: string[] = [];
  const answers = [
    await n1.get(
      `/query?${new URLSearchParams({ q: `CREATE USER ann WITH PASSWORD '${PASSWORDS[0]}' WITH ALL PRIVILEGES` })}`,
    ),
    await n1.request('POST', `/query?${new URLSearchParams({ q: `CREATE USER bob WITH PASSWORD '${PASSWORDS[1]}'` })}`),
    await n1.request('POST', '/query', `q=${encodeURIComponent(`CREATE USER ann WITH PASSWORD '${PASSWORDS[2]}'`)}`, {
      'Content-Type': 'application/x-www-form-urlencoded',
    }),
  ];
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
  expect(answers[2]!.text).toContain('user already exists');
  await expectUsers(nodes, [
    ['ann', true],
    ['bob', false],
  ]);

  expect((await n2.query('GRANT READ ON d TO bob'))[0]!.error).toBeUndefined();
  expect((await n3.query(`SET PASSWORD FOR bob = '${PASSWORDS[2]}'`))[0]!.error).toBeUndefined();
  for (const node of nodes)
    await eventually(`${node.name} knows what bob may do, and his password`, 10_000, async () => {
      const [grants] = await node.query('SHOW GRANTS FOR bob');
      const [same] = await node.query(`CREATE USER bob WITH PASSWORD '${PASSWORDS[2]}'`);
      return grants!.series![0]!.values?.[0]?.[1] === 'READ' && same!.error === undefined;
    });

  for (const node of nodes) {
    logs.push(node.stdout + node.stderr);
    await node.kill();
  }
  const kept = nodes.flatMap(({ data }) => filesUnder(data).map((file) => readFileSync(file, 'latin1')));
  expect(kept.some((text) => text.includes('$scrypt$'))).toBe(true);
  for (const password of PASSWORDS)
    for (const text of [...kept, ...logs, ...answers.map((answer) => answer.text)])
      expect(text.includes(password)).toBe(false);

  await Promise.all(nodes.map((node) => node.start()));
  await Promise.all(nodes.map((node) => node.ready()));
  await expectUsers(nodes, [
    ['ann', true],
    ['bob', false],
  ]);
  expect((await n3.query('DROP USER ann'))[0]!.error).toBeUndefined();
  await expectUsers(nodes, [['bob', false]]);
}, 120_000);

function filesUnder(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
