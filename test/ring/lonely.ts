/** A replica that has what nobody else has, and is to be filled. */
import type { Message } from '../../repair/replica-messages.ts';
import { shardKeyToJson } from '../../shards/shard-key.ts';
import { makeStamp } from '../../shards/version.ts';
import { KEY, NUMBERS, START, type Trio } from './trio.ts';

/** A comparison from somebody whose floor has batches that the receiver never had. */
export const fence: Message = {
  t: 'compare',
  request: 1,
  key: shardKeyToJson(KEY),
  through: makeStamp(START + 60_000, 0),
  from: 0,
  preview: false,
  floor: makeStamp(START + 50_000, 0),
  floorRoot: [99, 'a'.repeat(32), 'b'.repeat(32)],
};

/** Batches that `at` alone has: written while nobody else was there, and no outbox has them any more. */
export function writeLonely(trio: Trio, at: number, batches: number): void {
  for (const number of NUMBERS) if (number !== NUMBERS[at]) trio.cut.add(number);
  trio.hear();
  for (let i = 0; i < batches; i++) trio.write(at);
  trio.pass(100);
  const { disk } = trio.storages[at]!;
  trio.boot(NUMBERS[at]!, disk);
}
