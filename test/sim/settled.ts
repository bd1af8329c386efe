/**
 * Which batches lie at or below a floor: neither ledger nor rows say so any more once they have been settled. Each ledger
 * that adopts a floor notes it here, by what the ledger keeps of them: whoever has that floor with that root, from its
 * file or from a copy, has those batches.
 */
import type { Ledger } from '../../repair/ledger.ts';
import type { ShardId } from '../../shards/shard-key.ts';
import { isThrough, STAMP_ZERO, type Version } from '../../shards/version.ts';

export class SettledBatches {
  private readonly floors = new Map<string, ReadonlySet<Version>>();

  watch(ledger: Ledger, shard: ShardId): Ledger {
    const adopt = ledger.adoptFloor.bind(ledger);
    ledger.adoptFloor = (through) => {
      const adopted = ledger.versions().filter((version) => isThrough(version, through));
      const all = new Set([...this.of(ledger, shard), ...adopted]);
      adopt(through);
      this.floors.set(nameOf(ledger, shard), all);
    };
    return ledger;
  }

  of(ledger: Ledger, shard: ShardId): ReadonlySet<Version> {
    const known = this.floors.get(nameOf(ledger, shard));
    if (known === undefined && ledger.floor !== STAMP_ZERO)
      throw new Error(`a floor of ${shard} that nobody has adopted: ${nameOf(ledger, shard)}`);
    return known ?? new Set();
  }
}

function nameOf(ledger: Ledger, shard: ShardId): string {
  const { count, identity } = ledger.floorRoot();
  return `${shard} ${ledger.floor} ${count} ${identity}`;
}
