/** The values of a tag over many series as codes, from the tags of each: for a shard that keeps no such column. */
import type { QueryableShard, TagColumn } from '../../shards/queryable.ts';

export function tagColumnByTags(shard: Pick<QueryableShard, 'tagsOf'>, key: string, series: Uint32Array): TagColumn {
  const values = [''];
  const numbers = new Map([['', 0]]);
  const codes = new Uint32Array(series.length);
  for (let i = 0; i < series.length; i++) {
    let value = '';
    for (const tag of shard.tagsOf(series[i]!)) if (tag.key === key) value = tag.value;
    let code = numbers.get(value);
    if (code === undefined) {
      code = values.length;
      numbers.set(value, code);
      values.push(value);
    }
    codes[i] = code;
  }
  return { codes, valueOf: (code) => values[code]! };
}
