/** Why an address cannot be listened on, in one line. */
import { hostText, type ListenAddress } from './config-values.ts';
import { StartError } from './node-identity.ts';

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is in use by another program',
  EACCES: 'permission denied',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'no such host',
};

export function listenError(error: NodeJS.ErrnoException, { host, port }: ListenAddress, protocol = ''): StartError {
  const reason = REASONS[error.code ?? ''] ?? error.message;
  return new StartError('listen', `cannot listen on ${protocol}${hostText(host)}:${port}: ${reason}`);
}
