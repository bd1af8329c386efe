/**
 * The queries that this node runs for its clients, its alert rules and continuous queries: listed by SHOW QUERIES, ended by
 * KILL QUERY, and no more of them at once than `max-concurrent-queries`.
 *
 * A query is all statements of one request. Its id carries the node's number in its lowest bits, so that ids are unique in the
 * cluster and lead to their node; clients read them as float64, so 53 bits have to do for both.
 */
import type { NodeNumber } from '../../shards/version.ts';
import type { Statement } from '../influxql/ast.ts';
import { printStatement } from '../influxql/printer.ts';
import { PassingError, QueryError } from './query-error.ts';

const NODE_BITS = 20;
const NODES = 2 ** NODE_BITS;
/** Later ones begin anew: by then those are long over. */
const SEQUENCE_MAX = 2 ** (53 - NODE_BITS);

/** As it is told. */
export interface QueryDescription {
  readonly id: number;
  readonly text: string;
  readonly database: string;
  readonly ms: number;
  readonly status: 'running' | 'killed';
}

/** What ends with it: the statement that runs. */
interface Endable {
  end(reason: Error): void;
}

export class RunningQuery {
  readonly id: number;
  readonly statements: readonly Statement[];
  readonly database: string | undefined;
  readonly beganMs = performance.now();
  #current: Endable | null = null;
  #isKilled = false;

  constructor(id: number, statements: readonly Statement[], database: string | undefined) {
    this.id = id;
    this.statements = statements;
    this.database = database;
  }

  get isKilled(): boolean {
    return this.#isKilled;
  }

  runs(statement: Endable): void {
    this.#current = statement;
  }

  kill(): void {
    this.#isKilled = true;
    this.#current?.end(interrupted());
  }
}

export function interrupted(): QueryError {
  return new QueryError('query interrupted');
}

export class RunningQueries {
  readonly #node: number;
  readonly #max: number;
  readonly #open = new Map<number, RunningQuery>();
  #sequence = 0;

  /** `max`: 0: no limit. */
  constructor(node: NodeNumber, max: number) {
    this.#node = nodePart(node);
    this.#max = max;
  }

  get isFull(): boolean {
    return this.#max > 0 && this.#open.size >= this.#max;
  }

  /** `end` has to be called. Throws QueryError when there are too many, but for those that show and end the others. */
  begin(statements: readonly Statement[], database: string | undefined): RunningQuery {
    if (this.isFull && !statements.every(isAboutQueries))
      throw new PassingError(`max-concurrent-queries limit exceeded(${this.#open.size}, ${this.#max})`);
    this.#sequence = (this.#sequence % (SEQUENCE_MAX - 1)) + 1;
    const query = new RunningQuery(this.#sequence * NODES + this.#node, statements, database);
    this.#open.set(query.id, query);
    return query;
  }

  end({ id }: RunningQuery): void {
    this.#open.delete(id);
  }

  list(): QueryDescription[] {
    const now = performance.now();
    return [...this.#open.values()].map(({ id, statements, database = '', beganMs, isKilled }) => ({
      id,
      text: statements.map(printStatement).join(';\n'),
      database,
      ms: now - beganMs,
      status: isKilled ? 'killed' : 'running',
    }));
  }

  /** Throws QueryError with InfluxDB's texts. */
  kill(id: bigint): void {
    const query = this.#open.get(Number(id));
    if (query === undefined) throw unknownQuery(id);
    if (query.isKilled) throw new QueryError('already killed');
    query.kill();
  }
}

export function unknownQuery(id: bigint): QueryError {
  return new QueryError(`no such query id: ${id}`);
}

/** Whether the id may be of that node: nearly always it is of one alone. */
export function mayBeOf(id: bigint, node: NodeNumber): boolean {
  return id % BigInt(NODES) === BigInt(nodePart(node));
}

function nodePart(node: NodeNumber): number {
  return Number(BigInt(`0x${node}`) % BigInt(NODES));
}

function isAboutQueries({ kind }: Statement): boolean {
  return kind === 'show-queries' || kind === 'kill-query';
}
