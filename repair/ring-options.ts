/** The parts of a worker that the ring works with. */
import type { BatchesAsked } from './batches-asked.ts';
import type { CommitQueue } from './commit.ts';
import type { Filling } from './filling.ts';
import type { KnownDeletes } from './known-deletes.ts';
import type { LettingGo } from './letting-go.ts';
import type { Outbox } from './outbox.ts';
import type { ReplicaTable } from './replica-table.ts';
import type { Requests } from './requests.ts';
import type { PassProgress } from './ring-token.ts';
import type { Surroundings } from './surroundings.ts';

export interface RingOptions {
  readonly replicas: ReplicaTable;
  readonly commit: CommitQueue;
  readonly requests: Requests;
  readonly asked: BatchesAsked;
  readonly filling: Filling;
  readonly outbox: Outbox;
  readonly lettingGo: LettingGo;
  readonly deletes: KnownDeletes;
  readonly around: Surroundings;
  readonly progressed: (pass: string, progress: PassProgress) => void;
}
