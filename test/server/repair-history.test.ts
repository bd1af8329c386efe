/** The repairs that are kept: pages, filters, age and size, parts of one repair, failures that come again, disks that refuse. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type RepairRecord, repairRecord, stepOf } from '../../repair/repair-records.ts';
import { type KeptRepair, RepairHistory, unitedPages } from '../../server/repair-history.ts';
import { cursorText, type RepairQuery, repairParameters } from '../../server/repair-query.ts';

const DAY = 86_400_000;
const [A, B, C] = ['a', 'b', 'c'].map((digit) => digit.repeat(16)) as [string, string, string];
const sample = { member: B, from: A, contests: [], deletes: [{ version: 'v', predicate: 'p' }] };

let directory = '';
let nowMs = 0;
let open: RepairHistory[] = [];
let troubles: string[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'starling-repairs-'));
  nowMs = 1_700_000_000_000;
  open = [];
  troubles = [];
});
afterEach(() => {
  for (const history of open) history.close();
  rmSync(directory, { recursive: true, force: true });
});

const path = () => join(directory, 'repairs.sqlite');

function openHistory(more: { keptMs?: number; bytesMax?: number } = {}): RepairHistory {
  const rest = { keptMs: 30 * DAY, bytesMax: 1 << 20, ...more };
  const history = new RepairHistory({
    path: path(),
    nowMs: () => nowMs,
    trouble: (text) => troubles.push(text),
    ...rest,
  });
  open.push(history);
  return history;
}

function record(id: string, more: Partial<RepairRecord> = {}, others: readonly string[] = []): RepairRecord {
  const { kind = 'pass', shard = 's1', outcome = 'done', reason = null, finishedMs = nowMs, ...rest } = more;
  const steps = [stepOf(A, B, { batches: 1, rows: 2, bytes: 300, ms: 4 })];
  const given = { id, kind, shard, outcome, reason, finishedMs, startedMs: finishedMs - 10 };
  return repairRecord(given, { steps, ...rest }, others);
}

/** A failure that moved nothing. */
const failure = (id: string, more: Partial<RepairRecord> = {}): RepairRecord =>
  record(id, { outcome: 'failed', reason: 'no answer', steps: [], ...more }, [A]);

const ask = (parameters: Record<string, string> = {}): RepairQuery => repairParameters.parse(parameters);
const ids = (repairs: readonly KeptRepair[]) => repairs.map(({ id }) => id);

describe('asking', () => {
  test('pages newest first, also where several end in one millisecond; nothing comes twice', () => {
    const history = openHistory();
    for (let n = 0; n < 25; n++) {
      if (n % 3 === 0) nowMs++;
      history.add(record(`p${String(n).padStart(2, '0')}`), 'd');
    }
    const seen: string[] = [];
    for (let before: string | undefined; ; ) {
      const page = history.list(ask({ limit: '4', ...(before === undefined ? {} : { before }) }));
      seen.push(...ids(page));
      if (page.length < 4) break;
      before = cursorText(page.at(-1)!);
    }
    expect(seen).toHaveLength(25);
    expect(new Set(seen).size).toBe(25);
    expect(seen.slice(0, 2)).toEqual(['p24', 'p23']);
    expect(seen.at(-1)).toBe('p00');
  });

  test.each<[Record<string, string>, string[]]>([
    [{}, ['copy', 'failed', 'moved']],
    [{ shard: 's2' }, ['copy']],
    [{ database: 'other' }, ['copy']],
    [{ kind: 'pass' }, ['failed', 'moved']],
    [{ state: 'failed' }, ['failed']],
    [{ changed: 'true' }, ['copy', 'moved']],
    [{ changed: '0' }, ['failed']],
    [{ member: C }, ['copy']],
    [{ since: '1700000000002' }, ['copy', 'failed']],
    [{ until: new Date(1_700_000_000_001).toISOString() }, ['moved']],
    [{ kind: 'pass', changed: 'true', database: 'd' }, ['moved']],
    [{ shard: "' OR 1=1 --" }, []],
  ])('filters %j, of what is written and of what waits', (parameters, expected) => {
    const history = openHistory();
    const add = () => {
      nowMs = 1_700_000_000_001;
      history.add(record('moved'), 'd');
      nowMs++;
      history.add(failure('failed'), 'd');
      nowMs++;
      history.add(record('copy', { kind: 'copy', shard: 's2' }, [C]), 'other');
    };
    add();
    expect(ids(history.list(ask(parameters)))).toEqual(expected);
    history.close();
    rmSync(directory, { recursive: true });
    add();
    expect(ids(history.list(ask(parameters)))).toEqual(expected);
    expect(troubles).toEqual([expect.stringContaining('not written')]);
  });

  test.each([{ limit: '0' }, { limit: '1001' }, { kind: 'x' }, { since: 'soon' }, { before: '7' }, { other: '1' }])(
    'no such question: %j',
    (parameters) => expect(repairParameters.safeParse(parameters).success).toBe(false),
  );
});

