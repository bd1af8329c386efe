/**
 * `npm start`: three nodes on 127.0.0.1:8086, 8087 and 8088 with data under ./data, an agent that pushes this machine's
 * metrics, one alert rule, and a few lines that say what to try. Ctrl-C stops everything it started; the next start goes
 * on with the same data.
 *
 * On a terminal it also takes commands (`kill 2`, `start 2`, `wipe 3`, `status`), so that breaking and healing can be
 * watched without hunting for process ids.
 */
import { mkdirSync, rmSync, statfsSync } from 'node:fs';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer } from 'node:net';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Child } from './demo/child.ts';
import { demoRule, describeAlert, WELCOME } from './demo/text.ts';

const FREE_BYTES_MINIMUM = 200e6;
const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;
const DATABASE = 'machine';

const { values: flags } = parseArgs({
  options: {
    data: { type: 'string', default: 'data' },
    ports: { type: 'string', default: '8086,8087,8088' },
    'pass-interval': { type: 'string', default: '5s' },
  },
});
const dataDirectory = resolve(flags.data);
const ports = flags.ports.split(',').map(Number);
const urls = ports.map((port) => `http://127.0.0.1:${port}`);
const program = fileURLToPath(new URL('../server/cli/main.js', import.meta.url));

function fail(line: string): never {
  console.error(`npm start: ${line}`);
  process.exit(1);
}

async function checkPort(port: number): Promise<void> {
  const probe = createServer();
  await new Promise<void>((done) => {
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') fail(`cannot listen on port ${port}: ${error.message}`);
      fail(
        `port ${port} is in use (another Starling or an InfluxDB?): stop that program, or give --ports 9086,9087,9088 after "npm start --"`,
      );
    });
    probe.listen(port, '127.0.0.1', () => probe.close(() => done()));
  });
}

function checkDisk(): void {
  try {
    mkdirSync(dataDirectory, { recursive: true });
  } catch (error) {
    fail(`cannot make ${dataDirectory}: ${(error as Error).message}`);
  }
  const { bavail, bsize } = statfsSync(dataDirectory);
  if (bavail * bsize < FREE_BYTES_MINIMUM)
    fail(
      `only ${Math.round((bavail * bsize) / 1e6)} MB free for ${dataDirectory}; ${FREE_BYTES_MINIMUM / 1e6} MB are needed`,
    );
}

function nodeArguments(index: number): string[] {
  const others = urls.filter((_, other) => other !== index);
  return [
    'serve',
    ...['--node', `n${index + 1}`],
    ...['--listen', `127.0.0.1:${ports[index]}`],
    ...['--data', resolve(dataDirectory, `n${index + 1}`)],
    ...['--join', others.join(',')],
    ...['--pass-interval', flags['pass-interval']],
  ];
}

const nodes = ports.map(
  (_, index) => new Child(`n${index + 1}`, program, nodeArguments(index), resolve(dataDirectory, `n${index + 1}.log`)),
);
const agent = new Child(
  'agent',
  fileURLToPath(new URL('./agent.js', import.meta.url)),
  ['--url', urls.join(','), '--db', DATABASE],
  resolve(dataDirectory, 'agent.log'),
);

async function isHealthy(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(2000) });
    await response.arrayBuffer();
    return response.status === 200;
  } catch {
    return false;
  }
}

async function waitUntilReady(): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (const [index, url] of urls.entries()) {
    while (!(await isHealthy(url))) {
      const node = nodes[index]!;
      if (!node.running) fail(`${node.name} ended while starting: ${node.lastLine() || `see ${node.logFile}`}`);
      if (Date.now() > deadline)
        fail(`${node.name} is not ready after ${READY_TIMEOUT_MS / 1000} s: see ${node.logFile}`);
      await wait(100);
    }
  }
}

async function post(path: string, method: string, body?: object): Promise<void> {
  const response = await fetch(`${urls[0]}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await response.text();
  if (response.status > 299) fail(`${method} ${path} answered ${response.status}: ${text}`);
}

/** The rule's webhook: prints what comes in. */
async function startReceiver(): Promise<Server> {
  const server = createHttpServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      for (const line of describeAlert(body)) console.log(line);
      response.end();
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return server;
}

async function command(line: string): Promise<void> {
  const [verb, which] = line.trim().split(/\s+/);
  if (verb === undefined || verb === '') return;
  if (verb === 'quit' || verb === 'exit') return stop(0);
  if (verb === 'status') {
    const url = (await Promise.all(urls.map(isHealthy))).indexOf(true);
    if (url < 0) return console.log('no node answers');
    const cluster = new Child('status', program, ['cluster', '--url', urls[url]!], null);
    cluster.start();
    await cluster.ended();
    return;
  }
  const node = nodes[Number(which) - 1];
  if (node === undefined || !['kill', 'start', 'wipe'].includes(verb)) {
    console.log('commands: kill N, start N, wipe N (stop, delete its data directory, start), status, quit');
    return;
  }
  if (verb === 'start' && node.running) return console.log(`${node.name} is running`);
  if (verb !== 'start' && node.running) {
    node.signal('SIGKILL');
    await node.ended();
  }
  if (verb === 'wipe') rmSync(resolve(dataDirectory, node.name), { recursive: true, force: true });
  if (verb !== 'kill') node.start();
  console.log(verb === 'kill' ? `${node.name} killed; "start ${which}" brings it back` : `${node.name} started`);
}

let stopping = false;
async function stop(code: number): Promise<void> {
  if (stopping) return;
  stopping = true;
  receiver.close();
  const running = [agent, ...nodes].filter((child) => child.running);
  for (const child of running) child.signal('SIGTERM');
  const patience = wait(STOP_TIMEOUT_MS, 'late' as const, { ref: false });
  if ((await Promise.race([Promise.all(running.map((child) => child.ended())), patience])) === 'late') {
    for (const child of running) if (child.running) child.signal('SIGKILL');
    await Promise.all(running.map((child) => child.ended()));
  }
  process.exit(code);
}

for (const port of ports) await checkPort(port);
checkDisk();
const receiver = await startReceiver();
const { port: receiverPort } = receiver.address() as { port: number };
process.on('SIGINT', () => void stop(0));
process.on('SIGTERM', () => void stop(0));

for (const node of nodes) {
  node.onUnexpectedEnd = (how) => {
    if (!stopping)
      console.log(`${node.name} ended (${how}); type "start ${node.name.slice(1)}", or run: ${node.commandLine()}`);
  };
  node.start();
}
await waitUntilReady();
await post(`/query?q=${encodeURIComponent(`CREATE DATABASE ${DATABASE}`)}`, 'POST');
await post('/api/rules/cpu-busy', 'PUT', demoRule(DATABASE, receiverPort));
agent.start();
console.log(
  WELCOME(
    urls,
    nodes.map((node) => node.pid!),
    DATABASE,
    process.stdin.isTTY,
  ),
);

if (process.stdin.isTTY) {
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: '' });
  lines.on('line', (line) => void command(line).catch((error: Error) => console.log(error.message)));
  lines.on('SIGINT', () => void stop(0));
}
