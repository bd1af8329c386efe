/** The parts of a worker that look for damage and mend it, put together. */
import type { Files } from '../shards/files.ts';
import type { ShardId } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import { Conflicts } from './conflicts.ts';
import { ContentAnswers } from './content-answers.ts';
import type { Filling } from './filling.ts';
import { Mending, type MendObserver } from './mending.ts';
import type { ReplicaTable } from './replica-table.ts';
import type { Requests } from './requests.ts';
import { Scrubs } from './scrubs.ts';
import type { Surroundings } from './surroundings.ts';

export interface UpkeepOptions {
  readonly replicas: ReplicaTable;
  readonly requests: Requests;
  readonly filling: Filling;
  readonly around: Surroundings;
  readonly files: Files;
  /** For what a restart has to know of a scrub. */
  readonly directory: string;
}

export class Upkeep {
  readonly scrubs: Scrubs;
  /** Hears of mends; set before the first turn. */
  observer: MendObserver | null = null;
  readonly conflicts: Conflicts;
  private readonly mending: Mending;
  private readonly answers: ContentAnswers;

  constructor(options: UpkeepOptions) {
    const { replicas, around, filling } = options;
    this.scrubs = new Scrubs(options);
    this.conflicts = new Conflicts({ ...options, scrubs: this.scrubs });
    const observer: MendObserver = {
      mendBegun: (...told) => this.observer?.mendBegun(...told),
      mendEnded: (...told) => this.observer?.mendEnded(...told),
    };
    this.mending = new Mending({ ...options, observer });
    this.answers = new ContentAnswers({
      replicas,
      around,
      demote: (replica, reason) => filling.demote(replica, reason),
    });
  }

  tick(): void {
    this.scrubs.tick();
    this.mending.tick();
  }

  /** The replica's file was set aside. */
  forget(id: ShardId): void {
    this.mending.forget(id);
  }

  asked(from: NodeNumber, message: Parameters<ContentAnswers['receive']>[1]): void {
    this.answers.receive(from, message);
  }
}
