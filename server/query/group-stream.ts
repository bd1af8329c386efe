/**
 * Raw rows with GROUP BY tags that leave while later ones are still to be read: some groups after others, as their series of
 * results follow each other in the answer, each batch asked for when the client has taken the one before.
 *
 * All shards name their groups first, which confirms their schemas (group-names.ts). A batch of groups may have
 * `streamedRowsMax` rows and `streamedBytesMax` bytes; the next one has as many groups as are likely to have so many, four times those of the one before at
 * most. Where a batch has more, a quarter of its groups is asked for; a single group that has more leaves slice by slice of
 * time (row-stream.ts).
 */
import { mainTurns } from '../turns.ts';
import { readRaw } from './data.ts';
import { groupsMax } from './group-condition.ts';
import { type NamedPlan, nameGroups, planOfGroups } from './group-names.ts';
import type { Group } from './groups.ts';
import type { SelectPlan } from './plan.ts';
import { TooManyRows } from './query-error.ts';
import { AIMED, type RowPiece, RowStream } from './row-stream.ts';
import type { StatementContext } from './scatter.ts';
import { dimensionsOf, hasNoColumn, rawTable } from './select.ts';

const FIRST_GROUPS = 16;
const GROWTH = 4;
/** Of more batches each looks for its groups in all shards again: such an answer is gathered. */
const BATCHES_MAX = 64;

export class GroupStream {
  readonly plan: SelectPlan;
  readonly #named: NamedPlan;
  readonly #context: StatementContext;
  readonly #groupsMax: number;
  /** What is left, in the order of the answer. */
  #groups: readonly Group[];
  #width = FIRST_GROUPS;
  /** Of the group at hand, where one has too many rows at once. */
  #slices: RowStream | null = null;

  /** null: its groups cannot leave one after the other; the plan is then to be run as `plan` is, or as it was. */
  static async open(plan: SelectPlan, context: StatementContext): Promise<GroupStream | SelectPlan | null> {
    if (plan.calls.length > 0 || plan.dimensions.length === 0 || hasNoColumn(plan)) return null;
    const named = await nameGroups(plan, dimensionsOf(plan, []), context);
    if (named === null) return null;
    const { groups, dimensions, source } = named;
    const most = groupsMax(dimensions, source.measurements);
    const isFew = groups.length <= most * BATCHES_MAX && planOfGroups(named, groups.slice(0, 1)) !== null;
    return isFew ? new GroupStream(named, most, context) : named.plan;
  }

  private constructor(named: NamedPlan, groupsMost: number, context: StatementContext) {
    this.plan = named.plan;
    this.#named = named;
    this.#context = context;
    this.#groupsMax = groupsMost;
    this.#groups = named.plan.descending ? [...named.groups].reverse() : named.groups;
  }

  /** The next rows, one at least: of some groups, the last of which may go on. null: there are none. */
  async next(): Promise<RowPiece | null> {
    for (;;) {
      const more = (await this.#slices?.next()) ?? null;
      if (more !== null) return more;
      this.#slices = null;
      if (this.#groups.length === 0) return null;
      const piece = await this.#read(this.#groups.slice(0, Math.min(this.#width, this.#groupsMax)));
      if (piece !== null && piece.table.times.length > 0) return piece;
    }
  }

  /** null: they have too many rows, or too large ones. */
  async #read(groups: readonly Group[]): Promise<RowPiece | null> {
    const { limits, ending } = this.#context;
    const rowsMax = Math.min(limits.rowsMax, limits.streamedRowsMax);
    const bytesMax = Math.min(limits.bytesMax, limits.streamedBytesMax);
    const { dimensions, source } = this.#named;
    const plan = planOfGroups(this.#named, groups)!;
    try {
      const rows = await readRaw(plan, dimensions, { ...this.#context, limits: { ...limits, rowsMax, bytesMax } });
      const table = await mainTurns.of(rawTable(plan, rows), ending);
      this.#groups = this.#groups.slice(groups.length);
      this.#width = widthBehind(groups.length, Math.max(table.times.length / rowsMax, rows.bytes / bytesMax));
      return { table, bytes: rows.bytes };
    } catch (error) {
      if (!(error instanceof TooManyRows)) throw error;
      if (groups.length === 1) {
        this.#groups = this.#groups.slice(1);
        this.#slices = RowStream.of(plan, source, dimensions, this.#context);
      }
      this.#width = Math.max(1, Math.floor(groups.length / GROWTH));
      return null;
    }
  }
}

/** `share`: what the groups before had of what a batch may have. */
function widthBehind(groups: number, share: number): number {
  if (share * GROWTH <= AIMED) return groups * GROWTH;
  return Math.max(1, Math.round((groups * AIMED) / share));
}
