/**
 * Which fields, of which types, a shard has stored per measurement, with the greatest version that wrote each: so that
 * a field whose measurement was deleted as a whole is gone from the schema, and comes back with the next row.
 */
import type { Database } from 'better-sqlite3';
import type { FieldType } from './column.ts';
import type { Version } from './version.ts';

const READ_FIELDS = 'SELECT measurement, field, type, lower(hex(last_version)) AS version FROM fields';
const WRITE_FIELD = 'INSERT OR REPLACE INTO fields (measurement, field, type, last_version) VALUES (?, ?, ?, ?)';

export interface StoredField {
  readonly measurement: string;
  readonly field: string;
  readonly type: FieldType;
  version: Version;
  /** Newer than in the file. */
  fresh: boolean;
}

export class ShardFields {
  readonly #measurements = new Map<string, Map<string, StoredField>>();

  #count = 0;

  /** Pairs of field and type, of all measurements. Never shrinks. */
  get count(): number {
    return this.#count;
  }

  load(database: Database): void {
    const rows = database.prepare(READ_FIELDS).all() as Omit<StoredField, 'fresh'>[];
    for (const { measurement, field, type, version } of rows) this.#note(measurement, field, type, version, false);
  }

  /** What is newer than in the file, as of now; from now on it counts as being there. */
  freeze(): (database: Database) => void {
    const saved: [string, string, FieldType, Buffer][] = [];
    for (const stored of this.all()) {
      if (!stored.fresh) continue;
      stored.fresh = false;
      saved.push([stored.measurement, stored.field, stored.type, Buffer.from(stored.version, 'hex')]);
    }
    return (database) => {
      const write = database.prepare(WRITE_FIELD);
      for (const values of saved) write.run(...values);
    };
  }

  /** Rows with the field came, of versions up to this one. */
  wrote(measurement: string, field: string, type: FieldType, version: Version): void {
    this.#note(measurement, field, type, version, true);
  }

  of(measurement: string): StoredField[] {
    return [...(this.#measurements.get(measurement)?.values() ?? [])];
  }

  /** Fields that have values of several types. */
  mixed(measurement: string): string[] {
    const fields = this.of(measurement).map(({ field }) => field);
    return [...new Set(fields.filter((field, i) => fields.indexOf(field) !== i))];
  }

  *all(): Generator<StoredField> {
    for (const fields of this.#measurements.values()) yield* fields.values();
  }

  #note(measurement: string, field: string, type: FieldType, version: Version, fresh: boolean): void {
    let fields = this.#measurements.get(measurement);
    if (fields === undefined) {
      fields = new Map();
      this.#measurements.set(measurement, fields);
    }
    const name = `${type}${field}`;
    const stored = fields.get(name);
    if (stored === undefined) {
      fields.set(name, { measurement, field, type, version, fresh });
      this.#count++;
    } else if (version > stored.version) {
      stored.version = version;
      stored.fresh = fresh;
    }
  }
}
