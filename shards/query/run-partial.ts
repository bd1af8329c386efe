/**
 * Answers a partial request over the shards of one place.
 */
import { RegexError } from '../go-regex.ts';
import type { QueryableShard } from '../queryable.ts';
import { compileTagCondition } from '../tag-matcher.ts';
import { cachedRegex, type RegexCache, specialise } from './filter.ts';
import type {
  CatalogEntry,
  CatalogRequest,
  MeasurementPick,
  MeasurementSchema,
  PartialRequest,
  PartialResult,
  SchemaRequest,
  ShardSelect,
} from './partial.ts';
import { runSelect } from './run-select.ts';

/** Shards in the order (startNs, number). */
export function runPartial(shards: readonly QueryableShard[], request: PartialRequest): PartialResult {
  const regexes: RegexCache = new Map();
  try {
    switch (request.kind) {
      case 'schema':
        return { kind: 'schema', schemas: schemas(shards, request, regexes) };
      case 'catalog':
        return catalog(shards, request, regexes);
      case 'select': {
        const answers: ShardSelect[] = [];
        for (const shard of shards) {
          const answer = runSelect(shard, request, regexes);
          if (typeof answer === 'string') return { kind: 'refused', message: answer };
          answers.push(answer);
        }
        return { kind: 'select', shards: answers };
      }
    }
  } catch (error) {
    if (error instanceof RegexError) return { kind: 'refused', message: error.message };
    throw error;
  }
}

function pickMeasurements(shard: QueryableShard, pick: MeasurementPick, regexes: RegexCache): string[] {
  const all = shard.measurements();
  if (pick === null) return all;
  if ('names' in pick) return all.filter((name) => pick.names.includes(name));
  const regex = cachedRegex(regexes, pick.regex);
  return all.filter((name) => regex.test(name));
}

function schemas(shards: readonly QueryableShard[], request: SchemaRequest, regexes: RegexCache): MeasurementSchema[] {
  const found = new Map<string, { fields: Map<string, Set<number>>; tagKeys: Set<string> }>();
  for (const shard of shards) {
    for (const measurement of pickMeasurements(shard, request.measurements, regexes)) {
      let schema = found.get(measurement);
      if (schema === undefined) {
        schema = { fields: new Map(), tagKeys: new Set() };
        found.set(measurement, schema);
      }
      for (const field of shard.fields(measurement)) {
        const types = schema.fields.get(field.name) ?? new Set<number>();
        schema.fields.set(field.name, types);
        for (const type of field.types) types.add(type);
      }
      for (const key of shard.tagKeys(measurement)) schema.tagKeys.add(key);
    }
  }
  return [...found].map(([measurement, schema]) => ({
    measurement,
    fields: [...schema.fields].map(([name, types]) => ({ name, types: [...types].sort() as never })),
    tagKeys: [...schema.tagKeys].sort(),
  }));
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
    for (const measurement of pickMeasurements(shard, request.measurements, regexes)) {
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
