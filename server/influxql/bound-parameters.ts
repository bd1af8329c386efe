/**
 * Bound parameters (`params=` of /query): each value stands for one token, so it can never become syntax.
 */
import { parseDuration } from './duration.ts';

export interface BoundToken {
  /** Token kind; 'BOUNDERROR' carries the error as literal. */
  readonly kind: string;
  readonly literal: string;
}

const fault = (message: string): BoundToken => ({ kind: 'BOUNDERROR', literal: message });

export function bindParameters(params: Readonly<Record<string, unknown>>): ReadonlyMap<string, BoundToken> {
  return new Map(Object.entries(params).map(([name, value]) => [name, bindValue(value)]));
}

function bindValue(value: unknown): BoundToken {
  if (typeof value === 'string') return { kind: 'STRING', literal: value };
  if (typeof value === 'boolean') return { kind: value ? 'TRUE' : 'FALSE', literal: '' };
  if (typeof value === 'bigint') return { kind: 'INTEGER', literal: String(value) };
  if (typeof value === 'number') return { kind: 'NUMBER', literal: String(value) };
  if (typeof value !== 'object' || value === null) {
    return fault(`unable to bind parameter with type ${value === null ? '<nil>' : typeof value}`);
  }
  if (Array.isArray(value)) return fault('unable to bind parameter with type []interface {}');
  const entries = Object.entries(value);
  if (entries.length !== 1) return fault('bound object parameter value must have exactly one entry');
  const [kind, inner] = entries[0] as [string, unknown];
  return bindTyped(kind, inner);
}

function bindTyped(kind: string, value: unknown): BoundToken {
  switch (kind) {
    case 'ident':
    case 'identifier':
      return typeof value === 'string' ? { kind: 'IDENT', literal: value } : fault('identifier must be a string value');
    case 'regex':
      return typeof value === 'string'
        ? { kind: 'REGEX', literal: value }
        : fault('regex literal must be a string value');
    case 'string':
      return typeof value === 'string'
        ? { kind: 'STRING', literal: value }
        : fault('string literal must be a string value');
    case 'float':
    case 'number':
      return typeof value === 'number' || typeof value === 'bigint'
        ? { kind: 'NUMBER', literal: String(value) }
        : fault('number literal must be a float value');
    case 'int':
    case 'integer':
      return typeof value === 'bigint' || Number.isSafeInteger(value)
        ? { kind: 'INTEGER', literal: String(value) }
        : fault('integer literal must be an integer value');
    case 'duration':
      if (typeof value === 'string') {
        const ns = parseDuration(value);
        return typeof ns === 'bigint' ? { kind: 'DURATIONVAL', literal: `${ns}ns` } : fault(ns);
      }
      return typeof value === 'bigint' || Number.isSafeInteger(value)
        ? { kind: 'DURATIONVAL', literal: `${value}ns` }
        : fault('duration literal must be a string or integer value');
    default:
      return fault(`unknown bound object parameter type: ${kind}`);
  }
}
