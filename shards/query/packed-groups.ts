/**
 * Groups on their way: each list of texts as one text and where each ends in it. As lists a thousand groups are two
 * thousand strings, and a string costs a tenth of a microsecond at either end.
 */
import type { ShardGroups } from './partial.ts';

export interface PackedGroups {
  /** One behind the other, each once: groups of one measurement stand together. */
  readonly measurements: readonly string[];
  /** Per measurement the number of the first group behind its own. */
  readonly ends: readonly number[];
  /** Per dimension the values of all groups. */
  readonly tagValues: readonly PackedTexts[];
}

export interface PackedTexts {
  readonly text: string;
  readonly ends: Uint32Array;
}

export function packGroups({ measurements, tagValues }: ShardGroups): PackedGroups {
  const names: string[] = [];
  const ends: number[] = [];
  for (let g = 0; g < measurements.length; g++) {
    if (g > 0 && measurements[g] === measurements[g - 1]) ends[ends.length - 1] = g + 1;
    else {
      names.push(measurements[g]!);
      ends.push(g + 1);
    }
  }
  return { measurements: names, ends, tagValues: tagValues.map(packTexts) };
}

export function unpackGroups({ measurements, ends, tagValues }: PackedGroups): ShardGroups {
  const names: string[] = [];
  for (let m = 0; m < ends.length; m++) while (names.length < ends[m]!) names.push(measurements[m]!);
  return { measurements: names, tagValues: tagValues.map(unpackTexts) };
}

function packTexts(texts: readonly string[]): PackedTexts {
  const ends = new Uint32Array(texts.length);
  let end = 0;
  for (let i = 0; i < texts.length; i++) {
    end += texts[i]!.length;
    ends[i] = end;
  }
  return { text: texts.join(''), ends };
}

function unpackTexts({ text, ends }: PackedTexts): string[] {
  const texts = new Array<string>(ends.length);
  for (let i = 0, start = 0; i < ends.length; i++) {
    texts[i] = text.slice(start, ends[i]!);
    start = ends[i]!;
  }
  return texts;
}
