/** Regular expressions as Go has them (RE2: linear time). */
export class RegexError extends Error {
  readonly code = 'bad-regex';
  readonly status = 400;
  readonly retry = false;
  constructor(message: string) {
    super(message);
    this.name = 'RegexError';
  }
}

export interface GoRegex {
  test(text: string): boolean;
}

/** Throws RegexError with Go's text: `error parsing regexp: ...`. */
export function compileGoRegex(_pattern: string): GoRegex {
  throw new Error('in construction');
}
