/** /ping, and the headers that every answer of the InfluxDB door carries. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { answeredByMethod } from './influx-answer.ts';

/** Clients parse the leading number and expect 1.x; the part behind it names this program. */
export function influxVersion(packageVersion: string): string {
  return `1.8.10-starling-${packageVersion}`;
}

/** To be called first on every request of the door. Returns the request's id. */
export function setInfluxHeaders(request: IncomingMessage, response: ServerResponse, packageVersion: string): string {
  const given = request.headers['x-request-id'] ?? request.headers['request-id'];
  const id = typeof given === 'string' && /^[\x21-\x7e]{1,128}$/.test(given) ? given : randomUUID();
  response.setHeader('X-Influxdb-Version', influxVersion(packageVersion));
  response.setHeader('X-Influxdb-Build', 'OSS');
  response.setHeader('Request-Id', id);
  response.setHeader('X-Request-Id', id);
  const { origin } = request.headers;
  if (origin !== undefined) {
    // Any page may ask: there are no cookies here, and dashboards are served from elsewhere.
    response.setHeader('Access-Control-Allow-Origin', origin);
    response.setHeader('Access-Control-Allow-Methods', 'DELETE, GET, OPTIONS, POST, PUT');
    response.setHeader(
      'Access-Control-Allow-Headers',
      'Accept, Accept-Encoding, Authorization, Content-Length, Content-Type, X-CSRF-Token, X-HTTP-Method-Override',
    );
    response.setHeader('Access-Control-Expose-Headers', 'Date, X-InfluxDB-Version, X-InfluxDB-Build');
  }
  return id;
}

/** GET or HEAD /ping: 204, or with a true `verbose` parameter 200 and the version. */
export function handlePing(request: IncomingMessage, response: ServerResponse, url: URL, packageVersion: string): void {
  if (answeredByMethod(request, response, ['GET', 'HEAD'])) return;
  response.setHeader('Content-Type', 'application/json');
  const verbose = url.searchParams.get('verbose');
  if (verbose === null || verbose === '' || verbose === '0' || verbose === 'false') {
    response.writeHead(204).end();
    return;
  }
  const body = `${JSON.stringify({ version: influxVersion(packageVersion) })}\n`;
  response.writeHead(200, { 'Content-Length': Buffer.byteLength(body) });
  response.end(request.method === 'HEAD' ? undefined : body);
}
