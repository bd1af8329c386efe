/** The table of stages and events of a token (token-table.ts), cell by cell, against the code. */
import { expect, test } from 'vitest';
import type { CommitQueue } from '../../repair/commit.ts';
import { rootToJson } from '../../repair/ledger.ts';
import { DEFAULT_REPLICA_LIMITS } from '../../repair/replica-limits.ts';
import type { Message, Token } from '../../repair/replica-messages.ts';
import type { HeldTokens } from '../../repair/ring-held.ts';
import { provenMessage } from '../../repair/ring-token.ts';
import { StorageError } from '../../shards/errors.ts';
import { encodedKeys } from '../../shards/series-keys.ts';
import { shardKeyToJson } from '../../shards/shard-key.ts';
import { makeStamp, STAMP_ZERO } from '../../shards/version.ts';
import { TOKEN_EVENTS, TOKEN_TABLE, type TokenEvent, type TokenReaction, type TokenStage } from './token-table.ts';
import { ID, KEY, NUMBERS, Trio } from './trio.ts';

const [FIRST, SECOND, THIRD] = NUMBERS as [string, string, string];
const { hopTimeoutMs, requestTimeoutMs, requestTriesMax } = DEFAULT_REPLICA_LIMITS;
const STAGES: readonly TokenStage[] = ['pulling', 'syncing', 'handing'];
const PASS_MS_MAX = hopTimeoutMs + 500;
const PASS = `${FIRST}-x`;

interface Parts {
  readonly ring: { readonly held: HeldTokens };
  readonly commit: CommitQueue;
}

class Situation {
  readonly trio: Trio;
  readonly token: Token;
  readonly answers: Extract<Message, { t: 'token-answer' }>[] = [];
  readonly parts: Parts;
  /** What the token of the second member waits for comes from now on. */
  comes = false;
  thirdLives = true;
  private readonly synced: (() => void)[] = [];

  constructor(stage: TokenStage, passMsMax: number) {
    const trio = new Trio(3, { passMsMax });
    this.trio = trio;
    this.parts = trio.hosts[1] as unknown as Parts;
    trio.write(0, 'all');
    trio.pass(100);
    trio.hear();
    const storage = trio.storages[0]!;
    const root = () => rootToJson(storage.ledgers.get(ID)!.root(makeStamp(trio.now + 1, 0)));
    const before = root();
    if (stage === 'pulling') {
      trio.onSend = (_, to) => (to === FIRST ? undefined : 'lost');
      trio.write(0);
    }
    trio.onSend = (from, to, message) => this.left(from, to, message);
    this.token = {
      t: 'token',
      pass: PASS,
      key: shardKeyToJson(KEY),
      through: makeStamp(trio.now + 1, 0),
      view: trio.view,
      kind: 'full',
      order: NUMBERS,
      gathered: 1,
      verified: stage === 'syncing' ? [FIRST] : [],
      hop: 1,
      root: root(),
      final: stage === 'syncing' ? before : null,
      skipped: [],
      hops: [],
      startedMs: trio.now,
      watched: false,
      even: false,
      floor: STAMP_ZERO,
      floorRoot: rootToJson({ count: 0, identity: 0n, content: 0n }),
    };
    if (stage === 'syncing') this.parts.commit.afterSync = (then) => void this.synced.push(then);
    trio.say(0, 1, this.token);
    trio.settle();
    expect(this.parts.ring.held.of(PASS).map((held) => held.stage)).toEqual([stage]);
  }

  private left(from: string, to: string, message: Message): 'lost' | undefined {
    if (from === SECOND && message.t === 'token-answer') this.answers.push(message);
    const isAnswer = from === FIRST && message.t.endsWith('-answer');
    return to === THIRD || from === THIRD || message.t === 'mail' || (isAnswer && !this.comes) ? 'lost' : undefined;
  }

  /** The third says that it works on it, as long as it lives. */
  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += 50) {
      this.trio.pass(50);
      if (this.thirdLives) this.successor('working');
    }
  }

  successor(status: 'working' | 'refused'): void {
    this.trio.say(2, 1, { t: 'token-answer', pass: PASS, hop: 2, status, reason: 'no', claim: null });
    this.trio.settle();
  }

  come(): void {
    this.comes = true;
    for (const then of this.synced.splice(0)) then();
    this.successor('refused');
    this.pass(requestTimeoutMs + 100);
  }

  get reaction(): TokenReaction {
    const record = this.trio.passes.find(({ id }) => id === PASS);
    if (this.answers.at(-1)?.status === 'refused') return 'refused';
    if (record?.outcome === 'failed') return 'failed';
    if (this.trio.hosts[1]!.counters().hops_skipped !== undefined) return 'left out';
    return this.parts.ring.held.of(PASS).length === 0 ? 'forgotten' : 'stays';
  }
}

function happens(event: TokenEvent, s: Situation): void {
  const { trio } = s;
  const storage = trio.storages[1]!;
  switch (event) {
    case 'what was fetched is refused by the disk here':
      storage.failAppend = true;
      s.comes = true;
      s.pass(requestTimeoutMs + 100);
      break;
    case 'no sync here for longer than a hop may take': {
      storage.sync = () => {};
      const { version, frame, allKeys } = trio.prepare(0);
      trio.say(0, 1, { t: 'mail', key: KEY, version }, [frame, encodedKeys(allKeys())]);
      s.pass(hopTimeoutMs - 100);
      expect(s.reaction).toBe('stays');
      s.pass(200);
      break;
    }
    case 'repair is paused here':
      trio.hosts[1]!.setRepairRates({ bytesPerSecond: null, cpuShare: null, paused: true });
      s.pass(100);
      break;
    case 'the replica is no longer full when what is waited for comes':
      storage.ledgers.get(ID)!.replica = 'filling';
      s.come();
      break;
    case 'the source does not answer':
      s.pass(requestTriesMax * requestTimeoutMs + 100);
      break;
    case 'the source cannot read what it is asked for':
      trio.storages[0]!.shards.get(ID)!.rebuild = () => {
        throw new StorageError('disk-failed', 'no');
      };
      s.comes = true;
      s.pass(requestTimeoutMs + 100);
      break;
    case 'an identity list here cannot be read':
      storage.ledgers.get(ID)!.root = () => {
        throw new StorageError('disk-failed', 'no');
      };
      s.come();
      break;
    case 'the successor says no':
      s.successor('refused');
      break;
    case 'no sign of life from the successor':
      s.thirdLives = false;
      s.pass(hopTimeoutMs + 100);
      break;
    case 'a later hop, or the proof, is heard of': {
      const { token } = s;
      const verified = [FIRST, THIRD];
      trio.say(2, 1, provenMessage({ ...token, kind: 'live', final: token.root, verified }, ID, trio.now));
      break;
    }
    case 'it is not done after the longest time of a pass':
      s.pass(PASS_MS_MAX + 100);
      break;
  }
}

test.each(TOKEN_EVENTS)('%s', (event) => {
  const isLong = event === 'it is not done after the longest time of a pass';
  const reactions = STAGES.map((stage) => {
    const s = new Situation(stage, isLong ? PASS_MS_MAX : DEFAULT_REPLICA_LIMITS.passMsMax);
    happens(event, s);
    return [stage, s.reaction] as const;
  });
  expect(Object.fromEntries(reactions)).toEqual(TOKEN_TABLE[event]);
});
