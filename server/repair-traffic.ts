/** What a worker sends for repair: everything between replicas but mail and its answers. */
import { isMail } from '../repair/mail-messages.ts';

export class RepairTraffic {
  #messages = 0;
  #bytes = 0;

  note(message: Uint8Array): void {
    if (isMail(message)) return;
    this.#messages++;
    this.#bytes += message.byteLength;
  }

  counters(): Record<string, number> {
    return { repair_messages_sent: this.#messages, repair_bytes_sent: this.#bytes };
  }
}
