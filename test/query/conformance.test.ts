/** InfluxDB's own server tests against query execution in memory; the data lies beside the repository or not at all. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { type AskOptions, ask, type JsonResult } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

interface Operation {
  readonly op: string;
  readonly id?: string;
  readonly command?: string;
  readonly exp?: string;
  readonly expError?: string;
  readonly table?: { name: string | null; tags: Record<string, string>; columns: string[]; rows: string[][] }[];
  readonly expValues0?: string[];
  readonly pattern?: boolean;
  readonly disputed?: unknown;
  readonly skipped_upstream?: unknown;
  readonly db?: string;
  readonly rp?: string;
  readonly duration?: string;
  readonly default?: boolean;
  readonly data?: string;
  readonly expect?: string;
  readonly params?: Record<string, string[]>;
}
interface Case {
  readonly id: string;
  readonly profiles: string[];
  readonly config: Record<string, unknown>;
  readonly ops: Operation[];
}

/** Outside of what a query service does, or other features. */
const LEFT_OUT =
  /CARDINALITY|CONTINUOUS|SHOW STATS|SHOW SHARDS|SHOW DIAGNOSTICS|\bUSER|GRANT|SUBSCRIPTION|KILL|SHOW QUERIES|\binto\b/i;

const NOW = 1_700_000_000_000_123_457n;

function substitute(text: string): string {
  return text.replace(/@@(\{.*?\})@@/g, (_, json: string) => {
    const spec = JSON.parse(json) as { now: [string, number][]; as: string; arith?: [string, number][]; base?: number };
    let at = NOW;
    for (const [op, n] of spec.now) {
      const unit = BigInt(n);
      if (op === 'add') at += unit;
      else if (op === 'trunc') at -= (at + 62135596800n * 1_000_000_000n) % unit;
      else at = ((at + unit / 2n) / unit) * unit;
    }
    if (spec.as.startsWith('rfc3339')) {
      const text = new Date(Number(at / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
      const fraction = (at % 1_000_000_000n).toString().padStart(9, '0').replace(/0+$/, '');
      return `${text}${spec.as === 'rfc3339nano' && fraction !== '' ? `.${fraction}` : ''}Z`;
    }
    for (const [op, n] of spec.arith ?? []) at = op === '/' ? at / BigInt(n) : at * BigInt(n);
    return at.toString(spec.base ?? 10);
  });
}

function same(a: unknown, b: unknown): boolean {
  if (typeof a === 'bigint' || typeof b === 'bigint') return Number(a) === Number(b);
  if (typeof a === 'number' && typeof b === 'number')
    return a === b || Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b));
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return a === b;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => key in b && same((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]))
  );
}

const show = (value: unknown): string =>
  JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? Number(v) : v)).slice(0, 1500);

async function play(test: Case, failures: string[]): Promise<number> {
  let checks = 0;
  let memory = new MemoryBackend();
  const create = async (db: string): Promise<void> => void (await ask(memory, `CREATE DATABASE "${db}"`));
  for (const op of test.ops) {
    if (op.op === 'open') memory = new MemoryBackend();
    else if (op.op === 'createdb') await create(op.db!);
    else if (op.op === 'createrp') {
      await create(op.db!);
      await ask(
        memory,
        `CREATE RETENTION POLICY "${op.rp}" ON "${op.db}" DURATION ${op.duration} REPLICATION 1${op.default === true ? ' DEFAULT' : ''}`,
      );
    } else if (op.op === 'dropdb') await ask(memory, `DROP DATABASE "${op.db}"`);
    else if (op.op === 'exec') await ask(memory, op.command!);
    else if (op.op === 'write')
      memory.write(op.db!, substitute(op.data!), op.rp ?? '', (op.params?.precision?.[0] ?? 'n') as 'n', NOW);
    else if (op.op === 'query') {
      const options: AskOptions = {
        nowNs: NOW + 1000n,
        ...(op.params?.db === undefined ? {} : { database: op.params.db[0]! }),
        ...(op.params?.rp === undefined ? {} : { retentionPolicy: op.params.rp[0]! }),
        ...(op.params?.epoch === undefined ? {} : { epoch: op.params.epoch[0]! }),
      };
      const command = substitute(op.command!);
      if (
        LEFT_OUT.test(command) ||
        op.pattern === true ||
        op.skipped_upstream !== undefined ||
        op.disputed !== undefined
      )
        continue;
      const results = await ask(memory, command, options);
      if (op.id === undefined) continue;
      checks++;
      const problem = judge(op, results);
      if (problem !== null) failures.push(`${op.id}\n  ${command}\n  expected ${problem}\n  got      ${show(results)}`);
    }
  }
  return checks;
}

