/** What kind of trouble a seed gets. The named ones make rare things frequent. */
import { DEFAULT_REPLICA_LIMITS, type ReplicaLimits } from '../../repair/replica-limits.ts';
import type { ConflictRule } from '../../shards/row-settle.ts';
import type { Reduction } from './reduction.ts';
import type { EngineKind } from './sim-disk.ts';
import { RHYTHM, type Rhythm } from './sim-node.ts';
import type { Chance } from './virtual-time.ts';

export const SCENARIOS = [
  'mixed',
  'wide',
  'fillings',
  'views',
  'clocks',
  'slow',
  'full',
  'damage',
  'levelled',
  'moves',
  'deletes',
  'retention',
  'losses',
  'sick',
  'unread',
] as const;
/**
 * `wide`: most coordinators own nothing. `fillings`: disks are lost all the time. `views`: nodes join
 * and are cut off while the news of them is lost. `clocks`: nodes come back alone and with a clock that was set back.
 * `slow`: mail takes seconds while passes are frequent. `full`: outboxes have room for a few batches, disks have none for
 * a while, and nodes are away for long. `damage` (with the real engine): bits fall over in the files of one node, again
 * and again, some so that the file is set aside. `levelled`: many queries ask for a consistency. `moves`: nodes join and leave all the time, while writes have
 * few owners. `deletes`: many are for all shards of the policy, and members that have been away bring rows from before them.
 * `retention`: shards expire all the time, by clocks that differ and are set, while disks are lost and members come and go.
 * `losses`: disks are lost, with the real engine also files of shards, and members given up, whatever only they have. `sick`: when all other faults are over, the disk
 * of one member still has no room, or does not sync: what is promised of the others is timed before it is well again.
 * `unread`: disks do not give identity lists for a while, again and again, while members are cut off and crash.
 */
export type ScenarioName = (typeof SCENARIOS)[number];

export interface Scenario {
  /** Members at the start; more join later. */
  readonly nodes: number;
  readonly joiners: number;
  /** They come by then, or not at all. */
  readonly joinMsMax: number;
  /** Members that leave, as long as three stay. */
  readonly leavers: number;
  readonly replication: number;
  /** Of the first database; written to one after the other, and then at random. */
  readonly shards: number;
  readonly rhythm: Rhythm;
  readonly durability: 'fsync' | 'interval';
  readonly loss: number;
  readonly duplication: number;
  readonly lateness: number;
  /** Of mail to owners, besides. */
  readonly mailLateness: number;
  /** Members that hear nothing of metadata for a while, although heartbeats come through. */
  readonly deafness: boolean;
  /** A joiner is cut off as soon as it is up. */
  readonly lonelyJoiners: boolean;
  readonly troubleMs: number;
  readonly crashShare: number;
  readonly writeEveryMs: number;
  readonly writesMs: number;
  readonly wipes: number;
  readonly wipeShare: number;
  /** Disks are lost also when nobody else has what is on them. */
  readonly losses: boolean;
  /** Members that are gone for good; with `losses`. */
  readonly givenUp: number;
  readonly slowCopies: boolean;
  /** Bits that fall over in stored blocks. */
  readonly flips: number;
  /** Files of shards that are damaged as a whole when their node comes back. */
  readonly lostFiles: number;
  /** Statements that create and drop databases. */
  readonly ddl: boolean;
  readonly clockSteps: boolean;
  /** No clock of a node is wrong by more. */
  readonly clockStepMsMax: number;
  /** After the start, in true time, for the first shards of the first database; others do not expire. */
  readonly expiriesMs: readonly number[];
  /** How often a node comes back with another clock. */
  readonly clockShare: number;
  /** Queries with a consistency, for each write. */
  readonly levelledShare: number;
  /** How often a fault is a disk without room. */
  readonly fullShare: number;
  /** What is wrong with one member's disk from before the writes end until the others have been timed; null: nothing. */
  readonly sickness: 'full' | 'hung' | null;
  /** How often a disk does not give identity lists for a while, for each fault. */
  readonly unreadShare: number;
  /** How likely somebody changes all the time what repair may take, and pauses it. */
  readonly throttleShare: number;
  /** Of what is written: deletes for all shards of the policy. */
  readonly policyDeletes: number;
  readonly conflict: ConflictRule;
  readonly limits: ReplicaLimits;
}

/** Of all scenarios. */
export const CLOCK_STEP_MS_MAX = 2_500;

const LIMITS: ReplicaLimits = {
  ...DEFAULT_REPLICA_LIMITS,
  passIntervalMs: 1_500,
  staggerMs: 300,
  hopTimeoutMs: 900,
  requestTimeoutMs: 250,
  passMsMax: 20_000,
  mailTimeoutMs: 500,
  syncIntervalMs: 300,
  backoffMsMin: 100,
  backoffMsMax: 1_000,
  snapshotIdleMs: 3_000,
  fetchBatchesMax: 7,
  identitiesPerPage: 11,
  epochsPerPage: 2,
  fillPageBytes: 4_096,
  outboxSegmentBytes: 6_000,
};

