/** Of the node that is fuzzed: low enough that requests meet them. */
export const SMALL_LIMITS: Readonly<Record<string, string>> = {
  workers: '2',
  'query-timeout': '2s',
  'query-points-max': '10000',
  'query-buckets-max': '1000',
  'query-bytes-max': '1MiB',
  'body-bytes-max': '64KiB',
  'line-bytes-max': '1KiB',
  'key-bytes-max': '256',
  'string-bytes-max': '256',
  'fields-max': '50',
  'body-series-max': '20',
  'series-max': '30',
  'query-characters-max': '4096',
  'query-statements-max': '20',
  'query-nesting-max': '4',
  'max-row-limit': '500',
};
