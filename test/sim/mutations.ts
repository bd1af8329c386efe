/** Deliberate faults: one rule of the protocol switched off in what surrounds the code. The checkers must notice each. */
import type { BatchesAsked } from '../../repair/batches-asked.ts';
import type { ClusterSnapshot, HeldShard, Statement } from '../../repair/cluster.ts';
import type { CommitQueue } from '../../repair/commit.ts';
import type { KnownDeletes } from '../../repair/known-deletes.ts';
import { Ledger, rootToJson } from '../../repair/ledger.ts';
import { DecodedLists } from '../../repair/ledger-epoch.ts';
import { isOver } from '../../repair/mail-receiver.ts';
import type { Outbox } from '../../repair/outbox.ts';
import { ownersOf } from '../../repair/owners.ts';
import type { ReplicaHost } from '../../repair/replica-host.ts';
import { decodeMessage, encodeMessage } from '../../repair/replica-messages.ts';
import type { ReplicaTable } from '../../repair/replica-table.ts';
import type { Ring } from '../../repair/ring.ts';
import type { Proofs } from '../../repair/ring-proof.ts';
import type { Surroundings } from '../../repair/surroundings.ts';
import { decodeBatch } from '../../shards/batch-codec.ts';
import type { RowSet } from '../../shards/row-set.ts';
import { type SettleRequest, settleRows } from '../../shards/row-settle.ts';
import type { Shard } from '../../shards/shard.ts';
import { type ShardId, type ShardKey, shardId, shardKeyFromJson } from '../../shards/shard-key.ts';
import type { Storage } from '../../shards/storage.ts';
import type { NodeNumber, Stamp, Version } from '../../shards/version.ts';

export const MUTATIONS = [
  'closed-ignores-open',
  'sync-lies',
  'version-reused',
  'outbox-forgotten',
  'below-floor-applied',
  'counted-twice',
  'floor-without-root',
  'filling-counted',
  'stray-acknowledged',
  'views-combined',
  'hop-skipped',
  'dropped-early',
  'floor-not-durable',
  'debt-holds-cutoff',
  'pass-below-floor',
  'receiver-checks-types',
  'ring-owners-only',
  'merge-first',
  'tombstone-dropped',
  'asked-twice',
  'offers-not-looked-up',
  'deletes-taken-as-known',
  'superseded-early',
  'expired-at-once',
  'expired-still-owed',
] as const;
export type Mutation = (typeof MUTATIONS)[number];

/** Messages between replicas on their way out. */
export function mutatedMessage(bytes: Uint8Array, mutation: Mutation | undefined): Uint8Array {
  if (mutation !== 'filling-counted' && mutation !== 'stray-acknowledged') return bytes;
  const { message, attachments } = decodeMessage(bytes);
  if (message.t !== 'mail-answers') return bytes;
  const lie = mutation === 'filling-counted' ? 'filling' : 'not-mine';
  const answers = message.answers.map((a) => (a[2] === lie ? ([a[0], a[1], 'stored', '', true, ''] as const) : a));
  return encodeMessage({ ...message, answers }, attachments);
}

/** The cluster as the worker is told of it. */
export function mutatedSnapshot(snapshot: ClusterSnapshot, mutation: Mutation | undefined): ClusterSnapshot {
  if (mutation === 'ring-owners-only') return { ...snapshot, heldBy: heldByOwners(snapshot) };
  if (mutation !== 'views-combined') return snapshot;
  const statements = snapshot.statements.map((statement) => ({ ...statement, viewHash: 'same' }));
  return { ...snapshot, viewHash: 'same', statements };
}

function heldByOwners(snapshot: ClusterSnapshot): ClusterSnapshot['heldBy'] {
  const owned = (member: NodeNumber, { key }: HeldShard) => ownersOf(snapshot, shardKeyFromJson(key)).includes(member);
  const lists = Object.entries(snapshot.heldBy);
  return Object.fromEntries(lists.map(([member, list]) => [member, list.filter((held) => owned(member, held))]));
}

