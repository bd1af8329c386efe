/**
 * The predicate of /api/v2/delete: `_measurement="cpu" AND host="a"`, as InfluxDB 2.x takes it.
 *
 * Comparisons of a tag, or of `_measurement`, with a value, by `=` and also by `!=`, joined by AND, in parentheses or not.
 * Its tokens are InfluxQL's: names and values are bare words, or in double or single quotes. Without OR and regular
 * expressions, as there: what a client gets deleted must not depend on which server it talks to.
 */
import type { TagCondition } from '../../shards/tag-condition.ts';
import { Lexer } from '../influxql/lexer.ts';
import { NESTING_MAX, ParseError, TokenStream } from '../influxql/token-stream.ts';

/** A measurement that is picked by its name alone is found without looking at others. */
export interface DeletePick {
  readonly measurement: { readonly name: string } | null;
  readonly condition: TagCondition | null;
}

type Comparison = Extract<TagCondition, { readonly op: '=' | '!=' }>;

const MEASUREMENT = '_measurement';
/** What conditions call the measurement. */
const MEASUREMENT_KEY = '_name';
/** A delete picks series, so it cannot pick points in them. */
const NOT_OF_SERIES: ReadonlySet<string> = new Set(['_time', '_field', '_value']);
const VALUES: ReadonlySet<string> = new Set(['IDENT', 'STRING', 'INTEGER', 'NUMBER', 'DURATIONVAL', 'TRUE', 'FALSE']);

/** Throws ParseError. An empty text is all series. */
export function parseDeletePredicate(text: string): DeletePick {
  refuseComments(text);
  const stream = new TokenStream(text, new Map());
  if (stream.accept('EOF')) return { measurement: null, condition: null };
  const terms: Comparison[] = [];
  let open = 0;
  for (;;) {
    while (stream.accept('(')) if (++open > NESTING_MAX) throw refusal('too many parentheses');
    terms.push(comparison(stream, text));
    while (open > 0 && stream.accept(')')) open--;
    const { kind, literal } = stream.next();
    if (kind === 'EOF' && open === 0) break;
    if (kind === 'OR') throw refusal('the logical operator OR is not supported');
    if (kind !== 'AND') throw refusal(`expected ${open > 0 ? 'AND or )' : 'AND'}, found ${shown(kind, literal)}`);
  }
  const named = terms.filter(({ op, key }) => op === '=' && key === MEASUREMENT_KEY);
  const [first] = named;
  // Two names have no series in common, but a condition says so as well as any.
  const rest = named.length === 1 ? terms.filter((term) => term !== first) : terms;
  return {
    measurement: named.length === 1 ? { name: first!.value } : null,
    condition: rest.length === 0 ? null : { op: 'and', terms: rest },
  };
}

/** Who writes `host=a--b` does not mean the rest to go unread, and more to be deleted. */
function refuseComments(text: string): void {
  const lexer = new Lexer(text);
  for (let token = lexer.next(); token.kind !== 'EOF'; token = lexer.next())
    if (token.kind === 'COMMENT') throw refusal('it has a comment; names and values with -- or /* need quotes');
}

function comparison(stream: TokenStream, text: string): Comparison {
  const name = stream.next();
  if (name.kind !== 'IDENT') throw refusal(`expected the name of a tag, found ${shown(name.kind, name.literal)}`);
  if (NOT_OF_SERIES.has(name.literal)) throw refusal(`deletes by ${name.literal} are not supported`);
  const { kind: op, literal } = stream.next();
  if (op !== '=' && op !== '!=') throw refusal(`expected = or != behind ${name.literal}, found ${shown(op, literal)}`);
  const sign = stream.accept('-') ? '-' : '';
  const value = stream.next();
  if (!VALUES.has(value.kind)) throw refusal(`expected a value, found ${shown(value.kind, value.literal)}`);
  const key = name.literal === MEASUREMENT ? MEASUREMENT_KEY : name.literal;
  // A keyword has no text of its own, and tag values are told apart by their case.
  const isTruth = value.kind === 'TRUE' || value.kind === 'FALSE';
  const { offset } = value;
  return { op, key, value: sign + (isTruth ? text.slice(offset, offset + value.kind.length) : value.literal) };
}

function shown(kind: string, literal: string): string {
  if (kind === 'EOF') return 'the end';
  return literal === '' ? kind : literal;
}

function refusal(problem: string): ParseError {
  return new ParseError(`invalid predicate: ${problem}`);
}
