/** What comparing equal replicas costs, in one interval of passes with nothing to repair. */
import type { PassRecord } from '../../repair/records.ts';
import type { Network } from './network.ts';
import type { SimNode } from './sim-node.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface PassCosts {
  readonly shards: number;
  readonly spanMs: number;
  readonly passes: number;
  readonly hops: number;
  readonly messages: number;
  readonly bytes: number;
}

export class PassMeter {
  private readonly network: Network;
  private readonly time: VirtualTime;
  private passes = 0;
  private hops = 0;

  constructor(network: Network, time: VirtualTime) {
    this.network = network;
    this.time = time;
  }

  /** Every owner hears of a pass; the one that started it counts it. */
  passEnded(node: SimNode, record: PassRecord): void {
    if (record.starter !== node.number) return;
    this.passes++;
    this.hops += record.hops.length;
  }

  /** Lets the time go on without writes or faults: all messages between replicas are the ring's. */
  measure(shards: number, spanMs: number): PassCosts {
    const { network, time, passes, hops } = this;
    const { messages, bytes } = network.replicaTraffic;
    time.runUntil(time.now + spanMs);
    const after = network.replicaTraffic;
    return {
      shards,
      spanMs,
      passes: this.passes - passes,
      hops: this.hops - hops,
      messages: after.messages - messages,
      bytes: after.bytes - bytes,
    };
  }
}
