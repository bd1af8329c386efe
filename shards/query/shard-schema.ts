/**
 * Schemas of a shard with a fingerprint: equal fingerprints, equal schemas. A coordinator plans with the schemas that it
 * remembers and sends their fingerprints with the request, so that planning costs no round trip of its own.
 */
import { createHash } from 'node:crypto';
import { compileGoRegex } from '../go-regex.ts';
import type { QueryableShard } from '../queryable.ts';
import { type ShardId, shardId } from '../shard-key.ts';
import type { MeasurementPick, MeasurementSchema, ShardSchema } from './partial.ts';

/** Picks remembered per shard; they are as many as there are measurements that are asked for. */
const PICKS_MAX = 256;

interface Remembered {
  readonly id: ShardId;
  stamp: string;
  readonly byPick: Map<string, ShardSchema>;
}

const remembered = new WeakMap<QueryableShard, Remembered>();

/** Throws RegexError. */
export function schemaOf(shard: QueryableShard, pick: MeasurementPick): ShardSchema {
  let of = remembered.get(shard);
  if (of === undefined) {
    of = { id: shardId(shard.key), stamp: shard.schemaStamp, byPick: new Map() };
    remembered.set(shard, of);
  }
  if (of.stamp !== shard.schemaStamp || of.byPick.size >= PICKS_MAX) {
    of.byPick.clear();
    of.stamp = shard.schemaStamp;
  }
  const key = pickKey(pick);
  let schema = of.byPick.get(key);
  if (schema === undefined) {
    const measurements = pickMeasurements(shard, pick);
    const schemas = measurements.map(
      (measurement): MeasurementSchema => ({
        measurement,
        fields: shard.fields(measurement),
        tagKeys: shard.tagKeys(measurement),
      }),
    );
    const fingerprint = createHash('sha1').update(JSON.stringify(schemas)).digest('base64');
    schema = { shard: of.id, fingerprint, schemas };
    of.byPick.set(key, schema);
  }
  return schema;
}

export function pickKey(pick: MeasurementPick): string {
  return JSON.stringify(pick);
}

export function pickMeasurements(shard: QueryableShard, pick: MeasurementPick): string[] {
  const all = shard.measurements();
  if (pick === null) return all;
  if ('names' in pick) return all.filter((name) => pick.names.includes(name));
  const regex = compileGoRegex(pick.regex);
  return all.filter((name) => regex.test(name));
}
