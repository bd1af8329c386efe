/**
 * That a request or a statement ends before its time (its client left, its time is up), and why.
 *
 * What an AbortController says, at a fraction of its price: making one and listening to it takes longer than parsing a
 * statement. One is made where an interface asks for its signal.
 */
/** Of what has ended: nobody is added any more. */
const NONE: (() => void)[] = [];

export class Ending {
  #reason: Error | null = null;
  /** Mostly one. */
  #listeners: (() => void)[] = [];
  #controller: AbortController | null = null;

  /** null: it has not ended. */
  get reason(): Error | null {
    return this.#reason;
  }

  /** The first reason holds. */
  end(reason: Error): void {
    if (this.#reason !== null) return;
    this.#reason = reason;
    const listeners = this.#listeners;
    this.#listeners = NONE;
    for (const listener of listeners) listener();
    this.#controller?.abort(reason);
  }

  /** Called once, at the end or at once when that has come. */
  onEnd(listener: () => void): void {
    if (this.#reason === null) this.#listeners.push(listener);
    else listener();
  }

  forget(listener: () => void): void {
    const place = this.#listeners.indexOf(listener);
    if (place >= 0) this.#listeners.splice(place, 1);
  }

  throwIfEnded(): void {
    if (this.#reason !== null) throw this.#reason;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#reason !== null) this.#controller.abort(this.#reason);
    return this.#controller.signal;
  }
}
