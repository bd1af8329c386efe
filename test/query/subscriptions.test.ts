/** CREATE, DROP and SHOW SUBSCRIPTIONS: answers as InfluxDB gives them, statement after statement. */
import { expect, test } from 'vitest';
import { ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const COLUMNS = ['retention_policy', 'name', 'mode', 'destinations'];
const error = (text: string) => ({ error: text });
const done = {};

async function play(memory: MemoryBackend, steps: readonly (readonly [string, object])[]): Promise<void> {
  for (const [text, expected] of steps)
    expect(await ask(memory, text), text).toEqual([{ statement_id: 0, ...expected }]);
}

test('subscriptions are made, listed and dropped', async () => {
  const memory = new MemoryBackend();
  await play(memory, [
    ['SHOW SUBSCRIPTIONS', done],
    ['CREATE DATABASE db0', done],
    ['CREATE RETENTION POLICY short ON db0 DURATION 3h REPLICATION 1', done],
    [`CREATE SUBSCRIPTION s ON nodb.autogen DESTINATIONS ALL 'bad'`, error('invalid subscription URL: bad')],
    [`CREATE SUBSCRIPTION s ON nodb.x DESTINATIONS ALL 'udp://a:1'`, error('database not found: nodb')],
    [`CREATE SUBSCRIPTION s ON db0.x DESTINATIONS ALL 'udp://a:1'`, error('retention policy not found: x')],
    [`CREATE SUBSCRIPTION s ON db0.autogen DESTINATIONS ALL 'udp://a:1'`, done],
    [`CREATE SUBSCRIPTION s ON db0.autogen DESTINATIONS ANY 'udp://a:2'`, error('subscription already exists')],
    [`CREATE SUBSCRIPTION "a/\ud800" ON db0.autogen DESTINATIONS ANY 'udp://a:3'`, done],
    [`CREATE SUBSCRIPTION s ON db0.short DESTINATIONS ANY 'http://a:1', 'https://[::1]:2/x'`, done],
    [
      'SHOW SUBSCRIPTIONS',
      {
        series: [
          {
            name: 'db0',
            columns: COLUMNS,
            values: [
              ['autogen', 's', 'ALL', ['udp://a:1']],
              ['autogen', 'a/\ufffd', 'ANY', ['udp://a:3']],
              ['short', 's', 'ANY', ['http://a:1', 'https://[::1]:2/x']],
            ],
          },
        ],
      },
    ],
    ['DROP SUBSCRIPTION none ON db0.autogen', error('subscription not found')],
    ['DROP SUBSCRIPTION s ON db0.none', error('retention policy not found: none')],
    ['DROP SUBSCRIPTION s ON nodb.none', error('database not found: nodb')],
    ['DROP SUBSCRIPTION s ON db0.autogen', done],
    ['DROP RETENTION POLICY short ON db0', done],
    ['CREATE RETENTION POLICY short ON db0 DURATION 3h REPLICATION 1', done],
    [`DROP SUBSCRIPTION "a/\ud800" ON db0.autogen`, done],
    ['SHOW SUBSCRIPTIONS', done],
  ]);
});

test('a password in a destination is shown nowhere', async () => {
  const memory = new MemoryBackend();
  await ask(memory, 'CREATE DATABASE d');
  const made = await ask(memory, `CREATE SUBSCRIPTION s ON d.autogen DESTINATIONS ALL 'http://ann:secret@h:1/p'`, {
    readOnly: true,
  });
  expect(made[0]!.error).toBeUndefined();
  const shown = JSON.stringify([made, await ask(memory, 'SHOW SUBSCRIPTIONS')]);
  expect(shown.match(/http:\/\/ann:\[REDACTED\]@h:1\/p/g)).toHaveLength(2);
  expect(shown).not.toContain('secret');
});

test.each([
  ['http://ann:secret@h', 'http://ann:[REDACTED]@h'],
  ['http://ann:sec/ret@h:1', 'http://ann:[REDACTED]@h:1'],
  ['http://ann:sec@ret@h:1', 'http://ann:[REDACTED]@h:1'],
  ['ftp2://ann:secret@h:1', 'ftp2://ann:[REDACTED]@h:1'],
  ['ann:secret@h:1', 'ann:[REDACTED]@h:1'],
])('nor that of %s, which is none', async (url, shown) => {
  const memory = new MemoryBackend();
  await play(memory, [
    ['CREATE DATABASE d', done],
    [`CREATE SUBSCRIPTION s ON d.autogen DESTINATIONS ALL '${url}'`, error(`invalid subscription URL: ${shown}`)],
  ]);
});

test('a name may be as long as nodes take it from each other', async () => {
  const memory = new MemoryBackend();
  await play(memory, [
    ['CREATE DATABASE d', done],
    [`CREATE SUBSCRIPTION "${'x'.repeat(900)}" ON d.autogen DESTINATIONS ALL 'udp://a:1'`, done],
    [`CREATE SUBSCRIPTION "${'x'.repeat(3_000)}" ON d.autogen DESTINATIONS ALL 'udp://a:1'`, error('invalid name')],
  ]);
});
