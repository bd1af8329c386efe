/**
 * Sends what the outbox holds to the owners that lack it: in order per peer, within a window and a rate. A peer that is
 * slow and goes on answering is waited for: what was sent would only be sent again, and make it slower. Links keep their
 * order, so what was sent before something that has been answered since is lost. One that has been silent for too long may
 * be held up (it has just been started, its disk is slow): it is asked again, and given twice the time after each silence, up
 * to the longest backoff, until answers to what was sent once come sooner. There is no pause besides: a peer that can be
 * reached again has what waits for it within one such time, which the published bound counts on (bound.ts). What was sent before, by the outbox or as mail, or is owed by a replica that is filled, may have come: it is offered by its version alone, and sent
 * again when its receiver lacks it. A frame that is refused for now goes to the end of its peer's queue with a delay of its own, so that it
 * holds up nothing behind it.
 */
import { StorageError } from '../shards/errors.ts';
import type { ShardId } from '../shards/shard-key.ts';
import type { NodeNumber, Version } from '../shards/version.ts';
import { type MailAnswer, OFFER_BYTES } from './mail-messages.ts';
import { isOver } from './mail-receiver.ts';
import type { Outbox, OutboxEntry } from './outbox.ts';
import type { OutboxStatus } from './records.ts';
import type { Surroundings } from './surroundings.ts';

interface Flight {
  readonly sentMs: number;
  readonly bytes: number;
  readonly isOffer: boolean;
}

interface Peer {
  readonly queue: Set<string>;
  readonly inFlight: Map<string, Flight>;
  readonly delayed: Map<string, { untilMs: number; tries: number }>;
  flightBytes: number;
  budgetBytes: number;
  filledMs: number;
  /** When it was found silent last; what was sent before says nothing new. */
  silentMs: number;
  lastError: string | null;
  /** When it answered last, and when what it has answered was sent at the latest. */
  heardMs: number;
  answeredSentMs: number;
  /** How long it may be silent. */
  patienceMs: number;
  /** Sent before, so that it may be there: which of the two is answered cannot be told, so the time it takes says nothing. */
  readonly again: Set<string>;
}

/** Entries looked at per peer and tick: a long queue of delayed ones must not take the worker's time. */
const SCAN_MAX = 2_000;

export class OutboxSender {
  private readonly peers = new Map<NodeNumber, Peer>();
  /** Shards of which something is still to be disowned: the disk refused. */
  private readonly toDisown = new Set<ShardId>();
  /** Shard and member: entries that are disowned and not durable yet, and who waits for that. */
  private readonly disowning = new Map<string, { entries: number; done: (() => void)[] }>();
  /** When nothing was seen to wait for a sync of the outbox last. */
  private syncedMs: number | null = null;
  /** Of what the outbox has found damaged, what is counted. */
  private damaged: number;
  private readonly outbox: Outbox;
  private readonly around: Surroundings;
  private readonly deliverHere: (entry: OutboxEntry, frame: Uint8Array, keys: Uint8Array) => void;

  constructor(outbox: Outbox, around: Surroundings, deliverHere: OutboxSender['deliverHere']) {
    this.outbox = outbox;
    this.damaged = outbox.damaged;
    this.around = around;
    this.deliverHere = deliverHere;
  }

  /** Owners may have changed: every entry is routed anew. */
  reroute(): void {
    for (const peer of this.peers.values()) peer.queue.clear();
    for (const peer of this.peers.values()) {
      for (const name of peer.delayed.keys()) if (!this.outbox.entries.has(name)) peer.delayed.delete(name);
      for (const name of peer.again) if (!this.outbox.entries.has(name)) peer.again.delete(name);
    }
    for (const entry of this.outbox.entries.values()) this.route(entry);
    const members = new Set(this.around.snapshot?.members.filter((m) => m.state !== 'removed').map((m) => m.number));
    this.outbox.settleLeft((member) => members.has(member));
    for (const [number, peer] of this.peers)
      if (!members.has(number) && peer.queue.size === 0) this.peers.delete(number);
  }

