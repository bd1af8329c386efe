/**
 * Runs queries where the shards are: this node's workers first, else a live owner that has the shard in full.
 *
 * A place that turns out not to have a shard (it began filling, or has not received it yet) is asked no more for it and
 * the next holder is; a shard of which no holder is up is `missing`, and the answer says so. All places work at the same
 * time; the order of the results does not matter, because each carries its shards one by one.
 */
import type { ClusterSnapshot, DatabaseDefinition, RetentionPolicyDefinition } from '../repair/cluster.ts';
import type { PartialRequest } from '../shards/query/partial.ts';
import type { ShardId } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import { LevelledReads } from './levelled-reads.ts';
import type { LevellingDesk } from './levelling-desk.ts';
import type { PartialAnswer } from './partial-answer.ts';
import { deleteFromPolicy, type PolicyDeletePorts } from './policy-deletes.ts';
import type { PartialAnswers, QueryBackend, QueryMetadata, ServerFacts, ShardTarget } from './query/backend.ts';
import type { Ending } from './query/ending.ts';
import { Held } from './query/held.ts';
import type { PlaceAnswer } from './query-rpc.ts';
import { callNode } from './query-rpc.ts';
import { Nothings, questionOf, wantedOf } from './said-nothing.ts';
import type { ShardPlaces } from './shard-places.ts';
import { writeLines } from './statement-writes.ts';
import type { WorkerPool } from './threads.ts';

/** Holders of a shard that are tried one after the other. */
const ROUNDS_MAX = 8;

export interface BackendPorts extends PolicyDeletePorts {
  readonly places: ShardPlaces;
  readonly metadata: QueryMetadata;
  readonly server: ServerFacts;
  readonly queryTimeoutMs: number;
  readonly readRepairTimeoutMs: number;
  readonly levelling: LevellingDesk;
}

export function createQueryBackend(ports: BackendPorts): QueryBackend {
  const nothings = new Nothings();
  const backend: QueryBackend = {
    snapshot: ports.snapshot,
    metadata: ports.metadata,
    server: ports.server,
    targets: (database: DatabaseDefinition, policy: RetentionPolicyDefinition, minNs, maxNs) =>
      ports.places.targets(database, policy, minNs, maxNs),
    run: (targets, request, ending, wantsProof = true) =>
      areHere(ports, targets)
        ? runHere(ports, targets, request, ending, wantsProof ? null : nothings)
        : runEverywhere(ports, targets, request, ending),
    runHere: (targets, request, answered, failed, ending) => {
      if (!areHere(ports, targets)) return false;
      const all = (answer: PlaceAnswer): void => {
        if (isWhole(answer)) answered(judged(ports, targets, [answer]));
        else runEverywhere(ports, targets, request, ending, answer).then(answered, failed);
      };
      askWorkers(ports.pool, numbered(targets), request, ending, nothings, all, failed);
      return true;
    },
    placesOf: (targets) => placesOf(ports, targets),
    unheard: (policy) => unheard(ports.snapshot(), policy),
    levelled: (level, ending) => LevelledReads.begin(ports, backend, level, ending),
    deleteRows: (database, policy, predicate, minNs, maxNs, number) =>
      deleteFromPolicy(ports, database, policy, predicate, { minNs, maxNs }, number),
    writeLines: (database, policy, lines) => writeLines(ports.coordinator(), database, policy, lines),
  };
  return backend;
}

/** This node's own shards, for its own queries and for other nodes'. */
export function runLocal(
  pool: WorkerPool,
  shards: readonly NumberedShard[],
  request: PartialRequest,
  ending: Ending | undefined,
  nothings: Nothings | null = null,
): Promise<PlaceAnswer> {
  return new Promise((resolve, reject) => askWorkers(pool, shards, request, ending, nothings, resolve, reject));
}

interface NumberedShard {
  readonly id: ShardId;
  readonly number: number;
}

