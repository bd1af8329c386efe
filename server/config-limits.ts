/** What one query, one answer and one line may be: the limits among the options (config.ts). */
import { KEY_BYTES_MAX, STRING_BYTES_MAX } from '../shards/line-protocol-errors.ts';
import { bytes, count, GIB, KIB, MIB } from './config-values.ts';

export const LIMIT_OPTIONS = {
  'line-bytes-max': {
    // The ingest kernel reads a line in one piece.
    schema: bytes(1 * KIB, 64 * MIB),
    value: 'SIZE',
    fallback: '4MiB',
    about: 'longest line of line protocol; a longer one is refused, the others of its body are taken',
  },
  'key-bytes-max': {
    // A field's name with its key is at most as long as InfluxDB's MaxKeyLength, whatever this is.
    schema: bytes(64, KEY_BYTES_MAX),
    value: 'SIZE',
    fallback: String(KEY_BYTES_MAX),
    about: 'longest measurement and tags of a line together; a line with longer ones is refused',
  },
  'string-bytes-max': {
    // Blocks are cut and merges are bounded for strings of so much.
    schema: bytes(16, STRING_BYTES_MAX),
    value: 'SIZE',
    fallback: String(STRING_BYTES_MAX),
    about: 'longest string of a field; a point with a longer one is refused',
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
  'series-cache-max': {
    schema: count(1_000, 50_000_000),
    value: 'N',
    fallback: '2000000',
    about: 'series whose keys the write path remembers; fewer where their keys take more than 512 MiB',
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
  'query-characters-max': {
    schema: count(256, 16 * MIB),
    value: 'N',
    fallback: '1048576',
    about: 'longest text of a query',
  },
  'query-statements-max': {
    schema: count(1, 100_000),
    value: 'N',
    fallback: '1000',
    about: 'most statements of one query',
  },
  'query-nesting-max': {
    // Planning and running them is recursive.
    schema: count(0, 64),
    value: 'N',
    fallback: '16',
    about: 'most subqueries inside each other',
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
