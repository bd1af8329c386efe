/**
 * Messages that compare and copy what is settled, by window and series group (shards/care.ts): of a replica that is damaged
 * and an owner that is not. As the others their fields are checked on receipt (replica-messages.ts).
 */
import { type GroupName, SERIES_GROUPS } from '../shards/care.ts';
import type { ShardKeyJson } from '../shards/shard-key.ts';
import type { Version } from '../shards/version.ts';
import {
  type Check,
  key,
  listOf,
  objectOf,
  oneOf,
  orNull,
  size,
  stamp,
  sum,
  text,
  tupleOf,
  version,
} from './message-checks.ts';
import type { FloorClaim } from './replica-messages.ts';

export type ContentStatus = 'ok' | 'filling' | 'absent' | 'floor' | 'busy' | 'damaged';

/** Both sides must have the same floor, and the same batches up to there. */
interface Question extends FloorClaim {
  readonly request: number;
  readonly key: ShardKeyJson;
}

interface Answer extends FloorClaim {
  readonly request: number;
  readonly shard: string;
  readonly status: ContentStatus;
}

/** The receiver lists a batch with another content than the sender, or is to read its replica again. */
export interface Suspicion {
  readonly t: 'suspect';
  readonly key: ShardKeyJson;
  readonly version: Version | null;
  /** What the sender lists. */
  readonly content: string | null;
}

export type ContentMessage =
  | ({ readonly t: 'content-windows'; readonly from: GroupName | null } & Question)
  | ({
      readonly t: 'content-windows-answer';
      /** Window, rows, sum; a window may be told in parts. null: a damaged block is in the way. */
      readonly windows: readonly (readonly [number, number, string | null])[];
      readonly next: GroupName | null;
    } & Answer)
  | ({ readonly t: 'content-groups'; readonly window: number; readonly from: GroupName | null } & Question)
  | ({
      readonly t: 'content-groups-answer';
      /** Measurement, group, rows, sum. */
      readonly groups: readonly (readonly [string, number, number, string | null])[];
      readonly next: GroupName | null;
    } & Answer)
  | ({
      readonly t: 'content-copy';
      readonly window: number;
      readonly measurement: string;
      readonly groups: readonly number[];
      readonly fromTime: number;
    } & Question)
  | ({
      /** Attachments: frame and keys, when there are rows. */
      readonly t: 'content-copy-answer';
      readonly rows: number;
      readonly next: number | null;
    } & Answer);

const name: Check = (value) => typeof value === 'string' && value.length <= 65_536;
const group: Check = (value) => size(value) && (value as number) < SERIES_GROUPS;
const cursor = orNull(objectOf({ window: size, measurement: name, group }));
const claim = { floor: stamp, floorRoot: tupleOf(size, sum, sum) };
const question = { ...claim, request: size, key };
const status = oneOf('ok', 'filling', 'absent', 'floor', 'busy', 'damaged');
const answer = { ...claim, request: size, shard: text, status };

export const CONTENT_FIELDS: Record<(ContentMessage | Suspicion)['t'], Record<string, Check>> = {
  suspect: { key, version: orNull(version), content: orNull(sum) },
  'content-windows': { ...question, from: cursor },
  'content-windows-answer': { ...answer, windows: listOf(tupleOf(size, size, orNull(sum))), next: cursor },
  'content-groups': { ...question, window: size, from: cursor },
  'content-groups-answer': { ...answer, groups: listOf(tupleOf(name, group, size, orNull(sum))), next: cursor },
  'content-copy': { ...question, window: size, measurement: name, groups: listOf(group), fromTime: size },
  'content-copy-answer': { ...answer, rows: size, next: orNull(size) },
};
