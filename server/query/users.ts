/** Users and grants: what their statements do, and InfluxDB's tables of them. */
import type { Grant, Privilege } from '../../repair/users.ts';
import type { UserStatement } from '../influxql/ast.ts';
import type { UserMetadata } from './backend.ts';
import type { ResultSeries, Value } from './result.ts';

const PRIVILEGE_TEXTS: Readonly<Record<Privilege, string>> = {
  NONE: 'NO PRIVILEGES',
  READ: 'READ',
  WRITE: 'WRITE',
  ALL: 'ALL PRIVILEGES',
};

export async function runUserStatement(statement: UserStatement, users: UserMetadata): Promise<ResultSeries[]> {
  switch (statement.kind) {
    case 'show-users':
      return [
        table(
          ['user', 'admin'],
          users.list().map(({ name, admin }) => [name, admin]),
        ),
      ];
    case 'show-grants':
      return [table(['database', 'privilege'], users.grants(statement.user).map(grantRow))];
    case 'create-user':
      await users.create(statement.name, statement.password, statement.admin);
      return [];
    case 'drop-user':
      users.drop(statement.name);
      return [];
    case 'set-password':
      await users.setPassword(statement.name, statement.password);
      return [];
    case 'grant':
    case 'revoke':
      users[statement.kind](statement.user, statement.database, statement.privilege);
      return [];
    case 'grant-admin':
    case 'revoke-admin':
      users.setAdmin(statement.user, statement.kind === 'grant-admin');
      return [];
  }
}

function grantRow({ database, privilege }: Grant): Value[] {
  return [database, PRIVILEGE_TEXTS[privilege]];
}

function table(columns: string[], values: Value[][]): ResultSeries {
  return { columns, timeColumn: -1, values };
}