  /**
   * What the member has acknowledged of the shard it no longer has: its entries wait for it again. `done` runs when that is
   * durable, also what was asked for before; never when the disk refuses, and then it has to be asked again.
   */
  disown(id: ShardId, member: NodeNumber, done: () => void): void {
    const of = `${id} ${member}`;
    const disowning = this.disowning.get(of) ?? { entries: 0, done: [] };
    this.disowning.set(of, disowning);
    let refused = false;
    const settle = () => {
      if (disowning.entries > 0) return;
      if (this.disowning.get(of) === disowning) this.disowning.delete(of);
      if (!refused) for (const each of disowning.done.splice(0)) each();
    };
    for (const entry of [...this.outbox.entries.values()]) {
      if (entry.id !== id || !entry.acks.has(member)) continue;
      try {
        const parts = this.outbox.read(entry);
        // A damaged record is dropped when it is to be sent.
        if (parts !== null) {
          disowning.entries++;
          // One that is lost meanwhile waits for nobody.
          const over = () => {
            disowning.entries--;
            settle();
          };
          if (!this.outbox.disown(entry.name, member, parts.frame, parts.keys, over, over)) {
            disowning.entries--;
            refused = true;
            continue;
          }
        }
        this.route(entry);
        // What its log still had it has.
        this.wasSent(entry.name, member);
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        refused = true;
      }
    }
    if (!refused) disowning.done.push(done);
    settle();
  }

  /** Of this node: tried again with each tick for as long as the disk refuses. */
  disownHere(id: ShardId): void {
    this.toDisown.add(id);
    this.disown(id, this.around.self, () => this.toDisown.delete(id));
  }

  route(entry: OutboxEntry): void {
    const { snapshot, wallMs } = this.around;
    const owners = this.around.owners(entry.key);
    if (owners.length === 0) {
      // Not known yet, or dropped: nobody would be asked any more, so nobody could say so.
      if (isOver(snapshot, entry.key, wallMs)) this.outbox.remove(entry.name);
      return;
    }
    const missing = owners.filter((owner) => !entry.acks.has(owner));
    if (missing.length === 0) this.outbox.remove(entry.name);
    for (const owner of missing) {
      this.peer(owner).queue.add(entry.name);
      if (entry.isOfBefore) this.wasSent(entry.name, owner);
    }
  }

  /** Or has come there in another way, as far as one can tell. To be said once it has been routed. */
  wasSent(name: string, to: NodeNumber): void {
    const peer = this.peer(to);
    if (peer.queue.has(name)) peer.again.add(name);
  }

  tick(): void {
    if (this.syncedMs === null || !this.outbox.waitsForSync) this.syncedMs = this.around.nowMs;
    for (const [number, peer] of this.peers) this.serve(number, peer);
    for (const id of this.toDisown) this.disownHere(id);
    this.outbox.retrySync();
    this.outbox.step((key) => this.around.owners(key));
    const { damaged } = this.outbox;
    if (damaged > this.damaged) this.around.count('outbox_damaged', damaged - this.damaged);
    this.damaged = damaged;
  }

