/** Hops that came here and how they were answered last, so that a token that is repeated is not walked twice. */
import type { Token } from './replica-messages.ts';
import type { Held } from './ring-held.ts';
import type { Surroundings } from './surroundings.ts';

/** They are remembered for this many hop time-outs: longer than a predecessor repeats one. */
const SEEN_HOPS = 4;

type Status = 'working' | 'handed';

export class SeenTokens {
  private readonly seen = new Map<string, { status: Status; readonly ms: number }>();
  private readonly around: Surroundings;

  constructor(around: Surroundings) {
    this.around = around;
  }

  statusOf({ pass, hop }: Token): Status | undefined {
    return this.seen.get(`${pass}:${hop}`)?.status;
  }

  taken({ pass, hop }: Token): void {
    this.seen.set(`${pass}:${hop}`, { status: 'working', ms: this.around.nowMs });
  }

  become({ token, cameAs }: Held, status: Status): void {
    const entry = this.seen.get(`${token.pass}:${cameAs}`);
    if (entry !== undefined) entry.status = status;
  }

  tick(): void {
    const { nowMs, limits } = this.around;
    // Entries stand in the order in which they came. A token that comes once more after that is walked once more.
    for (const [name, { ms }] of this.seen) {
      if (nowMs - ms <= SEEN_HOPS * limits.hopTimeoutMs) break;
      this.seen.delete(name);
    }
  }
}
