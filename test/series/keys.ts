/** What the tests of series share: keys of the benchmark's shape, keys of any bytes, and hashes for them. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { formatSeriesKey } from '../../shards/series-key.ts';

export const hashOf = (key: string): string => createHash('sha256').update(key).digest('hex').slice(0, 32);

/** As in the devops workload: ten tags, one of which is different for each. */
export function hostKey(n: number): string {
  const region = ['us-east-1', 'us-west-1', 'eu-west-1', 'eu-central-1', 'ap-southeast-1'][n % 5]!;
  return [
    'cpu,arch=x64',
    `datacenter=${region}${'abc'[n % 3]!}`,
    `hostname=host_${n}`,
    'os=Ubuntu16.10',
    `rack=${n % 100}`,
    `region=${region}`,
    `service=${(n * 7) % 20}`,
    `service_environment=${['production', 'staging', 'test'][n % 3]!}`,
    `service_version=${n % 2}`,
    `team=${['CHI', 'LON', 'NYC', 'SF'][n % 4]!}`,
  ].join(',');
}

const text = fc.oneof(
  fc.constantFrom('a', 'b', 'host', 'region', 'x y', 'c,d', 'e=f', 'back\\slash', 'ü', '𝄞', 'end\\'),
  fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }),
);
const canonical = fc
  .tuple(text, fc.uniqueArray(fc.record({ key: text, value: text }), { selector: ({ key }) => key, maxLength: 6 }))
  .map(([measurement, tags]) => formatSeriesKey(measurement, tags));
/** Separators, escapes and letters in any order: mostly no key at all. */
const odd = fc.string({ unit: fc.constantFrom(',', '=', ' ', '\\', 'a', 'b', 'm', 'é'), maxLength: 40 });
export const anyKey = fc.oneof({ weight: 3, arbitrary: canonical }, { weight: 2, arbitrary: odd });
