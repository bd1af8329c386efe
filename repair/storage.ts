/**
 * What repair needs of the storage engine. The declarations stand in shards/storage.ts, because shards may not import
 * repair; repair names them by this file.
 */
export type {
  FillSource,
  FillTarget,
  LogEntry,
  LogPosition,
  ShardSizes,
  Storage,
  StoredShard,
} from '../shards/storage.ts';
