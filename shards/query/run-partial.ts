/**
 * Answers a partial request over the shards of one place.
 */
import type { QueryableShard } from '../queryable.ts';
import type { PartialRequest, PartialResult } from './partial.ts';

/** Shards in the order (startNs, number). */
export function runPartial(shards: readonly QueryableShard[], request: PartialRequest): PartialResult {
  return { kind: 'refused', message: `${request.kind} over ${shards.length} shards` };
}
