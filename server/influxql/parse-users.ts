/**
 * Users and what they may do: CREATE and DROP USER, SET PASSWORD, GRANT, REVOKE.
 */
import type { Privilege, UserStatement } from './ast.ts';
import type { TokenStream } from './token-stream.ts';

export function parseCreateUser(stream: TokenStream): UserStatement {
  const name = stream.identifier();
  stream.expectAll('WITH', 'PASSWORD');
  const password = stream.string();
  const admin = stream.accept('WITH');
  if (admin) stream.expectAll('ALL', 'PRIVILEGES');
  return { kind: 'create-user', name, password, admin };
}

export function parseSetPassword(stream: TokenStream): UserStatement {
  stream.expectAll('PASSWORD', 'FOR');
  const name = stream.identifier();
  stream.expect(['=']);
  return { kind: 'set-password', name, password: stream.string() };
}

export function parseGrant(stream: TokenStream, kind: 'grant' | 'revoke'): UserStatement {
  const link = kind === 'grant' ? 'TO' : 'FROM';
  const privilege = stream.expect(['READ', 'WRITE', 'ALL'], ['READ', 'WRITE', 'ALL [PRIVILEGES]']).kind as Privilege;
  if (privilege === 'ALL') {
    stream.accept('PRIVILEGES');
    if (stream.expect(['ON', link]).kind === link) return { kind: `${kind}-admin`, user: stream.identifier() };
  } else stream.expect(['ON']);
  const database = stream.identifier();
  stream.expect([link]);
  return { kind, privilege, database, user: stream.identifier() };
}
