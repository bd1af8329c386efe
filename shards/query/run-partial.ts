/**
 * Answers a partial request over the shards of one place.
 */
import { RegexError } from '../go-regex.ts';
import type { QueryableShard } from '../queryable.ts';
import { compileTagCondition } from '../tag-matcher.ts';
import { type RegexCache, specialise } from './filter.ts';
import type {
  CatalogEntry,
  CatalogRequest,
  PartialRequest,
  PartialResult,
  SelectRequest,
  TravellingSelect,
} from './partial.ts';
import { runSelect } from './run-select.ts';
import { pickMeasurements, schemaOf } from './shard-schema.ts';

/** Shards in the order (startNs, number). Buffers that the result may take along to another thread go to `moved`. */
export function runPartial(
  shards: readonly QueryableShard[],
  request: PartialRequest,
  moved: ArrayBuffer[],
): PartialResult {
  const regexes: RegexCache = new Map();
  try {
    switch (request.kind) {
      case 'schema':
        return { kind: 'schema', shards: shards.map((shard) => schemaOf(shard, request.measurements)) };
      case 'catalog':
        return catalog(shards, request, regexes);
      case 'select': {
        if (isStale(shards, request)) return { kind: 'stale' };
        const answers: TravellingSelect[] = [];
        let seriesMatched = 0;
        for (const shard of shards) {
          const answer = runSelect(shard, request, regexes, moved);
          if (typeof answer === 'string') return { kind: 'refused', message: answer };
          seriesMatched += answer.seriesMatched;
          if ('groups' in answer) answers.push(answer);
        }
        return { kind: 'select', shards: answers, seriesMatched };
      }
    }
  } catch (error) {
    if (error instanceof RegexError) return { kind: 'refused', message: error.message };
    throw error;
  }
}

function isStale(shards: readonly QueryableShard[], { planned }: SelectRequest): boolean {
  if (planned === null) return false;
  return shards.some((shard) => {
    const { shard: id, fingerprint } = schemaOf(shard, planned.measurements);
    return planned.fingerprints[id] !== fingerprint;
  });
}

function matchingSeries(
  shard: QueryableShard,
  measurement: string,
  request: CatalogRequest,
  regexes: RegexCache,
): Uint32Array {
  const series = shard.series(measurement, request.condition);
  const { filter } = request;
  if (filter === null) return series;
  return series.filter((id) => {
    const tags = new Map(shard.tagsOf(id).map((tag) => [tag.key, tag.value]));
    const special = specialise(filter, (name) => tags.get(name) ?? '', regexes);
    return special.kind === 'constant' && special.value;
  });
}

function catalog(shards: readonly QueryableShard[], request: CatalogRequest, regexes: RegexCache): PartialResult {
  const wantsKey = request.tagKeys === null ? null : compileTagCondition(request.tagKeys);
  const found = new Map<string, Set<string>>();
  let held = 0;
  for (const shard of shards) {
    for (const measurement of pickMeasurements(shard, request.measurements)) {
      const series = matchingSeries(shard, measurement, request, regexes);
      if (series.length === 0) continue;
      let items = found.get(measurement);
      if (items === undefined) {
        items = new Set();
        found.set(measurement, items);
      }
      const before = items.size;
      if (request.what === 'series') for (const id of series) items.add(shard.keyOf(id));
      else if (request.what !== 'measurements') {
        for (const id of series) {
          for (const tag of shard.tagsOf(id)) {
            if (request.what === 'tag-keys') items.add(tag.key);
            else if (wantsKey === null || wantsKey(measurement, [{ key: '_tagKey', value: tag.key }]))
              // The key's length makes the pair readable again whatever the characters are.
              items.add(`${tag.key.length}:${tag.key}${tag.value}`);
          }
        }
      }
      held += items.size - before;
      if (held > request.limits.seriesMax)
        return {
          kind: 'refused',
          message: `statement lists more than ${request.limits.seriesMax} items; narrow it with FROM or WHERE`,
        };
    }
  }
  const entries: CatalogEntry[] = [...found].map(([measurement, items]) => ({ measurement, items: [...items] }));
  return { kind: 'catalog', entries };
}
