/**
 * V8 compiles a function again, with what it has seen of it, when so much of its bytecode was run. While a node warms up less
 * is enough: it runs in a second what clients run in minutes.
 */
import { setFlagsFromString } from 'node:v8';

const FLAG = 'interrupt-budget';
/** Bytes that V8 takes by itself, by its version: it does not tell a program. */
const USUAL: Readonly<Record<string, number>> = { '11.3': 67_584 };
const DIVISOR = 30;

/** Null: not known of this version, or chosen by whoever started the process; nothing is changed then. */
export function usualBudget(): number | null {
  const chosen = `${process.execArgv.join(' ')} ${process.env.NODE_OPTIONS ?? ''}`.replaceAll('_', '-');
  if (chosen.includes(FLAG)) return null;
  return USUAL[process.versions.v8.split('.').slice(0, 2).join('.')] ?? null;
}

/** For all threads of the process. Returns what ends it. */
export function compileEagerly(): () => void {
  const usual = usualBudget();
  if (usual === null) return () => {};
  setFlagsFromString(`--${FLAG}=${Math.round(usual / DIVISOR)}`);
  return () => setFlagsFromString(`--${FLAG}=${usual}`);
}
