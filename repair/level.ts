/**
 * Making the settled rows of a damaged replica those of another owner: windows are compared, of those that differ the series
 * groups, and only groups that differ or cannot be read here are copied (protocol rule 20).
 *
 * Both sides tell sums as of one floor, which the questions carry (rule 19). An answer covers as much as one turn may
 * read; the own side is read in turns of the same size.
 */
import type { DamagedPart, GroupName, GroupSum } from '../shards/care.ts';
import { sumToHex } from '../shards/checksum.ts';
import { shardKeyToJson } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import { addToWindow, byWindow } from './content-answers.ts';
import type { ContentMessage } from './content-messages.ts';
import { ask, type Mend, MendError, type Steps, turn } from './mend.ts';
import type { DifferingGroup } from './repair-records.ts';
import type { Received } from './replica-messages.ts';
import { claimOf, meetFloor } from './replica-table.ts';

type AnswerOf<K extends ContentMessage['t']> = Extract<ContentMessage, { t: K }>;
type WindowSums = ReturnType<typeof byWindow>;

/**
 * `all`: the source is full. `unreadable`: it is damaged as well, and only what cannot be read here is taken from it.
 * False when it could not give everything.
 */
export function* level(
  mend: Mend,
  source: NodeNumber,
  parts: readonly DamagedPart[],
  what: 'all' | 'unreadable',
): Steps<boolean> {
  mend.progress.source = source;
  mend.progress.stage = 'comparing';
  mend.replica.stored.care.settle();
  const theirs = yield* theirWindows(mend, source);
  if (theirs === null) return false;
  const own = yield* ownGroups(mend);
  const ownWindows = byWindow(own);
  let isWhole = true;
  const { differing: told } = mend.progress;
  for (const window of windowsToLookAt(ownWindows, theirs, parts)) {
    const listed = yield* theirGroups(mend, source, window);
    if (listed === null) return false;
    const differing = differingGroups(
      window,
      own.filter((each) => each.window === window),
      listed,
      parts.filter((part) => part.window === window),
      what,
    );
    mend.progress.stage = 'copying';
    for (const [measurement, { groups, missing }] of differing) {
      if (missing) isWhole = false;
      if (groups.length === 0) continue;
      if (
        yield* copy(
          mend,
          source,
          window,
          measurement,
          groups.map(({ group }) => group),
        )
      )
        told.push(...groups);
      else isWhole = false;
    }
    mend.progress.windows++;
  }
  return isWhole;
}

function windowsToLookAt(own: WindowSums, theirs: WindowSums, parts: readonly DamagedPart[]): number[] {
  const windows = new Set(parts.map(({ window }) => window));
  for (const window of new Set([...own.keys(), ...theirs.keys()])) {
    const [mine, other] = [own.get(window)?.content ?? null, theirs.get(window)?.content ?? null];
    if (mine === null || other === null || mine !== other) windows.add(window);
  }
  return [...windows].sort((a, b) => a - b);
}

/** Per measurement the groups to be copied, and what is here and there of them; `missing`: some that are needed cannot be told there. */
function differingGroups(
  window: number,
  own: readonly GroupSum[],
  listed: readonly (readonly [string, number, number, string | null])[],
  parts: readonly DamagedPart[],
  what: 'all' | 'unreadable',
): Map<string, { groups: DifferingGroup[]; missing: boolean }> {
  const nameOf = (measurement: string, group: number): string => `${group} ${measurement}`;
  // '': no rows. null: unreadable.
  const mine = new Map(
    own.map((g) => [nameOf(g.measurement, g.group), g.content === null ? null : sumToHex(g.content)]),
  );
  const other = new Map(listed.map(([measurement, group, , sum]) => [nameOf(measurement, group), sum]));
  for (const { measurement, groups } of parts) for (const group of groups) mine.set(nameOf(measurement, group), null);
  const rowsHere = new Map(own.map((g) => [nameOf(g.measurement, g.group), g.rows]));
  const rowsThere = new Map(listed.map(([measurement, group, rows]) => [nameOf(measurement, group), rows]));
  const differing = new Map<string, { groups: DifferingGroup[]; missing: boolean }>();
  for (const name of new Set([...mine.keys(), ...other.keys()])) {
    const at = name.indexOf(' ');
    const [group, measurement] = [Number(name.slice(0, at)), name.slice(at + 1)];
    const [here, there] = [mine.has(name) ? mine.get(name)! : '', other.has(name) ? other.get(name)! : ''];
    if (here === there && here !== null) continue;
    if (what === 'unreadable' && here !== null) continue;
    const entry = differing.get(measurement) ?? { groups: [], missing: false };
    differing.set(measurement, entry);
    if (there === null) entry.missing = true;
    else {
      const rows = { rowsHere: here === null ? null : (rowsHere.get(name) ?? 0), rowsThere: rowsThere.get(name) ?? 0 };
      entry.groups.push({ window, measurement, group, ...rows });
    }
  }
  return differing;
}

