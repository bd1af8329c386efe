/**
 * In the end every batch is looked for as if it had been found on the disk of each member that was given up or replaced: one
 * that a replica has is never taken for lost, and one that the member had, and nobody has, is not taken for known. (What the
 * member did not have may be: it lies below a floor that was proven with it.) And each acknowledged write is looked for as a
 * receipt would: one that is there is not lost, and one that is not there is neither proven nor stored.
 */
import { havingIt } from '../../repair/found-writes.ts';
import { goneMembers } from '../../repair/losses.ts';
import { verdictOf } from '../../server/leftover-owners.ts';
import type { ShardId } from '../../shards/shard-key.ts';
import type { NodeNumber, Version } from '../../shards/version.ts';
import type { Books } from './books.ts';
import type { SimNode } from './sim-node.ts';
import { Violation } from './violation.ts';

export class Leftovers {
  /** What each number had when its process died last; of what was not synced perhaps more. */
  private readonly had = new Map<NodeNumber, ReadonlyMap<ShardId, ReadonlySet<Version>>>();

  dies({ number, process }: SimNode): void {
    if (process === null) return;
    const { storage, contents } = process.open;
    this.had.set(number, new Map([...storage.shards.keys()].map((id) => [id, new Set(contents(id).keys())])));
  }

  check(nodes: readonly SimNode[], books: Books, ids: readonly ShardId[], counters: Record<string, number>): void {
    for (const version of books.acknowledged) {
      const id = books.written.get(version)!.shard;
      if (!ids.includes(id)) continue;
      const sought = [{ shard: books.shards.get(id)!, version }];
      const found = nodes.map(({ process }) => process!.host.findWrites(sought)[0]!);
      const said = found.map(({ knowledge }) => knowledge);
      const isThere = nodes.some(({ process }) => process!.open.contents(id).has(version));
      const verdict = havingIt(found).length > 0 ? 'known' : said.includes('never') ? 'never' : 'unsure';
      const name = `receipts_${isThere ? '' : 'gone_'}${verdict}`;
      counters[name] = (counters[name] ?? 0) + 1;
      // A crash before the sync, or a bit that falls over, takes what a ledger goes on counting with the others.
      if (isThere ? verdict === 'never' : verdict === 'known' && books.copies.wentOpenly(version))
        throw new Violation(
          'receipts-judged',
          `the receipt of ${version} of ${id} says ${verdict}; it is ${isThere ? '' : 'not '}there`,
        );
    }
    for (const { number } of goneMembers(nodes[0]!.process!.core.snapshot()))
      for (const id of ids) {
        const shard = books.shards.get(id)!;
        const versions = [...books.written].filter(([, written]) => written.shard === id).map(([version]) => version);
        const sought = versions.map((version) => ({ shard, version, foundWith: number }));
        const found = nodes.map(({ process }) => process!.host.findWrites(sought));
        const contents = nodes.map(({ process }) => process!.open.contents(id));
        for (const [i, version] of versions.entries()) {
          const verdict = verdictOf(found.map((each) => each[i]!));
          const isThere = contents.some((content) => content.has(version));
          const wasThere = this.had.get(number)?.get(id)?.has(version) === true;
          const name = `leftovers_${wasThere ? '' : 'elsewhere_'}${verdict}`;
          counters[name] = (counters[name] ?? 0) + 1;
          if (verdict === 'lost' && isThere)
            throw new Violation(
              'leftovers-judged',
              `${version} of ${id}, found with ${number}, is taken for lost, and it is there`,
            );
          if (verdict === 'known' && wasThere && !isThere)
            throw new Violation(
              'leftovers-judged',
              `${version} of ${id}, found with ${number}, is taken for known, and nobody has it`,
            );
        }
      }
  }
}
