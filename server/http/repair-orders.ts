/**
 * Orders to repair shards: started where the shards are, and told of by asking every member that is up for its parts. Nothing of
 * an order is kept here: any node answers for any order, also after the one that was asked has been restarted.
 *
 * Whoever finds that an order is over tells those that have it what it came to. The node that was asked for it looks until it
 * is, so that this does not wait for somebody who wants to know. What is left to members that nobody has heard for an hour has
 * failed, as what was left to one that was removed; when one comes back after all, its part goes on there and counts no more.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import type { RepairMode, RepairState, RepairStatus } from '../../repair/records.ts';
import {
  addTally,
  EMPTY_TALLY,
  etaOf,
  isOver,
  outranks,
  type RepairOrder,
  type RepairTally,
} from '../../repair/repair-order.ts';
import { nameOf } from '../../repair/surroundings.ts';
import type { ShardId } from '../../shards/shard-key.ts';
import { shardKeyToJson } from '../../shards/shard-key.ts';
import type { NodeNumber } from '../../shards/version.ts';
import type { RepairParts } from '../query-rpc.ts';
import type { KnownShard } from '../shard-places.ts';
import type { AdminPorts } from './admin.ts';
import { apiOf, orNothing } from './member-calls.ts';

const FOLLOW_MS = 1_000;
const FOLLOW_MS_MAX = 60_000;
/** An order in which nothing changes, because it is paused, say, is left to whoever looks at it. */
const FOLLOW_UNCHANGED_MS_MAX = 86_400_000;
/** Then what a member was to do of an order has failed. A machine has been started again by then, or somebody has to see to it. */
export const SILENT_MS_MAX = 3_600_000;

/** Sums over the shards of a repair, in the words of one shard's status. */
export interface RepairSummary extends Omit<RepairStatus, 'shard' | 'differences' | 'pass'> {
  readonly scope: string;
  /** Known shards that nobody could start. */
  readonly unreachable: readonly ShardId[];
  /** Names of members that run some of the shards and do not answer. */
  readonly silent: readonly string[];
}

export interface RepairDetails extends RepairSummary {
  readonly shards: readonly RepairStatus[];
}

/** What each member said; undefined: nothing. */
type Answers = ReadonlyMap<NodeNumber, RepairParts | undefined>;

export async function startOrder(
  ports: AdminPorts,
  wanted: readonly KnownShard[],
  mode: RepairMode,
  scope: string,
): Promise<RepairOrder> {
  const { self } = ports.snapshot();
  const { places, without } = mode === 'scrub' ? allHolders(ports, wanted) : firstHolders(ports, wanted);
  const counted = (started: ReadonlyMap<NodeNumber, { readonly size: number }>): RepairOrder['members'] =>
    [...started]
      .map(([member, { size: shards }]) => ({ member, shards }))
      .sort((a, b) => (a.member < b.member ? -1 : 1));
  const plan = placesToTry(places, () => true);
  const base = { id: randomBytes(6).toString('hex'), mode, scope, startedMs: ports.nowMs(), without };
  const first: RepairOrder = { ...base, members: counted(plan), unreachable: [], revision: 0 };
  // Kept here in any case: of shards that nobody could start as well.
  await ports.nodeApi.startRepair({ order: first, shards: [] });
  const started = new Map<NodeNumber, Set<ShardId>>();
  const isLeft = (place: Place) => !place.candidates.some((member) => started.get(member)?.has(place.shard.id));
  for (let left = plan; left.size > 0; left = placesToTry(places, isLeft)) {
    await Promise.all(
      [...left].map(async ([member, tried]) => {
        const shards = [...tried].map(({ shard }) => ({ id: shard.id, key: shardKeyToJson(shard.key) }));
        const taken =
          (await orNothing(apiOf(ports, ports.nodeApi, member)?.startRepair({ order: first, shards }))) ?? [];
        for (const place of tried) place.tried++;
        if (taken.length > 0) started.set(member, new Set([...(started.get(member) ?? []), ...taken]));
      }),
    );
  }
  const lost = places.filter(isLeft).map(({ shard }) => shard.id);
  const unreachable = [...new Set(lost)];
  const order: RepairOrder = { ...base, members: counted(started), unreachable, revision: 1 };
  if (unreachable.length === 0 && JSON.stringify(order.members) === JSON.stringify(first.members)) return first;
  await Promise.all(
    [...new Set([self, ...started.keys()])].map((member) =>
      orNothing(apiOf(ports, ports.nodeApi, member)?.startRepair({ order, shards: [] })),
    ),
  );
  return order;
}

