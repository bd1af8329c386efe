/**
 * Users and their privileges as registers, with InfluxDB 1.8's rules and error texts. Nothing is enforced with them yet.
 *
 *   dropped-user/<user>                                           rank = number of drops of that name
 *   user/<user>/<generation>                                      {passwordHash, admin, created}
 *   admin/<user>/<generation>                                     {admin}, when that was granted or revoked afterwards
 *   grant/<user>/<generation>/<database>/<database generation>    {privilege}
 *
 * Each says one thing, so that of a password set on one node and a privilege granted on another at the same moment neither
 * is lost; of two changes of the same one the later counts. Two CREATE USER: one of them counts whole, its password with its
 * rank. As with databases (databases.ts) the generation is the number of drops of the name seen: DROP USER wins over whatever
 * is changed elsewhere meanwhile, and a user or database that is made again has no grants of the former one.
 * What is dropped loses its value at once: hashes of passwords are not kept longer than their users.
 */
import { z } from 'zod';
import { type Change, compare, dropsOf, mustFind, parsed } from './databases.ts';
import { MembershipError } from './membership-error.ts';
import type { Metadata } from './metadata.ts';

export const PRIVILEGES = ['NONE', 'READ', 'WRITE', 'ALL'] as const;
export type Privilege = (typeof PRIVILEGES)[number];

export interface UserDefinition {
  readonly name: string;
  /** May do everything. */
  readonly admin: boolean;
  readonly passwordHash: string;
}

export interface Grant {
  readonly database: string;
  readonly privilege: Privilege;
}

/** So that no key is longer than other members take (node-messages.ts). */
const NAME_BYTES_MAX = 512;

const userSchema = z.object({ passwordHash: z.string(), admin: z.boolean(), created: z.string() });
type UserValue = z.infer<typeof userSchema>;
const adminSchema = z.object({ admin: z.boolean() });
const grantSchema = z.object({ privilege: z.enum(PRIVILEGES) });

/** In order of creation. */
export function usersOf(metadata: Metadata): UserDefinition[] {
  const users: (UserDefinition & { created: string })[] = [];
  for (const { key } of metadata.withPrefix('user/')) {
    const [, escaped] = key.split('/') as [string, string];
    const name = fromKey(escaped);
    const value = key === keyOf(metadata, 'user', name) ? storedUser(metadata, name) : null;
    if (value !== null) users.push({ ...definitionOf(metadata, name, value), created: value.created });
  }
  users.sort((a, b) => compare(a.created, b.created) || compare(a.name, b.name));
  return users.map(({ created: _, ...user }) => user);
}

export function findUser(metadata: Metadata, name: string): UserDefinition | null {
  const value = storedUser(metadata, name);
  return value === null ? null : definitionOf(metadata, name, value);
}

/** By name of the database, also those that were revoked. Throws MembershipError `user-not-found`. */
export function grantsOf(metadata: Metadata, name: string): Grant[] {
  mustFindUser(metadata, name);
  const grants: Grant[] = [];
  for (const register of metadata.withPrefix(`${keyOf(metadata, 'grant', name)}/`)) {
    const [, , , database, generation] = register.key.split('/') as [string, string, string, string, string];
    const value = parsed(register, grantSchema);
    if (value !== null && Number(generation) === dropsOf(metadata, database))
      grants.push({ database, privilege: value.privilege });
  }
  return grants.sort((a, b) => compare(a.database, b.database));
}

/** Throws MembershipError `user-exists`; `created`: a stamp. */
export function createUserChanges(
  metadata: Metadata,
  { name, passwordHash, admin }: UserDefinition,
  created: string,
): Change[] {
  if (name === '') throw new MembershipError('invalid-name', 'username required');
  if (/[\p{Cc}\p{Cs}]/u.test(name) || Buffer.byteLength(name) > NAME_BYTES_MAX)
    throw new MembershipError('invalid-name', 'invalid name');
  if (storedUser(metadata, name) !== null) throw userExists();
  const value: UserValue = { passwordHash, admin, created };
  return [{ key: keyOf(metadata, 'user', name), rank: 0, value }];
}

export function dropUserChanges(metadata: Metadata, name: string): Change[] {
  mustFindUser(metadata, name);
  const own = ['user', 'admin'].map((what) => keyOf(metadata, what, name));
  const grants = metadata.withPrefix(`${keyOf(metadata, 'grant', name)}/`).map(({ key }) => key);
  const emptied = [...own, ...grants].filter((key) => (metadata.get(key)?.value ?? null) !== null);
  const path = inKey(name);
  return [
    { key: `dropped-user/${path}`, rank: userDropsOf(metadata, name) + 1, value: true },
    ...emptied.map((key) => ({ key, rank: 0, value: undefined })),
  ];
}

export function setPasswordChanges(metadata: Metadata, name: string, passwordHash: string): Change[] {
  const value = mustFindUser(metadata, name);
  return [{ key: keyOf(metadata, 'user', name), rank: 0, value: { ...value, passwordHash } }];
}

export function setAdminChanges(metadata: Metadata, name: string, admin: boolean): Change[] {
  const value = mustFindUser(metadata, name);
  if (definitionOf(metadata, name, value).admin === admin) return [];
  return [{ key: keyOf(metadata, 'admin', name), rank: 0, value: { admin } }];
}

/** As in InfluxDB it takes the place of what was granted before. */
export function grantChanges(metadata: Metadata, name: string, database: string, privilege: Privilege): Change[] {
  mustFindUser(metadata, name);
  const { generation } = mustFind(metadata, database);
  if (grantsOf(metadata, name).some((each) => each.database === database && each.privilege === privilege)) return [];
  const key = `${keyOf(metadata, 'grant', name)}/${database}/${generation}`;
  return [{ key, rank: 0, value: { privilege } }];
}

export function revokeChanges(metadata: Metadata, name: string, database: string, revoked: Privilege): Change[] {
  const held = grantsOf(metadata, name).find((each) => each.database === database)?.privilege ?? 'NONE';
  return grantChanges(metadata, name, database, PRIVILEGES[bitsOf(held) & ~bitsOf(revoked)]!);
}

export function userExists(): MembershipError {
  return new MembershipError('user-exists', 'user already exists');
}

/** READ is 1, WRITE is 2, ALL is both. */
function bitsOf(privilege: Privilege): number {
  return PRIVILEGES.indexOf(privilege);
}

function definitionOf(metadata: Metadata, name: string, { admin, passwordHash }: UserValue): UserDefinition {
  const register = metadata.get(keyOf(metadata, 'admin', name));
  const changed = register === null ? null : parsed(register, adminSchema);
  return { name, admin: changed?.admin ?? admin, passwordHash };
}

function mustFindUser(metadata: Metadata, name: string): UserValue {
  const value = storedUser(metadata, name);
  if (value === null) throw new MembershipError('user-not-found', 'user not found');
  return value;
}

function storedUser(metadata: Metadata, name: string): UserValue | null {
  const register = metadata.get(keyOf(metadata, 'user', name));
  return register === null ? null : parsed(register, userSchema);
}

function keyOf(metadata: Metadata, what: string, name: string): string {
  return `${what}/${inKey(name)}/${userDropsOf(metadata, name)}`;
}

function userDropsOf(metadata: Metadata, name: string): number {
  return metadata.get(`dropped-user/${inKey(name)}`)?.rank ?? 0;
}

/** Keys are cut at slashes, which names of users may have. */
function inKey(name: string): string {
  return name.replace(/[%/]/g, encodeURIComponent);
}

function fromKey(escaped: string): string {
  return escaped.replace(/%(25|2F)/g, decodeURIComponent);
}
