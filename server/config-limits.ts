/** What one query, one answer and one line may be: the limits among the options (config.ts). */
import { bytes, count, GIB, KIB, MIB } from './config-values.ts';

export const LIMIT_OPTIONS = {
  'line-bytes-max': {
    // The ingest kernel reads a line in one piece.
    schema: bytes(1 * KIB, 64 * MIB),
    value: 'SIZE',
    fallback: '4MiB',
    about: 'longest line of line protocol; a longer one is refused, the others of its body are taken',
  },
  'fields-max': {
    schema: count(1, 100_000),
    value: 'N',
    fallback: '10000',
    about: 'most fields of one measurement in one body; lines that bring more are refused',
  },
  'body-series-max': {
    schema: count(1, 100_000_000),
    value: 'N',
    fallback: '1000000',
    about: 'most series of one body; points of further ones are refused',
  },
  'series-max': {
    schema: count(0, 100_000_000),
    value: 'N',
    fallback: '2000000',
    about: 'most series of a database, in each shard group; points of further ones are refused; 0: no limit',
  },
  'query-points-max': {
    schema: count(1, 1_000_000_000),
    value: 'N',
    fallback: '50000000',
    about: 'most rows that one statement may hold at once',
  },
  'query-bytes-max': {
    schema: bytes(MIB, 16 * GIB),
    value: 'SIZE',
    fallback: '256MiB',
    about:
      'most bytes of texts and integers that one statement may hold at once, in a worker and where its answer is made',
  },
  'query-series-max': {
    schema: count(1, 100_000_000),
    value: 'N',
    fallback: '1000000',
    about: 'most series that one statement may touch',
  },
  'query-buckets-max': {
    schema: count(1, 100_000_000),
    value: 'N',
    fallback: '1000000',
    about: 'most windows of GROUP BY time() that one statement may have',
  },
  'query-points-read-max': {
    schema: count(1, 1_000_000_000_000),
    value: 'N',
    fallback: '200000000',
    about: 'most rows that one statement may read of one shard',
  },
  'max-row-limit': {
    schema: count(0, 1_000_000_000),
    value: 'N',
    fallback: '0',
    about: 'most rows of an answer that is not chunked, which then says partial; 0: no limit',
  },
  'max-concurrent-queries': {
    schema: count(0, 1_000_000),
    value: 'N',
    fallback: '0',
    about: 'most queries that this node runs at once for its clients; 0: no limit',
  },
};