/** A shard, and who may run its part, best first: of them one does. */
interface Place {
  readonly shard: KnownShard;
  readonly candidates: readonly NodeNumber[];
  tried: number;
}

/** Whose turn it is, of the places that are left. */
function placesToTry(places: readonly Place[], isLeft: (place: Place) => boolean): Map<NodeNumber, Set<Place>> {
  const found = new Map<NodeNumber, Set<Place>>();
  for (const place of places) {
    const member = place.candidates[place.tried];
    if (member === undefined || !isLeft(place)) continue;
    const those = found.get(member);
    if (those === undefined) found.set(member, new Set([place]));
    else those.add(place);
  }
  return found;
}

/** Here when this node has the shard in full, else where it is, or at last with what is here. */
function firstHolders(ports: AdminPorts, wanted: readonly KnownShard[]): { places: Place[]; without: string[] } {
  const { self } = ports.snapshot();
  const here = new Map(ports.places.local().map(({ id, state }) => [id, state]));
  const places = wanted.map((shard) => {
    const others = ports.places.remoteHolders(shard);
    const state = here.get(shard.id);
    const candidates = state === undefined ? others : state === 'full' ? [self, ...others] : [...others, self];
    return { shard, candidates, tried: 0 };
  });
  return { places, without: [] };
}

/** Every copy is read where it is. */
function allHolders(ports: AdminPorts, wanted: readonly KnownShard[]): { places: Place[]; without: string[] } {
  const { self, heldBy } = ports.snapshot();
  const ids = new Map(wanted.map((shard) => [shard.id, shard]));
  const places: Place[] = [];
  const without: string[] = [];
  for (const { number, name, live, state } of ports.members()) {
    if (state === 'removed') continue;
    const held = number === self ? ports.places.local() : (heldBy[number] ?? []);
    const shards = held.flatMap(({ id }) => ids.get(id) ?? []);
    if (live || number === self) for (const shard of shards) places.push({ shard, candidates: [number], tried: 0 });
    else if (shards.length > 0) without.push(name);
  }
  const found = new Set(places.map(({ shard }) => shard.id));
  for (const shard of wanted) if (!found.has(shard.id)) places.push({ shard, candidates: [], tried: 0 });
  return { places, without };
}

/** Of one order, or a mend that runs; null: no member that answers knows it. */
export async function findOrder(ports: AdminPorts, id: string): Promise<RepairDetails | null> {
  const answers = await askAll(ports, id, true);
  const [summary] = await summarize(ports, answers);
  if (summary === undefined) return null;
  return { ...summary, shards: [...answers.values()].flatMap((answer) => answer?.parts ?? []) };
}

/** Without its parts: for whoever follows it. */
export async function followOrder(ports: AdminPorts, id: string): Promise<RepairSummary | null> {
  return (await summarize(ports, await askAll(ports, id, false)))[0] ?? null;
}

/** All, newest first. */
export async function listOrders(ports: AdminPorts): Promise<RepairSummary[]> {
  return (await summarize(ports, await askAll(ports, '', false))).sort((a, b) => b.startedMs - a.startedMs);
}

/** Names of members that did not answer: their parts go on as they were. */
export async function controlOrder(
  ports: AdminPorts,
  id: string,
  action: 'pause' | 'resume' | 'cancel',
): Promise<string[]> {
  const told = await Promise.all(
    ports
      .members()
      .filter(({ state }) => state !== 'removed')
      .map(async ({ number, name }) => {
        const done = apiOf(ports, ports.nodeApi, number)
          ?.controlRepair(id, action)
          .then(() => true);
        return (await orNothing(done)) === true ? null : name;
      }),
  );
  return told.filter((name) => name !== null);
}

