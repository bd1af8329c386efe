/** What statements do to users, on this node's registers. */
import type { UserRegisters } from '../repair/user-registers.ts';
import { userExists } from '../repair/users.ts';
import { hashPassword, isPassword } from './passwords.ts';
import type { UserMetadata } from './query/backend.ts';

export interface Passwords {
  hash(password: string): Promise<string>;
  fits(password: string, hash: string): Promise<boolean>;
}

const SCRYPT: Passwords = { hash: hashPassword, fits: isPassword };

export function userMetadata(users: UserRegisters, passwords = SCRYPT): UserMetadata {
  return {
    list: () => users.list(),
    grants: (name) => users.grants(name),
    async create(name, password, admin) {
      if (users.find(name) === null) {
        const passwordHash = await passwords.hash(password);
        if (users.find(name) === null) {
          users.create({ name, passwordHash, admin }, Date.now());
          return;
        }
      }
      // As in InfluxDB: who says the same again is told that it is so.
      const known = users.find(name);
      if (known === null || known.admin !== admin || !(await passwords.fits(password, known.passwordHash)))
        throw userExists();
    },
    drop: (name) => users.drop(name, Date.now()),
    async setPassword(name, password) {
      const passwordHash = await passwords.hash(password);
      users.setPassword(name, passwordHash, Date.now());
    },
    setAdmin: (name, admin) => users.setAdmin(name, admin, Date.now()),
    grant: (name, database, privilege) => users.grant(name, database, privilege, Date.now()),
    revoke: (name, database, privilege) => users.revoke(name, database, privilege, Date.now()),
  };
}
