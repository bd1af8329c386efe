/**
 * Databases and retention policies, made, changed and dropped by this node: registers of databases.ts, told to all; and
 * what refers to them.
 */
import type { ConflictRule } from '../shards/row-settle.ts';
import {
  alterPolicyChanges,
  createDatabaseChanges,
  createPolicyChanges,
  dropDatabaseChanges,
  dropPolicyChanges,
  type FirstPolicyOptions,
  noteDeletesChanges,
  type RetentionPolicyOptions,
} from './databases.ts';
import type { Metadata } from './metadata.ts';
import type { RegisterWriter } from './register-writer.ts';
import { UserRegisters } from './user-registers.ts';

export class DatabaseRegisters {
  readonly #metadata: Metadata;
  readonly #writer: RegisterWriter;
  readonly users: UserRegisters;

  constructor(metadata: Metadata, writer: RegisterWriter) {
    this.#metadata = metadata;
    this.#writer = writer;
    this.users = new UserRegisters(metadata, writer);
  }

  createDatabase(name: string, policy: FirstPolicyOptions | null, nowMs: number, conflict?: ConflictRule): void {
    const created = this.#writer.createdAt(nowMs);
    this.#writer.write(createDatabaseChanges(this.#metadata, name, policy, created, conflict), nowMs);
  }

  dropDatabase(name: string, nowMs: number): void {
    this.#writer.write(dropDatabaseChanges(this.#metadata, name), nowMs);
  }

  createRetentionPolicy(database: string, name: string, options: RetentionPolicyOptions, nowMs: number): void {
    const created = this.#writer.createdAt(nowMs);
    this.#writer.write(createPolicyChanges(this.#metadata, database, name, options, created), nowMs);
  }

  alterRetentionPolicy(database: string, name: string, options: RetentionPolicyOptions, nowMs: number): void {
    this.#writer.write(alterPolicyChanges(this.#metadata, database, name, options, nowMs), nowMs);
  }

  dropRetentionPolicy(database: string, name: string, nowMs: number): void {
    this.#writer.write(dropPolicyChanges(this.#metadata, database, name), nowMs);
  }

  /**
   * To be called before the version of a delete for all shards of the policy is drawn: from then on nobody settles rows
   * without the policy's deletes (shards/shard-policy.ts). Durable when it returns.
   */
  noteDeletes(database: string, policy: string, nowMs: number): void {
    this.#writer.write(noteDeletesChanges(this.#metadata, database, policy), nowMs);
  }
}