/** Calls one of both, once; `answered` in the order of the workers, whichever answers first. With the ending they stop. */
function askWorkers(
  pool: WorkerPool,
  shards: readonly NumberedShard[],
  request: PartialRequest,
  ending: Ending | undefined,
  nothings: Nothings | null,
  answered: (answer: PlaceAnswer) => void,
  failed: (error: Error) => void,
): void {
  const byWorker = new Map<number, ShardId[]>();
  for (const { id, number } of shards) {
    const worker = pool.workerOf(number);
    const list = byWorker.get(worker);
    if (list === undefined) byWorker.set(worker, [id]);
    else list.push(id);
  }
  const answers: PartialAnswer[] = [];
  let open = byWorker.size;
  if (open === 0) answered(joined(answers));
  let isOver = false;
  /** Worker and number of each, one behind the other. */
  const calls: number[] = [];
  const cancelAll = (): void => {
    for (let i = 0; i < calls.length; i += 2) pool.cancel(calls[i]!, calls[i + 1]!);
  };
  const stop = (): void => fail(ending!.reason!);
  const fail = (error: Error): void => {
    if (isOver) return;
    isOver = true;
    ending?.forget(stop);
    cancelAll();
    failed(error);
  };
  const wanted = nothings === null ? null : wantedOf(request);
  const held = heldFor(request);
  let place = 0;
  for (const [worker, ids] of byWorker) {
    const at = place++;
    const question = questionOf(wanted, ids, request);
    const known = question === null ? null : nothings!.recall(question, pool.changesOf(worker));
    const take = (answer: PartialAnswer): void => {
      answers[at] = answer;
      open--;
      held.addResults(answer.results);
      // Each worker keeps to the limit by itself: with more together, the rest of them need not go on.
      const hasVerdict = isVerdict(answer);
      const refusal = hasVerdict ? null : held.refusal;
      const isEarly = refusal !== null || hasVerdict;
      if ((open > 0 && !isEarly) || isOver) return;
      ending?.forget(stop);
      if (!isEarly) {
        answered(joined(answers));
        return;
      }
      isOver = true;
      cancelAll();
      const there = joined(answers.filter((each) => each !== undefined));
      answered(refusal === null ? there : { ...there, results: [refusal] });
    };
    // A worker that has said of the same question that it has no series for it is left out.
    if (known !== null) {
      take(known);
      continue;
    }
    const note = (answer: PartialAnswer): void => {
      if (question !== null) nothings!.note(question, answer);
      take(answer);
    };
    calls.push(worker, pool.ask(worker, 'partial', [ids, request], note, fail));
    if (isOver) cancelAll();
  }
  if (open > 0 && !isOver) ending?.onEnd(stop);
}

/** The statement ends with it, or is planned anew, whatever others answer. */
function isVerdict({ results }: PlaceAnswer): boolean {
  for (const { kind } of results) if (kind === 'refused' || kind === 'stale') return true;
  return false;
}

/** Nothing needs to be asked for elsewhere. */
const isWhole = (answer: PlaceAnswer): boolean => answer.absent.length === 0 || isVerdict(answer);

const heldFor = (request: PartialRequest): Held =>
  new Held(request.kind === 'select' ? request.limits : { rowsMax: Number.POSITIVE_INFINITY });

/** Without its rows, as a refusal, when with those of other nodes they are more than the statement may hold. */
function bounded(answer: PlaceAnswer, held: Held): PlaceAnswer {
  held.addResults(answer.results);
  const refusal = isVerdict(answer) ? null : held.refusal;
  return refusal === null ? answer : { ...answer, results: [refusal] };
}

function joined(answers: readonly PartialAnswer[]): PlaceAnswer {
  if (answers.length === 1) return answers[0]!;
  const covering = answers.filter((answer) => answer.results.length > 0);
  return {
    results: covering.flatMap((answer) => answer.results),
    absent: answers.flatMap((answer) => answer.absent),
    damaged: answers.flatMap((answer) => answer.damaged),
    young: answers.flatMap((answer) => answer.young),
    losses: answers.flatMap((answer) => answer.losses),
    convergedThroughMs: leastKnown(covering.map((answer) => answer.convergedThroughMs)),
    liveConvergedThroughMs: leastKnown(covering.map((answer) => answer.liveConvergedThroughMs)),
  };
}

