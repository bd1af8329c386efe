/**
 * Working memory of the codecs, kept between calls because allocating it anew costs as much as decoding a small block.
 * Nothing in it outlives one call: the codecs are synchronous, and each says below which arrays it uses.
 */

/** Larger working arrays are made for the call and dropped: a worker must not keep the memory of one odd block. */
const KEPT_MAX = 1 << 17;

let residuals = new Uint32Array(1 << 13);
let upperResiduals = new Uint32Array(1 << 13);

/** Residuals of the sequence being read or written; narrow.ts and the lower halves of wide.ts. */
export function residualScratch(length: number): Uint32Array {
  if (residuals.length >= length) return residuals;
  const grown = new Uint32Array(length);
  if (length <= KEPT_MAX) residuals = grown;
  return grown;
}

/** Upper halves in wide.ts. */
export function upperResidualScratch(length: number): Uint32Array {
  if (upperResiduals.length >= length) return upperResiduals;
  const grown = new Uint32Array(length);
  if (length <= KEPT_MAX) upperResiduals = grown;
  return grown;
}

let narrow = new Int32Array(1 << 13);

/** A narrow sequence between its decoding and its conversion in numbers.ts. */
export function narrowScratch(length: number): Int32Array {
  if (narrow.length >= length) return narrow;
  const grown = new Int32Array(length);
  if (length <= KEPT_MAX) narrow = grown;
  return grown;
}
