/**
 * Forwards what this node takes to the destinations of subscriptions.
 *
 * Best effort, as in InfluxDB: a point that was acknowledged is stored whatever becomes of its copies. Which subscriptions
 * there are is looked up when the metadata have changed, so that without any a write costs one comparison.
 */
import { Counter, type Registry } from 'prom-client';
import type { ClusterSnapshot } from '../../repair/cluster.ts';
import type { WriteRequest } from '../http/influx-write.ts';
import { Ending } from '../query/ending.ts';
import type { Statistic } from '../statistics.ts';
import type { Turns } from '../turns.ts';
import { openDestination } from './destination.ts';
import { ForwardedWrite } from './forwarded-write.ts';
import { Outlet } from './outlet.ts';
import type { Subscription, Subscriptions } from './registry.ts';

/** Of all outlets together. */
const BYTES_MAX = 128 * 1024 * 1024;
const LOGGED_MS_MIN = 60_000;

export interface SubscriberPorts {
  snapshot(): ClusterSnapshot;
  metadataHash(): string;
  readonly turns: Pick<Turns, 'of'>;
  nowMs(): number;
  readonly log: { warn(fields: object, text: string): void };
}

interface Totals {
  pointsWritten: number;
  writeFailures: number;
  pointsDropped: number;
}

interface Subscribed {
  readonly subscription: Subscription;
  readonly outlets: readonly Outlet[];
}

export class Subscribers {
  readonly #subscriptions: Pick<Subscriptions, 'all'>;
  readonly #ports: SubscriberPorts;
  #snapshot: ClusterSnapshot | null = null;
  #hash = '';
  /** By register and what it says. */
  #open = new Map<string, Subscribed>();
  /** By database and retention policy, also under '' for the default one. */
  #byTarget = new Map<string, Outlet[]>();
  /** Of outlets that are closed. */
  readonly #former: Totals = { pointsWritten: 0, writeFailures: 0, pointsDropped: 0 };
  readonly #loggedMs = new Map<string, number>();
  #createFailures = 0;

  constructor(subscriptions: Pick<Subscriptions, 'all'>, ports: SubscriberPorts) {
    this.#subscriptions = subscriptions;
    this.#ports = ports;
  }

  /** Some or all points of a write are stored. Its body may be gone when this returns. */
  accepted(request: WriteRequest, points: number): void {
    this.#refresh();
    if (this.#byTarget.size === 0) return;
    const outlets = this.#byTarget.get(targetOf(request.database, request.retentionPolicy));
    if (outlets === undefined) return;
    const write = new ForwardedWrite(request, points);
    let waiting = 0;
    for (const { outlets: each } of this.#open.values()) for (const { bytes } of each) waiting += bytes;
    for (const outlet of outlets) {
      if (waiting + write.bytes > BYTES_MAX) outlet.pointsDropped += points;
      else outlet.offer(write);
      waiting += write.bytes;
    }
  }

  totals(): Totals {
    const total = { ...this.#former };
    for (const { outlets } of this.#open.values()) for (const outlet of outlets) add(total, outlet);
    return total;
  }

  /** InfluxDB's `subscriber`: of all, and of each destination. */
  statistics(): Statistic[] {
    this.#refresh();
    const all = { createFailures: this.#createFailures, ...this.totals() };
    const each = [...this.#open.values()].flatMap(({ subscription, outlets }) => {
      const { database, policy, name, mode } = subscription;
      return outlets.flatMap(({ counts, pointsDropped }) =>
        counts.map(({ destination, ...values }) => ({
          name: 'subscriber',
          tags: { database, destination, mode, name, retention_policy: policy },
          values: { ...values, pointsDropped },
        })),
      );
    });
    return [{ name: 'subscriber', tags: {}, values: all }, ...each];
  }

  addTo(registry: Registry): void {
    const counter = (name: string, help: string, count: (totals: Totals) => number) => {
      const totals = () => count(this.totals());
      new Counter({
        name,
        help,
        registers: [registry],
        collect() {
          this.reset();
          this.inc(totals());
        },
      });
    };
    counter(
      'starling_subscription_points_total',
      'points that destinations of subscriptions took',
      ({ pointsWritten }) => pointsWritten,
    );
    counter(
      'starling_subscription_dropped_points_total',
      'points that no destination took, or for which too much waited',
      ({ pointsDropped }) => pointsDropped,
    );
    counter(
      'starling_subscription_write_failures_total',
      'times that a destination did not take what it was sent',
      ({ writeFailures }) => writeFailures,
    );
  }

  close(): void {
    for (const subscribed of this.#open.values()) this.#close(subscribed);
    this.#open.clear();
    this.#byTarget.clear();
  }

  #refresh(): void {
    const snapshot = this.#ports.snapshot();
    if (snapshot === this.#snapshot) return;
    this.#snapshot = snapshot;
    const hash = this.#ports.metadataHash();
    if (hash === this.#hash) return;
    this.#hash = hash;
    const wanted = new Map(this.#subscriptions.all().map((each) => [JSON.stringify(each), each]));
    for (const [key, subscribed] of this.#open)
      if (!wanted.has(key)) {
        this.#close(subscribed);
        this.#open.delete(key);
      }
    for (const [key, subscription] of wanted) if (!this.#open.has(key)) this.#start(key, subscription);
    this.#byTarget = new Map();
    for (const { subscription, outlets } of this.#open.values()) {
      const { database, policy } = subscription;
      const isDefault = snapshot.databases.find(({ name }) => name === database)?.defaultRetentionPolicy === policy;
      for (const name of isDefault ? [policy, ''] : [policy]) {
        const target = targetOf(database, name);
        this.#byTarget.set(target, [...(this.#byTarget.get(target) ?? []), ...outlets]);
      }
    }
  }

  #start(key: string, subscription: Subscription): void {
    const { mode, destinations, database, policy } = subscription;
    const ports = {
      linesOf: (write: ForwardedWrite) => write.lines((steps) => this.#ports.turns.of(steps, new Ending())),
      failed: (destination: string, error: Error) => this.#failed(subscription, destination, error),
    };
    try {
      const open = destinations.map((url) => openDestination(url, { database, policy }));
      const groups = mode === 'ALL' ? open.map((each) => [each]) : [open];
      this.#open.set(key, { subscription, outlets: groups.map((group) => new Outlet(group, ports)) });
    } catch (error) {
      // Of a register that another version wrote.
      this.#createFailures++;
      this.#failed(subscription, '', error as Error);
    }
  }

  #close({ outlets }: Subscribed): void {
    for (const outlet of outlets) {
      outlet.close();
      add(this.#former, outlet);
    }
  }

  #failed({ key, database, name }: Subscription, destination: string, { message }: Error): void {
    const nowMs = this.#ports.nowMs();
    if (nowMs - (this.#loggedMs.get(key) ?? Number.NEGATIVE_INFINITY) < LOGGED_MS_MIN) return;
    this.#loggedMs.set(key, nowMs);
    this.#ports.log.warn({ database, subscription: name, destination, problem: message }, 'a subscriber took nothing');
  }
}

function add(total: Totals, { counts, pointsDropped }: Outlet): void {
  total.pointsDropped += pointsDropped;
  for (const { pointsWritten, writeFailures } of counts) {
    total.pointsWritten += pointsWritten;
    total.writeFailures += writeFailures;
  }
}

function targetOf(database: string, policy: string): string {
  return `${database}\0${policy}`;
}