  /** `stored`: a full owner has it synced. */
  answered(from: NodeNumber, name: string, answer: MailAnswer): void {
    const entry = this.outbox.entries.get(name);
    const peer = this.peer(from);
    const [, , status, code, retry, reason] = answer;
    peer.heardMs = this.around.nowMs;
    // Not synced there yet: `stored` follows, and sending it again would only repeat this.
    if (status === 'applied') return;
    const flight = peer.inFlight.get(name);
    // Asked before it was sent once more.
    if (status === 'lacks' && flight?.isOffer !== true) return;
    const isAgain = peer.again.delete(name);
    if (flight !== undefined) {
      peer.inFlight.delete(name);
      peer.flightBytes -= flight.bytes;
      this.learn(peer, flight.sentMs, isAgain);
    }
    // It is next in its queue.
    if (entry === undefined || status === 'lacks') return;
    if (status === 'stored') {
      peer.queue.delete(name);
      peer.delayed.delete(name);
      peer.lastError = null;
      this.outbox.acknowledge(name, from);
      this.route(entry);
      return;
    }
    peer.lastError = status === 'refused' ? `${code}: ${reason}` : status;
    // A node of an earlier build will be of this one some time.
    const isFinal = status === 'refused' && !retry && code !== 'corrupt-batch' && code !== 'future-batch';
    if (isFinal) {
      // Dropped: nobody wants it any more, and every owner will come to say so.
      this.around.count('outbox_refused_for_good');
      this.outbox.remove(name);
      return;
    }
    // Whether it still is can be asked without it; and a copy may bring it.
    if (status === 'filling') peer.again.add(name);
    const tries = (peer.delayed.get(name)?.tries ?? 0) + 1;
    if (code === 'corrupt-batch' && tries >= this.around.limits.requestTriesMax) {
      this.around.count('outbox_damaged');
      this.outbox.remove(name);
      return;
    }
    peer.delayed.set(name, { untilMs: this.around.nowMs + this.backoff(tries), tries });
    if (peer.queue.delete(name)) peer.queue.add(name);
  }

  status(): OutboxStatus[] {
    const all: OutboxStatus[] = [];
    for (const [number, peer] of this.peers) {
      let bytes = 0;
      let holdingBytes = 0;
      for (const name of peer.queue) {
        const entry = this.outbox.entries.get(name);
        bytes += entry?.bytes ?? 0;
        if (entry?.acks.size === 0) holdingBytes = bytes;
      }
      let debts = 0;
      for (const debt of this.outbox.debts.values()) if (debt.to.includes(number)) debts += debt.batches;
      if (peer.queue.size + debts === 0) continue;
      const [oldest] = peer.inFlight.values();
      const waitsUntilMs = oldest === undefined || peer.heardMs > peer.silentMs ? 0 : oldest.sentMs + peer.patienceMs;
      const retryInMs = Math.max(0, waitsUntilMs - this.around.nowMs);
      const { queue, lastError } = peer;
      all.push({ peer: number, bytes, entries: queue.size, debts, holdingBytes, retryInMs, lastError });
    }
    return all;
  }

  private serve(number: NodeNumber, peer: Peer): void {
    const { nowMs, limits } = this.around;
    const { silentMs } = peer;
    for (const [name, { sentMs, bytes }] of peer.inFlight) {
      if (nowMs - sentMs < peer.patienceMs) break;
      if (nowMs - peer.heardMs < peer.patienceMs && peer.answeredSentMs <= sentMs) continue;
      peer.inFlight.delete(name);
      peer.again.add(name);
      peer.flightBytes -= bytes;
      if (sentMs < silentMs) continue;
      peer.lastError = 'no answer';
      peer.silentMs = nowMs;
    }
    if (peer.silentMs !== silentMs) peer.patienceMs = Math.min(2 * peer.patienceMs, this.patienceMsMax);
    if (peer.inFlight.size === 0) peer.flightBytes = 0;
    const rate = limits.outboxBytesPerSecond;
    peer.budgetBytes = Math.min(rate, peer.budgetBytes + ((nowMs - peer.filledMs) * rate) / 1000);
    peer.filledMs = nowMs;
    if (!this.around.isLive(number)) return;
    // What is not synced here is no worse for its owners: they must not wait for a disk that hangs (rule 9).
    const isStalled = nowMs - (this.syncedMs ?? nowMs) > limits.hopTimeoutMs;
    const offers = new Map<number, [ShardId, Version][]>();
    let looked = 0;
    for (const name of peer.queue) {
      if (looked++ >= SCAN_MAX || peer.flightBytes >= limits.outboxWindowBytes || peer.budgetBytes <= 0) break;
      if (!this.around.budget.roomToSend()) break;
      const entry = this.outbox.entries.get(name);
      if (entry === undefined) {
        peer.queue.delete(name);
        peer.delayed.delete(name);
        peer.again.delete(name);
        continue;
      }
      const isReady = entry.durable || isStalled;
      if (peer.inFlight.has(name) || !isReady || (peer.delayed.get(name)?.untilMs ?? 0) > nowMs) continue;
      if (number === this.around.self || !peer.again.has(name)) this.sendEntry(number, peer, entry);
      else {
        this.flies(peer, entry, OFFER_BYTES, true);
        const ofNumber = offers.get(entry.key.number) ?? [];
        ofNumber.push([entry.id, entry.version]);
        offers.set(entry.key.number, ofNumber);
      }
    }
    for (const [lane, some] of offers) {
      this.around.count('outbox_offered', some.length);
      this.around.send(number, lane, { t: 'mail-offers', number: lane, offers: some });
    }
  }