export function mutatedOpen(host: ReplicaHost, mutation: Mutation | undefined): Statement['open'] {
  if (mutation === 'closed-ignores-open') return [];
  const open = host.openVersions();
  if (mutation !== 'debt-holds-cutoff') return open;
  const { outbox } = host as unknown as { outbox: Outbox };
  const owed = [...outbox.debts.values()].map(({ id, version }) => ({
    shard: id,
    oldest: version,
    acknowledgedBy: [],
  }));
  return [...open, ...owed];
}

/** `receive` hands the message to the host. */
export function mutatedReceive(
  host: ReplicaHost,
  ledgerOf: (id: ShardId) => Ledger | undefined,
  bytes: Uint8Array,
  mutation: Mutation | undefined,
  receive: () => void,
): void {
  if (mutation === 'receiver-checks-types') refuseOtherTypes(host);
  const below = mutation === 'pass-below-floor' ? refusable(bytes, ledgerOf) : [];
  // As if the floor were no higher than the cutoff.
  for (const { ledger, through } of below)
    Object.defineProperty(ledger, 'floor', { get: () => through, configurable: true });
  try {
    receive();
  } finally {
    for (const { ledger } of below) Reflect.deleteProperty(ledger, 'floor');
  }
}

/** Of tokens that should be refused, because their cutoff lies below the floor here. */
function refusable(bytes: Uint8Array, ledgerOf: (id: ShardId) => Ledger | undefined) {
  const { message } = decodeMessage(bytes);
  return (message.t === 'bundle' ? message.messages : [message]).flatMap((each) => {
    if (each.t !== 'token') return [];
    const ledger = ledgerOf(shardId(shardKeyFromJson(each.key)));
    const { through } = each;
    return ledger === undefined || through >= ledger.floor ? [] : [{ ledger, through }];
  });
}

/** A field has the type that came first, and a batch with another one is refused for good. */
function refuseOtherTypes(host: ReplicaHost): void {
  const { commit } = host as unknown as { commit: CommitQueue };
  if (Object.hasOwn(commit, 'offer')) return;
  const offer = commit.offer.bind(commit);
  const types = new Map<string, number>();
  commit.offer = (batch) => {
    const decoded = decodeBatch(batch.frame);
    const groups = decoded.kind === 'write' ? decoded.groups : [];
    const columns = groups.flatMap((group) => group.columns.map((column) => ({ ...column, of: group.measurement })));
    const other = columns.find(({ of, field, type }) => (types.get(`${of} ${field}`) ?? type) !== type);
    for (const { of, field, type } of columns) if (!types.has(`${of} ${field}`)) types.set(`${of} ${field}`, type);
    if (other === undefined) offer(batch);
    else batch.done({ kind: 'refused', code: 'type-conflict', retry: false, reason: other.field });
  };
}

export function mutateHost(host: ReplicaHost, mutation: Mutation | undefined): void {
  const parts = host as unknown as {
    commit: CommitQueue;
    asked: { isFree: BatchesAsked['areSomeFree'] };
    retention: { mayGo(id: ShardId, key: ShardKey): boolean; forget(): boolean };
    around: Surroundings;
    deletes: KnownDeletes;
    ring: Ring;
  };
  // All that is offered is said to be lacked.
  if (mutation === 'offers-not-looked-up') parts.commit.ask = (_id, _version, done) => done({ kind: 'lacks' });
  // Pulls know nothing of each other.
  if (mutation === 'asked-twice') parts.asked.isFree = () => true;
  // Whoever is proven itself answers, whatever others know to be deleted.
  if (mutation === 'deletes-taken-as-known') parts.deletes.of = () => true;
  // By the clock here alone.
  if (mutation === 'expired-at-once')
    parts.retention.mayGo = (_, key) => isOver(parts.around.snapshot, key, parts.around.wallMs);
  if (mutation === 'expired-still-owed') parts.retention.forget = () => true;
  if (mutation === 'floor-without-root') adoptAnyFloor(parts.ring.proofs, host);
}