function areHere({ places }: BackendPorts, targets: readonly ShardTarget[]): boolean {
  return targets.length > 0 && targets.every(({ id }) => places.isLocal(id));
}

async function runHere(
  ports: BackendPorts,
  targets: readonly ShardTarget[],
  request: PartialRequest,
  ending: Ending | undefined,
  nothings: Nothings | null,
): Promise<PartialAnswers> {
  const answer = await runLocal(ports.pool, numbered(targets), request, ending, nothings);
  return isWhole(answer) ? judged(ports, targets, [answer]) : runEverywhere(ports, targets, request, ending, answer);
}

/** `here`: what this node has answered before; shards that went meanwhile are asked for where they are now. */
async function runEverywhere(
  ports: BackendPorts,
  targets: readonly ShardTarget[],
  request: PartialRequest,
  ending: Ending | undefined,
  here: PlaceAnswer | null = null,
): Promise<PartialAnswers> {
  const answers: PlaceAnswer[] = here === null ? [] : [here];
  const held = heldFor(request);
  if (here !== null) held.addResults(here.results);
  const missing: ShardTarget[] = [];
  const failed = new Set<NodeNumber>();
  const tried = new Map<ShardId, Set<NodeNumber>>();
  let left = here === null ? targets : targets.filter(({ id }) => here.absent.includes(id));
  for (let round = 0; left.length > 0; round++) {
    const { places, absent } = assign(ports, left, tried, round);
    // One that nobody lists any more was removed meanwhile.
    missing.push(...absent.filter(({ id }) => ports.places.isKnown(id)));
    left = [];
    const outcomes = await Promise.all(
      [...places].map(async ([place, shards]) => {
        const answer = await ask(ports, place, shards, request, ending);
        return { place, shards, answer: answer && bounded(answer, held) };
      }),
    );
    ending?.throwIfEnded();
    const again: ShardTarget[] = [];
    for (const { place, shards, answer } of outcomes) {
      if (answer === null) {
        failed.add(place);
        again.push(...shards);
        continue;
      }
      answers.push(answer);
      again.push(...shards.filter((shard) => answer.absent.includes(shard.id)));
    }
    left = answers.some(isVerdict) ? [] : again;
  }
  return judged(ports, targets, answers, missing, failed);
}

/**
 * The same for replicas that were read as they are. Of what is young more may be with a member that is not up: it is named,
 * and no reason for an error, since a replica counts as young after a crash, too, though it lacks nothing.
 */
function judged(
  { places }: BackendPorts,
  targets: readonly ShardTarget[],
  answers: readonly PlaceAnswer[],
  missing: readonly ShardTarget[] = [],
  failed: ReadonlySet<NodeNumber> = new Set(),
): PartialAnswers {
  const found = together(targets, answers, missing);
  const young = new Set(answers.flatMap((answer) => answer.young));
  if (young.size === 0) return found;
  const elders = targets.filter(({ id }) => young.has(id)).flatMap((target) => places.absentElders(target, failed));
  return elders.length === 0 ? found : { ...found, silent: [...new Set(elders.map(({ name }) => name))] };
}

/** The answers of all places; nothing is proven of a shard that is missing. */
export function together(
  targets: readonly ShardTarget[],
  answers: readonly PlaceAnswer[],
  missing: readonly ShardTarget[],
): PartialAnswers {
  const covering = answers.filter((answer) => answer.results.length > 0);
  const damaged = new Set(answers.flatMap((answer) => answer.damaged));
  const isKnown = missing.length === 0;
  return {
    results: answers.length === 1 ? answers[0]!.results : answers.flatMap((answer) => answer.results),
    missing,
    damaged: damaged.size === 0 ? [] : targets.filter(({ id }) => damaged.has(id)),
    losses: answers.flatMap((answer) => answer.losses),
    convergedThroughMs: isKnown ? leastKnown(covering.map((answer) => answer.convergedThroughMs)) : null,
    liveConvergedThroughMs: isKnown ? leastKnown(covering.map((answer) => answer.liveConvergedThroughMs)) : null,
  };
}

