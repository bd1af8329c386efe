/**
 * What repair may take of this node, and whether it is paused: from the configuration, or set while the node runs.
 *
 * What was set while running is in `repair-rates.json`, replaced whole and synced before it is answered, so that it
 * outlives restarts; it wins over the configuration until it is reset. A file that cannot be read is as none.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { CPU_SHARE_MIN, REPAIR_RATE_MIN, type RepairRates } from '../repair/budget.ts';
import type { Config } from './config.ts';
import { removeDurably, writeDurably } from './node-identity.ts';

export const ratesSchema = z
  .object({
    bytesPerSecond: z.number().int().min(REPAIR_RATE_MIN).nullable(),
    cpuShare: z.number().min(CPU_SHARE_MIN).max(1).nullable(),
    paused: z.boolean(),
  })
  .partial()
  .strict();
export type RatesChange = z.infer<typeof ratesSchema>;

export interface RatesStatus extends RepairRates {
  /** False: all as the configuration says. */
  readonly setWhileRunning: boolean;
}

export class RepairRatesStore {
  #path: string;
  #configured: RepairRates;
  #changed: RatesChange;
  #apply: (rates: RepairRates) => void = () => {};

  constructor(config: Pick<Config, 'dataDirectory' | 'repairBytesPerSecond' | 'repairCpuShare'>) {
    this.#path = join(config.dataDirectory, 'repair-rates.json');
    const { repairBytesPerSecond: bytesPerSecond, repairCpuShare: cpuShare } = config;
    this.#configured = { bytesPerSecond, cpuShare, paused: false };
    this.#changed = read(this.#path);
  }

  get status(): RatesStatus {
    return { ...this.#configured, ...this.#changed, setWhileRunning: Object.keys(this.#changed).length > 0 };
  }

  get rates(): RepairRates {
    const { bytesPerSecond, cpuShare, paused } = this.status;
    return { bytesPerSecond, cpuShare, paused };
  }

  readonly current = (): RepairRates => this.rates;

  /** From here on changes go there. */
  onChange(apply: (rates: RepairRates) => void): void {
    this.#apply = apply;
  }

  /** Throws when the disk refuses; then nothing has changed. */
  set(change: RatesChange): RatesStatus {
    const next = { ...this.#changed, ...change };
    // Resumed, and nothing else said: as configured.
    if (next.paused === false) delete next.paused;
    return this.#replace(next);
  }

  /** Back to what the configuration says; a pause stays. Throws as `set` does. */
  reset(): RatesStatus {
    return this.#replace(this.#changed.paused === true ? { paused: true } : {});
  }

  #replace(next: RatesChange): RatesStatus {
    if (Object.keys(next).length === 0) removeDurably(this.#path);
    else writeDurably(this.#path, `${JSON.stringify(next)}\n`);
    this.#changed = next;
    this.#apply(this.rates);
    return this.status;
  }
}

function read(path: string): RatesChange {
  try {
    const parsed = ratesSchema.safeParse(JSON.parse(readFileSync(path, 'utf8')));
    return parsed.success ? parsed.data : {};
  } catch {
    return {};
  }
}
