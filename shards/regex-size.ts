/**
 * How many instructions a regular expression compiles to, about: reckoned from the pattern alone, before anything is compiled.
 *
 * Repetitions are written out by the compiler, so a short pattern can be a program of millions of instructions; compiling
 * it takes seconds, and so may each text that it is held against. Patterns that are no expressions get some number: what
 * is wrong with them is for the compiler to say.
 */

/** An atom or what stands in parentheses, and how long it is. */
interface Level {
  /** Of all that is finished on this level. */
  sum: number;
  /** The last one, which a repetition is of. */
  last: number;
}

export function programSizeOf(pattern: string): number {
  const outer: Level[] = [];
  let level: Level = { sum: 1, last: 0 };
  const put = (size: number): void => {
    level.sum += level.last;
    level.last = size;
  };
  for (let at = 0; at < pattern.length; at++) {
    switch (pattern[at]) {
      case '\\': {
        if (pattern[at + 1] === 'Q') {
          const end = pattern.indexOf('\\E', at + 2);
          const quoted = (end < 0 ? pattern.length : end) - at - 2;
          put(Math.max(0, quoted - 1));
          put(1);
          at += quoted + (end < 0 ? 1 : 3);
          break;
        }
        put(1);
        at = escapeEnd(pattern, at);
        break;
      }
      case '[':
        put(1);
        at = classEnd(pattern, at);
        break;
      case '(':
        outer.push(level);
        level = { sum: 2, last: 0 };
        at = flagsEnd(pattern, at);
        break;
      case ')': {
        const size = level.sum + level.last;
        level = outer.pop() ?? { sum: 0, last: 0 };
        put(size);
        break;
      }
      case '|':
        put(1);
        break;
      case '*':
      case '+':
      case '?':
        level.last += 1;
        break;
      case '{': {
        const repeat = REPEAT.exec(pattern.slice(at, at + 16));
        if (repeat === null) {
          put(1);
          break;
        }
        const least = Number(repeat[1]);
        const most = repeat[2] === undefined ? least : repeat[3] === '' ? least + 1 : Number(repeat[3]);
        level.last = level.last * Math.max(least, most) + Math.max(0, most - least);
        at += repeat[0].length - 1;
        break;
      }
      default:
        put(1);
    }
  }
  while (outer.length > 0) {
    const size = level.sum + level.last;
    level = outer.pop()!;
    put(size);
  }
  return level.sum + level.last;
}

const REPEAT = /^\{(\d{1,6})(,(\d{0,6}))?\}/;

/** The last character of `\d`, `\pL`, `\p{Greek}`, `\x{10FFFF}`. */
function escapeEnd(pattern: string, at: number): number {
  if (!'pPx'.includes(pattern[at + 1] ?? ' ') || pattern[at + 2] !== '{') return at + 1;
  const end = pattern.indexOf('}', at);
  return end < 0 ? pattern.length : end;
}

/** The bracket that ends a class; the first character may be a bracket itself. */
function classEnd(pattern: string, at: number): number {
  let next = at + 1;
  if (pattern[next] === '^') next++;
  if (pattern[next] === ']') next++;
  for (; next < pattern.length && pattern[next] !== ']'; next++) {
    if (pattern[next] === '\\') next++;
    else if (pattern.startsWith('[:', next)) {
      const end = pattern.indexOf(':]', next);
      if (end > 0) next = end + 1;
    }
  }
  return next;
}

/** `(`, or the end of `(?i:`, `(?P<name>` and the like. `(?i)` is left to its parenthesis. */
function flagsEnd(pattern: string, at: number): number {
  const flags = /^\((?:\?(?:P?<[^>]*>|[a-zA-Z-]*:|[a-zA-Z-]*))?/.exec(pattern.slice(at, at + 256));
  return at + (flags?.[0].length ?? 1) - 1;
}
