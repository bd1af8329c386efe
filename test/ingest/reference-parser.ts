/**
 * Line protocol, slow and obvious: strings instead of bytes, one object per point, bigint for every integer. The
 * parsers of shards/ are held against it. Bodies are taken as Latin-1, so that a character is a byte.
 */
export interface ReferencePoint {
  key: string;
  fields: Map<string, string>;
  time: string;
}

const UNITS: Record<string, bigint> = {
  n: 1n,
  u: 1000n,
  ms: 1000000n,
  s: 1000000000n,
  m: 60000000000n,
  h: 3600000000000n,
};
const LIMIT = 9223372036854775806n;

class Bad extends Error {}

export function referenceParse(body: Buffer, precision: string, defaultTime: bigint) {
  const points: ReferencePoint[] = [];
  const errors: string[] = [];
  for (const line of splitLines(body.toString('latin1'))) {
    const text = line.replace(/^[ \t\0]+/, '');
    if (text === '' || text.startsWith('#')) continue;
    const block = text.endsWith('\n') ? text.slice(0, -1) : text;
    try {
      points.push(point(block, UNITS[precision]!, defaultTime));
    } catch (error) {
      if (!(error instanceof Bad)) throw error;
      errors.push(`unable to parse '${utf8(block)}': ${error.message}`);
    }
  }
  return { points, errors };
}

function splitLines(text: string): string[] {
  const lines: string[] = [];
  let start = 0;
  while (start < text.length) {
    let i = start;
    let [fields, quoted, equals, commas] = [false, false, 0, 0];
    while (i < text.length) {
      const c = text[i];
      if (c === '\\' && i + 2 < text.length) {
        i += 2;
        continue;
      }
      if (c === ' ') fields = true;
      if (c === '\n' && !quoted) break;
      if (fields && c === '"' && equals > commas) quoted = !quoted;
      if (fields && !quoted && c === '=') equals++;
      if (fields && !quoted && c === ',') commas++;
      i++;
    }
    lines.push(text.slice(start, i));
    start = i + 1;
  }
  return lines;
}

function find(text: string, from: number, stops: string): number {
  for (let i = from; i < text.length; i++) if (stops.includes(text[i]!) && text[i - 1] !== '\\') return i;
  return -1;
}

