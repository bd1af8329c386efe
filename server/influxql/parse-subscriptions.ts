/** CREATE and DROP SUBSCRIPTION. */
import type { SubscriptionName, SubscriptionStatement } from './ast.ts';
import type { TokenStream } from './token-stream.ts';

export function parseCreateSubscription(stream: TokenStream): SubscriptionStatement {
  const name = parseName(stream);
  stream.expect(['DESTINATIONS']);
  const mode = stream.expect(['ALL', 'ANY']).kind as 'ALL' | 'ANY';
  const destinations = [stream.string()];
  while (stream.accept(',')) destinations.push(stream.string());
  return { kind: 'create-subscription', ...name, mode, destinations };
}

export function parseDropSubscription(stream: TokenStream): SubscriptionStatement {
  return { kind: 'drop-subscription', ...parseName(stream) };
}

/** `name ON "db"."rp"` */
function parseName(stream: TokenStream): SubscriptionName {
  const name = stream.identifier();
  stream.expect(['ON']);
  const database = stream.identifier();
  stream.expect(['.']);
  return { name, database, retentionPolicy: stream.identifier() };
}
