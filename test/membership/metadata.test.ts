import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Metadata, type Register } from '../../repair/metadata.ts';
import { SqliteRegisterStore } from '../../repair/metadata-store.ts';
import { MemoryRegisterStore, Network, randomFrom, threeNodes } from './network.ts';

const register = fc.record({
  key: fc.constantFrom('a', 'b', 'rule/x', 'member/1'),
  rank: fc.integer({ min: 0, max: 3 }),
  version: fc.integer({ min: 0, max: 5 }).map((n) => n.toString(16).padStart(32, '0')),
  value: fc.constantFrom('1', '2', null),
});
const sorted = (metadata: Metadata) => metadata.all();

describe('registers', () => {
  test('any order, grouping and repetition of the same registers gives the same map and hash', () => {
    fc.assert(
      fc.property(fc.array(register, { maxLength: 20 }), fc.integer(), (registers, seed) => {
        const random = randomFrom(seed);
        const one = new Metadata(new MemoryRegisterStore());
        one.merge(registers);
        const other = new Metadata(new MemoryRegisterStore());
        for (const each of [...registers, ...registers].sort(() => random() - 0.5)) other.merge([each]);
        expect(sorted(other)).toEqual(sorted(one));
        expect(other.hash()).toBe(one.hash());
        expect(other.bucketHashes()).toEqual(one.bucketHashes());
      }),
    );
  });

  test('a rank only rises, whatever the versions say; a deleted register does not come back', () => {
    const metadata = new Metadata(new MemoryRegisterStore());
    const of = (rank: number, version: string, value: string | null): Register => ({
      key: 'k',
      rank,
      version: version.padStart(32, '0'),
      value,
    });
    metadata.merge([of(3, '1', '"removed"')]);
    expect(metadata.merge([of(1, 'f', '"up"')])).toEqual([]);
    metadata.merge([of(3, '5', null)]);
    expect(metadata.merge([of(3, '4', '"x"')])).toEqual([]);
    expect(metadata.get('k')!.value).toBeNull();
  });

  test('the store gives back what was saved, and leaves out a damaged row with a count', () => {
    const directory = mkdtempSync(join(tmpdir(), 'starling-meta-'));
    try {
      const path = join(directory, 'meta.sqlite');
      const rows: Register[] = [
        { key: 'a', rank: 0, version: '0123456789abcdef00000000000000aa', value: '{"x":"é"}' },
        { key: 'b', rank: 2, version: 'ffffffffffffffff00000000000000aa', value: null },
      ];
      let database = new Database(path);
      let store = new SqliteRegisterStore(database);
      const metadata = new Metadata(store);
      metadata.merge(rows);
      const hash = metadata.hash();
      database.close();
      database = new Database(path);
      store = new SqliteRegisterStore(database);
      expect(store.load()).toEqual(rows);
      expect(new Metadata(store).hash()).toBe(hash);
      database.prepare("UPDATE register SET value = '{}' WHERE key = 'a'").run();
      expect(store.load()).toEqual([rows[1]]);
      expect(store.damaged).toBe(1);
      store.clear();
      expect(store.load()).toEqual([]);
      database.close();
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe('metadata of a cluster', () => {
  test('CREATE on both sides of a partition gives one generation with the policies of both', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    network.split([a], [b, c]);
    a.core.definitions.createDatabase('db', null, network.nowMs);
    a.core.definitions.createRetentionPolicy('db', 'left', { durationNs: 0n, replication: 1 }, network.nowMs);
    b.core.definitions.createDatabase('db', null, network.nowMs);
    b.core.definitions.createRetentionPolicy('db', 'right', { durationNs: 0n, replication: 1 }, network.nowMs);
    network.run(5_000);
    expect(a.core.snapshot().live).toHaveLength(1);
    network.cut.clear();
    network.run(5_000);
    for (const { core } of [a, b, c]) {
      const database = core.snapshot().databases[0]!;
      expect(database.generation).toBe(0);
      expect(database.retentionPolicies.map(({ name }) => name).sort()).toEqual(['autogen', 'left', 'right']);
      expect(core.snapshot().viewHash).toBe(a.core.snapshot().viewHash);
    }
  });

  test('DROP on one side kills what the other side went on making in that generation', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    a.core.definitions.createDatabase('db', null, network.nowMs);
    network.run(1_000);
    network.split([a], [b, c]);
    a.core.definitions.dropDatabase('db', network.nowMs);
    network.run(10_000);
    b.core.definitions.createRetentionPolicy('db', 'late', { durationNs: 0n, replication: 1 }, network.nowMs);
    network.cut.clear();
    network.run(5_000);
    for (const { core } of [a, b, c]) {
      expect(core.snapshot().databases).toEqual([]);
      expect({ ...core.snapshot().droppedThrough }).toEqual({ db: 0 });
    }
  });

  test('random changes under random partitions, loss and restarts come out equal everywhere', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const network = new Network(seed);
      const nodes = threeNodes(network) as ReturnType<typeof threeNodes>[number][];
      const random = randomFrom(seed * 77);
      const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
      for (let step = 0; step < 40; step++) {
        const at = Math.floor(random() * 3);
        const { core } = nodes[at]!;
        const db = pick(['x', 'y']);
        const policy = pick(['autogen', 'p', 'q']);
        const what = random();
        try {
          if (what < 0.2) core.definitions.createDatabase(db, null, network.nowMs);
          else if (what < 0.3) core.definitions.dropDatabase(db, network.nowMs);
          else if (what < 0.45)
            core.definitions.createRetentionPolicy(
              db,
              policy,
              { durationNs: 0n, replication: 1 + Math.floor(random() * 3), isDefault: random() < 0.5 },
              network.nowMs,
            );
          else if (what < 0.55)
            core.definitions.alterRetentionPolicy(
              db,
              policy,
              { replication: 1 + Math.floor(random() * 5), isDefault: random() < 0.5 },
              network.nowMs,
            );
          else if (what < 0.6) core.definitions.dropRetentionPolicy(db, policy, network.nowMs);
          else if (what < 0.7) core.registers.put(`rule/${pick(['a', 'b', 'c'])}`, { step }, network.nowMs);
          else if (what < 0.75) core.registers.remove(`rule/${pick(['a', 'b', 'c'])}`, network.nowMs);
          else if (what < 0.85) {
            network.cut.clear();
            network.split(
              [pick(nodes)],
              nodes.filter(() => random() < 0.7),
            );
          } else if (what < 0.9) network.loss = pick([0, 0.3]);
          else if (what < 0.95) nodes[at] = network.start(nodes[at]!.disk, nodes[at]!.address);
        } catch (error) {
          if (!(error instanceof Error && 'code' in error)) throw error;
        }
        network.run(pick([100, 300, 1_000]));
      }
      network.cut.clear();
      network.loss = 0;
      network.run(8_000);
      const [first, ...others] = nodes.map(({ core }) => core);
      for (const core of others) {
        expect(core.metadataHash()).toBe(first!.metadataHash());
        expect(core.snapshot().viewHash).toBe(first!.snapshot().viewHash);
        expect(core.snapshot().databases).toEqual(first!.snapshot().databases);
        expect(core.registers.withPrefix('rule/')).toEqual(first!.registers.withPrefix('rule/'));
      }
      expect(nodes.every(({ core }) => core.counters.badMessages === 0)).toBe(true);
    }
  });
});
