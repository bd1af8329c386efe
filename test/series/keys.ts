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

export interface TaggedSeries {
  readonly measurement: string;
  readonly tags: readonly { readonly key: string; readonly value: string }[];
}

const beginning = fc.constantFrom('a', 'production', 'server-0000', 'server-00000000000000000000000000');
const tagValue = fc.tuple(beginning, fc.nat(12)).map(([start, n]) => `${start}${n}`);
const tagKey = fc.constantFrom('b', 'bb', 'environment', 'hos', 'host', 'hostn', 'hostname', 'rack', 'service');
const seriesOfTags = fc.record({
  measurement: fc.constantFrom('cpu', 'cpu_seconds_total', 'm', 'http_request_duration_seconds_bucket'),
  tags: fc.uniqueArray(fc.record({ key: tagKey, value: tagValue }), { selector: ({ key }) => key, maxLength: 8 }),
});

function rename(tags: { readonly key: string; readonly value: string }[], at: number, key: string): void {
  if (at < tags.length && tags.every((tag) => tag.key !== key)) tags[at] = { key, value: tags[at]!.value };
}

/** Series in the order in which an agent names them: most are the one before but for some values, with tags in any order. */
export const followingSeries: fc.Arbitrary<TaggedSeries[]> = fc
  .array(fc.tuple(seriesOfTags, fc.nat(9), fc.array(fc.tuple(fc.nat(7), tagValue), { minLength: 1, maxLength: 3 })), {
    minLength: 2,
    maxLength: 60,
  })
  .map((steps) => {
    const all: TaggedSeries[] = [];
    for (const [other, chance, changes] of steps) {
      const last = all.at(-1);
      if (last === undefined || chance === 0) all.push(other);
      else {
        const tags = [...last.tags];
        if (chance === 1) tags.pop();
        for (const [at, value] of changes) if (at < tags.length) tags[at] = { key: tags[at]!.key, value };
        // Another name, which may be the beginning of the one that stood there.
        if (chance < 5) for (const { key } of other.tags.slice(0, 2)) rename(tags, chance, key);
        all.push({ measurement: chance === 2 ? other.measurement : last.measurement, tags });
      }
    }
    return all;
  });
