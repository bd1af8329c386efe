/** Columns for a terminal: left-aligned text, right-aligned numbers, no frames, so that `awk` and `grep` work too. */
import type { LossDescription } from '../../repair/records.ts';

export type Cell = string | number | null;

export function formatTable(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const texts = rows.map((row) => row.map((cell) => (cell === null ? '-' : String(cell))));
  const widths = columns.map((name, index) => Math.max(name.length, ...texts.map((row) => row[index]!.length)));
  const numeric = columns.map(
    (_, index) => rows.length > 0 && rows.every((row) => typeof row[index] === 'number' || row[index] === null),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, index) => (numeric[index] ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!)))
      .join('  ')
      .trimEnd();
  return [line(columns), ...texts.map(line)].join('\n');
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** Clocks of two machines differ by less, usually. */
const SAME_SECONDS = 1;

/** How long ago an instant was: `3.2 s ago`; of a clock that is ahead: `20 min ahead`; `-` when there is none. */
export function formatAgo(atMs: number | null, nowMs: number): string {
  if (atMs === null) return '-';
  const seconds = (nowMs - atMs) / 1000;
  if (seconds < -SAME_SECONDS) return `${formatSpan(-seconds)} ahead`;
  return `${formatSpan(Math.max(0, seconds))} ago`;
}

function formatSpan(seconds: number): string {
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

/** How long something will take: `12 s`; `-` when nobody knows. */
export function formatLeft(ms: number | null): string {
  if (ms === null) return '-';
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

/** Goes on after "lost". */
export function formatLoss({ name, member, afterMs, wentOn }: LossDescription): string {
  const what = `what was accepted ${afterMs === 0 ? 'at any time' : `after ${new Date(afterMs).toISOString()}`} and`;
  return wentOn === true
    ? `before ${name} (${member}) went on, when no member had a full replica: ${what} it lacked`
    : `with ${name} (${member}): ${what} only it held`;
}
