/**
 * Work by a cron expression, whatever the wall clock does.
 *
 * A timer that is set for the next time runs late or never when the clock is put back meanwhile, and node-cron goes through all
 * that was missed at once when it is put forward. So each second the present one is held against the expression. Seconds that
 * a busy event loop left out are made up for; a greater gap is a step of the clock (or a machine that slept), and what lies in it
 * is left out.
 */
import { createTask } from 'node-cron';

const LOOKED_EVERY_MS = 1_000;
const MADE_UP_SECONDS_MAX = 60;

/** Returns what stops it. `work` is not called twice for one second, but again when the clock comes by a second again. */
export function atTimes(cron: string, work: () => void): () => void {
  // Never started: it only knows the expression.
  const times = createTask(cron, () => {});
  let looked = currentSecond();
  const look = (): void => {
    const second = currentSecond();
    const missed = second - looked;
    const first = missed > 0 && missed <= MADE_UP_SECONDS_MAX ? looked + 1 : second;
    if (missed === 0) return;
    looked = second;
    for (let at = first; at <= second; at++) {
      if (!times.match(new Date(at * 1_000))) continue;
      work();
      return;
    }
  };
  const timer = setInterval(look, LOOKED_EVERY_MS);
  return () => {
    clearInterval(timer);
    void times.destroy();
  };
}

function currentSecond(): number {
  return Math.floor(Date.now() / 1_000);
}
