/** What requests of 2.x's API have in common: bodies, buckets that are named, and how their failures are answered. */
import type { IncomingMessage } from 'node:http';
import type { Response } from 'express';
import type { z } from 'zod';
import type { DatabaseDefinition, RetentionPolicyDefinition } from '../../repair/cluster.ts';
import { ParseError } from '../influxql/token-stream.ts';
import type { QueryBackend } from '../query/backend.ts';
import { BodyError, readBody } from './body.ts';
import { sendInfluxError } from './influx-answer.ts';
import { bucketOf } from './v2-write.ts';

export interface V2Ports {
  readonly version: string;
  readonly backend: Pick<QueryBackend, 'snapshot' | 'deleteRows' | 'metadata'>;
  notReady(): string | null;
}

/** A retention policy and its database. */
export interface FoundBucket {
  readonly database: DatabaseDefinition;
  readonly policy: RetentionPolicyDefinition;
}

const BODY_BYTES_MAX = 1024 * 1024;
const BUSY = 503;
/** 2.x has no status of its own for what exists already. */
const CONFLICT = 409;

/** To be answered so. */
export class V2Error extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Answers the failures of `work` that are somebody else's fault than ours. */
export async function answering(response: Response, work: () => Promise<void> | void): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof ParseError) refuseV2(response, 400, error.message);
    else if (error instanceof Error && 'status' in error && typeof error.status === 'number')
      refuseV2(response, error.status, error.message);
    else throw error;
  }
}

export function refuseV2(response: Response, status: number, message: string): void {
  if (status === CONFLICT) sendInfluxError(response, 422, message, { v2: true, code: 'conflict' });
  else sendInfluxError(response, status, message, { v2: true, ...(status === BUSY && { retryAfterSeconds: 1 }) });
}

/** A database alone stands for its default policy. */
export function existing({ backend }: V2Ports, bucket: string): FoundBucket {
  const named = bucketOf(bucket);
  if (named.database === '') throw new V2Error(400, 'bucket is required: DATABASE or DATABASE/RETENTION-POLICY');
  const database = backend.snapshot().databases.find(({ name }) => name === named.database);
  const wanted = named.retentionPolicy || database?.defaultRetentionPolicy;
  const policy = database?.retentionPolicies.find(({ name }) => name === wanted);
  if (database === undefined || policy === undefined) throw new V2Error(404, `bucket "${bucket}" not found`);
  return { database, policy };
}

export async function jsonOf<T>(request: IncomingMessage, shape: z.ZodType<T>, like: string): Promise<T> {
  let text: string;
  try {
    text = (await readBody(request, BODY_BYTES_MAX, 'empty')).toString();
  } catch (error) {
    if (error instanceof BodyError) throw new V2Error(error.status, error.message);
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new V2Error(400, `the body is not JSON; expected ${like}`);
  }
  const checked = shape.safeParse(value);
  if (!checked.success) throw new V2Error(400, `expected ${like}`);
  return checked.data;
}
