/**
 * Rules from YAML files: every `*.yml` and `*.yaml` of a directory, either one rule with a `name`, or `rules:` with a
 * list of them. They are read at start; a file that has changed since replaces the rule, one that has not leaves a
 * later change through the API alone.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { RuleError } from './rule.ts';

export interface FileRule {
  readonly name: string;
  readonly body: unknown;
  readonly hash: string;
  readonly path: string;
}

/** @throws RuleError with the file's name for anything that is not rules; what a rule holds is checked later. */
export function readRuleFiles(directory: string): FileRule[] {
  return list(directory)
    .filter((name) => /\.ya?ml$/.test(name))
    .sort()
    .flatMap((name) => readRuleFile(join(directory, name)));
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    throw new RuleError(`rules directory ${directory}: ${(error as Error).message}`);
  }
}

function readRuleFile(path: string): FileRule[] {
  let parsed: unknown;
  try {
    parsed = parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new RuleError(`${path}: ${(error as Error).message.split('\n')[0]}`);
  }
  const entries = isMapping(parsed) && Array.isArray(parsed.rules) ? (parsed.rules as unknown[]) : [parsed];
  return entries.map((entry) => {
    if (!isMapping(entry) || typeof entry.name !== 'string') throw new RuleError(`${path}: each rule needs a name`);
    const { name, ...body } = entry;
    return { name: name as string, body, path, hash: createHash('sha256').update(JSON.stringify(entry)).digest('hex') };
  });
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
