/**
 * Statements that differ in literals alone are parsed once.
 *
 * Dashboards, alert rules and agents ask the same few SELECTs again and again, for other hosts and other ranges. The form of
 * a text is the text with 0 and '' in the place of the literals behind its comparisons: `host = 'a' AND time >= 5s` has
 * the form `host = '' AND time >= 0s`. It is found by one loop over the characters, which reads them as the lexer
 * does; where that would take more than a few rules (comments, regular expressions, escapes, arithmetic behind a literal) the
 * text has no form. The tree of a text is the tree of its form with the literals put in. What does not depend on them is
 * the same object in all statements of a form (fields, sources, dimensions), so that the planner can remember what
 * it made of it.
 */
import type { Expression, SelectStatement, Statement } from './ast.ts';
import { parseDuration } from './duration.ts';
import { parseQuery, QUERY_CHARACTERS_MAX } from './parser.ts';

const TEXT_MAX = 4096;
const FORMS_MAX = 1000;
/** More are no int64 for sure, or an error to be told. */
const DIGITS_MAX = 18;

const [QUOTE, DOUBLE_QUOTE, BACKSLASH, SLASH, MINUS, PLUS] = [0x27, 0x22, 0x5c, 0x2f, 0x2d, 0x2b];
const [SEMICOLON, DOLLAR, CLOSE, SPACE] = [0x3b, 0x24, 0x29, 0x20];
const [DOT, LESS, EQUAL, GREATER] = [0x2e, 0x3c, 0x3d, 0x3e];

const isDigit = (code: number): boolean => code >= 48 && code <= 57;
const isLetter = (code: number): boolean => (code >= 97 && code <= 122) || (code >= 65 && code <= 90);
const isNamePart = (code: number): boolean => isLetter(code) || isDigit(code) || code === 95;
const isComparison = (code: number): boolean => code === EQUAL || code === LESS || code === GREATER;

const COMPARISONS: ReadonlySet<string> = new Set(['=', '!=', '<', '<=', '>', '>=']);

type Literal = Extract<Expression, { kind: 'string' | 'integer' | 'duration' }>;

interface Form {
  readonly statement: SelectStatement;
  /** Nodes of its condition that stand for literals, in the order of the text. */
  readonly places: readonly Expression[];
}

/** A text's form, and its literals in order; null: it has none. */
export function formOf(text: string): { readonly form: string; readonly literals: readonly Literal[] } | null {
  if (text.length > TEXT_MAX) return null;
  const literals: Literal[] = [];
  let form = '';
  let copied = 0;
  /** The last character that was no space. */
  let last = 0;
  for (let at = 0; at < text.length; ) {
    const code = text.charCodeAt(at);
    if (code === SPACE) {
      at++;
      continue;
    }
    const isHeld = isComparison(last);
    // The parser may make one literal of a sign and a number.
    if (isHeld && (code === MINUS || code === PLUS)) return null;
    let end = at + 1;
    if (isLetter(code) || code === 95) while (isNamePart(text.charCodeAt(end))) end++;
    else if (code === QUOTE || code === DOUBLE_QUOTE) {
      end = closingQuote(text, at, code);
      if (end < 0) return null;
      if (code === QUOTE && isHeld) {
        literals.push({ kind: 'string', value: text.slice(at + 1, end - 1) });
        form += `${text.slice(copied, at)}''`;
        copied = end;
      }
    } else if (isDigit(code)) {
      while (isDigit(text.charCodeAt(end))) end++;
      // A decimal number stays where it is.
      if (isHeld && text.charCodeAt(end) !== DOT) {
        const unit = end;
        while (isLetter(text.charCodeAt(end))) end++;
        const literal = numberLiteral(text.slice(at, end), unit - at, end > unit);
        if (literal === null) return null;
        literals.push(literal);
        form += `${text.slice(copied, at)}0`;
        copied = unit;
      }
    } else if (code < SPACE || code > 126 || code === SLASH || code === SEMICOLON || code === DOLLAR) return null;
    else if (code === MINUS && text.charCodeAt(end) === MINUS) return null;
    if (copied > at && !isEndBehind(text, end)) return null;
    last = code;
    at = end;
  }
  return { form: form + text.slice(copied), literals };
}

