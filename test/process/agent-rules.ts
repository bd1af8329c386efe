/**
 * What agents make of the answer to a write, by their own rules: which texts and statuses they take for what.
 */
export type Outcome = 'stored' | 'retried' | 'dropped' | 'split' | 'creates the database';

/** Telegraf's outputs.influxdb: texts count more than statuses, also those of 5xx. */
export function telegrafV1(status: number, text: string): Outcome {
  if (status === 204) return 'stored';
  if (text.includes('database not found')) return 'creates the database';
  // The first is taken for success: the points are gone as well.
  const forGood = [
    'hinted handoff queue not empty',
    'retention policy not found',
    'partial write',
    'points beyond retention policy',
    'unable to parse',
  ];
  if (forGood.some((part) => text.includes(part))) return 'dropped';
  return status >= 400 && status < 500 ? 'dropped' : 'retried';
}

/** Telegraf's outputs.influxdb_v2: by the status alone. */
export function telegrafV2(status: number): Outcome {
  if ([200, 201, 202, 204, 206, 207, 208].includes(status)) return 'stored';
  if (status === 413) return 'split';
  if ([401, 403, 429].includes(status) || status >= 500) return 'retried';
  return 'dropped';
}

/** `@influxdata/influxdb-client`. */
export function influxdbClient(status: number): Outcome {
  if (status < 300) return 'stored';
  return status === 429 || status >= 500 ? 'retried' : 'dropped';
}