/** Whatever is held here: a token's floor, and what a full proof says, is taken for one's own. */
function adoptAnyFloor(proofs: Proofs, host: ReplicaHost): void {
  const { replicas } = host as unknown as { replicas: ReplicaTable };
  proofs.meet = ({ ledger }, claim) => {
    if (claim.floor > ledger.floor) ledger.adoptFloor(claim.floor);
    return true;
  };
  const proven = proofs.proven.bind(proofs);
  proofs.proven = (from, m) => {
    const ledger = replicas.get(shardId(shardKeyFromJson(m.key)))?.ledger;
    const isAbove = ledger !== undefined && m.through >= ledger.floor;
    proven(from, isAbove && m.kind === 'full' ? { ...m, root: rootToJson(ledger.root(m.through)) } : m);
  };
}

export function mutatedHeld(held: readonly HeldShard[], mutation: Mutation | undefined): readonly HeldShard[] {
  return mutation === 'filling-counted' ? held.map((each) => ({ ...each, state: 'full' as const })) : held;
}

/** Three of four syncs only say that they are done. */
export function mutateSync(storage: Storage, mutation: Mutation | undefined, later: (run: () => void) => void): void {
  if (mutation !== 'sync-lies') return;
  const real = storage.sync.bind(storage);
  let n = 0;
  storage.sync = (done) => {
    if (n++ % 4 === 3) real(done);
    else later(() => done(null));
  };
}

/** What a merge takes for settled. */
export function mutateShard(shard: Shard, mutation: Mutation | undefined): void {
  if (mutation === 'merge-first') shard.settle = settleMergedFirst;
  if (mutation === 'tombstone-dropped') dropTombstones(shard);
  if (mutation === 'superseded-early') supersedeEarly(shard);
  if (mutation !== 'dropped-early' && mutation !== 'floor-not-durable') return;
  const get = (): Stamp => (mutation === 'dropped-early' ? 'f'.repeat(16) : shard.companion.floor);
  Object.defineProperty(shard, 'settledThrough', { get, configurable: true });
}

/** Every third delete is taken for stored and is not. */
function dropTombstones({ tombstones }: Shard): void {
  const add = tombstones.add.bind(tombstones);
  if (Object.hasOwn(tombstones, 'add')) return;
  let n = 0;
  tombstones.add = (batch, frame, inFile) => {
    if (n++ % 3 !== 2) add(batch, frame, inFile);
  };
}

/** A later delete stands for an older one before everybody has both. */
function supersedeEarly({ tombstones }: Shard): void {
  if (Object.hasOwn(tombstones, 'superseded')) return;
  const { superseded } = tombstones;
  tombstones.superseded = () => superseded.call(tombstones, 'f'.repeat(16));
}

/** The winner is chosen among all settled rows, and deletes are applied to it alone. */
function settleMergedFirst(rows: RowSet, request: SettleRequest): RowSet {
  return settleRows(settleRows(rows, { ...request, tombstones: [], whole: false }), request);
}

/** Nothing is found decoded but what was asked for just before. */
const NONE_DECODED = new DecodedLists(1);

export function mutatedLedger(mutation: Mutation | undefined, openMax: number): Ledger {
  const ledger = new Ledger(openMax, openMax === 0 ? NONE_DECODED : undefined);
  if (mutation === 'below-floor-applied') ledger.has = (version) => ledger.lists(version);
  if (mutation === 'counted-twice') {
    const prepare = ledger.prepare.bind(ledger);
    const seen = new Set<Version>();
    ledger.has = () => false;
    ledger.prepare = (version) => {
      const known = seen.has(version);
      seen.add(version);
      const twin = known ? version.slice(0, 31) + ((Number.parseInt(version[31]!, 16) + 1) % 16).toString(16) : version;
      return prepare(twin);
    };
  }
  // Whatever it holds: the proof that just came is enough.
  if (mutation === 'hop-skipped') {
    const sums = ledger.epochSums.bind(ledger);
    ledger.epochSums = (...a) => ({ ...sums(...a), sums: [] });
  }
  return ledger;
}
