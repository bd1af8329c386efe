/**
 * Strings: a dictionary of the distinct ones, in order of first appearance, and an index per value.
 *
 * The dictionary is one text with the lengths in UTF-16 units beside it, so that it is decoded in one call. It is UTF-8
 * unless a string has lone surrogates, which UTF-8 cannot hold; then UTF-16.
 * Layout: varint distinct; byte text form; deflated text; numbers: lengths (one span); numbers: index per value.
 */
import { type ByteReader, type ByteWriter, damaged } from './bytes.ts';
import { readDeflated, writeDeflated } from './deflated.ts';
import { readNumbers, writeNumbers } from './kernel-codec.ts';

const UTF8 = 0;
const UTF16 = 1;

/** Returns the length of the text. */
export function writeStrings(writer: ByteWriter, values: readonly string[], starts: Uint32Array): number {
  const count = starts[starts.length - 1]!;
  const indexOf = new Map<string, number>();
  const indexes = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const value = values[i]!;
    let index = indexOf.get(value);
    if (index === undefined) {
      index = indexOf.size;
      indexOf.set(value, index);
    }
    indexes[i] = index;
  }
  const lengths = new Float64Array(indexOf.size);
  let at = 0;
  for (const value of indexOf.keys()) lengths[at++] = value.length;
  const text = [...indexOf.keys()].join('');
  const utf8 = Buffer.from(text, 'utf8');
  const wellFormed = utf8.toString('utf8') === text;
  writer.varint(indexOf.size);
  writer.u8(wellFormed ? UTF8 : UTF16);
  writeDeflated(writer, wellFormed ? utf8 : Buffer.from(text, 'utf16le'));
  writeNumbers(writer, lengths, Uint32Array.of(0, indexOf.size));
  writeNumbers(writer, indexes, starts);
  return text.length;
}

export function readStrings(reader: ByteReader, starts: Uint32Array, fromSpan: number, toSpan: number): string[] {
  const distinct = reader.count(starts[starts.length - 1]!, 'distinct strings');
  const form = reader.u8();
  if (form > UTF16) throw damaged(`text of form ${form}`);
  const bytes = readDeflated(reader);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(
    form === UTF8 ? 'utf8' : 'utf16le',
  );
  const lengths = new Float64Array(distinct);
  readNumbers(reader, Uint32Array.of(0, distinct), 0, 1, lengths);
  const dictionary: string[] = [];
  let at = 0;
  for (let i = 0; i < distinct; i++) {
    const length = lengths[i]!;
    if (length < 0 || at + length > text.length) throw damaged(`string of ${length} units at ${at} of ${text.length}`);
    dictionary.push(text.slice(at, at + length));
    at += length;
  }
  const count = starts[toSpan]! - starts[fromSpan]!;
  const indexes = new Float64Array(count);
  readNumbers(reader, starts, fromSpan, toSpan, indexes);
  const values = new Array<string>(count);
  for (let i = 0; i < count; i++) {
    const value = dictionary[indexes[i]!];
    if (value === undefined) throw damaged(`string ${indexes[i]} of ${distinct}`);
    values[i] = value;
  }
  return values;
}
