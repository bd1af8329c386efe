/**
 * Regular expressions as Go has them (RE2: time linear in the text, no backreferences), through re2js, a port of RE2.
 *
 * JavaScript's own expressions are not used: their syntax differs, and a crafted one can stop the process for hours.
 * What dashboards send most, alternatives of literals between anchors, is answered by plain string comparison.
 *
 * Linear is not fast: the worst text takes a time in proportion to its length times the program's, some 100 ns for each
 * instruction and character. So programs are bounded, and of a query also that product (`testBounded`).
 */
import { RE2JS } from 're2js';
import { programSizeOf } from './regex-size.ts';

/** Longer patterns are refused: the compiled program grows with the pattern. */
export const PATTERN_CHARACTERS_MAX = 65_536;
/** Larger programs are refused. Alternatives of literals between anchors are none. */
export const PROGRAM_MAX = 8_192;
/** Instructions times characters of a text, in a query: some tenths of a second in the worst case. */
const WORK_MAX = 1 << 22;

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
  /** Instructions of the program; 1 for what is compared as plain strings. */
  readonly size: number;
}

/** Of the patterns that were compiled last: statements name one several times, and each of their shards does. */
const remembered = new Map<string, GoRegex>();
const REMEMBERED_MAX = 64;

/** Throws RegexError with Go's text: `error parsing regexp: ...`. */
export function compileGoRegex(pattern: string): GoRegex {
  const known = remembered.get(pattern);
  if (known !== undefined) return known;
  const regex = plainMatcher(pattern) ?? bounded(pattern);
  if (remembered.size >= REMEMBERED_MAX) remembered.delete(remembered.keys().next().value!);
  remembered.set(pattern, regex);
  return regex;
}

/** Throws RegexError where the worst text of this length would hold the thread for long. */
export function testBounded(regex: GoRegex, text: string): boolean {
  if (regex.size * text.length > WORK_MAX && regex.size > 1) {
    throw new RegexError(
      `regular expression of ${regex.size} instructions is too large for a value of ${text.length} characters`,
    );
  }
  return regex.test(text);
}

function bounded(pattern: string): GoRegex {
  if (pattern.length > PATTERN_CHARACTERS_MAX || programSizeOf(pattern) > PROGRAM_MAX) {
    throw new RegexError('error parsing regexp: expression too large');
  }
  const compiled = compile(pattern);
  return { test: (text) => compiled.test(text), literals: null, size: compiled.programSize() };
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

/** Characters that stand for themselves, also where a client has escaped them as if they did not. */
const LITERAL = /^(?:[^\\^$.|?*+()[\]{}\n]|\\[!-/:-@[-`{-~])+$/;
const ESCAPED = /\\(.)/g;

/** `lit`, `^lit`, `lit$`, `^lit$` and `^(a|b|c)$`, or null when the pattern is none of these. */
function plainMatcher(pattern: string): GoRegex | null {
  const fromStart = pattern.startsWith('^');
  const toEnd = pattern.endsWith('$') && !pattern.endsWith('\\$');
  const middle = pattern.slice(fromStart ? 1 : 0, toEnd ? -1 : undefined);
  if (LITERAL.test(middle)) {
    const wanted = middle.replace(ESCAPED, '$1');
    if (fromStart && toEnd) return plain((text) => text === wanted, new Set([wanted]));
    if (fromStart) return plain((text) => text.startsWith(wanted));
    if (toEnd) return plain((text) => text.endsWith(wanted));
    return plain((text) => text.includes(wanted));
  }
  const group = fromStart && toEnd ? /^\((?:\?:)?([^()]*)\)$/s.exec(middle) : null;
  if (group === null) return null;
  const alternatives = group[1]!.split('|');
  if (!alternatives.every((text) => LITERAL.test(text))) return null;
  const set = new Set(alternatives.map((text) => text.replace(ESCAPED, '$1')));
  return plain((text) => set.has(text), set);
}

function plain(test: (text: string) => boolean, literals: ReadonlySet<string> | null = null): GoRegex {
  return { test, literals, size: 1 };
}
