/** The histogram of what happens with every request prints what prom-client's own would. */
import { Histogram, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { SecondsHistogram } from '../../server/seconds-histogram.ts';

const BOUNDS = [0.001, 0.01, 1];
const SECONDS = [0, 0.0005, 0.001, 0.0011, 0.5, 1, 1.5, 100];

test.each([
  ['without labels', {}],
  ['with labels', { route: 'write', status: '204' }],
])('%s', async (_, labels: Record<string, string>) => {
  const theirs = new Registry();
  const ours = new Registry();
  const labelNames = Object.keys(labels);
  const expected = new Histogram({ name: 'n', help: 'h', buckets: BOUNDS, labelNames, registers: [theirs] });
  const series = new SecondsHistogram('n', 'h', BOUNDS, ours).series(labels);
  for (const seconds of SECONDS) {
    expected.observe(labels, seconds);
    series.observe(seconds);
  }
  expect(await ours.metrics()).toBe(await theirs.metrics());
});

test('series are apart, and nothing is printed before there is one', async () => {
  const registry = new Registry();
  const histogram = new SecondsHistogram('n', 'h', BOUNDS, registry);
  expect(await registry.metrics()).not.toContain('n_count');
  histogram.series({ status: '204' }).observe(2);
  histogram.series({ status: '400' });
  const text = await registry.metrics();
  expect(text).toContain('n_sum{status="204"} 2');
  expect(text).toContain('n_count{status="400"} 0');
});
