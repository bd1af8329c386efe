/**
 * Sends mutated requests to a node and says what is wrong with an answer: none because the process has ended, a 500, no JSON or
 * CSV, or a thread that worked longer than it may for one request. Time is that of threads' processors, so that a busy machine raises no
 * alarm, and one that is over is measured again: what is slow is slow each time.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { request as undiciRequest } from 'undici';
import type { TestNode } from '../../test/process/harness.ts';
import { type FuzzRequest, requestOf } from './requests.ts';

const MS_MAX = 100;
const MS_PER_TICK = 10;
const MEASURED = 3;
const RAW_MS_MAX = 5_000;
/** Statements of the run may drop what others ask for. */
const DATA_EVERY = 500;

export interface Failure {
  readonly number: number;
  readonly problem: string;
  /** Shortened as far as it still fails. */
  readonly request: FuzzRequest;
}

export async function fuzz(node: TestNode, seed: number, from: number, to: number): Promise<Failure | null> {
  for (let number = from; number < to; number++) {
    if ((number - from) % DATA_EVERY === 0) await prepare(node);
    const request = requestOf(seed, number);
    const problem = await problemOf(node, request);
    if (problem !== null) return { number, problem, request: await reduced(node, request) };
  }
  return null;
}

async function prepare(node: TestNode): Promise<void> {
  await node.query('CREATE DATABASE d; CREATE DATABASE w');
  const lines = Array.from(
    { length: 300 },
    (_, i) => `m,host=h${i % 5} v=${i / 7},i=${i}i,s="text x${i}",b=${i % 2 === 0} ${i}000000000`,
  );
  await node.write('d', lines.join('\n'));
}

async function problemOf(node: TestNode, request: FuzzRequest): Promise<string | null> {
  let least = Number.POSITIVE_INFINITY;
  for (let n = 0; n < MEASURED; n++) {
    const before = threadTimes(node.pid!);
    const began = performance.now();
    let problem: string | null;
    try {
      problem = request.raw === null ? await send(node, request) : await sendRaw(node, request.raw);
    } catch (error) {
      problem = `no answer: ${(error as Error).message}`;
    }
    if (!node.running) return `the process ended: ${node.stderr.slice(-500)}`;
    if (problem !== null) return problem;
    // Whoever worked so long took at least as long.
    if (performance.now() - began <= MS_MAX) return null;
    const used = [...threadTimes(node.pid!)].map(([thread, ticks]) => ticks - (before.get(thread) ?? 0));
    least = Math.min(least, Math.max(...used) * MS_PER_TICK);
    if (least <= MS_MAX) return null;
  }
  return `a thread worked ${least} ms for it`;
}

async function send(node: TestNode, { path, method, headers, body }: FuzzRequest): Promise<string | null> {
  const answer = await undiciRequest(node.url + path, { method, headers, body });
  const text = await answer.body.text();
  const { statusCode: status } = answer;
  if (status >= 500 && status !== 503) return `status ${status}: ${text.slice(0, 200)}`;
  if (text === '' || String(answer.headers['content-type']).includes('csv')) return null;
  try {
    // Chunks are documents, one a line.
    if (path.includes('chunked')) for (const line of text.trimEnd().split('\n')) JSON.parse(line);
    else JSON.parse(text);
  } catch {
    if (!path.includes('pretty')) return `no JSON: ${text.slice(0, 200)}`;
  }
  return null;
}

function sendRaw(node: TestNode, bytes: Buffer): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(node.url).port), '127.0.0.1', () => socket.end(bytes));
    let text = '';
    socket.setEncoding('latin1').on('data', (piece: string) => {
      text += piece;
    });
    // A body that has not come is waited for by right.
    socket.setTimeout(RAW_MS_MAX, () => socket.destroy());
    socket.on('error', () => {});
    socket.on('close', () => resolve(/^HTTP\/1\.1 50[0-24-9]/.test(text) ? text.slice(0, 200) : null));
  });
}

/** Ticks of each thread so far. */
function threadTimes(pid: number): Map<string, number> {
  const times = new Map<string, number>();
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      times.set(thread, Number(fields[11]) + Number(fields[12]));
    }
  } catch {
    // It has ended, which is noticed elsewhere, or this system has no such files.
  }
  return times;
}

/** Pieces of halving length are left out as long as it still fails. */
async function reduced(node: TestNode, request: FuzzRequest): Promise<FuzzRequest> {
  let best = request;
  const fails = async (candidate: FuzzRequest): Promise<boolean> => {
    if (!node.running) await (await node.start()).ready();
    await prepare(node);
    return (await problemOf(node, candidate)) !== null;
  };
  const textOf = ({ path }: FuzzRequest): string => new URLSearchParams(path.split('?')[1]).get('q') ?? '';
  const withText = (text: string): FuzzRequest => {
    const [door, query] = best.path.split('?');
    const fields = new URLSearchParams(query);
    fields.set('q', text);
    return { ...best, path: `${door}?${fields}` };
  };
  for (let length = textOf(best).length >> 1; length > 0; length >>= 1)
    for (let at = 0; at < textOf(best).length; ) {
      const text = textOf(best);
      const shorter = withText(text.slice(0, at) + text.slice(at + length));
      if (await fails(shorter)) best = shorter;
      else at += length;
    }
  return best;
}
