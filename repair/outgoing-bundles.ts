/**
 * Messages of passes on their way out: what one turn of a worker has for one lane of a member leaves at its end, together
 * (ring-bundle.ts).
 */
import type { NodeNumber } from '../shards/version.ts';
import type { Message } from './replica-messages.ts';
import { type BundledMessage, BundleWriter } from './ring-bundle.ts';

type Send = (to: NodeNumber, lane: number, message: Uint8Array) => void;

interface Bundle {
  readonly to: NodeNumber;
  readonly lane: number;
  writer: BundleWriter;
}

export class OutgoingBundles {
  private readonly open = new Map<string, Bundle>();
  private readonly send: Send;

  constructor(send: Send) {
    this.send = send;
  }

  /** False: the message travels alone. */
  take(to: NodeNumber, lane: number, message: Message): boolean {
    if (!isOfPass(message)) return false;
    const name = `${to}${lane}`;
    let bundle = this.open.get(name);
    if (bundle === undefined) {
      bundle = { to, lane, writer: new BundleWriter(lane) };
      this.open.set(name, bundle);
    }
    if (bundle.writer.add(message)) return true;
    if (bundle.writer.count === 0) return false;
    // Full, or not of this form: an empty one tells which.
    const next = new BundleWriter(lane);
    if (!next.add(message)) return false;
    this.send(to, lane, bundle.writer.finish());
    bundle.writer = next;
    return true;
  }

  flush(): void {
    if (this.open.size === 0) return;
    for (const { to, lane, writer } of this.open.values()) if (writer.count > 0) this.send(to, lane, writer.finish());
    this.open.clear();
  }
}

function isOfPass(message: Message): message is BundledMessage {
  const { t } = message;
  return t === 'token' || t === 'token-answer' || t === 'even' || t === 'proven' || t === 'converged';
}