async function askAll(ports: AdminPorts, id: string, withParts: boolean): Promise<Answers> {
  const { self } = ports.snapshot();
  const asked = ports.members().filter(({ number, live, state }) => state !== 'removed' && (live || number === self));
  return new Map(
    await Promise.all(
      asked.map(async ({ number }) => {
        const answer = await orNothing(apiOf(ports, ports.nodeApi, number)?.repairs(id, withParts));
        return [number, answer] as const;
      }),
    ),
  );
}

/** What is known of an order by now. */
interface Standing {
  /** Of all parts that are known. */
  readonly all: RepairTally;
  readonly each: readonly RepairTally[];
  /** Parts of members that do not answer, whose names are `silent`. */
  readonly waiting: number;
  readonly silent: readonly string[];
  /** Parts that are not known any more where they were started. */
  readonly gone: number;
  readonly isPaused: boolean;
}

interface KnownOrder {
  order: RepairOrder;
  readonly tallies: Map<NodeNumber, RepairTally[]>;
  /** As those say who were told of it last. */
  isPaused: boolean;
  steeredMs: number;
}

async function summarize(ports: AdminPorts, answers: Answers): Promise<RepairSummary[]> {
  const orders = new Map<string, KnownOrder>();
  for (const [member, answer] of answers) {
    for (const { order, tally, isPaused = false, steeredMs = 0 } of answer?.orders ?? []) {
      const unknown = { order, tallies: new Map<NodeNumber, RepairTally[]>(), isPaused, steeredMs };
      const known = orders.get(order.id) ?? unknown;
      if (steeredMs > known.steeredMs) Object.assign(known, { isPaused, steeredMs });
      else if (steeredMs === known.steeredMs) known.isPaused ||= isPaused;
      if (outranks(order, known.order)) known.order = order;
      known.tallies.set(member, [...(known.tallies.get(member) ?? []), tally]);
      orders.set(order.id, known);
    }
  }
  return Promise.all(
    [...orders.values()].map(async ({ order, tallies, isPaused }) => {
      const standing = standingOf(ports, order, tallies, answers, isPaused);
      const summary = summaryOf(order, standing);
      if (order.ended === undefined && order.mode !== 'mend' && isOver(summary.state) && standing.gone === 0)
        await tellEnd(ports, order, standing.all, [...tallies.keys()]);
      return summary;
    }),
  );
}

async function tellEnd(
  ports: AdminPorts,
  order: RepairOrder,
  ended: RepairTally,
  members: readonly NodeNumber[],
): Promise<void> {
  const over = { order: { ...order, revision: order.revision + 1, ended }, shards: [] };
  await Promise.all(members.map((member) => orNothing(apiOf(ports, ports.nodeApi, member)?.startRepair(over))));
}

/** Looks less and less often until an order is over, nobody knows of it any more, or nothing of it has changed for long. */
export async function followToEnd(
  ports: AdminPorts,
  id: string,
  wait = (ms: number): Promise<unknown> => setTimeout(ms, undefined, { ref: false }),
): Promise<void> {
  let last = '';
  // Counted in waits: a clock may be set.
  let unchangedMs = 0;
  for (let waitMs = FOLLOW_MS; ; waitMs = Math.min(FOLLOW_MS_MAX, 2 * waitMs)) {
    await wait(waitMs);
    const summary = await followOrder(ports, id);
    if (summary === null || isOver(summary.state)) return;
    const text = JSON.stringify(summary);
    unchangedMs = text === last ? unchangedMs + waitMs : 0;
    if (unchangedMs >= FOLLOW_UNCHANGED_MS_MAX) return;
    last = text;
  }
}

