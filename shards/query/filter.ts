/**
 * The part of a WHERE clause that is decided row by row. Plain data, so that it can travel.
 */
export type FilterOperator = '=' | '!=' | '<' | '<=' | '>' | '>=' | '=~' | '!~';
export type ArithmeticOperator = '+' | '-' | '*' | '/' | '%' | '&' | '|' | '^';

export type Operand =
  | { readonly kind: 'field'; readonly name: string }
  | { readonly kind: 'tag'; readonly name: string }
  | { readonly kind: 'literal'; readonly value: number | bigint | string | boolean | null }
  | { readonly kind: 'arithmetic'; readonly op: ArithmeticOperator; readonly left: Operand; readonly right: Operand };

export type RowFilter =
  | { readonly kind: 'and' | 'or'; readonly terms: readonly RowFilter[] }
  | { readonly kind: 'constant'; readonly value: boolean }
  | { readonly kind: 'compare'; readonly op: FilterOperator; readonly left: Operand; readonly right: Operand }
  /** A boolean operand by itself. */
  | { readonly kind: 'truth'; readonly operand: Operand };
