/**
 * What is mailed between nodes, held against what was lacked: bytes of frames and keys. Sent twice is what leaves although its
 * receiver has it, when the same node has sent it there before. What came there in another way meanwhile, a pass say, its
 * sender cannot know.
 */
import { MAIL_FORMAT } from '../../repair/mail-messages.ts';
import { decodeMessage, type MessageOf } from '../../repair/replica-messages.ts';
import { shardId } from '../../shards/shard-key.ts';
import type { NodeNumber } from '../../shards/version.ts';
import type { MessageWatcher } from './network.ts';
import type { SimNode } from './sim-node.ts';
import { lookUp } from './unread-lists.ts';
import { Violation } from './violation.ts';

/** All that is sent is at most this many times what was lacked. */
const OVER = 1.1;
/** Below this a few batches decide. */
const BYTES_MIN = 20_000;

export class MailTraffic implements MessageWatcher {
  sent = 0;
  sentTwice = 0;
  private readonly before = new Set<string>();
  private readonly nodes: readonly SimNode[];

  constructor(nodes: readonly SimNode[]) {
    this.nodes = nodes;
  }

  leaves(from: SimNode, to: NodeNumber, bytes: Uint8Array): void {
    if (bytes[1] !== MAIL_FORMAT) return;
    const { message, attachments } = decodeMessage(bytes);
    const { key, version } = message as MessageOf<'mail'>;
    const id = shardId(key);
    const size = attachments.reduce((sum, { byteLength }) => sum + byteLength, 0);
    this.sent += size;
    const name = `${from.number}>${to} ${id} ${version}`;
    if (this.before.has(name) && this.has(to, id, version)) this.sentTwice += size;
    this.before.add(name);
  }

  arrives(): void {}

  check(): void {
    const lacked = this.sent - this.sentTwice;
    if (this.sent > BYTES_MIN && this.sent > OVER * lacked)
      throw new Violation('mailed-once', `${this.sent} bytes were mailed, ${this.sentTwice} of them to who had them`);
  }

  private has(to: NodeNumber, id: string, version: string): boolean {
    const open = this.nodes.find(({ number }) => number === to)?.process?.open;
    if (open === undefined || !open.storage.shards.has(id)) return false;
    const ledger = open.ledgerOf(id);
    return ledger.replica !== 'filling' && lookUp(() => ledger.has(version));
  }
}
