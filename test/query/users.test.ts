/** Users and grants: answers as InfluxDB gives them, statement after statement. */
import { expect, test } from 'vitest';
import { ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const users = (...values: unknown[][]) => ({
  series: [{ columns: ['user', 'admin'], ...(values.length > 0 && { values }) }],
});
const grants = (...values: unknown[][]) => ({
  series: [{ columns: ['database', 'privilege'], ...(values.length > 0 && { values }) }],
});
const error = (text: string) => ({ error: text });
const done = {};

async function play(steps: readonly (readonly [string, object])[]): Promise<void> {
  const memory = new MemoryBackend();
  for (const [text, expected] of steps)
    expect(await ask(memory, text), text).toEqual([{ statement_id: 0, ...expected }]);
}

test('users are made, listed in order of creation, and dropped', () =>
  play([
    ['SHOW USERS', users()],
    [`CREATE USER x WITH PASSWORD 'a'`, done],
    // Saying the same again changes nothing.
    [`CREATE USER x WITH PASSWORD 'a'`, done],
    [`CREATE USER x WITH PASSWORD 'b'`, error('user already exists')],
    [`CREATE USER x WITH PASSWORD 'a' WITH ALL PRIVILEGES`, error('user already exists')],
    [`CREATE USER "" WITH PASSWORD 'a'`, error('username required')],
    [`CREATE USER "a/%" WITH PASSWORD ''`, done],
    [`CREATE USER adm WITH PASSWORD 'z' WITH ALL PRIVILEGES`, done],
    ['SHOW USERS', users(['x', false], ['a/%', false], ['adm', true])],
    ['GRANT ALL PRIVILEGES TO x', done],
    ['GRANT ALL TO nobody', error('user not found')],
    ['REVOKE ALL PRIVILEGES FROM adm', done],
    ['REVOKE ALL FROM nobody', error('user not found')],
    ['SHOW USERS', users(['x', true], ['a/%', false], ['adm', false])],
    [`SET PASSWORD FOR x = 'n'`, done],
    [`SET PASSWORD FOR nobody = 'n'`, error('user not found')],
    [`CREATE USER x WITH PASSWORD 'a' WITH ALL PRIVILEGES`, error('user already exists')],
    [`CREATE USER x WITH PASSWORD 'n' WITH ALL PRIVILEGES`, done],
    ['DROP USER x', done],
    ['DROP USER x', error('user not found')],
    ['DROP USER "a/%"', done],
    ['SHOW USERS', users(['adm', false])],
  ]));

test('grants take the place of earlier ones, and revoking takes away bit by bit', () =>
  play([
    ['SHOW GRANTS FOR x', error('user not found')],
    [`CREATE USER x WITH PASSWORD 'a'`, done],
    ['SHOW GRANTS FOR x', grants()],
    ['GRANT READ ON db0 TO x', error('database not found: db0')],
    ['GRANT READ ON db0 TO nobody', error('user not found')],
    ['CREATE DATABASE db0', done],
    ['CREATE DATABASE db1', done],
    ['GRANT READ ON db0 TO x', done],
    ['GRANT ALL ON db1 TO x', done],
    ['SHOW GRANTS FOR x', grants(['db0', 'READ'], ['db1', 'ALL PRIVILEGES'])],
    ['GRANT WRITE ON db0 TO x', done],
    ['REVOKE WRITE ON db1 FROM x', done],
    ['SHOW GRANTS FOR x', grants(['db0', 'WRITE'], ['db1', 'READ'])],
    ['REVOKE READ ON db1 FROM x', done],
    ['REVOKE READ ON db0 FROM x', done],
    ['SHOW GRANTS FOR x', grants(['db0', 'WRITE'], ['db1', 'NO PRIVILEGES'])],
    ['REVOKE ALL PRIVILEGES ON db0 FROM x', done],
    ['REVOKE READ ON db0 FROM nobody', error('user not found')],
    ['REVOKE READ ON dbx FROM x', error('database not found: dbx')],
    ['SHOW GRANTS FOR x', grants(['db0', 'NO PRIVILEGES'], ['db1', 'NO PRIVILEGES'])],
  ]));

test('grants go with their database and with their user', () =>
  play([
    ['CREATE DATABASE db0', done],
    ['CREATE DATABASE db1', done],
    [`CREATE USER x WITH PASSWORD 'a'`, done],
    ['GRANT READ ON db0 TO x', done],
    ['GRANT READ ON db1 TO x', done],
    ['GRANT ALL TO x', done],
    ['DROP DATABASE db0', done],
    ['SHOW GRANTS FOR x', grants(['db1', 'READ'])],
    ['CREATE DATABASE db0', done],
    ['SHOW GRANTS FOR x', grants(['db1', 'READ'])],
    ['DROP USER x', done],
    [`CREATE USER x WITH PASSWORD 'a'`, done],
    ['SHOW GRANTS FOR x', grants()],
    ['SHOW USERS', users(['x', false])],
  ]));

test('of two who make one user at the same time the second is told, unless both say the same', async () => {
  const memory = new MemoryBackend();
  const made = await Promise.all(['a', 'a', 'b'].map((word) => ask(memory, `CREATE USER x WITH PASSWORD '${word}'`)));
  expect(made.map(([result]) => result!.error)).toEqual([undefined, undefined, 'user already exists']);
});

test('a password that was sent with GET is not in the warning', async () => {
  const [result] = await ask(new MemoryBackend(), `CREATE USER x WITH PASSWORD 'secret'`, { readOnly: true });
  expect(JSON.stringify(result)).toContain("'CREATE USER x WITH PASSWORD [REDACTED]'");
});
