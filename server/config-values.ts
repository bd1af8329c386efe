/** What the value of an option may be: text to what it means, with the reason when it is refused. */
import { validate } from 'node-cron';
import { z } from 'zod';
import { parseDurationMs } from './duration.ts';

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

const BYTE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kib: KIB,
  mib: MIB,
  gib: GIB,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
};

/** '64MiB', '25000000' -> bytes; null when it is not a size. */
export function parseBytes(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const unit = match ? BYTE_UNITS[match[2]!.toLowerCase()] : undefined;
  return match && unit !== undefined ? Math.round(Number(match[1]) * unit) : null;
}

export function duration(minMs: number, maxMs: number) {
  return z.string().transform((text, context) => {
    const ms = parseDurationMs(text);
    if (ms === null)
      context.addIssue({ code: 'custom', message: `"${text}" is not a duration such as 500ms, 2s or 1m30s` });
    else if (ms < minMs || ms > maxMs)
      context.addIssue({ code: 'custom', message: `${text} is outside ${minMs} ms to ${maxMs} ms` });
    return ms ?? 0;
  });
}

export function bytes(min: number, max: number) {
  return z.string().transform((text, context) => {
    const value = parseBytes(text);
    if (value === null)
      context.addIssue({ code: 'custom', message: `"${text}" is not a size such as 64MiB or 25000000` });
    else if (value < min || value > max)
      context.addIssue({ code: 'custom', message: `${text} is outside ${min} to ${max} bytes` });
    return value ?? 0;
  });
}

export function count(min: number, max: number) {
  return z.string().transform((text, context) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max)
      context.addIssue({ code: 'custom', message: `"${text}" is not a whole number from ${min} to ${max}` });
    return value;
  });
}

/** `none` is null. */
export function noneOr<T>(value: z.ZodType<T, string>) {
  return z.union([z.literal('none').transform(() => null), value]);
}

/** Of one core. */
export function share(min: number) {
  return z.string().transform((text, context) => {
    const value = Number(text);
    if (!/^(0|1|0?\.\d+|1\.0+)$/.test(text) || value < min || value > 1)
      context.addIssue({ code: 'custom', message: `"${text}" is not a share from ${min} to 1` });
    return value;
  });
}

export const listenAddress = z.string().transform((text, context): ListenAddress => {
  const match = /^(?:https?:\/\/)?(\[[0-9a-fA-F:]+\]|[^:/]*):(\d{1,5})$/.exec(text);
  const port = match ? Number(match[2]) : -1;
  if (!match || port > 65_535) {
    context.addIssue({ code: 'custom', message: `"${text}" is not HOST:PORT` });
    return { host: '', port: 0 };
  }
  return { host: match[1]!.replace(/^\[|\]$/g, '') || '0.0.0.0', port };
});

function nodeUrl(text: string): string | null {
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  if (!URL.canParse(withScheme)) return null;
  const url = new URL(withScheme);
  return url.protocol === 'http:' && url.hostname !== '' ? url.origin : null;
}

export const oneUrl = z.string().transform((text, context) => {
  if (text === '') return null;
  const url = nodeUrl(text);
  if (url === null) context.addIssue({ code: 'custom', message: `"${text}" is not http://HOST:PORT` });
  return url;
});

export const urlList = z.string().transform((text, context) => {
  const urls: string[] = [];
  for (const part of text.split(',').map((p) => p.trim())) {
    if (part === '') continue;
    const url = nodeUrl(part);
    if (url === null) context.addIssue({ code: 'custom', message: `"${part}" is not http://HOST:PORT` });
    else urls.push(url);
  }
  return urls;
});

export const nodeName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, 'must be 1 to 64 letters, digits, dots, dashes or underscores');

export const optionalPath = z.string().transform((text) => (text === '' ? null : text));

export const onOrOff = z.enum(['on', 'off']).transform((text) => text === 'on');

/** null: never. */
export const cronOrOff = z.string().transform((text, context): string | null => {
  if (text === 'off') return null;
  if (validate(text)) return text;
  context.addIssue({ code: 'custom', message: "must be a cron expression of five fields ('0 3 * * *'), or off" });
  return z.NEVER;
});

/** As in a URL. */
export function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