function standingOf(
  ports: AdminPorts,
  { members, ended }: RepairOrder,
  tallies: ReadonlyMap<NodeNumber, readonly RepairTally[]>,
  answers: Answers,
  isPaused: boolean,
): Standing {
  if (ended !== undefined) return { all: ended, each: [ended], waiting: 0, silent: [], gone: 0, isPaused: false };
  const snapshot = ports.snapshot();
  const present = new Set(ports.members().flatMap(({ number, state }) => (state === 'removed' ? [] : [number])));
  const silentOnes: NodeNumber[] = [];
  let [waiting, gone] = [0, 0];
  for (const { member, shards } of members) {
    const known = (tallies.get(member) ?? []).reduce((sum, each) => sum + each.shards, 0);
    if (answers.get(member) !== undefined || !present.has(member)) gone += Math.max(0, shards - known);
    else {
      silentOnes.push(member);
      waiting += shards;
    }
  }
  const silent = silentOnes.map((member) => nameOf(snapshot, member));
  const each = [...tallies.values()].flat();
  const all = each.reduce(addTally, EMPTY_TALLY);
  const { running, queued, paused } = all.states;
  const isLeftToSilent = waiting > 0 && !isPaused && running + queued + paused === 0;
  if (!isLeftToSilent || !silentOnes.every((member) => ports.silentMs(member) >= SILENT_MS_MAX))
    return { all, each, waiting, silent, gone, isPaused };
  const failure = `${silent.join(', ')} did not answer for ${SILENT_MS_MAX / 3_600_000} h: to be asked for again`;
  const states = { ...EMPTY_TALLY.states, failed: waiting };
  const given = { shards: waiting, percentages: 100 * waiting, finishedMs: ports.nowMs() };
  const lost = { ...EMPTY_TALLY, ...given, states, failure };
  return { all: addTally(all, lost), each: [...each, lost], waiting: 0, silent: [], gone, isPaused };
}

function summaryOf(order: RepairOrder, standing: Standing): RepairSummary {
  const { all, each, waiting, silent, gone, isPaused } = standing;
  const total = all.shards + waiting + gone;
  const state = stateOf(all.states, waiting, gone + order.unreachable.length, isPaused);
  const percentage = total === 0 ? 100 : Math.floor((all.percentages + 100 * gone) / total);
  const { id, mode, scope, startedMs, unreachable } = order;
  const { hop, hops, batchesMoved, rowsMoved, bytesMoved, workedMs } = all;
  return {
    id,
    mode,
    scope,
    state,
    hop,
    hops,
    percentage: isOver(state) ? percentage : Math.min(99, percentage),
    batchesMoved,
    rowsMoved,
    bytesMoved,
    etaMs: state === 'running' && waiting === 0 ? etaOf(each) : null,
    startedMs,
    finishedMs: isOver(state) ? Math.max(startedMs, all.finishedMs) : null,
    workedMs,
    message: messageOf(order, standing),
    unreachable,
    silent,
  };
}

function stateOf(states: RepairTally['states'], waiting: number, lost: number, isPaused: boolean): RepairState {
  if (states.running + states.queued > 0) return 'running';
  if (states.paused > 0) return 'paused';
  // Whoever does not answer goes on when it is back, unless it was told to wait.
  if (waiting > 0) return isPaused ? 'paused' : 'running';
  if (states.failed + lost > 0) return 'failed';
  return states.cancelled > 0 ? 'cancelled' : 'done';
}

function messageOf({ mode, without, unreachable }: RepairOrder, { all, waiting, gone, silent }: Standing): string {
  const { failure, states, differing, notCompared } = all;
  const total = all.shards + waiting + gone;
  const parts: string[] = [];
  if (failure !== null) parts.push(states.failed === 1 ? failure : `${states.failed} failed, one of them: ${failure}`);
  if (waiting > 0) parts.push(`${waiting} of ${total} run at ${silent.join(', ')}, which does not answer`);
  if (gone > 0) parts.push(`${gone} of ${total} are not known any more where they were started`);
  if (unreachable.length > 0) parts.push(`nobody could start ${unreachable.length}`);
  if (mode === 'preview' && differing > 0) parts.push(`replicas of ${differing} differ`);
  if (mode === 'preview' && notCompared > 0) parts.push(`${notCompared} were not compared with all replicas`);
  if (without.length > 0) parts.push(`without ${without.join(', ')}, not up`);
  return [`${total} ${mode === 'scrub' ? 'replicas' : 'shards'}`, ...parts].join('; ');
}
