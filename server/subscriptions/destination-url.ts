/** Where a subscription's points go: `udp://HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`, a path and a user allowed. */

export interface DestinationUrl {
  readonly protocol: 'udp' | 'http' | 'https';
  readonly host: string;
  readonly port: number;
  /** Of HTTP: all but user and query, without a slash at its end. */
  readonly base: string;
  /** `Basic ...` of the user in it; null: none. */
  readonly authorization: string | null;
}

/** null: InfluxDB would not take it either: another scheme, no host, or no port. */
export function parseDestination(text: string): DestinationUrl | null {
  const parts =
    /^(udp|https?):\/\/(?:([^/?#@]*)@)?(\[[0-9a-f:.%]+\]|[^/?#@:[\]]+):(\d{1,5})(\/[^?#]*)?(?:[?#].*)?$/i.exec(text);
  if (parts === null) return null;
  const [, scheme, user, host, port, path = ''] = parts as unknown as [
    string,
    string,
    string | undefined,
    string,
    string,
  ];
  const protocol = scheme.toLowerCase() as DestinationUrl['protocol'];
  const bare = host.startsWith('[') ? host.slice(1, -1) : host;
  const base = `${protocol}://${host}:${port}${(parts[5] ?? path).replace(/\/+$/, '')}`;
  if (protocol !== 'udp' && !URL.canParse(base)) return null;
  return { protocol, host: bare, port: Number(port), base, authorization: user === undefined ? null : basic(user) };
}

/** For lists, answers and metrics. Of what is no destination nobody knows where a password would end: at the last @. */
export function withoutPassword(url: string): string {
  return parseDestination(url) === null
    ? url.replace(/^((?:[^:]*:\/\/)?[^:]*):.*@/s, '$1:[REDACTED]@')
    : url.replace(/^([a-z]+:\/\/[^/?#@:]*):[^/?#@]*@/i, '$1:[REDACTED]@');
}

function basic(user: string): string | null {
  try {
    return `Basic ${Buffer.from(decodeURIComponent(user)).toString('base64')}`;
  } catch {
    return null;
  }
}