  private flies(peer: Peer, { name }: OutboxEntry, bytes: number, isOffer: boolean): void {
    peer.inFlight.set(name, { sentMs: this.around.nowMs, bytes, isOffer });
    peer.flightBytes += bytes;
    peer.budgetBytes -= bytes;
    this.around.budget.charge(bytes);
  }

  private sendEntry(number: NodeNumber, peer: Peer, entry: OutboxEntry): void {
    let parts: ReturnType<Outbox['read']>;
    try {
      parts = this.outbox.read(entry);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      const tries = (peer.delayed.get(entry.name)?.tries ?? 0) + 1;
      peer.delayed.set(entry.name, { untilMs: this.around.nowMs + this.backoff(tries), tries });
      peer.lastError = error.message;
      if (tries < this.around.limits.requestTriesMax || entry.acks.size === 0) return;
      // A full owner has it. What nobody has is tried without end.
      this.around.count('outbox_unreadable');
      this.outbox.toDebt(entry, (key) => this.around.owners(key));
      return;
    }
    if (parts === null) {
      this.outbox.dropDamaged(entry);
      return;
    }
    this.flies(peer, entry, entry.bytes, false);
    this.around.count('outbox_sent');
    if (number === this.around.self) this.deliverHere(entry, parts.frame, parts.keys);
    else {
      const message = { t: 'mail' as const, key: entry.key, version: entry.version, isFromOutbox: true };
      this.around.send(number, entry.key.number, message, [parts.frame, parts.keys]);
    }
  }

  private learn(peer: Peer, sentMs: number, isAgain: boolean): void {
    const { nowMs, limits } = this.around;
    peer.answeredSentMs = Math.max(peer.answeredSentMs, sentMs);
    if (isAgain) return;
    peer.patienceMs = Math.min(peer.patienceMs, Math.max(limits.mailTimeoutMs, 4 * (nowMs - sentMs)));
  }

  private get patienceMsMax(): number {
    const { mailTimeoutMs, backoffMsMax } = this.around.limits;
    return Math.max(mailTimeoutMs, backoffMsMax);
  }

  private backoff(tries: number): number {
    const { backoffMsMin, backoffMsMax } = this.around.limits;
    const full = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(tries, 20));
    return Math.floor(full * (0.5 + this.around.random() / 2));
  }

  private peer(number: NodeNumber): Peer {
    let peer = this.peers.get(number);
    if (peer === undefined) {
      const budgetBytes = this.around.limits.outboxBytesPerSecond;
      const filledMs = this.around.nowMs;
      const never = Number.NEGATIVE_INFINITY;
      const silent = { silentMs: never, lastError: null, heardMs: never, answeredSentMs: never };
      const patienceMs = this.around.limits.mailTimeoutMs;
      const idle = { flightBytes: 0, budgetBytes, filledMs, patienceMs, again: new Set<string>(), ...silent };
      peer = { queue: new Set(), inFlight: new Map(), delayed: new Map(), ...idle };
      this.peers.set(number, peer);
    }
    return peer;
  }
}
