/**
 * Regular expressions as Go has them (RE2: time linear in the text, no backreferences), through re2js, a port of RE2.
 *
 * JavaScript's own expressions are not used: their syntax differs, and a crafted one can stop the process for hours.
 * What dashboards send most, alternatives of literals between anchors, is answered by plain string comparison.
 */
import { RE2JS } from 're2js';

/** Longer patterns are refused: the compiled program grows with the pattern. */
export const PATTERN_CHARACTERS_MAX = 65_536;

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
  /** True when the expression matches somewhere in the text. */
  test(text: string): boolean;
  /** The only texts that match, where the expression says so: look them up instead of testing each text. */
  readonly literals: ReadonlySet<string> | null;
}

/** Throws RegexError with Go's text: `error parsing regexp: ...`. */
export function compileGoRegex(pattern: string): GoRegex {
  if (pattern.length > PATTERN_CHARACTERS_MAX) {
    throw new RegexError(`error parsing regexp: expression of ${pattern.length} characters is too large`);
  }
  const plain = plainMatcher(pattern);
  if (plain !== null) return plain;
  const compiled = compile(pattern);
  return { test: (text) => compiled.test(text), literals: null };
}

function compile(pattern: string): RE2JS {
  try {
    return RE2JS.compile(pattern);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    const prefixed = text.startsWith('error parsing regexp: ') ? text : `error parsing regexp: ${text}`;
    // Go names the expression in every message, even where it is empty.
    throw new RegexError(prefixed.endsWith('`') ? prefixed : `${prefixed}: \`\``);
  }
}

const LITERAL = /^[^\\^$.|?*+()[\]{}\n]+$/;

/** `lit`, `^lit`, `lit$`, `^lit$` and `^(a|b|c)$`, or null when the pattern is none of these. */
function plainMatcher(pattern: string): GoRegex | null {
  const fromStart = pattern.startsWith('^');
  const toEnd = pattern.endsWith('$');
  const middle = pattern.slice(fromStart ? 1 : 0, toEnd ? -1 : undefined);
  if (LITERAL.test(middle)) {
    if (fromStart && toEnd) return { test: (text) => text === middle, literals: new Set([middle]) };
    if (fromStart) return { test: (text) => text.startsWith(middle), literals: null };
    if (toEnd) return { test: (text) => text.endsWith(middle), literals: null };
    return { test: (text) => text.includes(middle), literals: null };
  }
  if (!fromStart || !toEnd || !middle.startsWith('(') || !middle.endsWith(')')) return null;
  const alternatives = middle.slice(1, -1).split('|');
  if (!alternatives.every((text) => LITERAL.test(text))) return null;
  const set = new Set(alternatives);
  return { test: (text) => set.has(text), literals: set };
}
