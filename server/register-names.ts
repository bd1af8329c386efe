/** Names that people give, as parts of keys of registers: they may hold any character. */

/** What is no text (half of a surrogate pair) becomes some. */
export function encodedName(name: string): string {
  return encodeURIComponent(Buffer.from(name).toString());
}

/** A peer's mistake must not end this process. */
export function decodedName(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
}
