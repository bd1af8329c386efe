/** Why a node does not serve yet, or no longer: one line for whoever asks it to. */
import type { NodeCore } from '../repair/node-core.ts';

export interface Stage {
  readonly isStopping: boolean;
  readonly isRecovering: boolean;
  readonly isWarmingUp: boolean;
}

/** Null: it serves. */
export function whyNotReady(stage: Stage, core: () => NodeCore, nowMs: number): string | null {
  if (stage.isStopping) return 'stopping: this node is shutting down';
  if (stage.isRecovering) return 'starting: this node is still recovering its shards';
  const { state, problem, isCheckingTwins } = core();
  if (state === 'left') return `left: ${problem}`;
  if (isCheckingTwins) return `starting: ${problem}`;
  if (state !== 'up') return `joining: this node is not a member of a cluster yet (${problem})`;
  if (core().isListening(nowMs)) return 'starting: this node has not heard the others yet';
  return stage.isWarmingUp ? 'starting: this node is warming up' : null;
}
