/**
 * The repairs that are kept, for `GET /api/repairs`: each member has those that it took part in and some of the values that it
 * found to compete, so all that are up are asked, and what they say of one repair is put together.
 *
 *   records      newest first: what differed, what came from whom in which time, which values won by which rule
 *   next         `before=` of the next page; null: there is none
 *   names        of the members in `records`, by number
 *   members      whether repair is paused there, and what it may take
 *   unreachable  names of those that did not answer: what only they found is missing
 *   equal        passes at this node that found nothing: of the shard that is asked for, or all shards in sum
 */
import { nameOf } from '../../repair/surroundings.ts';
import { type KeptRepair, unitedPages } from '../repair-history.ts';
import type { EqualPasses } from '../repair-journal.ts';
import { cursorText, type RepairQuery } from '../repair-query.ts';
import type { RatesStatus } from '../repair-rates.ts';
import type { AdminPorts } from './admin.ts';
import { orNothing, type RepairCalls } from './member-calls.ts';

export interface RepairPage {
  readonly records: readonly KeptRepair[];
  readonly next: string | null;
  readonly names: Readonly<Record<string, string>>;
  readonly members: readonly ({ readonly member: string; readonly name: string } & (
    | RatesStatus
    | { readonly paused: null }
  ))[];
  readonly unreachable: readonly string[];
  readonly equal: EqualPasses | { shards: number; passes: number; oldestMs: number | null } | null;
  /** Records that this node could not keep, since it started. */
  readonly dropped: number;
}

type Ports = Pick<AdminPorts, 'snapshot' | 'members' | 'journal'>;
type CallsOf = (member: string) => RepairCalls | null;

export async function listRecords(ports: Ports, callsOf: CallsOf, query: RepairQuery): Promise<RepairPage> {
  const snapshot = ports.snapshot();
  const { journal } = ports;
  const member = snapshot.members.find(({ name, number, state }) =>
    query.member === undefined ? false : number === query.member || (name === query.member && state !== 'removed'),
  );
  const asked = member === undefined ? query : { ...query, member: member.number };
  const present = ports.members().filter(({ state }) => state !== 'removed');
  const answers = await Promise.all(
    present.map(async ({ number, name, live }) => {
      const isAsked = live || number === snapshot.self;
      const answer = isAsked ? await orNothing(callsOf(number)?.repairHistory(asked)) : undefined;
      return { number, name, answer };
    }),
  );
  const records = unitedPages(
    answers.map(({ answer }) => answer?.records ?? []),
    query.limit,
  );
  const last = records.at(-1);
  const numbers = new Set(records.flatMap((record) => record.members));
  return {
    records,
    next: last === undefined || records.length < query.limit ? null : cursorText(last),
    names: Object.fromEntries([...numbers].map((number) => [number, nameOf(snapshot, number)])),
    members: answers.map(({ number, name, answer }) => ({
      member: number,
      name,
      ...(answer?.rates ?? { paused: null }),
    })),
    unreachable: answers.filter(({ answer }) => answer === undefined).map(({ name }) => name),
    equal: query.shard === undefined ? journal.equalPasses() : journal.equalPassOf(query.shard),
    dropped: journal.dropped,
  };
}

/** From whoever has it; null: nobody who answers has. */
export async function findRecord(ports: Ports, callsOf: CallsOf, id: string): Promise<KeptRepair | null> {
  const { self } = ports.snapshot();
  const present = ports.members().filter(({ number, live, state }) => state !== 'removed' && (live || number === self));
  const found = await Promise.all(present.map(({ number }) => orNothing(callsOf(number)?.repairRecord(id))));
  const parts = found.filter((record) => record !== undefined && record !== null);
  return unitedPages([parts], 1)[0] ?? null;
}
