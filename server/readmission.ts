/**
 * `serve --readmit`: the data directory of a member that the cluster has removed becomes that of a fresh node (protocol
 * rule 23: a new number, and empty shards). What was in it is moved to `quarantine/<old number>/`, where `starling quarantine`
 * finds what only that member had.
 *
 * A live member's disk must not be set aside: a member that `--join` names has to say that the number was removed. Then
 * `quarantine/moving` names the number, durably, everything is renamed, and the mark is removed. A crash in between leaves the
 * mark, and every start, with the flag or without, first goes on with what is left to be moved.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { request as undiciRequest } from 'undici';
import type { NodeNumber } from '../shards/version.ts';
import { type NodeFile, readNodeFile, StartError, syncDirectory, writeDurably } from './node-identity.ts';

const QUARANTINE = 'quarantine';
const MARK = 'moving';
const ANSWER_MS_MAX = 5_000;

interface MemberJson {
  readonly number: NodeNumber;
  readonly name: string;
  readonly state: string;
}

/** Nothing to do for a fresh directory. Throws StartError when the number was not removed, or nobody says so. */
export async function readmit(directory: string, members: readonly string[], log: Logger): Promise<void> {
  finishReadmission(directory);
  const file = readNodeFile(directory);
  if (file === null || file.clusterId === null) return;
  await checkRemoved(file, members);
  log.info(
    { number: file.number, to: join(directory, QUARANTINE, file.number) },
    'removed from the cluster: set aside',
  );
  mkdirSync(join(directory, QUARANTINE), { recursive: true });
  syncDirectory(directory);
  writeDurably(join(directory, QUARANTINE, MARK), `${file.number}\n`);
}

/** Moves what a readmission has begun to move; to be called before anything else is read from the directory. */
export function finishReadmission(directory: string): void {
  const mark = join(directory, QUARANTINE, MARK);
  if (!existsSync(mark)) return;
  const number = readFileSync(mark, 'utf8').trim();
  if (!/^[0-9a-f]{16}$/.test(number)) throw new StartError('data-directory', `${mark} is damaged: it names no member`);
  const aside = join(directory, QUARANTINE, number);
  mkdirSync(aside, { recursive: true });
  syncDirectory(join(directory, QUARANTINE));
  for (const name of readdirSync(directory)) {
    // The lock is held; `shards` was made anew, and empty, by whoever took it after a crash.
    if (name === QUARANTINE || name.startsWith('lock')) continue;
    if (name === 'shards' && existsSync(join(aside, name)) && readdirSync(join(directory, name)).length === 0) continue;
    renameSync(join(directory, name), join(aside, name));
  }
  syncDirectory(aside);
  syncDirectory(directory);
  rmSync(mark);
  syncDirectory(join(directory, QUARANTINE));
  mkdirSync(join(directory, 'shards'), { recursive: true });
}

/** Numbers that are set aside in a data directory. */
export function quarantined(directory: string): NodeNumber[] {
  const path = join(directory, QUARANTINE);
  if (!existsSync(path)) return [];
  return readdirSync(path).filter((name) => /^[0-9a-f]{16}$/.test(name));
}

export function quarantinePath(directory: string, number: NodeNumber): string {
  return join(directory, QUARANTINE, number);
}

/** One member that says so suffices: removal is final. */
async function checkRemoved(file: NodeFile, members: readonly string[]): Promise<void> {
  const who = `node "${file.name}" (${file.number})`;
  if (members.length === 0)
    throw new StartError('readmit', `--readmit: name members with --join, which say that ${who} was removed`);
  const problems: string[] = [];
  for (const address of members) {
    const cluster = await clusterAt(address);
    if (typeof cluster === 'string') {
      problems.push(`${address}: ${cluster}`);
      continue;
    }
    const state = cluster.members.find(({ number }) => number === file.number)?.state;
    if (cluster.clusterId !== file.clusterId) problems.push(`${address} belongs to another cluster`);
    else if (state === 'removed') return;
    else problems.push(`${address} says that it is ${state ?? 'no member that it knows'}`);
  }
  throw new StartError(
    'readmit',
    `--readmit: nobody says that ${who} was removed from its cluster (${problems.join('; ')}): start it without --readmit, or give it up first (starling cluster remove ${file.name} --force)`,
  );
}

async function clusterAt(address: string): Promise<{ clusterId: string | null; members: MemberJson[] } | string> {
  try {
    const response = await undiciRequest(new URL('/api/cluster', address), {
      headersTimeout: ANSWER_MS_MAX,
      bodyTimeout: ANSWER_MS_MAX,
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    });
    const answer = (await response.body.json()) as { clusterId?: string | null; members?: MemberJson[] };
    if (response.statusCode !== 200 || !Array.isArray(answer.members)) return `answered ${response.statusCode}`;
    return { clusterId: answer.clusterId ?? null, members: answer.members };
  } catch (error) {
    return (error as Error).message;
  }
}
