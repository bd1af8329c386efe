/**
 * What a shard has: measurements, fields, tag keys and series with something visible in them.
 *
 * Without deletes that is what the series table and the fields say. A delete hides what it covers until a newer row
 * brings it back, so under deletes it is looked up (shard-tombstones.ts, visible-series.ts).
 */
import type { FieldType } from './column.ts';
import type { SeriesTable } from './series-table.ts';
import type { ShardFields } from './shard-fields.ts';
import type { ScanSources } from './shard-scan.ts';
import type { ShardTombstones } from './shard-tombstones.ts';
import type { LogPosition } from './storage.ts';
import type { TagCondition } from './tag-condition.ts';
import { seriesWithRows } from './visible-series.ts';

export class ShardCatalog {
  readonly #table: SeriesTable;
  readonly #tombstones: ShardTombstones;
  readonly #sources: ScanSources;
  readonly #fields: () => ShardFields;

  constructor(sources: ScanSources, tombstones: ShardTombstones, fields: () => ShardFields) {
    this.#table = sources.table;
    this.#tombstones = tombstones;
    this.#sources = sources;
    this.#fields = fields;
  }

  schema(): { measurement: string; field: string; type: FieldType }[] {
    return [...this.#fields().all()]
      .filter(({ measurement, version }) => this.#tombstones.leaves(measurement, version))
      .map(({ measurement, field, type }) => ({ measurement, field, type }));
  }

  /** Series and fields only become more; under a delete of a whole measurement any write can bring a field back. */
  stamp({ segment, offset }: LogPosition): string {
    const { stamp, coverFields } = this.#tombstones;
    const written = coverFields > 0 ? `${segment}.${offset}` : '';
    return `${this.#table.count}/${this.#fields().count}/${stamp}/${written}`;
  }

  measurements(): string[] {
    const names = this.#table.measurements();
    return this.#tombstones.count === 0 ? names : names.filter((name) => this.series(name, null).length > 0);
  }

  fields(measurement: string): { name: string; types: FieldType[] }[] {
    if (this.#tombstones.count > 0 && this.series(measurement, null).length === 0) return [];
    const fields = new Map<string, FieldType[]>();
    for (const { field, type, version } of this.#fields().of(measurement)) {
      if (!this.#tombstones.leaves(measurement, version)) continue;
      fields.set(field, [...(fields.get(field) ?? []), type].sort());
    }
    return [...fields].map(([name, types]) => ({ name, types })).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  tagKeys(measurement: string): string[] {
    return this.#table.tagKeys(measurement, this.#tombstones.count === 0 ? null : this.series(measurement, null));
  }

  series(measurement: string, condition: TagCondition | null): Uint32Array {
    const matching = this.#table.match(measurement, condition);
    return this.#tombstones.visible(measurement, matching, (unknown) => {
      const fields = [
        ...new Set(
          this.#fields()
            .of(measurement)
            .map(({ field }) => field),
        ),
      ];
      return seriesWithRows(this.#sources, measurement, unknown, fields);
    });
  }
}
