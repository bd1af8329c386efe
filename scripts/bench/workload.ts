/**
 * The `cpu` workload of the Time Series Benchmark Suite in spirit: hosts with 10 tags that report 10 two-decimal
 * floats, each a random walk between 0 and 100. Made from a seed: the same seed gives the same bytes.
 */
export interface WorkloadOptions {
  readonly seed: number;
  readonly hosts: number;
  readonly values: number;
  readonly rowsPerBody: number;
  readonly intervalSeconds: number;
  /** Seconds since 1970 of the first point. */
  readonly startSeconds: number;
}

export interface Workload {
  readonly options: WorkloadOptions;
  readonly bodies: readonly Buffer[];
  readonly rows: number;
  readonly values: number;
  readonly endSeconds: number;
}

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

/** mulberry32: small, fast, and the same everywhere. */
export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function makeWorkload(options: WorkloadOptions): Workload {
  const random = randomOf(options.seed);
  const pick = (list: readonly string[]) => list[Math.floor(random() * list.length)]!;
  const heads = Array.from({ length: options.hosts }, (_, host) => {
    const region = pick(REGIONS);
    return (
      `cpu,hostname=host_${host},region=${region},datacenter=${region}${'abc'[Math.floor(random() * 3)]},rack=${Math.floor(random() * 100)},` +
      `os=${pick(SYSTEMS)},arch=${random() < 0.5 ? 'x64' : 'x86'},team=${pick(TEAMS)},service=${Math.floor(random() * 20)},` +
      `service_version=${Math.floor(random() * 2)},service_environment=${pick(ENVIRONMENTS)} `
    );
  });
  const walk = new Float64Array(options.hosts * FIELDS.length).map(() => random() * 100);
  const rows = Math.floor(options.values / FIELDS.length);
  const bodies: Buffer[] = [];
  let lines: string[] = [];
  for (let row = 0; row < rows; row++) {
    const host = row % options.hosts;
    const seconds = options.startSeconds + Math.floor(row / options.hosts) * options.intervalSeconds;
    let line = heads[host]!;
    for (let field = 0; field < FIELDS.length; field++) {
      const at = host * FIELDS.length + field;
      const moved = Math.min(100, Math.max(0, walk[at]! + (random() - 0.5) * 2));
      walk[at] = moved;
      line += `${field === 0 ? '' : ','}${FIELDS[field]}=${moved.toFixed(2)}`;
    }
    lines.push(`${line} ${seconds}000000000\n`);
    if (lines.length === options.rowsPerBody) {
      bodies.push(Buffer.from(lines.join('')));
      lines = [];
    }
  }
  if (lines.length > 0) bodies.push(Buffer.from(lines.join('')));
  const endSeconds = options.startSeconds + Math.ceil(rows / options.hosts) * options.intervalSeconds;
  return { options, bodies, rows, values: rows * FIELDS.length, endSeconds };
}