export function scenarioOf(name: ScenarioName, engine: EngineKind, chance: Chance): Scenario {
  const scenario = withoutExpiry(name, engine, chance);
  const own = chance.fork('retention');
  if (name === 'retention') return expiring(scenario, own, 8);
  const mayExpire = name === 'mixed' || name === 'full' || name === 'moves' || name === 'levelled';
  return mayExpire && own.of(0.15) ? expiring(scenario, own, 2) : scenario;
}

/** Its clocks are wrong by little, and it waits for little more than they differ by, so that much expires in a short run. */
function expiring(scenario: Scenario, chance: Chance, shards: number): Scenario {
  const expiriesMs = Array.from({ length: shards }, () => chance.between(3_000, scenario.writesMs + 4_000));
  const limits = { ...scenario.limits, clockDriftMsMax: 1_000, retentionEveryMs: 400 };
  return { ...scenario, expiriesMs, shards: shards + scenario.shards, clockStepMsMax: 450, limits };
}

function withoutExpiry(name: ScenarioName, engine: EngineKind, chance: Chance): Scenario {
  const wide = name === 'wide' || name === 'fillings';
  const writesMs = chance.between(4_000, 9_000);
  const mixed: Scenario = {
    nodes: wide ? 5 : chance.pick([3, 4, 5]),
    joiners: chance.of(0.2) ? 1 : 0,
    joinMsMax: writesMs - 500,
    leavers: name === 'mixed' && chance.fork('leavers').of(0.15) ? 1 : 0,
    replication: wide ? 2 : chance.pick([2, 3, 3]),
    shards: 2,
    rhythm: RHYTHM,
    durability: chance.pick(['fsync', 'fsync', 'interval'] as const),
    loss: chance.pick([0, 0.02, 0.1]),
    duplication: chance.pick([0, 0.05]),
    lateness: chance.pick([0, 0.1]),
    mailLateness: 0,
    deafness: chance.of(0.1),
    lonelyJoiners: false,
    troubleMs: chance.pick([600, 1_500, 3_000]),
    crashShare: 0.35,
    writeEveryMs: chance.pick([15, 40, 120]),
    writesMs,
    wipes: chance.of(0.4) ? 1 : 0,
    wipeShare: 0.2,
    losses: false,
    givenUp: 0,
    slowCopies: false,
    flips: 0,
    lostFiles: 0,
    ddl: chance.of(0.3),
    clockSteps: chance.of(0.4),
    clockStepMsMax: CLOCK_STEP_MS_MAX,
    expiriesMs: [],
    clockShare: 0.3,
    levelledShare: 0,
    fullShare: chance.of(0.25) ? 0.3 : 0,
    sickness: null,
    unreadShare: 0,
    throttleShare: name === 'mixed' ? 0.4 : 0,
    policyDeletes: 0,
    conflict: 'last-write-wins',
    limits: { ...LIMITS, fillPageBytes: engine === 'real' ? 32_768 : 4_096 },
  };
  if (name === 'fillings') {
    return {
      ...mixed,
      durability: 'fsync',
      loss: 0.02,
      lateness: 0,
      troubleMs: 500,
      crashShare: 0.5,
      writeEveryMs: 20,
      writesMs: 14_000,
      wipes: 8,
      wipeShare: 0.3,
      slowCopies: true,
      limits: { ...LIMITS, fillPageBytes: 1_024 },
    };
  }
  if (name === 'views') {
    return {
      ...mixed,
      nodes: 3,
      joiners: 4,
      replication: 2,
      durability: 'fsync',
      deafness: true,
      lonelyJoiners: true,
      troubleMs: 3_000,
      crashShare: 0.15,
      writeEveryMs: 15,
      writesMs: 9_000,
      wipes: 0,
      ddl: false,
      limits: { ...LIMITS, passIntervalMs: 500, staggerMs: 100 },
    };
  }
  if (name === 'moves') {
    return {
      ...mixed,
      nodes: 4,
      joiners: 3,
      leavers: 3,
      replication: chance.pick([1, 2]),
      deafness: false,
      troubleMs: 1_500,
      crashShare: 0.2,
      writeEveryMs: 15,
      writesMs: 12_000,
      wipes: 1,
      limits: { ...LIMITS, passIntervalMs: 600, staggerMs: 100 },
    };
  }
  if (name === 'slow') {
    const limits = { ...LIMITS, passIntervalMs: 400, staggerMs: 50, mailTimeoutMs: 2_500 };
    const calm = { troubleMs: 3_000, crashShare: 0.2, wipes: 0, ddl: false, joiners: 0, deafness: false };
    return { ...mixed, ...calm, nodes: 4, replication: 2, mailLateness: 0.5, writeEveryMs: 15, limits };
  }
  if (name === 'damage') {
    const often = { troubleMs: 400, crashShare: 0.15, writeEveryMs: 20, wipes: 0, joiners: 0, flips: 30, lostFiles: 4 };
    return { ...mixed, ...often, durability: 'fsync', deafness: false, ddl: false };
  }
  if (name === 'clocks') {
    const often = { troubleMs: 500, crashShare: 0.5, writeEveryMs: 15, clockShare: 0.9 };
    return { ...mixed, ...often, nodes: 3, replication: 3, durability: 'fsync', deafness: false, ddl: false };
  }
  if (name === 'levelled') {
    const calm = { wipes: chance.of(0.3) ? 1 : 0, joiners: chance.of(0.2) ? 1 : 0, crashShare: 0.2 };
    return { ...mixed, ...calm, durability: 'fsync', levelledShare: 0.3 };
  }
  if (name === 'losses') {
    const often = { losses: true, wipes: 6, wipeShare: 0.3, givenUp: 2, troubleMs: 700, crashShare: 0.3 };
    const rest = { replication: chance.pick([1, 2, 3]), deafness: false, ddl: false, slowCopies: true };
    const lostFiles = engine === 'real' ? 4 : 0;
    return { ...mixed, ...often, ...rest, lostFiles, nodes: 5, writesMs: 9_000, writeEveryMs: 25 };
  }
  if (name === 'retention') {
    const often = { crashShare: 0.25, troubleMs: 700, wipes: 3, wipeShare: 0.15, clockShare: 0.7, clockSteps: true };
    const rest = { joiners: 2, leavers: 1, levelledShare: 0.1, throttleShare: 0.3, fullShare: 0.15, ddl: false };
    const limits = { ...mixed.limits, passIntervalMs: 700, staggerMs: 150 };
    const writes = { writesMs: 12_000, writeEveryMs: 25 };
    return { ...mixed, ...often, ...rest, ...writes, nodes: 4, replication: 2, durability: 'fsync', limits };
  }
  if (name === 'full') {
    const limits = { ...LIMITS, outboxBytesMax: 9_000, outboxSegmentBytes: 3_000 };
    const long = { troubleMs: 2_500, crashShare: 0.5, writeEveryMs: 20, writesMs: 9_000, fullShare: 0.3 };
    return { ...mixed, ...long, durability: 'fsync', ddl: false, limits };
  }
  if (name === 'sick') {
    const few = { wipes: 0, joiners: 0, leavers: 0, ddl: false, deafness: false, crashShare: 0.2 };
    return { ...mixed, ...few, replication: 3, sickness: chance.pick(['full', 'hung']) };
  }
  if (name === 'unread') {
    const often = { troubleMs: 500, crashShare: 0.25, writesMs: 12_000, writeEveryMs: 20, unreadShare: 0.6 };
    return { ...mixed, ...often, ddl: false, deafness: false };
  }
  if (name === 'deletes') {
    const away = { troubleMs: 700, crashShare: 0.4, writesMs: 12_000, writeEveryMs: 30, ddl: false };
    const conflict = chance.pick(['last-write-wins', 'first-write-wins'] as const);
    const limits = { ...mixed.limits, passIntervalMs: 700, staggerMs: 150 };
    const often = { policyDeletes: 0.12, levelledShare: 0.1 };
    return { ...mixed, ...away, ...often, durability: 'fsync', replication: 2, conflict, limits };
  }
  return mixed;
}

