/**
 * What repair did: the last pass records that moved or found something, in memory and in `history.jsonl`.
 *
 * The file is for people and survives restarts; nothing depends on it. It is appended to without syncing, cut in two
 * generations (`history.jsonl`, `history.jsonl.1`) at `FILE_BYTES_MAX`, and a torn last line is skipped when it is read.
 */
import { appendFile, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { PassRecord } from '../repair/records.ts';

const FILE_BYTES_MAX = 8 * 1024 * 1024;

export class History {
  #path: string;
  #entriesMax: number;
  #records: PassRecord[] = [];
  #bytes = 0;

  constructor(directory: string, entriesMax: number) {
    this.#path = join(directory, 'history.jsonl');
    this.#entriesMax = entriesMax;
    for (const path of [`${this.#path}.1`, this.#path]) this.#read(path);
    this.#records = this.#records.slice(-entriesMax);
    try {
      this.#bytes = statSync(this.#path).size;
    } catch {
      this.#bytes = 0;
    }
  }

  /** Keeps passes that a person would ask about: those that moved rows, failed, or found damage. */
  add(record: PassRecord): void {
    if (record.outcome === 'proven' && record.batchesMoved === 0) return;
    this.#records.push(record);
    if (this.#records.length > this.#entriesMax) this.#records.splice(0, this.#records.length - this.#entriesMax);
    const line = `${JSON.stringify(record)}\n`;
    this.#bytes += line.length;
    if (this.#bytes > FILE_BYTES_MAX) {
      try {
        renameSync(this.#path, `${this.#path}.1`);
      } catch {
        // Without the rename the file grows on; the next record tries again.
      }
      this.#bytes = line.length;
    }
    // A full disk loses history, not data.
    appendFile(this.#path, line, () => {});
  }

  /** Newest first. */
  list(shard: string | null, limit: number): PassRecord[] {
    const wanted = shard === null ? this.#records : this.#records.filter((record) => record.shard === shard);
    return wanted.slice(-limit).reverse();
  }

  #read(path: string): void {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch {
      return;
    }
    for (const line of text.split('\n')) {
      if (line === '') continue;
      try {
        this.#records.push(JSON.parse(line) as PassRecord);
      } catch {
        // Torn by a crash.
      }
    }
  }
}
