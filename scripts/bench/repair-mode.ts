/**
 * `npm run bench -- repair`: what repair costs between three processes that store a million rows: of equal shards, of one
 * row that is missing, of ten minutes' outage at 50,000 values/s, of 0.1 % missing here and there, of an empty disk. Then
 * idle passes over 1,000 shards, and how far the watermark lags while a shard is flooded.
 *
 * What is missing is missing for repair: of rows that an owner did not get while it was away, the outboxes are deleted
 * (but for the outage, which heals as it would in use). Passes run when they are asked for.
 */
import { rmSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { type DataSet, flatDigest, type Missing, merkleTree } from './digests.ts';
import { Generator } from './generator.ts';
import { createDatabase } from './measure.ts';
import type { BenchOptions, RepairCase } from './options.ts';
import { randomOf } from './random.ts';
import { RepairCluster, type RepairFigures } from './repair-cluster.ts';
import { floodLag, idlePasses } from './repair-idle.ts';
import { printTable } from './report.ts';
import { cpuOptions, INTERVAL_SECONDS, START_SECONDS } from './workloads.ts';

const HOSTS = 1000;
const ROUNDS = 1000;
const FIELDS = 10;
/** Ten minutes at 50,000 values/s. */
const OUTAGE_ROUNDS = 3000;
const SCATTERED_SHARE = 0.001;
const SCATTERED_TURNS = 5;
const AWAY = 2;
const CLOSED_MS = 3_000;
/** Cases of one cluster, one after the other. */
const STORED: readonly RepairCase[] = ['equal', 'row', 'scattered', 'outage', 'disk'];
/** Longer than the benchmark: passes run when they are asked for. */
const ON_DEMAND = ['--pass-interval', '1h', '--outbox-bytes-max', '8GiB'];

interface Case {
  readonly name: string;
  readonly goal: string;
  readonly missing: Missing;
  readonly figures: RepairFigures;
  readonly note: string;
}

export async function runRepair(options: BenchOptions): Promise<void> {
  if (STORED.some((name) => options.cases.has(name))) await runStored(options);
  const rows: string[][] = [];
  if (options.cases.has('idle')) rows.push(...(await idlePasses(options)));
  if (options.cases.has('flood')) rows.push(...(await floodLag(options)));
  const title = 'Repair beside other work';
  if (rows.length > 0) console.log(printTable({ title, columns: ['', 'goal', 'Starling'], rows }, options.isMarkdown));
}

async function runStored(options: BenchOptions): Promise<void> {
  const cluster = new RepairCluster(ON_DEMAND);
  const generator = new Generator();
  try {
    const bench = new RepairBench(cluster, generator, options);
    await bench.run();
    console.log(bench.table(options.isMarkdown));
  } finally {
    await generator.end();
    await cluster.system.remove();
  }
}

class RepairBench {
  readonly #cluster: RepairCluster;
  readonly #generator: Generator;
  readonly #options: BenchOptions;
  readonly #cases: Case[] = [];
  readonly #random: () => number;
  #rows = 0;
  #bytesPerValue = 0;
  #seconds = START_SECONDS;

  constructor(cluster: RepairCluster, generator: Generator, options: BenchOptions) {
    this.#cluster = cluster;
    this.#generator = generator;
    this.#options = options;
    this.#random = randomOf(options.seed);
  }

  get #hosts(): number {
    return HOSTS;
  }

  async run(): Promise<void> {
    const { system } = this.#cluster;
    const rounds = Math.max(SCATTERED_TURNS, Math.round(ROUNDS * this.#options.scale));
    await system.start();
    await createDatabase(system, system.ports.length);
    await this.#load(rounds, system.ports);
    // Until the last rows lie below every cutoff: equal are shards in which nothing has changed since they were proven.
    await wait(CLOSED_MS);
    await this.#cluster.repair();
    const { cases, scale } = this.#options;
    if (cases.has('equal')) this.#note('equal', '<= 100 bytes a hop and shard', none(), await this.#cluster.repair());
    if (cases.has('row')) await this.#missing('one row missing', '<= 4 round trips, <= 10 KB', 1, 1);
    if (cases.has('scattered')) {
      const rows = Math.max(SCATTERED_TURNS, Math.round(this.#rows * SCATTERED_SHARE));
      await this.#missing('0.1 % scattered', '', rows, SCATTERED_TURNS);
    }
    if (cases.has('outage')) await this.#outage(Math.max(1, Math.round(OUTAGE_ROUNDS * scale)));
    if (cases.has('disk')) await this.#emptyDisk();
  }

  table(isMarkdown: boolean): string {
    const data: DataSet = {
      series: this.#hosts,
      fields: FIELDS,
      rowsPerSeries: this.#rows / this.#hosts,
      keyBytes: 130,
      bytesPerValue: this.#bytesPerValue,
    };
    const rows = this.#cases.map(({ name, goal, missing, figures, note }) => {
      const { questions, hops, shards, bytes, seconds } = figures;
      const costs = [flatDigest(data, missing), merkleTree(data, missing)];
      return [
        name,
        goal,
        `${questions} + ${hops} hops`,
        amount(bytes),
        hops === 0 ? '' : (bytes / hops).toFixed(0),
        seconds.toFixed(2),
        missing.rows === 0 ? '' : (missing.rows / Math.max(seconds, 0.001)).toFixed(0),
        (bytes / 1e6 / Math.max(seconds, 0.001)).toFixed(1),
        `${note}${note === '' ? '' : ', '}${shards} shards`,
        ...costs.map(({ digestBytes, movedBytes }) => `${amount(2 * digestBytes)} + ${amount(movedBytes)}`),
      ];
    });
    const columns = [
      '',
      'goal',
      'round trips',
      'bytes',
      'bytes a hop',
      's',
      'rows/s',
      'MB/s',
      '',
      'flat digest',
      'Merkle',
    ];
    const title = `Repair of ${this.#rows} rows of ${FIELDS} values on three nodes`;
    return printTable({ title, columns, rows }, isMarkdown);
  }

  #note(name: string, goal: string, missing: Missing, figures: RepairFigures, note = ''): void {
    this.#cases.push({ name, goal, missing, figures, note });
    console.error(`${name}: ${JSON.stringify(figures)} ${note}`);
  }

  /** Rounds of all hosts, after those before; returns when every node has them, where all are written to. */
  async #load(rounds: number, ports: readonly number[]): Promise<void> {
    const prepared = {
      ...cpuOptions(this.#options.seed, 1, { hosts: this.#hosts, rounds }),
      startSeconds: this.#seconds,
    };
    const summary = await this.#generator.prepare(prepared);
    await this.#generator.send(ports);
    this.#rows += summary.rows;
    this.#seconds += rounds * INTERVAL_SECONDS;
    if (ports.length === this.#cluster.system.ports.length) await this.#cluster.delivered();
  }

  /** Rows between those that are there, each in a batch of its own, which one node and the outboxes do not have. */
  async #missing(name: string, goal: string, rows: number, turns: number): Promise<void> {
    const { system } = this.#cluster;
    const each = Math.ceil(rows / turns);
    for (let turn = 0; turn < turns; turn++) {
      await system.endMember(AWAY, 'SIGKILL');
      const spanSeconds = this.#seconds - START_SECONDS;
      const lines = Array.from({ length: each }, () => {
        const second =
          START_SECONDS + 1 + INTERVAL_SECONDS * Math.floor((this.#random() * spanSeconds) / INTERVAL_SECONDS);
        return `cpu,hostname=host_${Math.floor(this.#random() * this.#hosts)} usage_user=${turn + this.#random()} ${second}`;
      });
      await this.#cluster.writeRows(0, lines);
      await this.#cluster.loseOutboxes();
      // So that what is missing lies between what is not, in the order of arrival as well.
      if (turn < turns - 1) await this.#load(1, system.ports);
    }
    this.#note(name, goal, { rows: each * turns, isStretch: false }, await this.#cluster.repair());
    await this.#cluster.replicated();
  }

  async #outage(rounds: number): Promise<void> {
    const { system } = this.#cluster;
    await system.endMember(AWAY, 'SIGKILL');
    await this.#load(rounds, system.ports.slice(0, AWAY));
    const payload = await this.#cluster.outboxBytes();
    const sent = await this.#sentWithoutAway();
    await system.startMember(AWAY);
    const started = performance.now();
    await this.#cluster.replicated();
    const seconds = (performance.now() - started) / 1000;
    const bytes = (await this.#cluster.sentBytes()) - sent;
    const rows = rounds * this.#hosts;
    const twice = await this.#cluster.counter('frames_known');
    const note = `${((rows * FIELDS) / 1e6 / seconds).toFixed(2)} M values/s, ${(bytes / payload).toFixed(2)} x the payload, ${twice} batches came twice`;
    const figures = { questions: 0, hops: 0, shards: 4, bytes, rows, seconds };
    this.#note('outage, through outboxes', '>= 1 M values/s, <= 1.2 x', { rows, isStretch: true }, figures, note);
    await this.#cluster.repair();
  }

  /** The links of the nodes that have stayed; the one that comes back begins at nothing. */
  async #sentWithoutAway(): Promise<number> {
    let sum = 0;
    for (let index = 0; index < AWAY; index++) {
      const page = await this.#cluster.get<{ members: { link: { sentBytes: number } | null }[] }>(
        index,
        '/api/cluster',
      );
      sum += page.members.reduce((total, { link }) => total + (link?.sentBytes ?? 0), 0);
    }
    return sum;
  }

  async #emptyDisk(): Promise<void> {
    const { system } = this.#cluster;
    await system.endMember(AWAY, 'SIGKILL');
    this.#bytesPerValue = (await this.#cluster.fileBytes(0)) / (this.#rows * FIELDS);
    rmSync(system.dataOf(AWAY), { recursive: true, force: true });
    await system.startMember(AWAY);
    await this.#cluster.untilTogether();
    const before = await this.#cluster.counter('repair_bytes_sent');
    const questions = await this.#cluster.counter('repair_questions');
    const started = performance.now();
    const shards = await this.#cluster.shardCount(0);
    const copying = this.#cluster.copying(AWAY, shards);
    const [{ hops }, copies] = await Promise.all([this.#cluster.repair(), copying]);
    await this.#cluster.replicated();
    const seconds = (performance.now() - started) / 1000;
    const figures = {
      questions: (await this.#cluster.counter('repair_questions')) - questions,
      hops,
      shards,
      bytes: (await this.#cluster.counter('repair_bytes_sent')) - before,
      rows: this.#rows,
      seconds,
    };
    const { bytes, seconds: copyingFor } = copies;
    const note = `copies of ${(bytes / 1e6).toFixed(1)} MB in ${copyingFor.toFixed(2)} s, ${(bytes / 1e6 / copyingFor).toFixed(1)} MB/s`;
    this.#note('empty disk', 'copies at >= 50 MB/s', { rows: this.#rows, isStretch: true }, figures, note);
  }
}

function none(): Missing {
  return { rows: 0, isStretch: false };
}

function amount(bytes: number): string {
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`;
  return bytes >= 1e4 ? `${(bytes / 1e3).toFixed(0)} KB` : `${bytes.toFixed(0)} B`;
}
