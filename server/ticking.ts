/**
 * The timer of a worker: quick while something happens, slower while nothing does.
 *
 * A tick looks at everything that may be due, which nearly always is nothing: 50 times a second that is most of what an
 * idle node spends. What happens is a message, something to send, or a tick that had work; it brings quick ticks back
 * at once.
 */
const QUIET_AFTER_TICKS = 10;
/** With the delay of a message still less than what the bound takes for both. */
const QUIET_TIMES = 3;
/** A tick that took so long had something to do. */
const WORK_MS = 1;

export interface TickingPorts {
  readonly tick: () => void;
  readonly tickMs: number;
  readonly nowMs: () => number;
}

export class Ticking {
  readonly #ports: TickingPorts;
  #timer: NodeJS.Timeout | null = null;
  /** Ticks since something happened. */
  #quiet = 0;
  #stopped = false;

  constructor(ports: TickingPorts) {
    this.#ports = ports;
    this.#arm();
  }

  stirred(): void {
    const wasQuiet = this.#quiet >= QUIET_AFTER_TICKS;
    this.#quiet = 0;
    if (wasQuiet) this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #arm(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#stopped) return;
    const { tickMs } = this.#ports;
    this.#timer = setTimeout(() => this.#fire(), this.#quiet < QUIET_AFTER_TICKS ? tickMs : tickMs * QUIET_TIMES);
  }

  #fire(): void {
    const { tick, nowMs } = this.#ports;
    const began = nowMs();
    this.#quiet++;
    tick();
    if (nowMs() - began >= WORK_MS) this.#quiet = 0;
    this.#arm();
  }
}
