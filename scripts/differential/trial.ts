/**
 * One world, written to both servers and asked the same queries: what is answered differently, and made smaller.
 */
import { ACCEPTED, type Compared } from './accepted.ts';
import type { Result, Server } from './answers.ts';
import { difference } from './comparison.ts';
import { alike } from './likeness.ts';
import { type QueryTree, queryText, smaller } from './query-tree.ts';
import { SelectGrammar } from './select-grammar.ts';
import { drawShow } from './show-grammar.ts';
import { Dice, type World, worldOf } from './world.ts';

/** Statements in one request. */
const BATCH = 25;
const SHRINK_STEPS_MAX = 400;
/** Steps may be queries that InfluxDB takes long for, or never answers. */
const SHRINK_MS_MAX = 30_000;
const EPOCHS = ['ns', 'u', 'ms', 's', 'm', 'h', ''];
const SHOW_SHARE = 0.08;

type Write = World['writes'][number];

export interface Servers {
  readonly influxdb: Server;
  readonly starling: Server;
}

export interface Difference {
  readonly query: string;
  readonly what: string;
  readonly epoch: string;
  readonly world: World;
  readonly writes: readonly Write[];
  readonly isShrunk: boolean;
  readonly expected: Result;
  readonly given: Result;
}

export interface TrialResult {
  readonly queries: number;
  readonly failedQueries: number;
  readonly accepted: ReadonlyMap<string, number>;
  readonly differences: readonly Difference[];
}

export interface TrialOptions {
  readonly queries: number;
  /** Differences that are made smaller. */
  readonly shrinkMax: number;
  readonly subqueryShare: number;
}

export async function tryWorld(
  servers: Servers,
  seed: number,
  { queries, shrinkMax, subqueryShare }: TrialOptions,
): Promise<TrialResult> {
  const world = worldOf(seed);
  await prepare(servers, world.database, world.writes);
  const dice = new Dice(seed + 1_000_003);
  const grammar = new SelectGrammar(dice, world, subqueryShare);
  const accepted = new Map<string, number>();
  const differences: Difference[] = [];
  let failedQueries = 0;
  for (let done = 0; done < queries; done += BATCH) {
    const trees: QueryTree[] = Array.from({ length: Math.min(BATCH, queries - done) }, () =>
      dice.chance(SHOW_SHARE) ? drawShow(dice, world) : grammar.select(),
    );
    const epoch = dice.of(EPOCHS);
    const texts = trees.map(queryText);
    const expected = await servers.influxdb.ask(world.database, texts, epoch);
    const given = await servers.starling.ask(world.database, texts, epoch);
    for (let i = 0; i < trees.length; i++) {
      if (expected[i]!.error !== undefined) failedQueries++;
      const what = difference(expected[i]!, given[i]!);
      if (what === null) continue;
      const compared = { tree: trees[i]!, query: texts[i]!, world, expected: expected[i]!, given: given[i]! };
      const reason = await acceptedAs(servers, world.database, epoch, compared);
      if (reason !== null) accepted.set(reason, (accepted.get(reason) ?? 0) + 1);
      else {
        const found = {
          query: texts[i]!,
          what,
          epoch,
          world,
          writes: world.writes,
          isShrunk: false,
          expected: expected[i]!,
          given: given[i]!,
        };
        differences.push(differences.length < shrinkMax ? await shrunk(servers, found, trees[i]!) : found);
      }
    }
  }
  for (const server of [servers.influxdb, servers.starling]) await server.order(`DROP DATABASE ${world.database}`);
  return { queries, failedQueries, accepted, differences };
}

async function acceptedAs(
  { starling }: Servers,
  database: string,
  epoch: string,
  compared: Compared,
): Promise<string | null> {
  const { tree, world, expected } = compared;
  for (const { name, covers, readAs } of ACCEPTED) {
    if (covers?.(compared) === true) return name;
    const other = tree.kind === 'select' ? (readAs?.(tree, world) ?? null) : null;
    if (other === null) continue;
    const [answer] = await starling.ask(database, [queryText(other)], epoch);
    if (alike(expected, answer!)) return name;
  }
  return null;
}