/** Picks a place for each shard that has not been tried for it. */
function assign(
  ports: BackendPorts,
  targets: readonly ShardTarget[],
  tried: Map<ShardId, Set<NodeNumber>>,
  round: number,
): { places: Map<NodeNumber, ShardTarget[]>; absent: ShardTarget[] } {
  const places = new Map<NodeNumber, ShardTarget[]>();
  const absent: ShardTarget[] = [];
  for (const target of targets) {
    let seen = tried.get(target.id);
    if (seen === undefined) {
      seen = new Set();
      tried.set(target.id, seen);
    }
    const known = seen;
    const place = round < ROUNDS_MAX ? nextHolder(ports, target, known) : undefined;
    if (place === undefined) {
      absent.push(target);
      continue;
    }
    known.add(place);
    const list = places.get(place);
    if (list === undefined) places.set(place, [target]);
    else list.push(target);
  }
  return { places, absent };
}

function placesOf(ports: BackendPorts, targets: readonly ShardTarget[]): { member: string; shards: number }[] {
  const { members } = ports.snapshot();
  const nameOfPlace = (place: NodeNumber): string => members.find(({ number }) => number === place)?.name ?? place;
  return [...assign(ports, targets, new Map(), 0).places]
    .map(([place, shards]) => ({ member: nameOfPlace(place), shards: shards.length }))
    .sort((a, b) => (a.member < b.member ? -1 : 1));
}

function nextHolder(ports: BackendPorts, target: ShardTarget, tried: ReadonlySet<NodeNumber>): NodeNumber | undefined {
  const { places } = ports;
  const { self } = ports.snapshot();
  if (places.isLocal(target.id) && !tried.has(self)) return self;
  const remote = places.remoteHolders(target).find((holder) => !tried.has(holder));
  // A damaged replica still serves what is undamaged, a young one what has come so far, when nobody else is up.
  return remote ?? (places.isSecondBest(target.id) && !tried.has(self) ? self : undefined);
}

function numbered(targets: readonly ShardTarget[]): { id: ShardId; number: number }[] {
  return targets.map(({ id, key }) => ({ id, number: key.number }));
}

/** null: this place did not answer. */
export async function ask(
  ports: BackendPorts,
  place: NodeNumber,
  targets: readonly ShardTarget[],
  request: PartialRequest,
  ending: Ending | undefined,
): Promise<PlaceAnswer | null> {
  const shards = numbered(targets);
  const snapshot = ports.snapshot();
  if (place === snapshot.self) return runLocal(ports.pool, shards, request, ending);
  const member = snapshot.members.find((each) => each.number === place);
  if (member === undefined) return null;
  const target = {
    address: member.address,
    from: nameOf(snapshot),
    clusterId: ports.clusterId(),
    timeoutMs: ports.queryTimeoutMs,
    ...(ending === undefined ? {} : { signal: ending.signal }),
  };
  try {
    return await callNode(target, 'partial', shards, request);
  } catch (error) {
    if ((error as { code?: string }).code === 'node-call') return null;
    throw error;
  }
}

/** A list that is not there may name shards that nobody else has: where it could be all owners of one. */
function unheard(snapshot: ClusterSnapshot, policy: RetentionPolicyDefinition): string[] {
  const present = snapshot.members.filter(({ state }) => state === 'up' || state === 'leaving');
  const silent = present.filter(({ number }) => number !== snapshot.self && snapshot.heldBy[number] === undefined);
  const owners = Math.min(policy.replication, present.length);
  return silent.length < owners ? [] : silent.map(({ name }) => name).sort();
}

/** This node's own name. */
export function nameOf(snapshot: ClusterSnapshot): string {
  return snapshot.members.find((member) => member.number === snapshot.self)?.name ?? '';
}

/** Least of the numbers, null when one is unknown or there is none. */
function leastKnown(values: readonly (number | null)[]): number | null {
  let least: number | null = null;
  for (const value of values) {
    if (value === null) return null;
    if (least === null || value < least) least = value;
  }
  return least;
}
