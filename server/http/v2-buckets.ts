/**
 * `/api/v2/buckets`: retention policies as buckets. Name and id of one are `database/retention-policy`; a database's name
 * alone stands for its default policy, and when a bucket is deleted for the whole database.
 */
import type { Express, Request, Response } from 'express';
import { z } from 'zod';
import type { RetentionPolicyOptions } from '../influxql/ast.ts';
import { answering, existing, type FoundBucket, jsonOf, V2Error, type V2Ports } from './v2-requests.ts';
import { bucketOf } from './v2-write.ts';

const SECOND_NS = 1_000_000_000n;
/** As in 2.x; -1: all. */
const LIMIT_DEFAULT = 20;
const LIMIT_MAX = 100;
/** There are no organisations; clients want to read an id. */
const NO_ORGANISATION = '0'.repeat(16);

const seconds = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const rules = z
  .array(z.object({ everySeconds: seconds, shardGroupDurationSeconds: seconds.optional() }))
  .max(1)
  .optional();
const creation = z.object({ name: z.string().min(1), retentionRules: rules });
const change = z.object({ name: z.string().optional(), retentionRules: rules });

export function addBucketRoutes(app: Express, ports: V2Ports): void {
  const { backend } = ports;
  app.get('/api/v2/buckets', (request, response) => answering(response, () => list(request, response, ports)));
  app.post('/api/v2/buckets', (request, response) =>
    answering(response, async () => {
      const like = '{"name": TEXT, "retentionRules": [{"everySeconds": N}]}';
      const { name, retentionRules } = await jsonOf(request, creation, like);
      create(ports, name, policyOf(retentionRules));
      response.status(201).json(bucketJson(existing(ports, name)));
    }),
  );
  const one = app.route(['/api/v2/buckets/:database', '/api/v2/buckets/:database/:policy']);
  one.get((request, response) =>
    answering(response, () => {
      response.json(bucketJson(existing(ports, idOf(request))));
    }),
  );
  one.patch((request, response) =>
    answering(response, async () => {
      const { database, policy } = existing(ports, idOf(request));
      const { name, retentionRules } = await jsonOf(request, change, '{"retentionRules": [{"everySeconds": N}]}');
      if (name !== undefined && name !== idOf(request)) throw new V2Error(422, 'a bucket cannot be renamed');
      backend.metadata.alterRetentionPolicy(database.name, policy.name, fitting(policy, policyOf(retentionRules)));
      response.json(bucketJson(existing(ports, idOf(request))));
    }),
  );
  one.delete((request, response) =>
    answering(response, () => {
      const { database, policy } = existing(ports, idOf(request));
      const isWhole = bucketOf(idOf(request)).retentionPolicy === '' || database.retentionPolicies.length === 1;
      if (isWhole) backend.metadata.dropDatabase(database.name);
      else backend.metadata.dropRetentionPolicy(database.name, policy.name);
      response.status(204).end();
    }),
  );
}

/** Of `a/b` as well as of `a%2Fb`. */
function idOf({ params }: Request): string {
  const { database, policy } = params;
  return policy === undefined ? String(database) : `${database}/${policy}`;
}

function policyOf(retentionRules: z.infer<typeof rules>): RetentionPolicyOptions {
  const [rule] = retentionRules ?? [];
  if (rule === undefined) return {};
  const { everySeconds, shardGroupDurationSeconds } = rule;
  return {
    durationNs: BigInt(everySeconds) * SECOND_NS,
    ...(shardGroupDurationSeconds !== undefined && { shardDurationNs: BigInt(shardGroupDurationSeconds) * SECOND_NS }),
  };
}

/** Shards that would be longer than what is kept are chosen anew, unless the request says how long. */
function fitting({ shardDurationNs }: FoundBucket['policy'], options: RetentionPolicyOptions): RetentionPolicyOptions {
  const { durationNs = 0n } = options;
  const isTooLong = durationNs > 0n && durationNs < shardDurationNs && options.shardDurationNs === undefined;
  return isTooLong ? { ...options, shardDurationNs: 0n } : options;
}

function create({ backend }: V2Ports, bucket: string, options: RetentionPolicyOptions): void {
  const { database, retentionPolicy } = bucketOf(bucket);
  if (database === '') throw new V2Error(400, `bucket "${bucket}" has no database`);
  const before = backend.snapshot().databases.find(({ name }) => name === database);
  if (before === undefined) {
    const name = retentionPolicy === '' ? {} : { name: retentionPolicy };
    backend.metadata.createDatabase(database, { ...name, ...options });
    return;
  }
  if (retentionPolicy === '' || before.retentionPolicies.some(({ name }) => name === retentionPolicy))
    throw new V2Error(409, `bucket with name ${bucket} already exists`);
  backend.metadata.createRetentionPolicy(database, retentionPolicy, options);
}

function list({ query, originalUrl }: Request, response: Response, { backend }: V2Ports): void {
  const limit = countOf('limit', query.limit, LIMIT_DEFAULT);
  if (limit === 0 || limit > LIMIT_MAX) throw new V2Error(400, `limit must be from 1 to ${LIMIT_MAX}, or -1 for all`);
  const offset = Math.max(0, countOf('offset', query.offset, 0));
  const all = backend
    .snapshot()
    .databases.flatMap((database) => database.retentionPolicies.map((policy) => ({ database, policy })));
  const wanted = [query.name, query.id].filter((text) => typeof text === 'string' && text !== '').map(String);
  let found = all.filter((each) => wanted.every((name) => isNamed(each, name)));
  if (typeof query.after === 'string') found = found.slice(found.findIndex((each) => nameOf(each) === query.after) + 1);
  const page = found.slice(offset, limit < 0 ? undefined : offset + limit);
  response.json({ links: { self: originalUrl }, buckets: page.map(bucketJson) });
}

function countOf(name: string, given: unknown, otherwise: number): number {
  if (given === undefined || given === '') return otherwise;
  if (typeof given !== 'string' || !/^(-1|\d{1,9})$/.test(given))
    throw new V2Error(400, `${name} must be a whole number`);
  return Number(given);
}

function isNamed({ database, policy }: FoundBucket, bucket: string): boolean {
  const named = bucketOf(bucket);
  return named.database === database.name && (named.retentionPolicy || database.defaultRetentionPolicy) === policy.name;
}

function nameOf({ database, policy }: FoundBucket): string {
  return `${database.name}/${policy.name}`;
}

function bucketJson(found: FoundBucket): object {
  const { policy } = found;
  const name = nameOf(found);
  const path = encodeURIComponent(name);
  return {
    id: name,
    orgID: NO_ORGANISATION,
    type: 'user',
    name,
    retentionRules: [
      {
        type: 'expire',
        everySeconds: Number(policy.durationNs / SECOND_NS),
        shardGroupDurationSeconds: Number(policy.shardDurationNs / SECOND_NS),
      },
    ],
    labels: [],
    links: { self: `/api/v2/buckets/${path}`, write: `/api/v2/write?bucket=${path}` },
  };
}