async function prepare({ influxdb, starling }: Servers, database: string, writes: readonly Write[]): Promise<void> {
  for (const server of [influxdb, starling]) {
    await server.order(`DROP DATABASE ${database}`);
    await server.order(`CREATE DATABASE ${database} WITH REPLICATION 1 NAME autogen`);
    await server.order(`CREATE RETENTION POLICY short ON ${database} DURATION INF REPLICATION 1 SHARD DURATION 1d`);
    for (const { policy, lines } of writes) await server.write(database, policy, lines);
  }
}

/** First the query, then the data. */
async function shrunk(servers: Servers, first: Difference, tree: QueryTree): Promise<Difference> {
  let steps = 0;
  const endMs = performance.now() + SHRINK_MS_MAX;
  const isOver = (): boolean => steps >= SHRINK_STEPS_MAX || performance.now() > endMs;
  const { epoch, world } = first;
  const check = async (
    database: string,
    tree: QueryTree,
    query: string,
  ): Promise<Pick<Difference, 'query' | 'what' | 'expected' | 'given'> | null> => {
    steps++;
    const [expected] = await servers.influxdb.ask(database, [query], epoch);
    const [given] = await servers.starling.ask(database, [query], epoch);
    const what = difference(expected!, given!);
    const compared = { tree, query, world, expected: expected!, given: given! };
    if (what === null || (await acceptedAs(servers, database, epoch, compared)) !== null) return null;
    return { query, what, expected: expected!, given: given! };
  };
  let best = first;
  let smallest = tree;
  for (let found = true; found; ) {
    found = false;
    for (const less of smaller(smallest)) {
      if (isOver()) break;
      const still = await check(world.database, less, queryText(less));
      if (still === null) continue;
      best = { ...best, ...still };
      smallest = less;
      found = true;
      break;
    }
  }
  const scratch = `${world.database}s`;
  for (let size = best.writes.reduce((sum, { lines }) => sum + lines.length, 0) >> 1; size >= 1; size >>= 1) {
    for (let from = 0; !isOver(); ) {
      const writes = withoutLines(best.writes, from, size);
      if (writes === null) break;
      await prepare(servers, scratch, writes);
      const still = await check(scratch, smallest, best.query.replaceAll(world.database, scratch));
      if (still === null) from += size;
      else best = { ...best, ...still, query: best.query, writes };
    }
  }
  for (const server of [servers.influxdb, servers.starling]) await server.order(`DROP DATABASE ${scratch}`);
  return { ...best, isShrunk: true };
}

/** null: none is left behind `from`. */
function withoutLines(writes: readonly Write[], from: number, count: number): Write[] | null {
  let at = 0;
  const less = writes.map(({ policy, lines }) => ({
    policy,
    lines: lines.filter(() => {
      const place = at++;
      return place < from || place >= from + count;
    }),
  }));
  return from >= at ? null : less.filter(({ lines }) => lines.length > 0);
}

/** Commands that show the difference on any two servers. */
export function reproduction({ query, epoch, world, writes }: Difference): string {
  const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
  const { database } = world;
  const ask = (q: string, more = ''): string => `curl -s "$URL/query"${more} --data-urlencode ${quoted(`q=${q}`)}`;
  const policies = new Set(writes.map(({ policy }) => policy));
  return [
    ask(`CREATE DATABASE ${database} WITH REPLICATION 1 NAME autogen`),
    ...(policies.has('short')
      ? [ask(`CREATE RETENTION POLICY short ON ${database} DURATION INF REPLICATION 1 SHARD DURATION 1d`)]
      : []),
    ...writes.map(
      ({ policy, lines }) =>
        `curl -s "$URL/write?db=${database}&rp=${policy}" --data-binary ${quoted(lines.join('\n'))}`,
    ),
    ask(query, ` -d db=${database}${epoch === '' ? '' : ` -d epoch=${epoch}`}`),
  ].join('\n');
}
