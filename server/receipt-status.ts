/**
 * Where the batches of a receipt are: asked of every member that may have them (owners, holders, and the node that took the
 * write, for its outbox), each once for all batches.
 */
import type { ClusterSnapshot } from '../repair/cluster.ts';
import { type FoundWrite, havingIt, isStoredBy } from '../repair/found-writes.ts';
import { heldIn } from '../repair/held-shards.ts';
import { judgeFrame } from '../repair/mail-receiver.ts';
import { type ShardKey, shardId, shardKeyToJson } from '../shards/shard-key.ts';
import { isThrough, type NodeNumber, nodeOf, stampMs } from '../shards/version.ts';
import { nameOf } from './query-backend.ts';
import { callNode, type NodeApi, NodeCallError } from './query-rpc.ts';
import type { ReceiptBatch } from './receipt.ts';

export interface ReceiptPorts {
  readonly nodeApi: NodeApi;
  snapshot(): ClusterSnapshot;
  clusterId(): string | null;
  owners(shard: ShardKey): readonly NodeNumber[];
  nowMs(): number;
}

/**
 * `proven`: all owners are proven to have it. `stored`: some member has it. `outbox`: on disk, on its way to the owners.
 * `lost`: it went with a member that was given up or replaced, or with a file that was set aside, and the others are proven to be
 * without it. `unsure`: such a member or file went, and nobody can tell any more whether the others had it. `unknown`: no member that could be asked has it, or it was never
 * accepted. `dropped`, `expired`: with its database, or by its retention policy.
 */
export type BatchState = 'proven' | 'stored' | 'outbox' | 'lost' | 'unsure' | 'unknown' | 'dropped' | 'expired';

export interface BatchStatus {
  readonly shard: string;
  readonly database: string;
  readonly retention_policy: string;
  readonly version: string;
  /** When it was accepted, by the clock of the node that took it. */
  readonly accepted_ms: number;
  readonly state: BatchState;
  readonly replicas: readonly {
    readonly member: string;
    readonly name: string;
    readonly owner: boolean;
    readonly state: FoundWrite['state'] | 'not live' | 'no answer';
    /** null: nobody knows. */
    readonly stored: boolean | null;
    /** Seconds since 1970; all owners are proven equal up to there, as far as this member has heard. */
    readonly converged_through: number | null;
  }[];
  /** Names of the nodes in whose outbox it is. */
  readonly outbox: readonly string[];
}

export interface ReceiptStatus {
  readonly proven: boolean;
  /** Every batch is at some member at least. */
  readonly stored: boolean;
  readonly batches: readonly BatchStatus[];
}

type Answer = FoundWrite | 'not live' | 'no answer';

export async function receiptStatus(ports: ReceiptPorts, batches: readonly ReceiptBatch[]): Promise<ReceiptStatus> {
  const snapshot = ports.snapshot();
  const asked = batches.map((batch) => membersFor(ports, snapshot, batch));
  const byMember = new Map<NodeNumber, number[]>();
  for (const [at, members] of asked.entries()) {
    for (const member of members) {
      const list = byMember.get(member);
      if (list === undefined) byMember.set(member, [at]);
      else list.push(at);
    }
  }
  const answers = batches.map(() => new Map<NodeNumber, Answer>());
  await Promise.all(
    [...byMember].map(async ([member, places]) => {
      const sought = places.map((at) => ({ shard: shardKeyToJson(batches[at]!.shard), version: batches[at]!.version }));
      const found = await ask(ports, snapshot, member, sought);
      for (const [i, at] of places.entries()) answers[at]!.set(member, typeof found === 'string' ? found : found[i]!);
    }),
  );
  const statuses = batches.map((batch, at) => statusOf(ports, snapshot, batch, answers[at]!));
  return {
    proven: statuses.every(({ state }) => state === 'proven'),
    stored: statuses.every(({ state }) => state === 'proven' || state === 'stored'),
    batches: statuses,
  };
}

function membersFor(ports: ReceiptPorts, snapshot: ClusterSnapshot, { shard, version }: ReceiptBatch): NodeNumber[] {
  const id = shardId(shard);
  const found = new Set(ports.owners(shard));
  for (const { number, state } of snapshot.members) {
    const isHolder = heldIn(snapshot.heldBy[number], id) !== undefined;
    if (state !== 'removed' && (isHolder || number === nodeOf(version))) found.add(number);
  }
  return [...found];
}

async function ask(
  { nodeApi, clusterId }: ReceiptPorts,
  snapshot: ClusterSnapshot,
  member: NodeNumber,
  sought: Parameters<NodeApi['findWrites']>[0],
): Promise<readonly FoundWrite[] | 'not live' | 'no answer'> {
  if (member === snapshot.self) return nodeApi.findWrites(sought);
  if (!snapshot.live.includes(member)) return 'not live';
  const { address } = snapshot.members.find(({ number }) => number === member)!;
  try {
    return await callNode({ address, clusterId: clusterId() ?? '', from: nameOf(snapshot) }, 'findWrites', sought);
  } catch (error) {
    if (error instanceof NodeCallError) return 'no answer';
    throw error;
  }
}

function statusOf(
  ports: ReceiptPorts,
  snapshot: ClusterSnapshot,
  { shard, version }: ReceiptBatch,
  answers: ReadonlyMap<NodeNumber, Answer>,
): BatchStatus {
  const owners = ports.owners(shard);
  const name = (member: NodeNumber) => snapshot.members.find(({ number }) => number === member)?.name ?? member;
  const found = [...answers.values()].filter((answer) => typeof answer !== 'string');
  const replicas = [...answers]
    // The node that took the write is asked for its outbox, too.
    .filter(([member, answer]) => owners.includes(member) || (typeof answer !== 'string' && answer.state !== 'absent'))
    .map(([member, answer]) => ({
      member,
      name: name(member),
      owner: owners.includes(member),
      state: typeof answer === 'string' ? answer : answer.state,
      stored: typeof answer === 'string' ? null : isStoredBy(answer, found),
      converged_through: typeof answer === 'string' ? null : seconds(answer.convergedThrough),
    }));
  const outbox = [...answers].flatMap(([member, answer]) =>
    typeof answer !== 'string' && answer.isInOutbox ? [name(member)] : [],
  );
  return {
    shard: shardId(shard),
    database: shard.database,
    retention_policy: shard.retentionPolicy,
    version,
    accepted_ms: stampMs(version),
    state: stateOf(snapshot, shard, version, found, ports.nowMs()),
    replicas,
    outbox,
  };
}

function stateOf(
  snapshot: ClusterSnapshot,
  shard: ShardKey,
  version: string,
  found: readonly FoundWrite[],
  nowMs: number,
): BatchState {
  const refusal = judgeFrame(snapshot, shard, version, nowMs, Number.POSITIVE_INFINITY);
  if (refusal?.code === 'dropped' || refusal?.code === 'expired') return refusal.code;
  const having = havingIt(found);
  const isProven = ({ convergedThrough }: FoundWrite) =>
    convergedThrough !== null && isThrough(version, convergedThrough);
  if (having.some(isProven)) return 'proven';
  if (having.length > 0) return 'stored';
  if (found.some(({ isInOutbox }) => isInOutbox)) return 'outbox';
  if (found.some(({ knowledge }) => knowledge === 'never')) return 'lost';
  return found.some(({ knowledge, state }) => knowledge === 'unsure' && state !== 'filling') ? 'unsure' : 'unknown';
}

function seconds(stamp: string | null): number | null {
  return stamp === null ? null : stampMs(stamp) / 1000;
}
