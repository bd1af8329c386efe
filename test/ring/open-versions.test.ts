import { describe, expect, it } from 'vitest';
import { OpenList, OpenVersions } from '../../repair/open-versions.ts';
import type { ShardId } from '../../shards/shard-key.ts';
import type { Version } from '../../shards/version.ts';
import { randomOf } from '../storage/random-batches.ts';

const MEMBERS = ['aaaa000000000000', 'bbbb000000000000', 'cccc000000000000'];

describe('open versions', () => {
  it('are, in each group, the oldest that a walk over all of them finds', () => {
    const random = randomOf(7);
    const open = new OpenVersions();
    const entries = new Map<string, { name: string; id: ShardId; version: Version; acks: Set<string> }>();
    for (let step = 0; step < 20_000; step++) {
      const dice = random(100);
      if (dice < 45 || entries.size === 0) {
        const id = `shard-${random(3)}` as ShardId;
        // Now and then one that is older than all before it, as a batch that comes back from a segment.
        const version = String(random(10) === 0 ? random(step + 1) : step).padStart(32, '0') as Version;
        const entry = { name: id + version, id, version, acks: new Set<string>() };
        if (entries.has(entry.name)) continue;
        entries.set(entry.name, entry);
        open.place(entry);
      } else {
        const entry = [...entries.values()][random(Math.min(entries.size, 40))]!;
        const member = MEMBERS[random(3)]!;
        if (dice < 70) {
          if (!entry.acks.delete(member)) entry.acks.add(member);
          open.place(entry);
        } else {
          entries.delete(entry.name);
          open.remove(entry.name);
        }
      }
      if (step % 50 > 0) continue;
      const [kept, walked] = [new OpenList(), new OpenList()];
      open.addOldest((id, version, by) => kept.add(id, version, by));
      for (const { id, version, acks } of entries.values()) walked.add(id, version, acks);
      const sorted = (list: OpenList) =>
        list
          .list()
          .map((each) => JSON.stringify(each))
          .sort();
      expect(sorted(kept)).toEqual(sorted(walked));
    }
  });
});
