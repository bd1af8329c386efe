/**
 * What a turn of a worker's event loop produces for one of its replicas; it leaves in one message at the turn's end.
 *
 * Of a scratch replica (warm-up.ts) nobody is told but what became of its writes, through the same code.
 */
import type { HeldShard } from '../repair/cluster.ts';
import type { LevelResult } from '../repair/levelling.ts';
import type { PassRecord } from '../repair/records.ts';
import type { RepairRecord } from '../repair/repair-records.ts';
import type { HostEffect } from '../repair/replica-host.ts';
import type { NodeNumber } from '../shards/version.ts';
import { movable } from './movable.ts';
import type { FromWorker, OutgoingMessage, WorkerTurn } from './threads.ts';

interface Outgoing extends OutgoingMessage {
  readonly to: NodeNumber[];
}

export interface TurnPorts {
  readonly isScratch: boolean;
  /** Null: nobody is to know. */
  heldShards(): HeldShard[] | null;
  heldChanged(): void;
  sent(message: Uint8Array): void;
  /** Not after it was told to stop. */
  isStopped(): boolean;
  post(message: FromWorker, moved: ArrayBuffer[]): void;
}

export class TurnResults {
  readonly #ports: TurnPorts;
  #sends: Outgoing[] = [];
  #acknowledged: number[] = [];
  #failed: WorkerTurn['failed'][number][] = [];
  #passes: PassRecord[] = [];
  #repairs: RepairRecord[] = [];
  #levelled: LevelResult[] = [];
  #heldChanged = false;
  #isWaiting = false;
  /** The turn has more to tell than requests that it has acknowledged. */
  #hasNews = false;
  #outcomes = 0;
  readonly #end = (): void => this.end();

  constructor(ports: TurnPorts) {
    this.#ports = ports;
  }

  /** There is something to tell. */
  get isWaiting(): boolean {
    return this.#isWaiting;
  }

  /** Of writes, since this was made. */
  get outcomes(): number {
    return this.#outcomes;
  }

  take(effect: HostEffect): void {
    if (effect.kind !== 'written' || !effect.outcome.ok) this.#hasNews = true;
    switch (effect.kind) {
      case 'send': {
        const { to, lane, message } = effect;
        this.#ports.sent(message);
        const last = this.#sends.at(-1);
        if (last?.message === message) last.to.push(to);
        else this.#sends.push({ to: [to], lane, message });
        break;
      }
      case 'written':
        this.#outcomes++;
        if (effect.outcome.ok) this.#acknowledged.push(effect.request);
        else this.#failed.push({ request: effect.request, outcome: effect.outcome });
        break;
      case 'held-changed':
        this.#heldChanged = true;
        this.#ports.heldChanged();
        break;
      case 'pass':
        this.#passes.push(effect.record);
        break;
      case 'repair':
        this.#repairs.push(effect.record);
        break;
      case 'levelled':
        this.#levelled.push(effect.result);
        break;
    }
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    setImmediate(this.#end);
  }

  end(): void {
    if (!this.#isWaiting || this.#ports.isStopped()) return;
    this.#isWaiting = false;
    const { isScratch } = this.#ports;
    const requests = this.#acknowledged;
    this.#acknowledged = [];
    if (!this.#hasNews) {
      this.#ports.post({ kind: 'acknowledged', isScratch, requests }, []);
      return;
    }
    this.#hasNews = false;
    const moved: ArrayBuffer[] = [];
    const sends = this.#sends.map(({ to, lane, message }) => {
      const own = movable(message);
      moved.push(own.buffer);
      return { to, lane, message: own };
    });
    const held = this.#heldChanged ? this.#ports.heldShards() : null;
    const [failed, passes, repairs, levelled] = [this.#failed, this.#passes, this.#repairs, this.#levelled];
    this.#sends = [];
    this.#failed = [];
    this.#passes = [];
    this.#repairs = [];
    this.#levelled = [];
    this.#heldChanged = false;
    this.#ports.post(
      { kind: 'turn', isScratch, sends, acknowledged: requests, failed, held, passes, repairs, levelled },
      moved,
    );
  }
}
