/** Which systems are there, and which versions they are. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { packageVersion } from '../../server/package-version.ts';

export const SYSTEM_NAMES = ['starling', 'influxdb', 'victoria-metrics'] as const;
export type SystemName = (typeof SYSTEM_NAMES)[number];

export interface Program {
  readonly name: SystemName;
  readonly path: string;
  readonly version: string;
}

/** For tables: as people write them. */
export const TITLES: Readonly<Record<SystemName, string>> = {
  starling: 'Starling',
  influxdb: 'InfluxDB',
  'victoria-metrics': 'VictoriaMetrics',
};

export const STARLING_PROGRAM = fileURLToPath(new URL('../../server/cli/main.js', import.meta.url));

const PEERS: readonly { name: SystemName; command: string; versionFlag: string; packageName: RegExp }[] = [
  { name: 'influxdb', command: 'influxd', versionFlag: 'version', packageName: /^influxdb$/ },
  {
    name: 'victoria-metrics',
    command: 'victoria-metrics',
    versionFlag: '--version',
    packageName: /^victoria-?metrics$/,
  },
];

function findOnPath(command: string): string | null {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    if (folder !== '' && existsSync(join(folder, command))) return join(folder, command);
  }
  return null;
}

/** `victoriametrics (1.145.0+ds1-2) unstable; urgency=medium` -> `1.145.0`. */
export function versionInChangelog(text: string): string | null {
  return /^\S+ \((?:\d+:)?(\d+(?:\.\d+)+)/.exec(text)?.[1] ?? null;
}

/** Of the package that the program was installed or unpacked from. Debian's builds of some programs say no version. */
function versionOfPackage(path: string, packageName: RegExp): string | null {
  const documents = join(dirname(realpathSync(path)), '../share/doc');
  if (!existsSync(documents)) return null;
  for (const folder of readdirSync(documents).filter((name) => packageName.test(name))) {
    const changelog = join(documents, folder, 'changelog.Debian.gz');
    if (existsSync(changelog)) return versionInChangelog(gunzipSync(readFileSync(changelog)).toString('utf8'));
  }
  return null;
}

/** `InfluxDB v1.6.7~rc0 (git: unknown unknown)` -> `1.6.7~rc0`. */
export function versionInText(text: string): string | null {
  return /\bv?(\d+\.\d+\.\d+[^\s,;)]*)/.exec(text)?.[1] ?? null;
}

function versionOf(path: string, flag: string, packageName: RegExp): string {
  const { stdout, stderr } = spawnSync(path, [flag], { encoding: 'utf8', timeout: 10_000 });
  return versionInText(`${stdout ?? ''}${stderr ?? ''}`) ?? versionOfPackage(path, packageName) ?? '(version unknown)';
}

export interface FoundPrograms {
  readonly programs: readonly Program[];
  readonly absent: readonly SystemName[];
}

export function findPrograms(
  paths: Readonly<Partial<Record<SystemName, string>>>,
  only: readonly string[],
): FoundPrograms {
  const unknown = only.filter((name) => !(SYSTEM_NAMES as readonly string[]).includes(name));
  if (unknown.length > 0) throw new Error(`no system ${unknown.join(', ')} (known: ${SYSTEM_NAMES.join(', ')})`);
  const wanted = (name: SystemName) => only.length === 0 || only.includes(name);
  const programs: Program[] = [];
  const absent: SystemName[] = [];
  if (wanted('starling')) programs.push({ name: 'starling', path: STARLING_PROGRAM, version: packageVersion() });
  for (const { name, command, versionFlag, packageName } of PEERS) {
    if (!wanted(name)) continue;
    const path = paths[name] ?? findOnPath(command);
    if (path === null) absent.push(name);
    else if (!existsSync(path)) throw new Error(`${path} does not exist`);
    else programs.push({ name, path, version: versionOf(path, versionFlag, packageName) });
  }
  return { programs, absent };
}
