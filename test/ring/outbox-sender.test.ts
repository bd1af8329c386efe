import { beforeEach, describe, expect, test } from 'vitest';
import type { MailStatus } from '../../repair/mail-messages.ts';
import { Outbox } from '../../repair/outbox.ts';
import { OutboxSender } from '../../repair/outbox-sender.ts';
import { DEFAULT_REPLICA_LIMITS } from '../../repair/replica-limits.ts';
import type { Message } from '../../repair/replica-messages.ts';
import type { Surroundings } from '../../repair/surroundings.ts';
import { shardId } from '../../shards/shard-key.ts';
import { makeStamp, type Version } from '../../shards/version.ts';
import { SimFiles } from '../sim/sim-files.ts';
import { KEY, NUMBERS } from './trio.ts';

const [SELF, OTHER] = NUMBERS as [string, string, string];
const T = DEFAULT_REPLICA_LIMITS.mailTimeoutMs;
const ID = shardId(KEY);

describe('what waits for an answer', () => {
  let around: { nowMs: number };
  let outbox: Outbox;
  let sender: OutboxSender;
  /** Frames and offers, in their order. */
  let sent: Version[];
  let frames: Version[];
  let runs: (() => void)[];
  let disk: SimFiles;

  beforeEach(() => {
    sent = [];
    frames = [];
    runs = [];
    around = { nowMs: 1_000_000 };
    const rest = {
      self: SELF,
      limits: DEFAULT_REPLICA_LIMITS,
      random: () => 0.5,
      budget: { roomToSend: () => true, charge: () => {} },
      owners: () => [SELF, OTHER],
      isLive: () => true,
      count: () => {},
      send: (_to: string, _lane: number, message: Message) => {
        if (message.t === 'mail') frames.push(message.version);
        if (message.t === 'mail') sent.push(message.version);
        else if (message.t === 'mail-offers') sent.push(...message.offers.map(([, version]) => version));
      },
    };
    Object.assign(around, rest);
    open(new SimFiles((run) => void runs.push(run)));
  });

  function open(files: SimFiles): void {
    outbox = new Outbox(files, 'outbox', 1 << 20, 1 << 16);
    sender = new OutboxSender(outbox, around as unknown as Surroundings, () => {});
    disk = files;
  }

  /** In the outbox, and sent. */
  function put(n: number, isSent = false): Version {
    const version = makeStamp(n, 0) + SELF;
    outbox.put(
      KEY,
      version,
      new Uint8Array(10),
      new Uint8Array(0),
      [SELF],
      () => [SELF, OTHER],
      () => {},
    );
    for (let run = runs.shift(); run !== undefined; run = runs.shift()) run();
    sender.route(outbox.entries.get(ID + version)!);
    if (isSent) sender.wasSent(ID + version, OTHER);
    sender.tick();
    return version;
  }

  function after(ms: number): void {
    for (const end = around.nowMs + ms; around.nowMs < end; ) {
      around.nowMs += 50;
      sender.tick();
    }
  }

  const answer = (version: Version, status: MailStatus = 'stored') =>
    sender.answered(OTHER, ID + version, [ID, version, status, '', false, '']);

  test('is not sent again while the peer goes on answering, however slowly', () => {
    const versions = [1, 2, 3, 4].map((n) => put(n));
    for (const version of versions) {
      after(T - 100);
      answer(version);
    }
    after(3 * T);
    expect(sent).toEqual(versions);
  });

  test('stays when the peer says that it has expired: its clock may be ahead', () => {
    const version = put(1);
    sender.answered(OTHER, ID + version, [ID, version, 'refused', 'expired', true, 'beyond its retention']);
    expect(outbox.entries.size).toBe(1);
    after(T);
    expect(sent).toEqual([version, version]);
    answer(version);
    expect(outbox.entries.size).toBe(0);
  });

  test('goes when the peer says that it was dropped', () => {
    const version = put(1);
    sender.answered(OTHER, ID + version, [ID, version, 'refused', 'dropped', false, 'has been dropped']);
    expect(outbox.entries.size).toBe(0);
  });

  test('stays when the peer does not know its format: it is of an earlier build', () => {
    const version = put(1);
    for (let tries = 0; tries < 10; tries++) {
      sender.answered(OTHER, ID + version, [ID, version, 'refused', 'future-batch', false, 'keys of format 2']);
      after(60_000);
    }
    expect(sent.length).toBeGreaterThan(9);
    answer(version);
    expect(outbox.entries.size).toBe(0);
  });

  test('is sent again when the peer has been silent for the time-out', () => {
    const [first, second] = [1, 2].map((n) => put(n)) as [Version, Version];
    after(T - 100);
    answer(first);
    after(T - 100);
    expect(sent).toEqual([first, second]);
    after(100 + 2 * DEFAULT_REPLICA_LIMITS.backoffMsMin);
    expect(sent).toEqual([first, second, second]);
  });

  test('has twice the time after a silence, until the peer is fast again', () => {
    const first = put(1);
    after(T + 2 * DEFAULT_REPLICA_LIMITS.backoffMsMin);
    expect(sent).toEqual([first, first]);
    after(1.5 * T);
    answer(first);
    const second = put(2);
    after(1.9 * T);
    answer(second);
    const third = put(3);
    after(100);
    answer(third);
    expect(sent).toEqual([first, first, second, third]);
    const fourth = put(4);
    after(T + 2 * DEFAULT_REPLICA_LIMITS.backoffMsMin);
    expect(sent.slice(4)).toEqual([fourth, fourth]);
  });

  test('is sent again when what was sent later has been answered, although others still are', () => {
    const lost = put(1);
    after(50);
    const others = [2, 3, 4].map((n) => put(n));
    for (const version of others) {
      after(T / 2);
      answer(version);
    }
    expect(sent.filter((version) => version === lost)).toHaveLength(2);
    expect(sent).toHaveLength(5);
  });

  test('what was sent before is offered, and sent again when it is lacked', () => {
    const [lost, came] = [1, 2].map((n) => put(n)) as [Version, Version];
    after(T + 2 * DEFAULT_REPLICA_LIMITS.backoffMsMin);
    expect(sent).toEqual([lost, came, lost, came]);
    expect(frames).toEqual([lost, came]);
    answer(came);
    answer(lost, 'lacks');
    after(50);
    expect(frames).toEqual([lost, came, lost]);
    // The offer was answered twice.
    answer(lost, 'lacks');
    after(50);
    expect(frames).toEqual([lost, came, lost]);
    answer(lost);
    expect(outbox.entries.size).toBe(0);
  });

  test('a peer that has been silent for long has what waits for it within the longest backoff of its return', () => {
    const version = put(1);
    const longest = DEFAULT_REPLICA_LIMITS.backoffMsMax;
    const status = () => sender.status()[0]!;
    let waited = 0;
    for (let i = 0; i < 1_200; i++) {
      after(50);
      waited = Math.max(waited, status().retryInMs);
    }
    expect(status().lastError).toBe('no answer');
    expect(waited).toBe(longest);
    const [before, from] = [sent.length, around.nowMs];
    while (sent.length === before) after(50);
    expect(around.nowMs - from).toBeLessThanOrEqual(longest);
    answer(version, 'lacks');
    expect(status().retryInMs).toBe(0);
    sender.tick();
    expect(frames).toEqual([version, version]);
  });

  test('a peer that answers is served at once, also when it was silent until just before', () => {
    const first = put(1);
    after(2 * T);
    expect(sent).toEqual([first, first]);
    const second = put(2);
    expect(frames).toEqual([first, second]);
    answer(second);
    answer(first, 'lacks');
    sender.tick();
    expect(frames).toEqual([first, second, first]);
  });

  test('a replica that is being filled is asked again, and not sent it again', () => {
    const version = put(1);
    for (let i = 0; i < 3; i++) {
      answer(version, 'filling');
      after(DEFAULT_REPLICA_LIMITS.backoffMsMax);
    }
    expect(sent.length).toBeGreaterThan(3);
    expect(frames).toEqual([version]);
    answer(version, 'lacks');
    after(DEFAULT_REPLICA_LIMITS.backoffMsMax);
    expect(frames).toEqual([version, version]);
  });

  test('mail without an answer, and what was here when the process began, is offered first', () => {
    const unanswered = put(1, true);
    expect([sent, frames]).toEqual([[unanswered], []]);
    open(disk);
    sender.reroute();
    sender.tick();
    expect([sent, frames]).toEqual([[unanswered, unanswered], []]);
    answer(unanswered, 'lacks');
    sender.tick();
    expect(frames).toEqual([unanswered]);
  });

  test('what its own disk has not synced for longer than a hop may take is sent all the same', () => {
    const { hopTimeoutMs } = DEFAULT_REPLICA_LIMITS;
    const version = makeStamp(1, 0) + SELF;
    outbox.put(
      KEY,
      version,
      new Uint8Array(100),
      new Uint8Array(2),
      [SELF],
      () => [SELF, OTHER],
      () => {},
    );
    sender.route([...outbox.entries.values()][0]!);
    const end = around.nowMs + hopTimeoutMs;
    for (; around.nowMs <= end; around.nowMs += 100) sender.tick();
    expect(frames).toEqual([]);
    around.nowMs += 100;
    sender.tick();
    expect(frames).toEqual([version]);
    expect([...outbox.entries.values()][0]!.durable).toBe(false);
  });

  test('what the disk gives up while it is disowned holds up nobody who waits for the rest', () => {
    const [lost] = [put(1), put(2)];
    let done = 0;
    sender.disown(ID, SELF, () => done++);
    outbox.dropDamaged(outbox.entries.get(ID + lost)!);
    expect(done).toBe(0);
    for (let run = runs.shift(); run !== undefined; run = runs.shift()) run();
    expect(done).toBe(1);
    expect([...outbox.entries.values()].map(({ acks }) => [...acks])).toEqual([[]]);
  });
});
