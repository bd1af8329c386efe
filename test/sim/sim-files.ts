/** Files in memory for the outbox in simulations: bytes that were not synced when the process dies are lost. */
import type { AppendFile, Files } from '../../shards/files.ts';

interface Bytes {
  data: Buffer;
  synced: number;
}

export class SimFiles implements Files {
  readonly files = new Map<string, Bytes>();
  later: (run: () => void) => void;
  private generation = 0;

  constructor(later: (run: () => void) => void) {
    this.later = later;
  }

  crash(): void {
    this.generation++;
    for (const bytes of this.files.values()) bytes.data = bytes.data.subarray(0, bytes.synced);
  }

  open(path: string): AppendFile {
    const bytes = this.files.get(path) ?? { data: Buffer.alloc(0), synced: 0 };
    this.files.set(path, bytes);
    return {
      path,
      get size() {
        return bytes.data.length;
      },
      append: (chunks) => {
        bytes.data = Buffer.concat([bytes.data, ...chunks]);
      },
      truncate: (size) => {
        bytes.data = bytes.data.subarray(0, size);
        bytes.synced = Math.min(bytes.synced, size);
      },
      sync: (done) => {
        const upTo = bytes.data.length;
        const generation = this.generation;
        this.later(() => {
          if (generation !== this.generation) return;
          bytes.synced = Math.max(bytes.synced, Math.min(upTo, bytes.data.length));
          done(null);
        });
      },
      syncNow: () => {
        bytes.synced = bytes.data.length;
      },
      read: (offset, length) => bytes.data.subarray(offset, offset + length),
      close: () => {},
    };
  }

  read(path: string): Uint8Array {
    return this.files.get(path)!.data;
  }
  exists(path: string): boolean {
    return this.files.has(path);
  }
  size(path: string): number {
    return this.files.get(path)?.data.length ?? 0;
  }
  list(directory: string): string[] {
    return [...this.files.keys()]
      .filter((path) => path.startsWith(`${directory}/`))
      .map((path) => path.slice(directory.length + 1))
      .sort();
  }
  makeDirectory(): void {}
  remove(path: string): void {
    this.files.delete(path);
  }
  rename(from: string, to: string): void {
    this.files.set(to, this.files.get(from)!);
    this.files.delete(from);
  }
  syncDirectory(): void {}
}
