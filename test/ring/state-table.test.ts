/** The table of states and events of a replica (state-table.ts), cell by cell, against the code. */
import { describe, expect, test } from 'vitest';
import { type RootJson, rootToJson } from '../../repair/ledger.ts';
import { DEFAULT_REPLICA_LIMITS } from '../../repair/replica-limits.ts';
import type { Message } from '../../repair/replica-messages.ts';
import { encodeKeys, keyRecords } from '../../shards/series-keys.ts';
import { shardKeyToJson } from '../../shards/shard-key.ts';
import { makeStamp, STAMP_ZERO, type Stamp } from '../../shards/version.ts';
import { type Condition, EVENTS_OF, OWN_EVENTS, type Reaction, type ReplicaEvent, STATE_TABLE } from './state-table.ts';
import { ID, KEY, NUMBERS, Trio } from './trio.ts';

const [FIRST, SECOND] = NUMBERS as [string, string, string];
const CONDITIONS: readonly Condition[] = ['absent', 'full', 'filling', 'damaged'];
const key = shardKeyToJson(KEY);

interface Situation {
  readonly trio: Trio;
  /** Of a pass that the first member has seen proven: the floor of both before the event. */
  readonly floor: Stamp;
  readonly proven: Extract<Message, { t: 'proven' }>;
  readonly replies: string[];
}

/** The first and the second member have a floor, and two batches above it. */
function situation(condition: Condition): Situation {
  const trio = new Trio();
  trio.proofsInFull();
  const proofs: Extract<Message, { t: 'proven' }>[] = [];
  trio.onSend = (_, __, message) => {
    if (message.t === 'proven') proofs.push(message);
  };
  trio.write(0, 'all');
  trio.pass(100);
  trio.hear();
  trio.repair(0, 'ring');
  trio.write(0, 'all');
  trio.pass(100);
  const storage = trio.storages[1]!;
  const floor = storage.ledgers.get(ID)!.floor;
  if (condition === 'absent') storage.drop(ID);
  else storage.ledgers.get(ID)!.replica = condition;
  const replies: string[] = [];
  trio.onSend = (from, to, message) => {
    if (from !== SECOND || to !== FIRST) return;
    if (message.t === 'converged' || message.t === 'disowned') replies.push(message.t);
    else if (message.t === 'mail-answers') replies.push(message.answers[0]![2]);
    else if (message.t === 'token-answer' || message.t.endsWith('-answer'))
      replies.push((message as { status: string }).status);
  };
  return { trio, floor, proven: proofs[0]!, replies };
}

function rootAt(trio: Trio, through: Stamp): RootJson {
  return rootToJson(trio.storages[0]!.ledgers.get(ID)!.root(through));
}

