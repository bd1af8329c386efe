/**
 * Runs that have found something once, with a line on what it was. A seed shows it as long as the draws before it stay the
 * same; so what it found has a directed test as well, and each run here says by its figures that the situation still
 * occurs in it.
 */
import { describe, expect, test } from 'vitest';
import { type SimOptions, type SimResult, simulate } from './cluster.ts';

interface Regression {
  readonly found: string;
  readonly options: SimOptions;
  readonly occurs: (result: SimResult) => boolean;
}

const REGRESSIONS: readonly Regression[] = [
  {
    found:
      'bits fall over in a log of several segments: keys of the first one had been read over when a batch of a later one needed them',
    options: { seed: 850_004, scenario: 'damage', engine: 'real' },
    occurs: ({ counters }) => counters.damage_found! > 0,
  },
  {
    found:
      'segments of an outbox go while what is written of its debts begins a new one: the worker died, or never came back',
    options: { seed: 4, scenario: 'full' },
    occurs: ({ counters }) => counters.outbox_debts! > 0,
  },
  {
    found: 'the same on the storage engine',
    options: { seed: 2, scenario: 'full', engine: 'real' },
    occurs: ({ counters }) => counters.outbox_debts! > 0,
  },
  {
    found:
      'replicas that are found below a floor when the faults are over: copies outlast the bound, which counts from their end',
    options: { seed: 14, scenario: 'fillings' },
    occurs: ({ filled }) => filled > 1,
  },
  {
    found:
      'a question is asked again 249 ms after the first, by the time of the last turn 250: the traffic of the network was taken for that of repair',
    options: { seed: 1_002_437 },
    occurs: ({ missing }) => missing > 0,
  },
  {
    found: 'a replica that is to be filled owes more than its outbox holds: it put the same batches in again and again',
    options: { seed: 113, scenario: 'full' },
    occurs: ({ filled, counters }) => filled > 0 && counters.fill_waits_for_outbox! > 0,
  },
  {
    found: 'passes that overlap right after the faults, and fetch what is missing once each',
    options: { seed: 302 },
    occurs: ({ missing }) => missing > 0,
  },
  {
    found:
      'of two passes that overlap the older one ends last, and names who has let the shard go on the word of the other: ' +
      'the books took it for lost when that node restarted',
    options: { seed: 11_038 },
    occurs: ({ counters }) => counters.proofs_overtaken! > 0,
  },
  {
    found: 'the same on the storage engine',
    options: { seed: 11_038, engine: 'real' },
    occurs: ({ counters }) => counters.proofs_overtaken! > 0,
  },
  {
    found: 'a shard expires and is removed while a read that levels pulls from another: what came made it anew',
    options: { seed: 26, scenario: 'retention' },
    occurs: ({ counters }) => counters.shards_expired! > 0,
  },
  {
    found:
      'a clock that is set forward ends the time-out of a question, and another pull asks again: the checks took it for ' +
      'fetched twice',
    options: { seed: 22, scenario: 'retention' },
    occurs: ({ counters, fetched, missing }) => counters.shards_expired! > 0 && fetched > 0 && missing > 0,
  },
  {
    found:
      'a member restarts, hears that an owner which has acknowledged what its outbox has is the only one now, and forgets ' +
      'it: the checks, which looked after that, took it for lost in the crash',
    options: { seed: 102_745 },
    occurs: ({ counters }) => counters.outbox_entries_taken! > 0 && counters.log_groups! > 0,
  },
  {
    found:
      'a peer said what it lacks while the outbox still paused for its silence of before: when that was over a pass had ' +
      'brought everything, and it was mailed all the same',
    options: { seed: 103_156 },
    occurs: ({ counters, mailed }) => counters.outbox_offered! > 0 && mailed > 20_000,
  },
  {
    found:
      'a late question of its former self to be let in, when the new one had been let in and not heard yet: the new one ' +
      'was removed before it had joined, and refused for ever',
    options: { seed: 9_244, scenario: 'losses' },
    occurs: ({ destroyed }) => destroyed > 0,
  },
  {
    found:
      'the only full owner loses its disk while another one, below its floor, is to be filled: nobody was a source any more, ' +
      'and the shard stayed filling',
    options: { seed: 740_020, scenario: 'losses' },
    occurs: ({ counters }) => counters.replicas_went_on! > 0,
  },
];

describe('seeds that have found something', () => {
  test.each(REGRESSIONS)('$found', { timeout: 60_000 }, ({ options, occurs }) => {
    const result = simulate(options);
    expect(result.failure).toBeNull();
    expect(occurs(result), JSON.stringify(result.counters)).toBe(true);
  });
});
