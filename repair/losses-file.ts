/**
 * Notes of what may be lost with members (losses.ts) as they were made, in one file of a worker: DIR/losses.json.
 *
 * A note says up to where its replica was proven when the member went. In the shard's file it comes with the next flush, as does
 * every later watermark; a crash before that brings back an older watermark, and the note is to be made again. Then it is taken
 * from here; and so are all of a shard whose file was lost. It is written when notes are made, once for all shards, and read by nothing else; where the disk refuses it is tried
 * again once a second.
 */
import type { Files } from '../shards/files.ts';
import type { ShardId } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import { type Loss, lossName } from './losses.ts';
import { readJson, replaceJson } from './replaced-file.ts';

const FORMAT = 1;
const NAME = 'losses.json';
const RETRY_MS = 1_000;

export class LossesFile {
  private readonly files: Files;
  private readonly directory: string;
  private notes: ReadonlyMap<ShardId, readonly Loss[]>;
  private unsaved = false;
  private triedMs = 0;

  constructor(files: Files, directory: string) {
    this.files = files;
    this.directory = directory;
    this.notes = new Map(notesOf(readJson(files, directory, NAME)));
  }

  /** That of its removal, as it was made before. */
  get(shard: ShardId, member: NodeNumber): Loss | undefined {
    return this.all(shard).find((loss) => lossName(loss) === member);
  }

  all(shard: ShardId): readonly Loss[] {
    return this.notes.get(shard) ?? [];
  }

  /** Durable when it returns, but for a disk that refuses. */
  replace(notes: ReadonlyMap<ShardId, readonly Loss[]>): void {
    this.notes = new Map([...notes].filter(([, losses]) => losses.length > 0));
    this.save();
  }

  tick(nowMs: number): void {
    if (!this.unsaved || Math.abs(nowMs - this.triedMs) < RETRY_MS) return;
    this.triedMs = nowMs;
    this.save();
  }

  private save(): void {
    this.unsaved = !replaceJson(this.files, this.directory, NAME, { format: FORMAT, notes: [...this.notes] });
  }
}

function notesOf(value: unknown): [ShardId, Loss[]][] {
  if (typeof value !== 'object' || value === null) return [];
  const { format, notes } = value as { format: unknown; notes: unknown };
  if (format !== FORMAT || !Array.isArray(notes) || !notes.every(isNote)) return [];
  return notes as [ShardId, Loss[]][];
}

function isNote(value: unknown): boolean {
  if (!Array.isArray(value) || typeof value[0] !== 'string' || !Array.isArray(value[1])) return false;
  return value[1].every((loss: unknown) => {
    if (typeof loss !== 'object' || loss === null) return false;
    const { member, name, after } = loss as Record<string, unknown>;
    return [member, name, after].every((each) => typeof each === 'string');
  });
}