function* ownGroups(mend: Mend): Steps<GroupSum[]> {
  const { ledger, stored } = mend.replica;
  const { contentCellsMax: cellsMax } = mend.around.limits;
  const all: GroupSum[] = [];
  for (let from: GroupName | null = null; ; ) {
    const { groups, next } = stored.care.groups({ through: ledger.floor, window: null, from, cellsMax });
    all.push(...groups);
    // A turn of its own, whatever it has read.
    yield* turn(mend.bytesMax);
    if (next === null) return all;
    from = next;
  }
}

function* theirWindows(mend: Mend, source: NodeNumber): Steps<WindowSums | null> {
  const windows: WindowSums = new Map();
  for (let from: GroupName | null = null; ; ) {
    const asked = yield* askFor(mend, source, { t: 'content-windows', from });
    if (asked === null) return null;
    const answer = asked.message as AnswerOf<'content-windows-answer'>;
    for (const [window, rows, sum] of answer.windows)
      addToWindow(windows, window, rows, sum === null ? null : BigInt(`0x${sum}`));
    if (!isAhead(from, answer.next)) return windows;
    from = answer.next;
  }
}

function* theirGroups(
  mend: Mend,
  source: NodeNumber,
  window: number,
): Steps<AnswerOf<'content-groups-answer'>['groups'] | null> {
  const groups: AnswerOf<'content-groups-answer'>['groups'][number][] = [];
  for (let from: GroupName | null = null; ; ) {
    const asked = yield* askFor(mend, source, { t: 'content-groups', window, from });
    if (asked === null) return null;
    const answer = asked.message as AnswerOf<'content-groups-answer'>;
    groups.push(...answer.groups);
    if (!isAhead(from, answer.next)) return groups;
    from = answer.next;
  }
}

/** A cursor that does not go on ends the list: whatever is missing then is found at the next reading. */
function isAhead(from: GroupName | null, next: GroupName | null): boolean {
  if (next === null) return false;
  if (from === null || next.window !== from.window) return from === null || next.window > from.window;
  return next.measurement !== from.measurement ? next.measurement > from.measurement : next.group > from.group;
}

/** False when the source cannot give them. */
function* copy(
  mend: Mend,
  source: NodeNumber,
  window: number,
  measurement: string,
  groups: readonly number[],
): Steps<boolean> {
  const { replica, progress } = mend;
  const through = replica.ledger.floor;
  const replacement = replica.stored.care.replace({
    through,
    window,
    measurement,
    groups,
    purged: new Set(),
    lost: false,
  });
  mend.undo = () => replacement.abandon();
  for (let fromTime: number | null = 0; fromTime !== null; ) {
    const asked = yield* askFor(mend, source, { t: 'content-copy', window, measurement, groups, fromTime });
    if (asked === null) {
      replacement.abandon();
      mend.undo = null;
      return false;
    }
    const answer = asked.message as AnswerOf<'content-copy-answer'>;
    const [frame, keys] = asked.attachments;
    if (frame !== undefined && keys !== undefined) {
      replacement.accept(frame, keys);
      progress.rows += answer.rows;
      mend.around.count('mend_rows', answer.rows);
      progress.bytes += frame.byteLength + keys.byteLength;
      mend.around.count('mend_bytes', frame.byteLength + keys.byteLength);
    }
    fromTime = answer.next !== null && answer.next > fromTime ? answer.next : null;
  }
  while (replacement.step()) yield* turn();
  mend.undo = null;
  progress.groups += groups.length;
  return true;
}

type QuestionFields =
  | Pick<AnswerOf<'content-windows'>, 't' | 'from'>
  | Pick<AnswerOf<'content-groups'>, 't' | 'from' | 'window'>
  | Pick<AnswerOf<'content-copy'>, 't' | 'window' | 'measurement' | 'groups' | 'fromTime'>;

/** null when the source cannot answer. Throws MendError when the floors have to meet first. */
function* askFor(mend: Mend, source: NodeNumber, fields: QuestionFields): Steps<Received | null> {
  const { replica } = mend;
  const { ledger } = replica;
  const claim = claimOf(ledger);
  const received = yield* ask(source, { ...fields, ...claim, key: shardKeyToJson(replica.key) });
  if (received === null) return null;
  const { status, floor, floorRoot } = received.message as AnswerOf<'content-windows-answer'>;
  if (ledger.floor !== claim.floor) throw new MendError('the floor has moved');
  if (status === 'ok') return received;
  if (status === 'floor' || status === 'damaged') {
    const met = meetFloor(ledger, { floor, floorRoot }, true);
    if (met === 'behind') throw new MendError(`this replica is behind the floor ${floor}`, true);
    if (met === 'damage') throw new MendError(`the ledgers differ in content at the floor ${floor}`, true);
    if (ledger.floor !== claim.floor) throw new MendError('the floor of the source was adopted');
  }
  return null;
}
