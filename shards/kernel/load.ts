/**
 * Kernels: the hot loops, written in AssemblyScript (`assembly/` beside this file) and compiled to WebAssembly by
 * scripts/kernels.mjs. Each thread that needs one makes its own instance, with its own memory.
 *
 * A program that runs from `dist` finds the compiled kernel beside this file; tests, which run the sources, find it in
 * `dist`, where `npm test` has built it first.
 */
import { existsSync, readFileSync } from 'node:fs';

/** The part of the WebAssembly API that is used here; Node's type declarations leave it to the browser's. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => WasmModule;
  Instance: new (module: WasmModule, imports: object) => { readonly exports: object };
};
type WasmModule = object & { readonly brand?: 'module' };

export type KernelName = 'ingest' | 'storage' | 'answers';

/** What every kernel exports (assembly/memory.ts). */
export interface KernelMemory {
  readonly memory: { readonly buffer: ArrayBuffer };
  alloc(bytes: number): number;
  realloc(address: number, bytes: number): number;
  free(address: number): void;
}

const modules = new Map<KernelName, WasmModule>();
/** Of this thread's instances, as long as somebody uses them. */
let memories: WeakRef<KernelMemory['memory']>[] = [];

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
  const exports = new WebAssembly.Instance(module, { env: { abort } }).exports as unknown as Exports;
  memories.push(new WeakRef(exports.memory));
  return exports;
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
