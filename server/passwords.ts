/**
 * Passwords of users: only salted scrypt hashes of them are kept, with the parameters that they were made with.
 *
 * A hash takes 16 MB and some tenths of a second of a core in the thread pool, which the log's syncs use, too: one is made at a time.
 */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';

interface Parameters {
  readonly logN: number;
  readonly r: number;
  readonly p: number;
}

const PARAMETERS: Parameters = { logN: 14, r: 8, p: 5 };
const SALT_BYTES = 16;
const HASH_BYTES = 32;
/** Of what another member may have stored: nobody makes this node take all its memory for a hash. */
const BYTES_MAX = 128 * 1024 * 1024;

let last: Promise<unknown> = Promise.resolve();

/** `$scrypt$ln=14,r=8,p=5$SALT$HASH`, both in base64. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await inTurn(password, salt, HASH_BYTES, PARAMETERS);
  const { logN, r, p } = PARAMETERS;
  return `$scrypt$ln=${logN},r=${r},p=${p}$${salt.toString('base64')}$${hash.toString('base64')}`;
}

/** False also for a hash that cannot be read. */
export async function isPassword(password: string, hashed: string): Promise<boolean> {
  const parts = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)$/.exec(hashed);
  if (parts === null) return false;
  const [logN, r, p] = [Number(parts[1]), Number(parts[2]), Number(parts[3])];
  const hash = Buffer.from(parts[5]!, 'base64');
  if (hash.length !== HASH_BYTES || logN < 1 || r < 1 || p < 1 || bytesOf({ logN, r, p }) > BYTES_MAX) return false;
  return timingSafeEqual(hash, await inTurn(password, Buffer.from(parts[4]!, 'base64'), HASH_BYTES, { logN, r, p }));
}

function inTurn(password: string, salt: Buffer, length: number, { logN, r, p }: Parameters): Promise<Buffer> {
  const made = last.then(
    () =>
      new Promise<Buffer>((resolve, reject) => {
        const options = { N: 2 ** logN, r, p, maxmem: 2 * bytesOf({ logN, r, p }) };
        scrypt(password, salt, length, options, (error, hash) => (error === null ? resolve(hash) : reject(error)));
      }),
  );
  last = made.catch(() => {});
  return made;
}

function bytesOf({ logN, r, p }: Parameters): number {
  return 128 * r * (2 ** logN + p);
}
