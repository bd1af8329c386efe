// Brings a fresh clone to the state in which `npx starling`, `npm start` and `npm test` run: dependencies and build.
//
// It uses nothing but Node itself, does only what is needed (both steps are skipped when their inputs are unchanged),
// and turns the usual obstacles into one clear line each: an old Node, a full disk, a missing compiler, no network.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const NODE_MINIMUM = [20, 19];
const FREE_BYTES_MINIMUM = 600e6;
const BUILD_INPUTS = [
  'server',
  'shards',
  'repair',
  'scripts',
  'tsconfig.json',
  'tsconfig.build.json',
  'package-lock.json',
];

function fail(line) {
  console.error(`setup: ${line}`);
  process.exit(1);
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > NODE_MINIMUM[0] || (major === NODE_MINIMUM[0] && minor >= NODE_MINIMUM[1])) return;
  fail(`Node ${NODE_MINIMUM.join('.')} or newer is needed, this is ${process.versions.node}`);
}

function checkDisk() {
  const { bavail, bsize } = statfsSync(root);
  const free = bavail * bsize;
  if (free >= FREE_BYTES_MINIMUM) return;
  fail(`only ${Math.round(free / 1e6)} MB are free on the disk of ${root}; ${FREE_BYTES_MINIMUM / 1e6} MB are needed`);
}

function hashOf(paths) {
  const hash = createHash('sha256');
  const visit = (path) => {
    const entries = readdirSync(join(root, path), { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      const child = `${path}/${entry.name}`;
      if (entry.isDirectory()) visit(child);
      else
        hash
          .update(child)
          .update('\0')
          .update(readFileSync(join(root, child)))
          .update('\0');
    }
  };
  for (const path of paths) {
    if (!existsSync(join(root, path))) continue;
    try {
      visit(path);
    } catch (error) {
      if (error.code !== 'ENOTDIR') throw error;
      hash.update(path).update(readFileSync(join(root, path)));
    }
  }
  return hash.digest('hex');
}

function stampIs(file, value) {
  return existsSync(file) && readFileSync(file, 'utf8') === value;
}

function run(command, args) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', shell: process.platform === 'win32' });
  return {
    ok: result.status === 0,
    output: `${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}`,
  };
}

/** One line of explanation for a failed `npm ci`. */
function installFailure(output) {
  if (/ENOSPC|no space left/i.test(output)) return 'the disk is full';
  if (
    /gyp ERR!.*(not found: make|`make`)|make: (not found|command not found)/i.test(output) ||
    /g\+\+.*(not found|No such)/i.test(output)
  )
    return 'better-sqlite3 must be compiled here and there is no C++ compiler: install g++, make and python3 (Debian: apt-get install -y g++ make python3)';
  if (/find Python|python.*not found/i.test(output))
    return 'better-sqlite3 must be compiled here and there is no python3 (Debian: apt-get install -y g++ make python3)';
  if (/ENOTFOUND|ETIMEDOUT|ECONNREFUSED|ECONNRESET|EAI_AGAIN/.test(output)) return 'the npm registry cannot be reached';
  return null;
}

/** They belong to another clone, which `npm ci` here would leave without any. */
function dependenciesAreLinked() {
  return lstatSync(join(root, 'node_modules'), { throwIfNoEntry: false })?.isSymbolicLink() === true;
}

function install() {
  if (dependenciesAreLinked()) return;
  const stampFile = join(root, 'node_modules', '.starling-installed');
  const stamp = `${hashOf(['package-lock.json', 'package.json'])} ${process.versions.modules} ${process.platform} ${process.arch}`;
  if (stampIs(stampFile, stamp)) return;
  console.error('setup: installing dependencies (npm ci; about a minute where better-sqlite3 is compiled)');
  const { ok, output } = run('npm', ['ci', '--no-fund', '--no-audit']);
  if (!ok) {
    const reason = installFailure(output);
    if (reason === null) console.error(output.trim().split('\n').slice(-30).join('\n'));
    fail(`npm ci failed: ${reason ?? 'see the lines above'}`);
  }
  const probe = run(process.execPath, ['-e', 'new (require("better-sqlite3"))(":memory:").close()']);
  if (!probe.ok) {
    console.error(probe.output.trim().split('\n').slice(0, 5).join('\n'));
    fail(
      'better-sqlite3 was installed but does not load: install g++, make and python3, remove node_modules, and try again',
    );
  }
  writeFileSync(stampFile, stamp);
}

function build() {
  const dist = join(root, 'dist');
  const stampFile = join(dist, '.starling-built');
  const stamp = hashOf(BUILD_INPUTS);
  if (stampIs(stampFile, stamp)) return;
  console.error('setup: building');
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist);
  const steps = [
    [join(root, 'scripts/kernels.mjs')],
    [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'],
  ];
  for (const step of steps) {
    const { ok, output } = run(process.execPath, step);
    if (ok) continue;
    console.error(output.trim());
    fail('the build failed: see the lines above');
  }
  writeFileSync(stampFile, stamp);
}

/**
 * `npx starling` finds it there. Otherwise npx links it into a cache of its own, and a first call before there was a build leaves
 * a cache without it, for good.
 */
function link() {
  if (process.platform === 'win32') return;
  const program = join(root, 'dist/server/cli/main.js');
  const at = join(root, 'node_modules/.bin/starling');
  chmodSync(program, 0o755);
  if (existsSync(at)) return;
  // One that leads nowhere does not exist, and is in the way.
  rmSync(at, { force: true });
  symlinkSync('../../dist/server/cli/main.js', at);
}

checkNode();
checkDisk();
install();
build();
link();