function judge(op: Operation, results: JsonResult[]): string | null {
  const failed = results.find((result) => result.error !== undefined);
  if (op.expError !== undefined) return failed === undefined ? `error ${op.expError}` : null;
  if (op.table !== undefined) return judgeTable(op.table, results);
  if (op.expValues0 !== undefined) {
    const got = results.flatMap((r) =>
      (r.series ?? []).flatMap((s) => (s.values ?? []).map((row) => row[0] as string)),
    );
    return JSON.stringify(got.sort()) === JSON.stringify([...op.expValues0].sort())
      ? null
      : JSON.stringify(op.expValues0);
  }
  const wanted = JSON.parse(substitute(op.exp!)) as { error?: string; results?: unknown[] };
  if (wanted.error !== undefined) return results[0]?.error === wanted.error ? null : wanted.error;
  return same(JSON.parse(show1(results)), wanted.results) ? null : substitute(op.exp!).slice(0, 1500);
}

const show1 = (value: unknown): string => JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? Number(v) : v));

function judgeTable(table: NonNullable<Operation['table']>, results: JsonResult[]): string | null {
  const text = JSON.stringify(table).slice(0, 1500);
  const got = results.flatMap((result) => result.series ?? []);
  if (results.some((result) => result.error !== undefined) || got.length !== table.length) return text;
  const cell = (value: unknown): string => (value === null ? '' : String(value));
  const equal = (a: string, b: string): boolean =>
    a === b ||
    a.replace(/Z$/, '').replace(/\.0*$/, '') === b.replace(/Z$/, '').replace(/\.0*$/, '') ||
    (a !== '' && b !== '' && same(Number(a), Number(b)));
  for (let i = 0; i < table.length; i++) {
    const want = table[i]!;
    const have = got[i]!;
    if (want.name !== null && want.name !== have.name) return text;
    if (JSON.stringify(want.columns) !== JSON.stringify(have.columns)) return text;
    if (!same(want.tags, have.tags ?? {})) return text;
    const rows = (have.values ?? []).map((row) => row.map(cell));
    if (rows.length !== want.rows.length) return text;
    for (const row of want.rows) {
      const at = rows.findIndex((candidate) => candidate.every((value, c) => equal(value, row[c]!)));
      if (at < 0) return text;
      rows.splice(at, 1);
    }
  }
  return null;
}

const files = ['influx_open.json.gz', 'influx_extra_open.json.gz'].map((name) => ({
  name,
  path: fileURLToPath(new URL(`../../../shared/conformance/${name}`, import.meta.url)),
}));

describe('answers of InfluxDB 1.8 to its own tests', () => {
  for (const { name, path } of files) {
    it.skipIf(!existsSync(path))(
      `${name} gives the recorded answers (skipped when it is not beside the repository)`,
      async () => {
        const { cases } = JSON.parse(gunzipSync(readFileSync(path)).toString()) as { cases: Case[] };
        const failures: string[] = [];
        let checks = 0;
        for (const test of cases) {
          if (!test.profiles.includes('1.8') || Object.keys(test.config).length > 0) continue;
          checks += await play(test, failures);
        }
        if (process.env.SHOW_FAILURES !== undefined)
          process.stdout.write(`${failures.join('\n')}\n${checks - failures.length}/${checks}\n`);
        expect(failures).toEqual([]);
      },
    );
  }
});