export interface LargeCluster {
  readonly nodes: number;
  readonly shards: number;
}

/** Many members and shards with the times of a real one, and few faults of each member: to see what a pass costs. */
export function largeScenario({ nodes, shards }: LargeCluster, engine: EngineKind, chance: Chance): Scenario {
  const writesMs = 60_000;
  return {
    ...scenarioOf('mixed', engine, chance),
    nodes,
    joiners: 0,
    replication: 3,
    shards,
    rhythm: { tickMs: 100, heartbeatMs: 1_000 },
    durability: 'fsync',
    loss: 0.01,
    duplication: 0.01,
    lateness: 0.01,
    deafness: false,
    troubleMs: 4_000,
    writeEveryMs: Math.max(1, Math.floor(writesMs / (2 * shards))),
    writesMs,
    wipes: 0,
    ddl: false,
    clockSteps: false,
    expiriesMs: [],
    fullShare: 0,
    throttleShare: 0,
    limits: { ...LIMITS, passIntervalMs: DEFAULT_REPLICA_LIMITS.passIntervalMs, staggerMs: 1_000 },
  };
}

/** The same with less in it. */
export function reduced(scenario: Scenario, { calm, untilMs, nodes }: Reduction): Scenario {
  return {
    ...scenario,
    nodes: nodes ?? scenario.nodes,
    writesMs: untilMs ?? scenario.writesMs,
    ...(calm.has('loss') ? { loss: 0 } : {}),
    ...(calm.has('duplication') ? { duplication: 0 } : {}),
    ...(calm.has('lateness') ? { lateness: 0, mailLateness: 0 } : {}),
    ...(calm.has('deafness') ? { deafness: false } : {}),
    ...(calm.has('joiners') ? { joiners: 0 } : {}),
    ...(calm.has('definitions') ? { ddl: false } : {}),
    ...(calm.has('clocks') ? { clockSteps: false, clockShare: 0 } : {}),
  };
}
