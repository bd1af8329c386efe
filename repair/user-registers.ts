/** Users and privileges, made, changed and dropped by this node: registers of users.ts, told to all. */
import type { Metadata } from './metadata.ts';
import type { RegisterWriter } from './register-writer.ts';
import {
  createUserChanges,
  dropUserChanges,
  findUser,
  type Grant,
  grantChanges,
  grantsOf,
  type Privilege,
  revokeChanges,
  setAdminChanges,
  setPasswordChanges,
  type UserDefinition,
  usersOf,
} from './users.ts';

export class UserRegisters {
  readonly #metadata: Metadata;
  readonly #writer: RegisterWriter;

  constructor(metadata: Metadata, writer: RegisterWriter) {
    this.#metadata = metadata;
    this.#writer = writer;
  }

  list(): UserDefinition[] {
    return usersOf(this.#metadata);
  }

  find(name: string): UserDefinition | null {
    return findUser(this.#metadata, name);
  }

  grants(name: string): Grant[] {
    return grantsOf(this.#metadata, name);
  }

  create(user: UserDefinition, nowMs: number): void {
    this.#writer.write(createUserChanges(this.#metadata, user, this.#writer.createdAt(nowMs)), nowMs);
  }

  drop(name: string, nowMs: number): void {
    this.#writer.write(dropUserChanges(this.#metadata, name), nowMs);
  }

  setPassword(name: string, passwordHash: string, nowMs: number): void {
    this.#writer.write(setPasswordChanges(this.#metadata, name, passwordHash), nowMs);
  }

  setAdmin(name: string, admin: boolean, nowMs: number): void {
    this.#writer.write(setAdminChanges(this.#metadata, name, admin), nowMs);
  }

  grant(name: string, database: string, privilege: Privilege, nowMs: number): void {
    this.#writer.write(grantChanges(this.#metadata, name, database, privilege), nowMs);
  }

  revoke(name: string, database: string, privilege: Privilege, nowMs: number): void {
    this.#writer.write(revokeChanges(this.#metadata, name, database, privilege), nowMs);
  }
}
