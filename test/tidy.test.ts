/**
 * The architecture, checked: layout, import direction, what each layer may not call, dead files, and house style that a
 * formatter cannot see. Each failure names the file, the rule and why the rule exists.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const ROOMS = ['server', 'repair', 'shards', 'scripts', 'test'] as const;
/** Rooms that a room may import from, besides itself. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  shards: [],
  repair: ['shards'],
  server: ['repair', 'shards'],
  scripts: ['server', 'repair', 'shards', 'test'],
  test: ['server', 'repair', 'shards', 'scripts'],
};
const LINES_MAX = 450;
/** Programs and kernels: started or loaded, not imported. */
const ENTRY = /^(server\/cli\/main|server\/worker|scripts\/|shards\/kernel\/assembly\/(ingest|storage|answers)\.ts)/;
/** A kernel is code of the program that Node cannot import by itself. */
const READS_CODE = 'shards/kernel/load.ts';

const TOP_LEVEL = new Set([
  'server',
  'shards',
  'repair',
  'test',
  'scripts',
  'docs',
  '.ci',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'vitest.config.ts',
  'biome.json',
  'README.md',
  'LICENSE',
  'CHANGELOG.md',
  '.gitignore',
  '.npmrc',
]);

function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesBelow(path) : [path];
  });
}

/** AssemblyScript: another language, with checks of its own compiler; of the rules here only the general ones hold. */
const ASSEMBLY = 'shards/kernel/assembly/';

const sources = ROOMS.flatMap((room) => filesBelow(join(root, room)))
  .filter((path) => path.endsWith('.ts'))
  .map((path) => ({ path: relative(root, path), text: readFileSync(path, 'utf8') }));

function importsOf(source: { path: string; text: string }): string[] {
  const found: string[] = [];
  for (const match of source.text.matchAll(/(?:from\s+|import\s*\(\s*|import\s+|new URL\(\s*)'(\.{1,2}\/[^']+)'/g)) {
    const path = relative(root, resolve(root, dirname(source.path), match[1]!)).replace(/\.js$/, '.ts');
    found.push(path.startsWith(ASSEMBLY) ? `${path}.ts` : path);
  }
  return found;
}

/** Comments and strings blanked, so that words in them are not taken for code. */
function codeOf(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ' '))
    .replace(/(^|[^:'"`])\/\/.*$/gm, '$1')
    .replace(/'(?:[^'\\\n]|\\.)*'/g, "''");
}

function violations(
  files: readonly { path: string; text: string }[],
  pattern: RegExp,
  reason: string,
  allowed: readonly string[] = [],
): string[] {
  return files
    .filter((file) => !allowed.includes(file.path))
    .flatMap((file) =>
      codeOf(file.text)
        .split('\n')
        .flatMap((line, index) =>
          pattern.test(line) ? [`${file.path}:${index + 1}: ${line.trim()} (${reason})`] : [],
        ),
    );
}

describe('layout', () => {
  test('only the agreed names stand at the top level', () => {
    const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
      cwd: root,
      encoding: 'utf8',
    });
    const names = new Set(
      tracked
        .split('\n')
        .filter(Boolean)
        .map((path) => path.split('/')[0]!),
    );
    expect([...names].filter((name) => !TOP_LEVEL.has(name))).toEqual([]);
  });

  test('file names are kebab-case nouns', () => {
    const bad = sources.filter(({ path }) => !/^[a-z0-9-]+(\.test)?\.ts$/.test(path.split('/').at(-1)!));
    expect(bad.map(({ path }) => path)).toEqual([]);
  });

  test(`no source file is longer than ${LINES_MAX} lines: one file, one concept`, () => {
    const long = sources.filter(({ path, text }) => !path.startsWith('test/') && text.split('\n').length > LINES_MAX);
    expect(long.map(({ path, text }) => `${path}: ${text.split('\n').length}`)).toEqual([]);
  });

  test('every source file begins with a comment that says what it is', () => {
    const bare = sources.filter(({ path, text }) => !path.startsWith('test/') && !/^(#!.*\n)?(\/\*\*|\/\/)/.test(text));
    expect(bare.map(({ path }) => path)).toEqual([]);
  });
});

describe('imports', () => {
  test('point one way: server -> repair -> shards', () => {
    const bad = sources.flatMap((source) => {
      const room = source.path.split('/')[0]!;
      return importsOf(source)
        .map((target) => ({ target, to: target.split('/')[0]! }))
        .filter(({ to }) => to !== room && (ROOMS as readonly string[]).includes(to) && !MAY_IMPORT[room]!.includes(to))
        .map(
          ({ target }) =>
            `${source.path} imports ${target} (${room} may import ${MAY_IMPORT[room]!.join(', ') || 'nothing else'})`,
        );
    });
    expect(bad).toEqual([]);
  });

  test('reach every file: no dead files', () => {
    const imported = new Set(sources.filter(({ path }) => !path.startsWith('test/')).flatMap(importsOf));
    const dead = sources
      .filter(({ path }) => !path.startsWith('test/') && !imported.has(path) && !ENTRY.test(path))
      .map(({ path }) => path);
    expect(dead).toEqual([]);
  });
});

describe('layers', () => {
  const pure = sources.filter(({ path }) => path.startsWith('shards/') || path.startsWith('repair/'));
  /** This file spells out what it forbids. */
  const spoken = sources.filter(({ path }) => path !== 'test/tidy.test.ts');
  const product = sources.filter(({ path }) => !path.startsWith('test/'));

  test('shards and repair know no clock, no timers, no randomness, no process, no console, no network', () => {
    expect([
      ...violations(
        pure,
        /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bhrtime\b/,
        'time comes in as an argument',
      ),
      ...violations(pure, /\bset(Timeout|Interval|Immediate)\b|\bqueueMicrotask\b/, 'timers belong to server/'),
      ...violations(pure, /\bMath\.random\b|\brandomBytes\b|\brandomUUID\b/, 'randomness comes in as an argument'),
      ...violations(pure, /\bprocess\.|\bconsole\./, 'the process and its output belong to server/'),
      ...violations(pure, /\basync\b|\bawait\b|\bPromise\b/, 'these rooms are synchronous'),
      ...pure
        .filter(({ path }) => path !== READS_CODE)
        .flatMap(({ path, text }) =>
          [
            ...text.matchAll(/from '(node:(?:fs|http|https|net|dgram|worker_threads|timers|os|child_process)[^']*)'/g),
          ].map((match) => `${path} imports ${match[1]} (files and messages come in through small interfaces)`),
        ),
    ]).toEqual([]);
  });

  test('the language stays plain: no any, no enums, no default exports, no suppressed checks', () => {
    expect([
      ...violations(spoken, /:\s*any\b|\bas any\b|<any>/, 'say the type'),
      ...violations(spoken, /^\s*(export\s+)?(const\s+)?enum\s/, 'use a union or constants'),
      ...violations(spoken, /^export default\b/, 'one name everywhere'),
      ...spoken.flatMap(({ path, text }) =>
        /@ts-(ignore|nocheck)/.test(text) ? [`${path}: suppressed type check`] : [],
      ),
    ]).toEqual([]);
  });

  test('nothing is left for later: no TODO, FIXME or XXX', () => {
    const marks = product.flatMap(({ path, text }) => (/\b(TODO|FIXME|XXX)\b/.test(text) ? [path] : []));
    expect(marks).toEqual([]);
  });

  test('the product names nothing outside its own tree', () => {
    const bad = product.flatMap(({ path, text }) => (/\.\.\/shared\b|\/work\//.test(text) ? [path] : []));
    expect(bad).toEqual([]);
  });
});