describe('parts', () => {
  test('what was found in a pass and its end become one record, whichever comes first, over a restart too', () => {
    const found = record('p', { outcome: 'running', samples: [sample], finishedMs: nowMs - 5 });
    const steps = [...found.steps, stepOf(B, C, { ms: 1 })];
    const end = record('p', { steps, finishedMs: nowMs }, [C]);
    for (const [first, second] of [
      [found, end],
      [end, found],
    ]) {
      const history = openHistory();
      history.add(first!, '');
      history.flush();
      history.close();
      const again = openHistory();
      again.add(second!, 'd');
      const [one, ...others] = again.list(ask());
      expect(others).toEqual([]);
      expect(one).toMatchObject({
        outcome: 'done',
        database: 'd',
        samples: [sample],
        steps,
        finishedMs: nowMs,
        times: 1,
      });
      expect(again.get('p')).toEqual(one);
      again.close();
      rmSync(path());
    }
  });

  test('a pass whose end is not heard is unfinished after a restart', () => {
    openHistory().add(record('p', { outcome: 'running' }), 'd');
    open[0]!.close();
    expect(openHistory().list(ask({ state: 'unfinished' }))).toMatchObject([{ id: 'p', outcome: 'unfinished' }]);
  });

  test('a pass whose end is not heard for an hour is unfinished, until it is heard', () => {
    const history = openHistory();
    history.add(record('p', { outcome: 'running' }), 'd');
    nowMs += 3_599_000;
    history.add(record('q', { outcome: 'running' }), 'd');
    expect(ids(history.list(ask({ state: 'running' })))).toEqual(['q', 'p']);
    nowMs += 2_000;
    expect(ids(history.list(ask({ state: 'running' })))).toEqual(['q']);
    expect(history.list(ask({ state: 'unfinished' }))).toMatchObject([{ id: 'p', outcome: 'unfinished' }]);
    history.add(record('p'), 'd');
    expect(history.list(ask({ state: 'done' }))).toMatchObject([{ id: 'p', outcome: 'done' }]);
  });

  test('what several members kept of one repair is put together', () => {
    const kept = (more: Partial<RepairRecord>): KeptRepair => ({ ...record('p', more), database: 'd', times: 1 });
    const other = { ...sample, member: C };
    const pages = [[kept({ samples: [sample] })], [kept({ samples: [other] }), kept({ samples: [sample] })]];
    expect(unitedPages(pages, 10)).toMatchObject([{ id: 'p', samples: [sample, other] }]);
  });

  test('a pass that fails in the same way again is one record that counts; another way, shard, or later is another', () => {
    const history = openHistory();
    for (let n = 0; n < 50; n++) {
      nowMs += 2_000;
      history.add(failure(`p${n}`, { reason: `not done after ${n} ms at ${n.toString(16).padStart(16, '0')}` }), 'd');
      if (n % 7 === 0) history.flush();
    }
    history.add(failure('q', { shard: 's2' }), 'd');
    history.add(failure('r', { reason: 'damaged' }), 'd');
    const [first] = history.list(ask({ shard: 's1', state: 'failed' })).filter(({ times }) => times > 1);
    expect(first).toMatchObject({ id: 'p0', times: 50, finishedMs: nowMs });
    expect(history.list(ask())).toHaveLength(3);
    nowMs += 2 * 3_600_000;
    history.add(failure('later', { reason: 'not done after 1 ms at 0000000000000000' }), 'd');
    expect(ids(history.list(ask()))).toContain('later');
    expect(history.list(ask())).toHaveLength(4);
  });
});

