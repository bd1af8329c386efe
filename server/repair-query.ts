/**
 * What is asked of the kept repairs: filters and a page, from the parameters of a URL or from another node.
 */
import { z } from 'zod';
import { REPAIR_KINDS, REPAIR_OUTCOMES } from '../repair/repair-records.ts';

export const PAGE_MAX = 1_000;
const PAGE = 100;
const TEXT_MAX = 1_000;

const text = z.string().min(1).max(TEXT_MAX);
/** Milliseconds since 1970, or a time as RFC 3339 has it. */
const instant = text.transform((given, context) => {
  const ms = /^\d{1,15}$/.test(given) ? Number(given) : Date.parse(given);
  if (Number.isNaN(ms)) context.addIssue({ code: 'custom', message: `"${given}" is no time` });
  return ms;
});
/** Where a page ended: the newest of the next one ended before that. */
const cursor = text.transform((given, context) => {
  const parts = /^(\d{1,15})_(.+)$/.exec(given);
  if (parts === null) context.addIssue({ code: 'custom', message: `"${given}" is no cursor` });
  return { finishedMs: Number(parts?.[1]), id: parts?.[2] ?? '' };
});
const isTrue = z.enum(['true', 'false', '1', '0']).transform((given) => given === 'true' || given === '1');
const limit = z
  .string()
  .regex(/^\d{1,6}$/, 'not a number')
  .transform(Number)
  .pipe(z.number().min(1).max(PAGE_MAX));

/** Parameters of `GET /api/repairs`; others are refused. */
export const repairParameters = z
  .object({
    shard: text.optional(),
    database: text.optional(),
    kind: z.enum(REPAIR_KINDS).optional(),
    state: z.enum(REPAIR_OUTCOMES).optional(),
    /** Name or number of a member that took part or was left out. */
    member: text.optional(),
    since: instant.optional(),
    until: instant.optional(),
    changed: isTrue.optional(),
    limit: limit.default(PAGE),
    before: cursor.optional(),
  })
  .strict();

export type RepairQuery = Readonly<z.output<typeof repairParameters>>;
export type RepairFilter = Omit<RepairQuery, 'limit' | 'before'>;
export type RepairCursor = NonNullable<RepairQuery['before']>;

const whole = z.number().int();
/** The same from another node. */
export const repairQuery: z.ZodType<RepairQuery> = z.object({
  shard: text.optional(),
  database: text.optional(),
  kind: z.enum(REPAIR_KINDS).optional(),
  state: z.enum(REPAIR_OUTCOMES).optional(),
  member: text.optional(),
  since: whole.optional(),
  until: whole.optional(),
  changed: z.boolean().optional(),
  limit: whole.min(1).max(PAGE_MAX),
  before: z.object({ finishedMs: whole, id: z.string().max(TEXT_MAX) }).optional(),
});

export function cursorText({ finishedMs, id }: RepairCursor): string {
  return `${finishedMs}_${id}`;
}
