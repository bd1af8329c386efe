/**
 * The option `udp`: listeners for line protocol in datagrams, each with the settings of InfluxDB's `[[udp]]` under their names.
 *
 * As a flag `bind-address=0.0.0.0:8089,database=collectd,precision=ms`, several with `;` between; in the YAML file a list
 * of mappings.
 */
import { z } from 'zod';
import { bytes, count, duration, KIB, type ListenAddress, listenAddress, MIB } from './config-values.ts';
import { WRITE_PRECISIONS, type WritePrecision } from './http/influx-write.ts';

export interface UdpSettings {
  readonly bindAddress: ListenAddress;
  readonly database: string;
  /** '' means the database's default. */
  readonly retentionPolicy: string;
  /** Of times in the lines: a datagram cannot say. */
  readonly precision: WritePrecision;
  /** Of the socket; 0: what the system gives. */
  readonly readBufferBytes: number;
  /** Lines. */
  readonly batchSize: number;
  /** Batches that may wait. */
  readonly batchPending: number;
  readonly batchTimeoutMs: number;
}

const LISTENERS_MAX = 16;

const precision = z.string().transform((text, context): WritePrecision => {
  const known = WRITE_PRECISIONS.get(text);
  if (known !== undefined) return known;
  context.addIssue({ code: 'custom', message: `"${text}" is not a precision (use n, u, ms, s, m or h)` });
  return z.NEVER;
});

const listener = z
  .strictObject({
    enabled: z.enum(['true', 'false']).default('true'),
    'bind-address': z.string({ error: 'is required: HOST:PORT' }).pipe(listenAddress),
    database: z.string().min(1, 'must not be empty').default('udp'),
    'retention-policy': z.string().default(''),
    precision: precision.default('n'),
    'read-buffer': z.union([z.literal('0').transform(() => 0), bytes(4 * KIB, 1024 * MIB)]).default(0),
    'batch-size': count(1, 1_000_000).default(5_000),
    'batch-pending': count(1, 1_000).default(10),
    'batch-timeout': duration(1, 60_000).default(1_000),
  })
  .transform((given): UdpSettings | null =>
    given.enabled === 'false'
      ? null
      : {
          bindAddress: given['bind-address'],
          database: given.database,
          retentionPolicy: given['retention-policy'],
          precision: given.precision,
          readBufferBytes: given['read-buffer'],
          batchSize: given['batch-size'],
          batchPending: given['batch-pending'],
          batchTimeoutMs: given['batch-timeout'],
        },
  );

export const udpListeners = z.string().transform((text, context): UdpSettings[] => {
  const given = text === '' ? [] : text.startsWith('[') ? fromJson(text) : text.split(';').map(fromPairs);
  const refuse = (message: string): never[] => {
    context.addIssue({ code: 'custom', message });
    return [];
  };
  if (given === null) return refuse('expected a list of mappings with bind-address, database, precision and so on');
  if (given.length > LISTENERS_MAX) return refuse(`more than ${LISTENERS_MAX} listeners`);
  const found: UdpSettings[] = [];
  for (const each of given) {
    const checked = listener.safeParse(each);
    if (!checked.success) {
      const { path, message } = checked.error.issues[0]!;
      return refuse(path.length === 0 ? message : `${path.join('.')}: ${message}`);
    }
    if (checked.data !== null) found.push(checked.data);
  }
  return found;
});

function fromPairs(text: string): Record<string, string> {
  const pairs = text.split(',').map((pair): [string, string] => {
    const equals = pair.indexOf('=');
    return equals < 0 ? [pair.trim(), ''] : [pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()];
  });
  return Object.fromEntries(pairs);
}

/** Numbers and truth values are texts here as in a flag; keys may be written with `_`. */
function fromJson(text: string): Record<string, string>[] | null {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    return null;
  }
  const isMapping = (each: unknown): each is object =>
    typeof each === 'object' && each !== null && Object.values(each).every((value) => typeof value !== 'object');
  if (!Array.isArray(list) || !list.every(isMapping)) return null;
  return list.map((each: object) =>
    Object.fromEntries(Object.entries(each).map(([key, value]) => [key.replaceAll('_', '-'), String(value)])),
  );
}