function say(event: ReplicaEvent, { trio, floor, proven }: Situation): void {
  const above = makeStamp(trio.now + 1, 0);
  const equal = { floor, floorRoot: rootAt(trio, floor) };
  const [batches, identity, content] = rootAt(trio, above);
  const higher = { floor: above, floorRoot: [batches, identity, content] as RootJson };
  const others = { floor: above, floorRoot: [batches + 1, 'a'.repeat(32), content] as RootJson };
  const spoilt = { floor: above, floorRoot: [batches, identity, 'b'.repeat(32)] as RootJson };
  const token = (through: Stamp, claim: { floor: Stamp; floorRoot: RootJson }): Message => ({
    t: 'token',
    pass: `${FIRST}-x`,
    key,
    through,
    view: trio.view,
    kind: 'full',
    order: [FIRST, SECOND],
    gathered: 1,
    verified: [],
    hop: 1,
    root: [batches, identity, content],
    final: null,
    skipped: [],
    hops: [],
    startedMs: trio.now,
    watched: false,
    even: true,
    ...claim,
  });
  const compare = (claim: { floor: Stamp; floorRoot: RootJson }): Message => ({
    t: 'compare',
    request: 1,
    key,
    through: above,
    from: 0,
    preview: false,
    ...claim,
  });
  const nothing = { floor: STAMP_ZERO, floorRoot: rootToJson({ count: 0, identity: 0n, content: 0n }) };
  const mail = (version: string, frame: Uint8Array, keys: Uint8Array) =>
    trio.say(0, 1, { t: 'mail', key: KEY, version }, [frame, keys]);
  const question = { request: 1, key, ...equal };
  const kept = () => [...trio.storages[0]!.shards.get(ID)!.batches].find(([version]) => version.slice(0, 16) <= floor)!;
  // Whoever leaves owns nothing.
  const disown = () => {
    trio.changed.set(SECOND, { state: 'leaving' });
    trio.view = 'w';
    trio.hear();
  };
  switch (event) {
    case 'mail, and not an owner':
    case 'mail': {
      if (event !== 'mail') disown();
      const { version, frame, keys } = trio.prepare(0);
      mail(version, frame, encodeKeys(keyRecords(keys)));
      break;
    }
    case 'mail at or below the floor': {
      const [version, { frame, keys }] = kept();
      mail(version, frame, encodeKeys(keys));
      break;
    }
    case 'an offer of mail that it has':
      trio.say(0, 1, { t: 'mail-offers', number: KEY.number, offers: [[ID, kept()[0]]] });
      break;
    case 'an offer of mail that it lacks':
      trio.say(0, 1, { t: 'mail-offers', number: KEY.number, offers: [[ID, trio.prepare(0).version]] });
      break;
    case 'token, and not an owner':
      disown();
      trio.say(0, 1, token(above, equal));
      break;
    case 'token with an equal root':
      trio.say(0, 1, token(above, equal));
      break;
    case 'token with a cutoff below the floor':
      trio.say(0, 1, token(makeStamp(1, 0), nothing));
      break;
    case 'token with a higher floor and an equal root':
      trio.say(0, 1, token(above, higher));
      break;
    case 'token with a higher floor and other batches':
      trio.say(0, 1, token(above, others));
      break;
    case 'token with a higher floor and other content':
      trio.say(0, 1, token(above, spoilt));
      break;
    case 'comparison with an equal floor':
      trio.say(0, 1, compare(equal));
      break;
    case 'comparison with a lower floor':
      trio.say(0, 1, compare(nothing));
      break;
    case 'comparison with a higher floor and an equal root':
      trio.say(0, 1, compare(higher));
      break;
    case 'comparison with a higher floor and other batches':
      trio.say(0, 1, compare(others));
      break;
    case 'comparison with a higher floor and other content':
      trio.say(0, 1, compare(spoilt));
      break;
    case 'proof with an equal root':
      trio.say(0, 1, { ...proven, through: above, root: [batches, identity, content] });
      break;
    case 'proof with other batches':
      trio.say(0, 1, { ...proven, through: above, root: others.floorRoot });
      break;
    case 'live proof with an equal root':
      trio.say(0, 1, { ...proven, kind: 'live', through: above, root: [batches, identity, content] });
      break;
    case 'live proof with other batches':
      trio.say(0, 1, { ...proven, kind: 'live', through: above, root: others.floorRoot });
      break;
    case 'a question up to where it is proven':
      trio.say(0, 1, { t: 'converged-ask', key });
      break;
    case 'content-windows':
      trio.say(0, 1, { t: 'content-windows', from: null, ...question });
      break;
    case 'content-windows with a higher floor and other batches':
      trio.say(0, 1, { t: 'content-windows', from: null, ...question, ...others });
      break;
    case 'content-groups':
      trio.say(0, 1, { t: 'content-groups', window: 0, from: null, ...question });
      break;
    case 'content-copy':
      trio.say(0, 1, { t: 'content-copy', window: 0, measurement: 'cpu', groups: [0], fromTime: 0, ...question });
      break;
    case 'suspect':
      trio.say(0, 1, { t: 'suspect', key, version: null, content: null });
      break;
    case 'disown':
      trio.say(0, 1, { t: 'disown', request: 1, key, through: STAMP_ZERO });
      break;
    case 'dropped':
      trio.dropped = { d: 0 };
      trio.hear();
      trio.pass(2 * DEFAULT_REPLICA_LIMITS.retentionEveryMs);
      break;
    case 'time, with full owners that are live':
      trio.hear();
      trio.pass(20_000);
      break;
    case 'time, and no other member has the shard':
      for (const at of [0, 2]) trio.storages[at]!.drop(ID);
      trio.hear();
      trio.pass(20_000);
      break;
    case 'identities':
      trio.say(0, 1, { t: 'identities', request: 1, key, after: floor, through: above, epochs: [], above: '' });
      break;
    case 'fetch':
      trio.say(0, 1, { t: 'fetch', request: 1, key, versions: [] });
      break;
    case 'fill-open':
      trio.say(0, 1, { t: 'fill-open', request: 1, key, ...equal });
      break;
    case 'fill-open with a higher floor and an equal root':
      trio.say(0, 1, { t: 'fill-open', request: 1, key, ...higher });
      break;
    case 'fill-open with a higher floor and other batches':
      trio.say(0, 1, { t: 'fill-open', request: 1, key, ...others });
      break;
    case 'fill-page of a snapshot that is gone':
      trio.say(0, 1, { t: 'fill-page', request: 1, key, snapshot: 7, index: 0 });
      break;
  }
  trio.settle();
}

describe('a replica, by its state', () => {
  const told = Object.values(EVENTS_OF).flatMap((events) => ('stateless' in events ? [] : [...events]));
  test.each<ReplicaEvent>([...told, ...OWN_EVENTS])('%s', (event) => {
    const reactions = CONDITIONS.map((condition): [Condition, Reaction] => {
      const before = situation(condition);
      say(event, before);
      const storage = before.trio.storages[1]!;
      const becomes = storage.shards.has(ID) ? storage.ledgers.get(ID)!.replica : 'absent';
      return [condition, { reply: (before.replies[0] ?? 'nothing') as Reaction['reply'], becomes }];
    });
    expect(Object.fromEntries(reactions)).toEqual(STATE_TABLE[event]);
  });
});