function point(text: string, unit: bigint, defaultTime: bigint): ReferencePoint {
  if (text[0] === ',') throw new Bad('missing measurement');
  let at = find(text, 1, ', ');
  if (at < 0) throw new Bad('missing fields');
  const name = text.slice(0, at).replace(/\\([,"= ])/g, '$1');
  const tags: [string, string][] = [];
  while (text[at] === ',') {
    if (at + 1 >= text.length || ' ,='.includes(text[at + 1]!)) throw new Bad('missing tag key');
    const equals = find(text, at + 2, ' ,=');
    if (equals < 0 || text[equals] !== '=') throw new Bad('missing tag value');
    if (equals + 1 >= text.length || ' ,'.includes(text[equals + 1]!)) throw new Bad('missing tag value');
    const end = find(text, equals + 2, ' ,=');
    if (end < 0) throw new Bad('missing fields');
    if (text[end] === '=') throw new Bad('invalid tag format');
    tags.push([text.slice(at + 1, equals), text.slice(equals + 1, end)]);
    at = end;
  }
  if (new Set(tags.map(([key]) => key)).size < tags.length) throw new Bad('duplicate tags');
  if (at > 65535) throw new Bad(`max key length exceeded: ${at} > 65535`);
  const keyLength = at;
  while (at < text.length && ' \t\0'.includes(text[at]!)) at++;
  const end = fieldsEnd(text, at);
  const section = text.slice(at, end);
  checkNames(section, keyLength);
  const time = timestamp(text, end, unit) ?? defaultTime - (((defaultTime % unit) + unit) % unit);
  const fields = takeFields(section);
  if (!isText(text.slice(0, keyLength))) throw new Bad('invalid UTF-8');
  const pairs = tags.map(([key, value]): [Buffer, string] => [latin(unescapeTag(key)), unescapeTag(value)]);
  pairs.sort((a, b) => Buffer.compare(a[0], b[0]));
  const rendered = pairs.map(([key, value]) => `${utf8(key.toString('latin1'))}=${utf8(value)}`);
  return { key: JSON.stringify([utf8(name), ...rendered]), fields, time: time.toString() };
}

function fieldsEnd(text: string, start: number): number {
  let i = start;
  let [quoted, equals, commas] = [false, 0, 0];
  while (i < text.length) {
    const c = text[i];
    if (c === '\\' && i + 1 < text.length) {
      i += 2;
      continue;
    }
    if (c === '"' && equals > commas) {
      quoted = !quoted;
      i++;
      continue;
    }
    if (c === '=' && !quoted) {
      equals++;
      if (', '.includes(text[i - 1]!) && text[i - 2] !== '\\') throw new Bad('missing field key');
      const next = text[i + 1];
      if (next === undefined || next === ',' || next === ' ') throw new Bad('missing field value');
      if (next !== '"') {
        const value = /^[^, ]*/.exec(text.slice(i + 1))![0];
        i += 1 + value.length;
        if (/[-0-9.nN]/.test(next)) checkNumber(value);
        else if (!/^([tTfF]|true|True|TRUE|false|False|FALSE)$/.test(value)) throw new Bad('invalid boolean');
        continue;
      }
    }
    if (c === ',' && !quoted) commas++;
    if (c === ' ' && !quoted) break;
    i++;
  }
  if (quoted) throw new Bad('unbalanced quotes');
  if (equals === 0 || commas !== equals - 1) throw new Bad('invalid field format');
  return Math.min(i, text.length);
}

function checkNumber(value: string): void {
  const invalid = new Bad('invalid number');
  const whole = /^(-?)(\d+)([iu])$/.exec(value);
  if (whole !== null) {
    const digits = BigInt(whole[2]!) * (whole[1] === '-' ? -1n : 1n);
    const text = value.slice(0, -1);
    if (whole[3] === 'u') {
      if (whole[1] === '-') throw invalid;
      if (digits < 2n ** 64n) return;
      throw new Bad(`unable to parse unsigned ${text}: strconv.ParseUint: parsing "${text}": value out of range`);
    }
    if (digits >= -(2n ** 63n) && digits < 2n ** 63n) return;
    throw new Bad(`unable to parse integer ${text}: strconv.ParseInt: parsing "${text}": value out of range`);
  }
  if (/^-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(value)) {
    if (Number.isFinite(Number(value))) return;
    throw new Bad('invalid float');
  }
  // What InfluxDB's scan lets through to its number parser is an invalid float, the rest an invalid number.
  const scan = /^-?([0-9.]|(?<!^)[eE]|(?<=[eE])[-+])*$/;
  if (!scan.test(value) || (value.match(/\./g) ?? []).length > 1) throw invalid;
  if (!/e/i.test(value)) throw invalid;
  throw new Bad('invalid float');
}

function nameEnd(text: string, from: number): number {
  for (let i = from; i < text.length; i++) if (text[i] === '=' && (i === from || text[i - 1] !== '\\')) return i;
  return text.length;
}

function valueEnd(text: string, from: number): number {
  let quoted = false;
  for (let i = from; i < text.length; i++) {
    if (text[i] === '\\' && (text[i + 1] === '"' || text[i + 1] === '\\')) i++;
    else if (text[i] === '"') quoted = !quoted;
    else if (text[i] === ',' && !quoted) return i;
  }
  return text.length;
}

function checkNames(section: string, keyLength: number): void {
  for (let i = 0; i < section.length; ) {
    const equals = nameEnd(section, i);
    if (equals > section.length - 2) throw new Bad(`invalid value: field-key=${utf8(section.slice(i, equals))}`);
    const length = keyLength + 4 + equals - i;
    if (length > 65535) throw new Bad(`max key length exceeded: ${length} > 65535`);
    i = valueEnd(section, equals + 1) + 1;
  }
}

function takeFields(section: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (let i = 0; i < section.length; ) {
    const equals = nameEnd(section, i);
    const end = valueEnd(section, equals + 1);
    if (!isText(section.slice(i, equals))) throw new Bad('invalid UTF-8');
    const name = utf8(section.slice(i, equals)).replace(/\\([,"= ])/g, '$1');
    if (name !== '') {
      const [type, value] = typed(name, section.slice(equals + 1, end));
      fields.set(JSON.stringify([name, type]), value);
    }
    i = end + 1;
  }
  if (fields.size === 0) throw new Bad('missing fields');
  return fields;
}

function typed(name: string, value: string): [number, string] {
  if (value === '') throw new Bad(`invalid value: field-key=${name}`);
  if (value[0] === '"') {
    const inner = value.slice(1, Math.max(1, value.length - 1));
    if (!isText(inner)) throw new Bad('invalid UTF-8');
    return [3, utf8(inner).replace(/\\([\\"])/g, '$1')];
  }
  if (/^[-0-9.]/.test(value)) {
    if (/^-?\d+i$/.test(value)) return [1, BigInt(value.slice(0, -1)).toString()];
    if (/^\d+u$/.test(value)) return [2, BigInt(value.slice(0, -1)).toString()];
    if (/^[-+.\deE]+$/.test(value) && Number.isFinite(Number(value))) return [0, bits(Number(value))];
    throw new Bad(`unable to parse floating point value ${JSON.stringify(value)}`);
  }
  if (/^([tTfF]|true|True|TRUE|false|False|FALSE)$/.test(value)) return [4, /^t/i.test(value) ? '1' : '0'];
  throw new Bad(`unable to parse bool value ${JSON.stringify(value)}`);
}

function timestamp(text: string, from: number, unit: bigint): bigint | null {
  const rest = text.slice(from).replace(/^[ \t\0]+/, '');
  const word = /^[^ \n]*/.exec(rest)![0];
  if (word === '') return null;
  if (!/^-?\d*$/.test(word)) throw new Bad('bad timestamp');
  if (word === '-') throw new Bad('strconv.ParseInt: parsing "-": invalid syntax');
  const value = BigInt(word);
  if (value < -(2n ** 63n) || value >= 2n ** 63n) {
    throw new Bad(`strconv.ParseInt: parsing "${word}": value out of range`);
  }
  const time = value * unit;
  if (time > LIMIT || time < -LIMIT) throw new Bad(`time outside range -${LIMIT} - ${LIMIT}`);
  if (!/^ *$/.test(rest.slice(word.length))) throw new Bad('point is invalid');
  return time;
}

function unescapeTag(text: string): string {
  return text.replace(/\\([, =])/g, '$1');
}

function latin(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

function utf8(text: string): string {
  return latin(text).toString('utf8');
}

/** Well-formed UTF-8 comes out as it went in. */
function isText(text: string): boolean {
  return Buffer.from(utf8(text)).toString('latin1') === text;
}

export function bits(value: number): string {
  const buffer = Buffer.alloc(8);
  buffer.writeDoubleBE(value);
  return buffer.toString('hex');
}
