/** Of the node that is fuzzed: low enough that requests meet them. */
export const SMALL_LIMITS: Readonly<Record<string, string>> = {
  workers: '2',
  'query-timeout': '2s',
  'query-points-max': '10000',
  'query-buckets-max': '1000',
  'query-bytes-max': '1MiB',
  'body-bytes-max': '64KiB',
  'line-bytes-max': '1KiB',
  'fields-max': '50',
  'max-row-limit': '500',
};
