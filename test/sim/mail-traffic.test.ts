/** What counts as sent twice. */
import { describe, expect, test } from 'vitest';
import { encodeMessage } from '../../repair/replica-messages.ts';
import { shardId } from '../../shards/shard-key.ts';
import { makeStamp, makeVersion } from '../../shards/version.ts';
import { shardOf } from './books.ts';
import { MailTraffic } from './mail-traffic.ts';
import type { SimNode } from './sim-node.ts';
import { Violation } from './violation.ts';

const KEY = shardOf('d', 0, 0);
const START_MS = 1_700_000_000_000;
const [FIRST, SECOND] = ['1'.repeat(16), '2'.repeat(16)] as [string, string];

describe('mail', () => {
  const has = { batches: false };
  const open = {
    storage: { shards: new Map([[shardId(KEY), null]]) },
    ledgerOf: () => ({ replica: 'full', has: () => has.batches }),
  };
  const nodes = [FIRST, SECOND].map((number) => ({ number, process: { open } }) as unknown as SimNode);
  const [first, second] = nodes as [SimNode, SimNode];

  test('is sent twice when its receiver has it, and has been sent it by the same node', () => {
    const traffic = new MailTraffic(nodes);
    const mail = (n: number) => {
      const version = makeVersion(makeStamp(START_MS + n, 0), FIRST);
      return encodeMessage({ t: 'mail', key: KEY, version }, [new Uint8Array(9_000), new Uint8Array(1_000)]);
    };
    has.batches = false;
    traffic.leaves(first, SECOND, mail(1));
    traffic.leaves(first, SECOND, mail(1));
    has.batches = true;
    traffic.leaves(first, SECOND, mail(2));
    traffic.leaves(second, FIRST, mail(1));
    expect([traffic.sent, traffic.sentTwice]).toEqual([40_000, 0]);
    traffic.check();
    traffic.leaves(first, SECOND, mail(1));
    expect([traffic.sent, traffic.sentTwice]).toEqual([50_000, 10_000]);
    expect(() => traffic.check()).toThrow(Violation);
  });
});
