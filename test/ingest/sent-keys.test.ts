/** For each series the kernel knows of the two shards used last who had its key: as slow maps say. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IngestStage } from '../../shards/kernel/ingest-stage.ts';
import { LINE_LIMITS } from '../../shards/line-protocol-errors.ts';
import { decodeKeys } from '../../shards/series-keys.ts';
import { NO_SCHEMA } from './brought-keys.ts';
import { POLICY, VERSION, WEEK_NS } from './support.ts';

interface Noted {
  readonly token: number;
  readonly destinations: number;
}

class SlowNotes {
  readonly #noted = new Map<string, readonly Noted[]>();

  /** True when one of the destinations has not had the key for that token. */
  send(key: string, token: number, destinations: number): boolean {
    const noted = this.#noted.get(key) ?? [];
    const before = noted.find((each) => each.token === token)?.destinations ?? 0;
    const now = { token, destinations: before | destinations };
    this.#noted.set(key, [now, ...noted.filter((each) => each.token !== token)].slice(0, 2));
    return (before & destinations) !== destinations;
  }
}

const step = fc.record({
  weeks: fc.uniqueArray(fc.nat(4), { minLength: 1, maxLength: 3 }),
  series: fc.uniqueArray(fc.nat(40), { minLength: 1, maxLength: 30 }),
  destinations: fc.integer({ min: 1, max: 0xffff }),
  forget: fc.integer({ min: 0, max: 9 }),
});

test('keys go to those who have not had them, whatever went where before', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
      const stage = new IngestStage('seed', 10_000, 4, LINE_LIMITS);
      const notes = new SlowNotes();
      const tokens = new Map<string, number>();
      let count = 0;
      for (const { weeks, series, destinations, forget } of steps) {
        if (forget === 0) {
          stage.forgetSent();
          tokens.clear();
        }
        const now = BigInt(weeks[0]!) * WEEK_NS;
        const lines = weeks.flatMap((week) => series.map((n) => `m,host=${n} v=1 ${BigInt(week) * WEEK_NS}`));
        stage.begin(POLICY, now);
        expect(stage.add([Buffer.from(lines.join('\n'))], 'n', now, () => NO_SCHEMA).kind).toBe('taken');
        for (const target of stage.targets()) {
          if (!tokens.has(target.id)) tokens.set(target.id, ++count);
          const { keys, allKeys } = stage.seal(target, VERSION, destinations, false, true);
          const fresh = decodeKeys(keys).map(({ key }) => key);
          const all = allKeys === null ? fresh : decodeKeys(allKeys).map(({ key }) => key);
          expect(fresh).toEqual(all.filter((key) => notes.send(key, tokens.get(target.id)!, destinations)));
        }
      }
    }),
    { numRuns: 200 },
  );
});
