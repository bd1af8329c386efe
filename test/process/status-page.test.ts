/** The page for administrators in a real browser, as it looks after it has asked the node: skipped where there is none. */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, eventually, type TestNode } from './harness.ts';

const BROWSERS = ['chromium-headless-shell', 'chromium'];
const browser = BROWSERS.find((name) => spawnSync(name, ['--version']).status === 0);
if (browser === undefined) console.log(`the status page is not looked at: none of ${BROWSERS.join(', ')} is here`);
/** Of the page's own clock, which does not run while it waits for an answer. */
const BUDGET_MS = 1_000;

describe.skipIf(browser === undefined)('the status page', () => {
  let cluster: Cluster;
  let node: TestNode;
  const profile = mkdtempSync(join(tmpdir(), 'starling-browser-'));

  beforeAll(async () => {
    cluster = await Cluster.make();
    node = cluster.node('n1');
    await (await node.start()).ready();
    await node.query('CREATE DATABASE t');
    expect((await node.write('t', 'm,host=<b>x</b> v=1')).status).toBe(204);
  });
  afterAll(async () => {
    await cluster.close();
    rmSync(profile, { recursive: true, force: true });
  });

  const page = async (): Promise<string> => {
    const quiet = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync'];
    const own = [`--user-data-dir=${profile}`, `--virtual-time-budget=${BUDGET_MS}`, '--dump-dom', `${node.url}/`];
    const { stdout } = await promisify(execFile)(browser!, [...quiet, ...own], { timeout: 60_000 });
    return stdout;
  };
  const cellsOf = (html: string, id: string): string[] =>
    [...(html.split(`id="${id}"`)[1]?.split('</tbody>')[0] ?? '').matchAll(/<td[^>]*>([^<]*)</g)].map(
      (found) => found[1]!,
    );

  test('shows members, shards and repairs, and says whether repair is paused', async () => {
    const html = await page();
    expect(cellsOf(html, 'members').slice(0, 4)).toEqual(['n1', node.url, 'up', 'yes']);
    expect(cellsOf(html, 'shards')).toContain('t.autogen');
    expect(cellsOf(html, 'repairs')).toEqual(['nothing has been repaired']);
    expect(html).toMatch(/<button id="pause">pause<\/button>/);
    expect(html).toMatch(/id="repairing">running · /);
    const { id } = await node.json<{ id: string }>('/api/repairs', 'POST', { database: 't', mode: 'scrub' });
    await eventually('the scrub ends', 20_000, async () => {
      const { state } = await node.json<{ state: string }>(`/api/repairs/${id}`);
      return state === 'done';
    });
    await eventually('it is listed', 10_000, async () => {
      const { records } = await node.json<{ records: unknown[] }>('/api/repairs');
      return records.length > 0;
    });
    await node.request('POST', '/api/repairs/pause');
    const paused = await page();
    expect(cellsOf(paused, 'repairs').slice(1, 5)).toEqual([
      'scrub',
      't',
      expect.stringMatching(/^[0-9a-f]{16}$/),
      'done',
    ]);
    expect(paused).toMatch(/<button id="pause">resume<\/button>/);
    expect(paused).toMatch(/id="repairing">paused on n1 · /);
  });
});
