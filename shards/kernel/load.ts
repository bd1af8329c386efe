/**
 * Kernels: the hot loops, written in AssemblyScript (`assembly/` beside this file) and compiled to WebAssembly by
 * scripts/kernels.mjs. Each thread that needs one makes its own instance, with its own memory.
 *
 * That memory is of the shared kind, though no thread ever shows it to another: V8 counts memory of the other kind as the
 * program's, and marks the whole heap whenever tables have grown by 64 MiB. So nothing that lies in it may be sent to a
 * thread as it is, which would share it; V8 does not see how much is gained by collecting an instance (`dropped`), and is slow
 * when it copies from and to such memory (copy.ts).
 *
 * A program that runs from `dist` finds the compiled kernel beside this file; tests, which run the sources, find it in
 * `dist`, where `npm test` has built it first.
 */
import { existsSync, readFileSync } from 'node:fs';

/** The part of the WebAssembly API that is used here; Node's type declarations leave it to the browser's. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => WasmModule;
  Memory: new (of: { initial: number; maximum: number; shared: true }) => { readonly buffer: SharedArrayBuffer };
  Instance: new (module: WasmModule, imports: object) => { readonly exports: object };
};
type WasmModule = object & { readonly brand?: 'module' };

export type KernelName = 'ingest' | 'storage' | 'answers';

/** What every kernel exports (assembly/memory.ts). */
export interface KernelMemory {
  /** Views that are made before it grows stay, and end where it ended then. */
  readonly memory: { readonly buffer: SharedArrayBuffer };
  /** What it has grown to. */
  pages(): number;
  alloc(bytes: number): number;
  realloc(address: number, bytes: number): number;
  free(address: number): void;
}

export const PAGE_BYTES = 1 << 16;
/** 2 GiB, as scripts/kernels.mjs has it. */
const PAGES_MAX = 32_768;
/** V8 marks its heap when the program has taken so much more beside it, and finds what was dropped. */
const MARKING_BYTES = 72 << 20;
const CALLS_BETWEEN = 64;

const modules = new Map<KernelName, WasmModule>();
/** Of this thread's instances, as long as somebody uses them. */
let memories: WeakRef<KernelMemory['memory']>[] = [];
/** How many were dropped and are still there. */
let outgrown = 0;
let collectCalls = 0;
const collected = new FinalizationRegistry<null>(() => {
  outgrown--;
});

/** A new instance. `Exports` must describe what the kernel exports. Throws when the program was not built. */
export function loadKernel<Exports extends KernelMemory>(name: KernelName): Exports {
  let module = modules.get(name);
  if (module === undefined) {
    module = new WebAssembly.Module(readFileSync(pathOf(name)));
    modules.set(name, module);
  }
  const abort = (_message: number, _file: number, line: number, column: number): never => {
    throw new Error(`kernel ${name} failed at ${line}:${column}`);
  };
  const memory = new WebAssembly.Memory({ initial: 1, maximum: PAGES_MAX, shared: true });
  const exports = new WebAssembly.Instance(module, { env: { abort, memory } }).exports as unknown as Exports;
  memories.push(new WeakRef(exports.memory));
  return exports;
}

/** Nobody will use this instance any more. */
export function dropped({ memory }: KernelMemory): void {
  outgrown++;
  collected.register(memory, null);
}

/**
 * To be called often after `dropped`: gives the memory back soon, where V8 would wait until its heap has grown. Once is not
 * enough: what is dropped while the heap is marked may pass for alive.
 */
export function collectDropped(): void {
  // Counted, never touched, and dead at once.
  if (outgrown > 0 && collectCalls++ % CALLS_BETWEEN === 0) new ArrayBuffer(MARKING_BYTES);
}

/** Bytes that the kernels of this thread have grown to. */
export function kernelBytes(): number {
  const alive = memories.flatMap((memory) => memory.deref() ?? []);
  memories = alive.map((memory) => new WeakRef(memory));
  return alive.reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
}

function pathOf(name: KernelName): URL {
  const beside = new URL(`./${name}.wasm`, import.meta.url);
  if (existsSync(beside)) return beside;
  const built = new URL(`../../dist/shards/kernel/${name}.wasm`, import.meta.url);
  if (existsSync(built)) return built;
  throw new Error(`kernel ${name} is not built: run \`npm run build\``);
}
