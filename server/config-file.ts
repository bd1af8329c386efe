/** The YAML file that `--config` names. */
import { readFileSync } from 'node:fs';
import { parse as parseYaml } from 'yaml';

export class ConfigError extends Error {
  readonly code = 'config';
}

/** Options by name, as texts. A list becomes one with commas, a list of mappings JSON. */
export function readConfigFile(path: string, known: readonly string[]): Record<string, string> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError(`cannot read the configuration file ${path}: ${(error as Error).message}`);
  }
  let parsed: unknown;
  try {
    parsed = parseYaml(text);
  } catch (error) {
    throw new ConfigError(`${path} is not valid YAML: ${(error as Error).message.split('\n')[0]}`);
  }
  if (parsed === null || parsed === undefined) return {};
  if (typeof parsed !== 'object' || Array.isArray(parsed))
    throw new ConfigError(`${path}: expected a mapping of options`);
  const options: Record<string, string> = {};
  for (const [key, value] of Object.entries(parsed)) {
    const name = key.replaceAll('_', '-');
    if (!known.includes(name)) throw new ConfigError(`${path}: unknown option "${key}" (known: ${known.join(', ')})`);
    if (Array.isArray(value)) options[name] = listText(value);
    else if (value === null) options[name] = '';
    else if (typeof value === 'object') throw new ConfigError(`${path}: "${key}" must be a single value`);
    else options[name] = String(value);
  }
  return options;
}

function listText(list: readonly unknown[]): string {
  return list.some((each) => typeof each === 'object') ? JSON.stringify(list) : list.join(',');
}
