/** Asks the workers, or the members that hold a shard, for the fields of shards (for the schema cache). */
import type { ClusterSnapshot } from '../repair/cluster.ts';
import { heldIn } from '../repair/held-shards.ts';
import type { ShardId } from '../shards/shard-key.ts';
import { localSchemas, nameOf } from './query-backend.ts';
import { callNode } from './query-rpc.ts';
import type { SchemaShard } from './schema-cache.ts';
import type { ShardPlaces } from './shard-places.ts';
import type { FieldRecord, WorkerPool } from './threads.ts';

/** A write waits this long for a schema at most; then it goes on without. */
const TIMEOUT_MS = 1_000;

export interface SchemaPlaces {
  readonly pool: WorkerPool;
  readonly places: ShardPlaces;
  readonly clusterId: string;
  snapshot(): ClusterSnapshot;
}

export async function fetchSchemas(
  { pool, places, clusterId, snapshot }: SchemaPlaces,
  shards: readonly SchemaShard[],
): Promise<{ id: ShardId; fields: readonly FieldRecord[] }[]> {
  const plain = ({ id, key, known }: SchemaShard) => ({ id, number: key.number, known });
  const here = shards.filter(({ id }) => places.isLocal(id)).map(plain);
  const byMember = new Map<string, ReturnType<typeof plain>[]>();
  for (const shard of shards) {
    if (places.isLocal(shard.id)) continue;
    const { heldBy } = snapshot();
    const holder = places.remoteHolders(shard).find((each) => heldIn(heldBy[each], shard.id) !== undefined);
    const member = snapshot().members.find((each) => each.number === holder);
    if (member === undefined) continue;
    const list = byMember.get(member.address);
    if (list === undefined) byMember.set(member.address, [plain(shard)]);
    else list.push(plain(shard));
  }
  const remote = [...byMember].map(async ([address, asked]) => {
    try {
      return await callNode({ address, clusterId, from: nameOf(snapshot()), timeoutMs: TIMEOUT_MS }, 'schemas', asked);
    } catch (error) {
      if ((error as { code?: string }).code === 'node-call') return [];
      throw error;
    }
  });
  return (await Promise.all([here.length === 0 ? [] : localSchemas(pool, here), ...remote])).flat();
}
