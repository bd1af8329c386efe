/**
 * What the statement parsers read from: tokens with putting back, bound parameters put in, and InfluxDB's error texts.
 */
import type { BoundToken } from './bound-parameters.ts';
import { Lexer, type Token } from './lexer.ts';

/** The text is not InfluxQL; the message is InfluxDB's without the prefix `error parsing query: `. */
export class ParseError extends Error {
  readonly code = 'query-parse';
  readonly status = 400;
  readonly retry = false;
}

/** Nested parentheses, calls and subqueries: what reads or walks them does so by recursion. */
export const NESTING_MAX = 400;

/** Tokens that can be put back, at least. */
const HISTORY_MIN = 4;
/** Moved down only now and then. */
const HISTORY_MAX = 64;

export class TokenStream {
  private readonly lexer: Lexer;
  private readonly bound: ReadonlyMap<string, BoundToken>;
  private readonly putBack: Token[] = [];
  private readonly history: Token[] = [];
  private depth = 0;
  /** Expressions made of others so far, a call without arguments aside. */
  parts = 0;

  constructor(text: string, bound: ReadonlyMap<string, BoundToken>) {
    this.lexer = new Lexer(text);
    this.bound = bound;
  }

  /** Next token, white space included. */
  scan(): Token {
    const token = this.putBack.pop() ?? this.substitute(this.lexer.next());
    if (this.history.length === HISTORY_MAX) this.history.splice(0, HISTORY_MAX - HISTORY_MIN);
    this.history.push(token);
    return token;
  }

  /** Next token that is neither white space nor a comment. */
  next(): Token {
    for (;;) {
      const token = this.scan();
      if (token.kind !== 'WS' && token.kind !== 'COMMENT') return token;
    }
  }

  unscan(): void {
    const token = this.history.pop();
    if (token !== undefined) this.putBack.push(token);
  }

  /** Takes the next token when it is of this kind. */
  accept(kind: string): boolean {
    if (this.next().kind === kind) return true;
    this.unscan();
    return false;
  }

  /** The next token must be one of these kinds; `names` is what the error says instead. */
  expect(kinds: readonly string[], names: readonly string[] = kinds): Token {
    const token = this.next();
    if (!kinds.includes(token.kind)) throw this.unexpected(token, names);
    return token;
  }

  expectAll(...kinds: readonly string[]): void {
    for (const kind of kinds) this.expect([kind]);
  }

  identifier(): string {
    return this.expect(['IDENT'], ['identifier']).literal;
  }

  string(): string {
    return this.expect(['STRING'], ['string']).literal;
  }

  /** Character code right behind the last token, NaN at the end. */
  peekCharacter(): number {
    const waiting = this.putBack.at(-1);
    return waiting === undefined ? this.lexer.peek() : this.lexer.text.charCodeAt(waiting.offset);
  }

  /** A regular expression's token if one begins here (after white space), else null and nothing is read. */
  regexToken(): Token | null {
    const waiting = this.putBack.at(-1);
    if (waiting !== undefined && waiting.kind !== 'WS' && waiting.kind !== '/' && waiting.kind !== 'REGEX') return null;
    if (waiting !== undefined) {
      this.lexer.offset = waiting.offset;
      this.putBack.length = 0;
    }
    this.lexer.skipSpace();
    const first = this.lexer.peek();
    if (first === 36) {
      const token = this.scan();
      if (token.kind === 'REGEX') return token;
      this.unscan();
      return null;
    }
    return first === 47 && this.lexer.text[this.lexer.offset + 1] !== '*' ? this.lexer.regex() : null;
  }

  /** Runs what may nest; too deep is an error instead of a broken stack. */
  nested<T>(parse: () => T): T {
    if (++this.depth > NESTING_MAX) throw new ParseError(`expression is nested more than ${NESTING_MAX} deep`);
    const result = parse();
    this.depth--;
    return result;
  }

  /** `found X, expected A, B at line L, char C` */
  unexpected(token: Token, expected: readonly string[]): ParseError {
    const found = token.literal === '' ? token.kind : token.literal;
    return this.failure(`found ${found}, expected ${expected.join(', ')}`, token);
  }

  failure(message: string, token: Token, behind = ''): ParseError {
    const { line, character } = this.lexer.position(token);
    return new ParseError(`${message} at line ${line}, char ${character}${behind}`);
  }

  /** The token that comes next, without taking it. */
  upcoming(): Token {
    const token = this.next();
    this.unscan();
    return token;
  }

  /** Where the next token begins, for an error that is found later; reads nothing. */
  here(): Token {
    const from = this.putBack.at(-1)?.offset ?? this.lexer.offset;
    const space = /\s*/y;
    space.lastIndex = from;
    space.test(this.lexer.text);
    return { kind: '', literal: '', offset: space.lastIndex, shift: 0 };
  }

  /** The token taken last, white space aside. */
  previous(): Token | undefined {
    return this.history.findLast((token) => token.kind !== 'WS' && token.kind !== 'COMMENT');
  }

  private substitute(token: Token): Token {
    if (token.kind !== 'BOUNDPARAM') return token;
    const value = this.bound.get(token.literal);
    return value === undefined ? token : { ...token, kind: value.kind, literal: value.literal };
  }
}
