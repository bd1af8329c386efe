import { describe, expect, test } from 'vitest';
import { HybridClock } from '../../repair/clock.ts';
import { makeStamp, STAMP_ZERO, type Stamp, stampCounter, stampMs, stampOf } from '../../shards/version.ts';
import { randomFrom } from './network.ts';

const LIMITS = { clockReserveMs: 5_000, clockDriftMaxMs: 10_000 };
const NODE = '00000000000000aa';

function reservation(at: Stamp = STAMP_ZERO) {
  return {
    at,
    writes: 0,
    load() {
      return this.at;
    },
    save(stamp: Stamp) {
      this.at = stamp;
      this.writes += 1;
    },
  };
}

/** Saves beside end when the test says so. */
function slowReservation() {
  const disk = reservation();
  const pending: ((saved: boolean) => void)[] = [];
  let begun = 0;
  return Object.assign(disk, {
    pending,
    saveBeside(stamp: Stamp, ended: (saved: boolean) => void) {
      const before = disk.writes;
      begun += 1;
      pending.push((saved) => {
        const counts = saved && disk.writes === before;
        if (counts) disk.at = stamp;
        ended(counts);
      });
    },
    begun: () => begun,
  });
}

describe('hybrid clock', () => {
  test('a clock in use finds its time reserved: nothing waits for the disk', () => {
    const disk = slowReservation();
    const clock = new HybridClock(disk, LIMITS);
    clock.mint(1_000_000, NODE);
    for (let wall = 1_000_000; wall < 1_080_000; wall += 500) {
      clock.reserveAhead(wall);
      if (wall % 10_000 === 0) expect(stampOf(clock.mint(wall, NODE)) <= disk.at).toBe(true);
      for (const ended of disk.pending.splice(0)) ended(true);
    }
    expect(disk.writes).toBe(1);
    expect(disk.begun()).toBeLessThanOrEqual(80_000 / 2_500 + 1);
  });

  test('a clock that nobody uses is not saved, nor is the time of a wall clock that jumped', () => {
    const disk = slowReservation();
    const clock = new HybridClock(disk, LIMITS);
    clock.mint(1_000_000, NODE);
    clock.reserveAhead(1_095_000);
    clock.reserveAhead(9_000_000_000);
    expect(disk.begun()).toBe(0);
  });

  test('a save beside that failed or was overtaken does not count, and the next one is begun', () => {
    const disk = slowReservation();
    const clock = new HybridClock(disk, LIMITS);
    clock.mint(1_000_000, NODE);
    clock.reserveAhead(1_003_000);
    clock.reserveAhead(1_003_500);
    expect(disk.pending).toHaveLength(1);
    clock.mint(1_006_000, NODE);
    expect(disk.writes).toBe(2);
    disk.pending.shift()!(true);
    const reserved = disk.at;
    expect(stampMs(reserved)).toBe(1_011_000);
    clock.reserveAhead(1_009_000);
    disk.pending.shift()!(false);
    expect(stampOf(clock.mint(1_012_000, NODE)) <= disk.at).toBe(true);
    expect(disk.writes).toBe(3);
  });

  test('mints rise within a millisecond, and one durable write serves for the reserved time', () => {
    const disk = reservation();
    const clock = new HybridClock(disk, LIMITS);
    const versions = Array.from({ length: 50_000 }, (_, i) => clock.mint(1_000_000 + Math.floor(i / 10), NODE));
    expect([...versions].sort()).toEqual(versions);
    expect(new Set(versions).size).toBe(versions.length);
    expect(disk.writes).toBe(1);
    expect(disk.at > stampOf(versions.at(-1)!)).toBe(true);
  });

  test('a counter that overflows carries into the milliseconds', () => {
    const clock = new HybridClock(reservation(), LIMITS);
    expect(clock.lift(makeStamp(5_000, 0xffff), 5_000)).toBe('lifted');
    const version = clock.mint(5_000, NODE);
    expect([stampMs(version), stampCounter(version)]).toEqual([5_001, 0]);
  });

  test('after a restart everything lies above the reservation, also with the wall clock stepped back', () => {
    const disk = reservation();
    const before = new HybridClock(disk, LIMITS).mint(1_000_000, NODE);
    const reserved = disk.at;
    const after = new HybridClock(disk, LIMITS);
    expect(stampOf(after.mint(10, NODE)) > reserved).toBe(true);
    expect(stampOf(before) < reserved).toBe(true);
  });

  test('nothing is minted at or below a closed stamp', () => {
    const clock = new HybridClock(reservation(), LIMITS);
    const closed = clock.closing(7_000);
    expect(stampOf(clock.mint(7_000, NODE)) > closed).toBe(true);
    expect(stampOf(clock.mint(100, NODE)) > clock.closing(100)).toBe(false);
    const again = clock.closing(100);
    expect(stampOf(clock.mint(100, NODE)) > again).toBe(true);
  });

  test('a stamp further ahead than the allowed drift does not lift; one reached already is never refused', () => {
    const clock = new HybridClock(reservation(), LIMITS);
    clock.mint(1_000_000, NODE);
    expect(clock.lift(makeStamp(1_010_001, 0), 1_000_000)).toBe('drift');
    expect(stampMs(clock.now())).toBe(1_000_000);
    expect(clock.lift(makeStamp(1_010_000, 3), 1_000_000)).toBe('lifted');
    expect(clock.lift(makeStamp(1_010_000, 3), 5)).toBe('lifted');
  });

  test('when the reservation cannot be saved the clock stays where it was and says disk-failed', () => {
    const disk = reservation();
    const clock = new HybridClock(disk, LIMITS);
    clock.mint(1_000_000, NODE);
    const before = clock.now();
    disk.save = () => {
      throw new Error('no space left');
    };
    expect(() => clock.mint(2_000_000, NODE)).toThrow(expect.objectContaining({ code: 'disk-failed', retry: true }));
    expect(clock.now()).toBe(before);
    clock.mint(1_000_001, NODE);
  });

  test('random steps of the wall clock, lifts and crashes never repeat or reorder a version nor cross a closed stamp', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = randomFrom(seed);
      const disk = slowReservation();
      let clock = new HybridClock(disk, LIMITS);
      let wall = 1_000_000;
      let last = '';
      let closed = '';
      for (let step = 0; step < 400; step++) {
        wall = Math.max(0, wall + Math.floor((random() - 0.45) * (random() < 0.1 ? 100_000 : 20)));
        const what = random();
        if (what < 0.6) {
          const version = clock.mint(wall, NODE);
          expect(version > last).toBe(true);
          expect(stampOf(version) > closed).toBe(true);
          expect(stampOf(version) <= disk.at).toBe(true);
          last = version;
        } else if (what < 0.75) {
          const stamp = clock.closing(wall);
          expect(stamp >= closed && stamp >= stampOf(last) && stamp <= disk.at).toBe(true);
          closed = stamp;
        } else if (what < 0.9)
          clock.lift(makeStamp(wall + Math.floor(random() * 15_000), Math.floor(random() * 65_536)), wall);
        else if (what < 0.93) {
          // A crash: what was being saved beside may have got onto the disk or not.
          for (const ended of disk.pending.splice(0)) ended(random() < 0.5);
          clock = new HybridClock(disk, LIMITS);
        } else {
          clock.reserveAhead(wall);
          if (random() < 0.5) disk.pending.shift()?.(random() < 0.8);
        }
      }
    }
  });
});
