/**
 * Continuous queries as registers of the cluster's metadata, so that every node has them.
 *
 *   continuous-query/<database>/<generation>/<name>   {text, createdMs}
 *   continuous-run/<database>/<generation>/<name>     {createdMs, lastRunNs, error, member}
 *
 * They belong to a generation of their database: one that is dropped and made anew has none. A name may hold any character, so it
 * is encoded.
 */
import type { ClusterSnapshot, DatabaseDefinition } from '../../repair/cluster.ts';
import type { ClusterRegisters } from '../cluster-registers.ts';
import { QueryError } from '../query/query-error.ts';
import { decodedName, encodedName } from '../register-names.ts';

const QUERY_PREFIX = 'continuous-query/';
const RUN_PREFIX = 'continuous-run/';
const QUERIES_MAX = 10_000;
const NAME_LENGTH_MAX = 300;

export interface ContinuousQuery {
  readonly database: string;
  readonly name: string;
  /** `CREATE CONTINUOUS QUERY ...`, with databases and retention policies named. */
  readonly text: string;
  readonly createdMs: number;
  /** Names it in the cluster. */
  readonly key: string;
}

export interface LastRun {
  /** Of the query that ran: one of the same name that was made later has not run. */
  readonly createdMs: number;
  readonly lastRunNs: string;
  /** What the last run ended with; null: well. */
  readonly error: string | null;
  /** Name of the member that ran it. */
  readonly member: string;
}

export type QueryRegisters = Pick<ClusterRegisters, 'register' | 'registers' | 'putRegister' | 'deleteRegister'>;

export class ContinuousQueries {
  readonly #registers: QueryRegisters;
  readonly #snapshot: () => Pick<ClusterSnapshot, 'databases'>;
  readonly #nowMs: () => number;

  constructor(
    registers: QueryRegisters,
    snapshot: () => Pick<ClusterSnapshot, 'databases'>,
    nowMs: () => number = Date.now,
  ) {
    this.#registers = registers;
    this.#snapshot = snapshot;
    this.#nowMs = nowMs;
  }

  /** By database, then as they were made. */
  all(): ContinuousQuery[] {
    const databases = new Map(this.#snapshot().databases.map((each) => [`${each.name}/${each.generation}`, each.name]));
    const found: ContinuousQuery[] = [];
    for (const { key: register, value } of this.#registers.registers(QUERY_PREFIX)) {
      const key = register.slice(QUERY_PREFIX.length);
      const end = key.lastIndexOf('/');
      const database = databases.get(key.slice(0, end));
      if (database === undefined || !isDefinition(value)) continue;
      found.push({ database, name: decodedName(key.slice(end + 1)), key, ...value });
    }
    return found.sort((a, b) =>
      a.database !== b.database
        ? a.database < b.database
          ? -1
          : 1
        : a.createdMs - b.createdMs || (a.key < b.key ? -1 : 1),
    );
  }

  /** Throws QueryError with InfluxDB's text. */
  create(database: string, name: string, text: string): void {
    const key = keyOf(this.#database(database), name);
    if (key.length > NAME_LENGTH_MAX) throw new QueryError('invalid name');
    const all = this.all();
    const same = all.find((each) => each.key === key);
    if (same !== undefined) {
      if (same.text.toLowerCase() === text.toLowerCase()) return;
      throw new QueryError('continuous query already exists');
    }
    if (all.length >= QUERIES_MAX) throw new QueryError(`more than ${QUERIES_MAX} continuous queries`);
    this.#registers.putRegister(QUERY_PREFIX + key, { text, createdMs: this.#nowMs() });
  }

  /** Dropping what is not there succeeds, as in InfluxDB. */
  drop(database: string, name: string): void {
    const found = this.#snapshot().databases.find((each) => each.name === database);
    if (found === undefined) return;
    const key = keyOf(found, name);
    this.#registers.deleteRegister(QUERY_PREFIX + key);
    this.#registers.deleteRegister(RUN_PREFIX + key);
  }

  /** Neither dropped nor made anew since. */
  isThere({ database, key, createdMs }: ContinuousQuery): boolean {
    const value = this.#registers.register(QUERY_PREFIX + key);
    const { generation } = this.#snapshot().databases.find(({ name }) => name === database) ?? {};
    return isDefinition(value) && value.createdMs === createdMs && key.startsWith(`${database}/${generation}/`);
  }

  lastRun({ key, createdMs }: ContinuousQuery): LastRun | null {
    const value = this.#registers.register(RUN_PREFIX + key) as LastRun | undefined;
    return value?.createdMs === createdMs && /^-?\d{1,19}$/.test(value.lastRunNs) ? value : null;
  }

  /** Durable when it returns. */
  noteRun({ key }: ContinuousQuery, run: LastRun): void {
    this.#registers.putRegister(RUN_PREFIX + key, run);
  }

  #database(name: string): DatabaseDefinition {
    const found = this.#snapshot().databases.find((each) => each.name === name);
    if (found === undefined) throw new QueryError(`database not found: ${name}`);
    return found;
  }
}

function keyOf({ name: database, generation }: DatabaseDefinition, name: string): string {
  return `${database}/${generation}/${encodedName(name)}`;
}

/** A peer's mistake must not end this process. */
function isDefinition(value: unknown): value is Pick<ContinuousQuery, 'text' | 'createdMs'> {
  const { text, createdMs } = (value ?? {}) as Record<string, unknown>;
  return typeof text === 'string' && typeof createdMs === 'number';
}