describe('bounds', () => {
  test('what is older than 30 days goes, with the next one that is written', () => {
    const history = openHistory();
    history.add(record('old'), 'd');
    nowMs += 29 * DAY;
    history.add(record('young'), 'd');
    expect(ids(history.list(ask()))).toEqual(['young', 'old']);
    nowMs += 2 * DAY;
    expect(ids(history.list(ask()))).toEqual(['young']);
  });

  test('the oldest go when all take more than they may, also after a restart; the file stays about that large', () => {
    const bytesMax = 200_000;
    let history = openHistory({ bytesMax });
    for (let n = 0; n < 4_000; n++) {
      nowMs++;
      history.add(record(`p${n}`, { reason: 'x'.repeat(500) }), 'd');
      if (n % 100 === 99) history.flush();
      if (n % 1_000 === 999) {
        history.close();
        history = openHistory({ bytesMax });
      }
    }
    const kept = history.list(ask({ limit: '1000' }));
    expect(kept[0]!.id).toBe('p3999');
    expect(kept.length).toBeGreaterThan(50);
    const bytes = kept.reduce((sum, each) => sum + JSON.stringify(each).length, 0);
    expect(bytes).toBeLessThanOrEqual(bytesMax);
    history.close();
    expect(statSync(path()).size).toBeLessThan(3 * bytesMax);
  });

  test('more than may wait at once is written at once, when the disk takes it', () => {
    const history = openHistory({ bytesMax: 1 << 24 });
    for (let n = 0; n < 2_500; n++) history.add(record(`p${n}`), 'd');
    expect(history.dropped).toBe(0);
    for (const id of ['p0', 'p2499']) expect(history.get(id)).toMatchObject({ id });
  });

  test('while the disk refuses: what waits is shown, bounded, counted when given up, and written once it can be', () => {
    const history = openHistory();
    history.add(record('before'), 'd');
    history.close();
    rmSync(directory, { recursive: true });
    for (let n = 0; n < 1_010; n++) history.add(record(`p${n}`), 'd');
    expect(history.flush()).toBe(false);
    expect(history.dropped).toBe(10);
    expect(history.list(ask({ limit: '1000' }))).toHaveLength(1_000);
    expect(history.get('p5')).toBe(null);
    expect(history.get('p500')).toMatchObject({ id: 'p500' });
    expect(troubles).toHaveLength(1);
    mkdirSync(directory);
    expect(history.flush()).toBe(true);
    history.close();
    expect(openHistory().list(ask({ limit: '1000' }))).toHaveLength(1_000);
  });
});

describe('files', () => {
  test.each([
    ['no database', () => writeFileSync(path(), 'x'.repeat(10_000))],
    ['a format to come', () => withDatabase((database) => database.pragma('user_version = 9'))],
    ['a table of another form', () => withDatabase((database) => database.exec('CREATE TABLE repair (x)'))],
  ])('%s: it is set aside, which is said, and a new one begun', (_, spoil) => {
    spoil();
    const history = openHistory();
    history.add(record('p'), 'd');
    expect(ids(history.list(ask()))).toEqual(['p']);
    expect(existsSync(`${path()}.damaged`)).toBe(true);
    expect(troubles).toEqual([expect.stringContaining('set aside')]);
    history.close();
    expect(readdirSync(directory).sort()).toEqual(['repairs.sqlite', 'repairs.sqlite.damaged']);
  });

  test('a damaged file that cannot be set aside is said to be once; what waits is shown', () => {
    writeFileSync(path(), 'x'.repeat(10_000));
    mkdirSync(`${path()}.damaged`);
    const history = openHistory();
    history.add(record('p'), 'd');
    for (let n = 0; n < 5; n++) expect(history.flush()).toBe(false);
    expect(ids(history.list(ask()))).toEqual(['p']);
    expect(troubles).toEqual([expect.stringContaining('not written')]);
    rmSync(`${path()}.damaged`, { recursive: true });
    expect(history.flush()).toBe(true);
  });

  test('a record that is not what was written is left out', () => {
    const history = openHistory();
    history.add(record('p'), 'd');
    history.add(record('q'), 'd');
    history.close();
    withDatabase((database) => database.exec(`UPDATE repair SET json = replace(json, '300', '301') WHERE id = 'p'`));
    expect(ids(openHistory().list(ask()))).toEqual(['q']);
    expect(open[1]!.get('p')).toBe(null);
  });

  test('a process that ends without closing loses nothing that was written', () => {
    const history = openHistory();
    history.add(record('p'), 'd');
    history.flush();
    history.add(record('waits'), 'd');
    expect(ids(openHistory().list(ask()))).toEqual(['p']);
  });
});

function withDatabase(work: (database: Database.Database) => unknown): void {
  const database = new Database(path());
  work(database);
  database.close();
}
