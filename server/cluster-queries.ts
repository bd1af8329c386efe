/**
 * The queries of all nodes. Members that are not live are not asked, and those that do not answer within a second are not waited
 * for: they are named.
 */
import type { ClusterSnapshot, Member } from '../repair/cluster.ts';
import type { ClusterQueryList, QueriesOfCluster } from './query/backend.ts';
import { QueryError } from './query/query-error.ts';
import { mayBeOf, type RunningQueries, unknownQuery } from './query/running-queries.ts';
import { nameOf } from './query-backend.ts';
import { callNode } from './query-rpc.ts';

const TIMEOUT_MS = 1_000;

export interface ClusterQueriesPorts {
  readonly running: RunningQueries;
  snapshot(): ClusterSnapshot;
  clusterId(): string;
}

export class ClusterQueries implements QueriesOfCluster {
  readonly #ports: ClusterQueriesPorts;

  constructor(ports: ClusterQueriesPorts) {
    this.#ports = ports;
  }

  async list(): Promise<ClusterQueryList> {
    const { running, snapshot } = this.#ports;
    const { self, live } = snapshot();
    const queries = running.list();
    const unasked: string[] = [];
    await Promise.all(
      this.#members().map(async ({ number, address, name }) => {
        if (number === self) return;
        try {
          if (!live.includes(number)) throw new QueryError('not live');
          queries.push(...(await callNode(this.#target(address), 'runningQueries')));
        } catch {
          unasked.push(name);
        }
      }),
    );
    return { queries: queries.sort((a, b) => a.id - b.id), unasked: unasked.sort() };
  }

  async kill(id: bigint, host: string | undefined): Promise<void> {
    const { running, snapshot } = this.#ports;
    const candidates = this.#members().filter(
      (member) => mayBeOf(id, member.number) && (host === undefined || isAt(member, host)),
    );
    const [member] = candidates;
    if (member === undefined) throw unknownQuery(id);
    if (candidates.length > 1)
      throw new QueryError(
        `query ${id} may be of ${candidates.map(({ name }) => name).join(' or ')}: say where with ON`,
      );
    if (member.number === snapshot().self) {
      running.kill(id);
      return;
    }
    let refusal: string | null;
    try {
      refusal = await callNode(this.#target(member.address), 'killQuery', String(id));
    } catch {
      throw new QueryError(`${member.name}, which query ${id} is of, does not answer`);
    }
    if (refusal !== null) throw new QueryError(refusal);
  }

  #members(): Member[] {
    return this.#ports.snapshot().members.filter(({ state }) => state !== 'removed');
  }

  #target(address: string): { address: string; clusterId: string; from: string; timeoutMs: number } {
    const { snapshot, clusterId } = this.#ports;
    return { address, clusterId: clusterId(), from: nameOf(snapshot()), timeoutMs: TIMEOUT_MS };
  }
}

/** `HOST:PORT` as other nodes reach it, the host alone, or its name. */
function isAt({ address, name }: Member, host: string): boolean {
  const url = new URL(address);
  return host === name || host === url.host || host === url.hostname;
}
