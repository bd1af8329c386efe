/** A short run of `npm run fuzz`: mutated requests to a real node. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fuzz } from '../../scripts/fuzz/campaign.ts';
import { SMALL_LIMITS } from '../../scripts/fuzz/limits.ts';
import { requestOf } from '../../scripts/fuzz/requests.ts';
import { Cluster, type TestNode } from './harness.ts';

let cluster: Cluster;
let node: TestNode;
beforeAll(async () => {
  cluster = await Cluster.make();
  node = await (await cluster.node('n1', SMALL_LIMITS).start()).ready();
}, 60_000);
afterAll(() => cluster.close());

test('a number makes the same request again', () => {
  expect(requestOf(7, 11)).toEqual(requestOf(7, 11));
  expect(requestOf(7, 11)).not.toEqual(requestOf(8, 11));
});

test('mutated requests are answered, quickly, in JSON or CSV, without a 500', async () => {
  expect(await fuzz(node, 1, 0, 1_000)).toBeNull();
}, 120_000);
