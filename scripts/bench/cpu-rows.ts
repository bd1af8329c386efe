/**
 * `cpu` rows in the manner of the Time Series Benchmark Suite: hosts with 10 tags that report 10 fields, one row each
 * per round; and the same with rows that come late or are written a second time.
 *
 * A row written again must reach every system after the first one, or the systems could rightly disagree about which
 * of the two is the newer. So it comes at least `apartRows` rows later, and the summary tells the sender how far ahead
 * of the oldest unacknowledged body it may be.
 */
import { randomOf } from './random.ts';
import { RequestWriter } from './requests.ts';
import { firstState, writeNext } from './series-values.ts';
import type { CpuShape, FieldTruth, Workload, WorkloadOptions } from './workloads.ts';

export const FIELDS = [
  'usage_user',
  'usage_system',
  'usage_idle',
  'usage_nice',
  'usage_iowait',
  'usage_irq',
  'usage_softirq',
  'usage_steal',
  'usage_guest',
  'usage_guest_nice',
] as const;

const REGIONS = [
  'us-east-1',
  'us-west-1',
  'us-west-2',
  'eu-west-1',
  'eu-central-1',
  'ap-southeast-1',
  'ap-northeast-1',
];
const SYSTEMS = ['Ubuntu15.10', 'Ubuntu16.10', 'Ubuntu16.04LTS'];
const TEAMS = ['SF', 'NYC', 'LON', 'CHI'];
const ENVIRONMENTS = ['production', 'staging', 'test'];
const LINE_BYTES_MAX = 700;
const FIELD_PREFIXES = FIELDS.map((field, index) => Buffer.from(`${index === 0 ? ' ' : ','}${field}=`));

function hostHeads(hosts: number, random: () => number): Buffer[] {
  const pick = (list: readonly string[]) => list[Math.floor(random() * list.length)]!;
  return Array.from({ length: hosts }, (_, host) => {
    const region = pick(REGIONS);
    return Buffer.from(
      `cpu,hostname=host_${host},region=${region},datacenter=${region}${'abc'[Math.floor(random() * 3)]},rack=${Math.floor(random() * 100)},` +
        `os=${pick(SYSTEMS)},arch=${random() < 0.5 ? 'x64' : 'x86'},team=${pick(TEAMS)},service=${Math.floor(random() * 20)},` +
        `service_version=${Math.floor(random() * 2)},service_environment=${pick(ENVIRONMENTS)}`,
    );
  });
}

/** A row that is sent in a later round than its own. */
interface HeldRow {
  /** Series and fields, without the time. */
  readonly line: Buffer;
  readonly seconds: number;
}

type CpuOptions = WorkloadOptions & CpuShape;

class CpuRows {
  readonly out: RequestWriter;
  readonly truth: FieldTruth[];
  readonly #options: CpuOptions;
  readonly #random: () => number;
  readonly #heads: readonly Buffer[];
  readonly #state: Float64Array;
  readonly #written = new Float64Array(FIELDS.length);

  constructor(options: CpuOptions) {
    this.#options = options;
    this.#random = randomOf(options.seed);
    this.out = new RequestWriter(options.rowsPerBody, LINE_BYTES_MAX);
    this.#heads = hostHeads(options.hosts, this.#random);
    this.#state = new Float64Array(options.hosts * FIELDS.length);
    for (let at = 0; at < this.#state.length; at++)
      this.#state[at] = firstState(options.kinds[at % FIELDS.length]!, this.#random);
    this.truth = FIELDS.map((field) => ({
      measurement: 'cpu',
      field,
      count: 0,
      sum: 0,
      writtenCount: 0,
      writtenSum: 0,
    }));
  }

  /** Writes one row without its time stamp and enters it in the truth, in place of the row before it if that is so. */
  row(host: number, replaced: Float64Array | null): void {
    const { out, truth } = this;
    const { kinds } = this.#options;
    out.copy(this.#heads[host]!);
    for (let field = 0; field < FIELDS.length; field++) {
      out.copy(FIELD_PREFIXES[field]!);
      const value = writeNext(kinds[field]!, this.#state, host * FIELDS.length + field, this.#random, out);
      this.#written[field] = value;
      const found = truth[field]!;
      found.writtenCount++;
      found.writtenSum += value;
      found.sum += replaced === null ? value : value - replaced[field]!;
      if (replaced === null) found.count++;
    }
  }

  /** The values of the row that was written last. */
  written(): Float64Array {
    return this.#written.slice();
  }

  /** Takes the row that was just written out of the stream, to be sent later. */
  takeBack(start: number, seconds: number): HeldRow {
    const line = Buffer.from(this.out.bytes.subarray(start, this.out.at));
    this.out.at = start;
    return { line, seconds };
  }
}

export function makeCpuRequests(options: CpuOptions): Workload {
  const { hosts, rounds, rowsPerBody, connections, intervalSeconds, startSeconds } = options;
  const rows = new CpuRows(options);
  const { out } = rows;
  const held: HeldRow[][] = [];
  const hold = (round: number, row: HeldRow) => {
    held[round] ??= [];
    held[round].push(row);
  };
  const draw = randomOf(options.seed + 7919);
  const apartRows = Math.max(Math.floor((hosts * rounds) / 8), (connections + 1) * rowsPerBody);
  // While late rows are still to come, a round sends fewer rows than there are hosts.
  const apartRounds = Math.ceil(apartRows / (hosts * (1 - options.lateShare)));
  const lateRoundsMax = Math.floor(options.lateSecondsMax / intervalSeconds);
  const rewrittenChance = apartRounds < rounds - 1 ? (options.rewrittenShare * rounds) / (rounds - 1 - apartRounds) : 0;
  let rewritten = 0;

  for (let round = 0; round < rounds; round++) {
    const seconds = startSeconds + round * intervalSeconds;
    for (let host = 0; host < hosts; host++) {
      const start = out.at;
      rows.row(host, null);
      const isLate = options.lateShare > 0 && draw() < options.lateShare;
      const arrival = isLate ? round + 1 + Math.floor(draw() * lateRoundsMax) : round;
      const room = rounds - 1 - (arrival + apartRounds);
      const isRewritten = room > 0 && draw() < rewrittenChance;
      const before = isRewritten ? rows.written() : null;
      if (isLate) hold(arrival, rows.takeBack(start, seconds));
      else out.endLine(seconds);
      if (before !== null) {
        const again = out.at;
        rows.row(host, before);
        hold(arrival + apartRounds + Math.floor(draw() * room), rows.takeBack(again, seconds));
        rewritten++;
      }
    }
    sendHeld(out, held[round]);
    delete held[round];
  }
  for (const late of held) sendHeld(out, late);

  const requests = out.finish();
  const sent = hosts * rounds + rewritten;
  return {
    requests,
    summary: {
      options,
      bodies: requests.all.length,
      bytes: requests.bytes,
      rows: sent,
      values: sent * FIELDS.length,
      endSeconds: startSeconds + rounds * intervalSeconds,
      truth: rows.truth,
      windowBodies: rewritten > 0 ? Math.floor(apartRows / rowsPerBody) : requests.all.length,
    },
  };
}

function sendHeld(out: RequestWriter, held: readonly HeldRow[] | undefined): void {
  for (const { line, seconds } of held ?? []) {
    out.copy(line);
    out.endLine(seconds);
  }
}
