/**
 * What POST /api/v2/write has in other words than /write: its parameters, and what it answers to a write that was refused.
 *
 * `bucket` is `database/retention-policy`, or a database for its default policy; `org` and `orgID` go nowhere, as tokens do.
 * A write that was taken in part is 422, and a bucket that there is not is 404: clients of 2.x drop the batch on either,
 * and put it off on 429 and 503.
 */
import {
  type Refusal,
  type WriteApi,
  type WriteLimits,
  type WriteParameters,
  type WritePrecision,
  writtenAs,
} from './influx-write.ts';

const PRECISIONS: ReadonlyMap<string, WritePrecision> = new Map([
  ['', 'n'],
  ['ns', 'n'],
  ['us', 'u'],
  ['ms', 'ms'],
  ['s', 's'],
]);

export interface Bucket {
  readonly database: string;
  /** '' means the database's default. */
  readonly retentionPolicy: string;
}

/** A database whose name has a slash can only be had through the 1.x paths. */
export function bucketOf(name: string): Bucket {
  const slash = name.indexOf('/');
  if (slash < 0) return { database: name, retentionPolicy: '' };
  return { database: name.slice(0, slash), retentionPolicy: name.slice(slash + 1) };
}

function parametersOf({ searchParams }: URL, limits: WriteLimits): WriteParameters | string {
  const { database, retentionPolicy } = bucketOf(searchParams.get('bucket') ?? '');
  if (database === '') return 'bucket is required: DATABASE or DATABASE/RETENTION-POLICY';
  const name = searchParams.get('precision') ?? '';
  const precision = PRECISIONS.get(name);
  if (precision === undefined) return `invalid precision "${name}" (use ns, us, ms or s)`;
  return writtenAs(searchParams, { database, retentionPolicy, precision }, limits);
}

function refusalOf(refused: Refusal): ReturnType<WriteApi['refusalOf']> {
  const { status, error } = refused;
  const v2 = true;
  if (status === 404 || error.startsWith('retention policy not found'))
    return { ...refused, v2, status: 404, error: `bucket not found: ${error}` };
  if (status === 400 && error.startsWith('partial write'))
    return { ...refused, v2, status: 422, error: `failure writing points to database: ${error}` };
  return { ...refused, v2 };
}

export const WRITE_V2: WriteApi = { parametersOf, refusalOf };