/** Behind the closing quote; -1: there is none, or something has to be unescaped. */
function closingQuote(text: string, open: number, quote: number): number {
  for (let at = open + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) return at + 1;
    if (code < SPACE || code === BACKSLASH) return -1;
  }
  return -1;
}

function numberLiteral(text: string, digits: number, hasUnit: boolean): Literal | null {
  if (digits > DIGITS_MAX) return null;
  if (!hasUnit) return { kind: 'integer', value: BigInt(text) };
  const ns = parseDuration(text);
  return typeof ns === 'string' ? null : { kind: 'duration', ns };
}

/** A literal is the whole right side of its comparison when a parenthesis closes behind it, or a word or nothing follows. */
function isEndBehind(text: string, end: number): boolean {
  let at = end;
  while (text.charCodeAt(at) === SPACE) at++;
  if (at >= text.length) return true;
  const code = text.charCodeAt(at);
  return code === CLOSE || isLetter(code);
}

/** null: not a single SELECT from measurements, or literals stand where they are not looked for. */
function readForm(text: string, literals: number): Form | null {
  let statements: Statement[];
  try {
    statements = parseQuery(text);
  } catch {
    // The text itself is parsed then, and says what is wrong with it.
    return null;
  }
  const [statement] = statements;
  if (statements.length !== 1 || statement?.kind !== 'select') return null;
  if (statement.sources.some(({ kind }) => kind !== 'measurement')) return null;
  const places: Expression[] = [];
  if (statement.condition !== undefined) collectPlaces(statement.condition, places);
  return places.length === literals ? { statement, places } : null;
}

function collectPlaces(expression: Expression, into: Expression[]): void {
  if (expression.kind === 'paren') collectPlaces(expression.inner, into);
  else if (expression.kind === 'binary') {
    collectPlaces(expression.left, into);
    if (COMPARISONS.has(expression.op) && isPlace(expression.right)) into.push(expression.right);
    else collectPlaces(expression.right, into);
  }
}

function isPlace(expression: Expression): boolean {
  if (expression.kind === 'string') return expression.value === '';
  if (expression.kind === 'integer') return expression.value === 0n;
  return expression.kind === 'duration' && expression.ns === 0n;
}

/** The tree with literals in their places, from the `next` one on. */
class Filling {
  readonly #places: readonly Expression[];
  readonly #literals: readonly Literal[];
  #next = 0;

  constructor({ places }: Form, literals: readonly Literal[]) {
    this.#places = places;
    this.#literals = literals;
  }

  fill(expression: Expression): Expression {
    if (expression === this.#places[this.#next]) return this.#literals[this.#next++]!;
    if (expression.kind === 'paren') return { kind: 'paren', inner: this.fill(expression.inner) };
    if (expression.kind !== 'binary') return expression;
    const { op } = expression;
    return { kind: 'binary', op, left: this.fill(expression.left), right: this.fill(expression.right) };
  }
}

export class StatementForms {
  /** null: has to be parsed. */
  readonly #forms = new Map<string, Form | null>();

  readonly #charactersMax: number;

  constructor(charactersMax = QUERY_CHARACTERS_MAX) {
    this.#charactersMax = charactersMax;
  }

  /** What parseQuery makes of the text. Throws ParseError. */
  parse(text: string): Statement[] {
    const found = this.find(text);
    return found === null ? parseQuery(text, {}, this.#charactersMax) : [found];
  }

  /** The SELECT that is all of the text; null: it has to be parsed. */
  find(text: string): SelectStatement | null {
    if (text.length > this.#charactersMax) return null;
    const found = formOf(text);
    if (found === null) return null;
    let form = this.#forms.get(found.form);
    if (form === undefined) {
      form = readForm(found.form, found.literals.length);
      if (this.#forms.size >= FORMS_MAX) this.#forms.clear();
      this.#forms.set(found.form, form);
    }
    if (form === null) return null;
    const { statement } = form;
    if (statement.condition === undefined) return statement;
    return { ...statement, condition: new Filling(form, found.literals).fill(statement.condition) };
  }
}
