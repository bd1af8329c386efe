/** Real engines for a trio, on disks that outlive them. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { Ledger } from '../../repair/ledger.ts';
import { nodeFiles } from '../../server/node-files.ts';
import { Engine } from '../../shards/engine.ts';
import type { ShardId } from '../../shards/shard-key.ts';
import { STORAGE_LIMITS, type StorageLimits } from '../../shards/storage-limits.ts';
import { MemoryFiles } from '../support/memory-files.ts';
import { ID, NUMBERS, type OpenStorage } from './trio.ts';

export class Engines {
  readonly all: Engine[] = [];
  /** Their logs. */
  readonly files: MemoryFiles[] = NUMBERS.map(() => new MemoryFiles('/memory', nodeFiles()));
  private readonly directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'starling-trio-'));
  private readonly databases: Database.Database[][] = NUMBERS.map(() => []);
  private readonly limits: Partial<StorageLimits>;
  private readonly makeLedger: () => Ledger;
  /** A file was set aside. */
  setAside: (at: number, id: ShardId) => void = () => {};

  constructor(limits: Partial<StorageLimits> = {}, makeLedger = () => new Ledger()) {
    this.limits = limits;
    this.makeLedger = makeLedger;
  }

  path(at: number): string {
    return join(this.directory, NUMBERS[at]!, `${ID}.sqlite`);
  }

  readonly open: OpenStorage = (number, later) => {
    const i = NUMBERS.indexOf(number);
    const files = this.files[i]!;
    const engine = Engine.open({
      shardsDirectory: join(this.directory, number),
      directory: '/memory',
      owns: () => true,
      files,
      companion: this.makeLedger,
      limits: { ...STORAGE_LIMITS, ...this.limits },
      openDatabase: (path) => {
        const database = new Database(path);
        this.databases[i]!.push(database);
        return database;
      },
      nowMs: () => 0,
      setAside: (id) => this.setAside(i, id),
    });
    this.all[i] = engine;
    const sync = engine.sync.bind(engine);
    engine.sync = (done) => {
      sync(done);
      later(() => files.runSyncs());
    };
    return { storage: engine, ledgerOf: (id) => engine.companionOf(id) as Ledger };
  };

  ledger(at: number): Ledger {
    return this.all[at]!.companionOf(ID) as Ledger;
  }

  /** As a kill leaves its disk: no transaction is ended. */
  kill(at: number): void {
    for (const database of this.databases[at]!.splice(0)) database.close();
    this.files[at]!.crash(() => 0, false);
  }

  remove(): void {
    for (const database of this.databases.flat()) database.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
