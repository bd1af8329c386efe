/**
 * Passes of equal replicas, in few bytes.
 *
 * A pass is *even* while every root and floor that its token has met is the same, nothing was moved and nobody left out. What its token says
 * then follows from the token as any of its members knows it, and how far it has come. So in the spreading half, where
 * everybody has had the token, and for the proof, it is enough to name the pass (`even`); the receiver puts together
 * the very message that was meant, and treats it as such. Nothing depends on that it can: a token that is repeated is said
 * in full, a proof that is not understood is a proof that was lost, and of a pass that lasted longer than what is
 * remembered here the proof is said in full.
 *
 * A pass is called by its name without the starter: moment, chance and number tell it from all that are remembered, and it
 * is believed only from the member whose turn it is.
 */
import { shardId, shardKeyFromJson } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import { type Root, rootFromJson, rootsEqual } from './ledger.ts';
import type { FloorClaim, MessageOf, Token } from './replica-messages.ts';
import { provenMessage } from './ring-token.ts';
import { evenHops } from './ring-walk.ts';
import type { Surroundings } from './surroundings.ts';

/** Tokens are remembered for this many hop time-outs after they were last here. */
const REMEMBERED_HOPS = 4;
const STARTER_DIGITS = 17;

/** Whether a token that came even goes on even, of a replica with this root and floor. */
export function staysEven(token: Token, root: Root, claim: FloorClaim): boolean {
  const isSame = (other: Token['root']) => rootsEqual(root, rootFromJson(other));
  return (
    token.even &&
    isSame(token.root) &&
    (token.final === null || isSame(token.final)) &&
    claim.floor === token.floor &&
    rootsEqual(rootFromJson(claim.floorRoot), rootFromJson(token.floorRoot))
  );
}

/** `finishedMs`: the pass is proven. */
export function evenMessage({ pass, hop, hops }: Token, finishedMs: number | null): MessageOf<'even'> {
  return { t: 'even', pass: callOf(pass), hop, ms: hops.map(({ ms }) => ms), finishedMs };
}

function callOf(pass: string): string {
  return pass.slice(STARTER_DIGITS);
}

interface Known {
  readonly token: Token;
  readonly sinceMs: number;
  readonly lastMs: number;
}

export class EvenPasses {
  private readonly known = new Map<string, Known>();
  private readonly around: Surroundings;

  constructor(around: Surroundings) {
    this.around = around;
  }

  /** As it leaves this node. */
  remember(token: Token): void {
    const call = callOf(token.pass);
    const { nowMs } = this.around;
    const sinceMs = this.known.get(call)?.sinceMs ?? nowMs;
    // Entries stand in the order of their age.
    this.known.delete(call);
    this.known.set(call, { token, sinceMs, lastMs: nowMs });
  }

  forget(pass: string): void {
    this.known.delete(callOf(pass));
  }

  tick(): void {
    const { nowMs, limits } = this.around;
    for (const [call, { lastMs }] of this.known) {
      if (nowMs - lastMs <= REMEMBERED_HOPS * limits.hopTimeoutMs) break;
      this.known.delete(call);
    }
  }

  /** Of a pass that ends here, at the last but one in its order: all have sent its token on since it first left here. */
  isRemembered({ pass, even }: Token): boolean {
    const known = this.known.get(callOf(pass));
    return even && known !== undefined && this.around.nowMs - known.sinceMs <= this.around.limits.hopTimeoutMs;
  }

  /** null: it is not known here, or not from the one whose turn it is. */
  meant(from: NodeNumber, { pass, hop, ms, finishedMs }: MessageOf<'even'>): Token | MessageOf<'proven'> | null {
    const known = this.known.get(pass)?.token;
    if (known === undefined) return null;
    const { order } = known;
    const isProof = finishedMs !== null;
    // Of a proof the last hop has been done.
    const hopsDone = isProof ? hop : hop - 1;
    const turn = order[hopsDone % order.length];
    if (from !== turn || ms.length !== hopsDone || hop < order.length || hop > 2 * (order.length - 1)) return null;
    if (isProof && hop !== 2 * (order.length - 1)) return null;
    const verified = Array.from(
      { length: hopsDone - order.length + 2 },
      (_, i) => order[(order.length - 1 + i) % order.length]!,
    );
    const gathered = order.length;
    const token: Token = { ...known, hop, gathered, verified, final: known.root, hops: evenHops(order, ms) };
    return isProof ? provenMessage(token, shardId(shardKeyFromJson(token.key)), finishedMs) : token;
  }
}
