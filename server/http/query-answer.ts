/**
 * What GET and POST /query answer, as InfluxDB 1.x does, whoever read the request and whoever writes the answer.
 *
 * Without `chunked` all results are gathered before the first byte: clients that do not ask for chunks read one document,
 * and an error must still be able to set the status. With `chunked` every result is sent as it comes; the client's
 * slowness holds the query back, and a client that leaves ends it, as does one that reads nothing for minutes.
 *
 * With `async=true` the answer is that the text could be parsed, and the query runs behind it.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Steps } from '../../shards/steps.ts';
import { Ending } from '../query/ending.ts';
import { QueryError } from '../query/query-error.ts';
import type { QueryOptions, QueryService, ResultSeries, StatementResult } from '../query/result.ts';
import { mainTurns, TURN_MS } from '../turns.ts';
import type { ErrorForm } from './influx-answer.ts';
import { type Fields, type QueryParameters, queryParameters } from './query-parameters.ts';
import { CsvPrinter } from './response-csv.ts';
import { indented, jsonError, jsonPieces } from './response-json.ts';

export interface QueryDoorLimits {
  /** Of a form or multipart body. */
  readonly bodyBytesMax: number;
  /** Rows of an answer that is not chunked; 0 = unlimited, as InfluxDB's max-row-limit. */
  readonly rowsMax: number;
  readonly nowNs: () => bigint;
  /** Of a query that has run behind its answer. */
  readonly failedUnheard?: (problem: string) => void;
}

export interface QueryRequest {
  readonly method: string;
  readonly fields: Fields;
  /** Of the header `Accept`: CSV before JSON. */
  readonly csv: boolean;
}

/** Where an answer goes. */
export interface AnswerSink {
  /** The head has left: a failure cannot set the status any more. */
  readonly hasBegun: boolean;
  /** A piece behind which more may follow. False: the next one has to wait for `onDrained`. */
  write(piece: string | Buffer): boolean;
  /** Once, when what was written has left. */
  onDrained(listener: () => void): void;
  /** The last piece. When it is the only one the answer says its length. */
  end(piece: string | Buffer): void;
  /** The answer is that there is none; nothing was written. */
  noContent(): void;
  /** What was written is not whole, and nothing follows: the connection is cut off. */
  breakOff(): void;
  /** The answer is an error; nothing was written. */
  refuse(status: number, message: string, form: ErrorForm): void;
}

/** Text gathered before it is given to the socket. */
const WRITE_CHARACTERS_MIN = 64 * 1024;

/** Of a client that has gone without a word the network says nothing, and an answer that waits for it is held in memory. */
const UNREAD_MS_MAX = 300_000;

/** What InfluxDB answers in; `true`: CSV. MessagePack is answered in JSON, which its clients read, too. */
const ANSWER_TYPES: ReadonlyMap<string, boolean> = new Map([
  ['application/json', false],
  ['application/x-msgpack', false],
  ['application/csv', true],
  ['text/csv', true],
]);

/** Of the types that we know the one that is wanted most decides, of several the first; what we do not know gets JSON, as in InfluxDB. */
export function wantsCsv(accept: string): boolean {
  // Nearly all.
  if (!/csv/i.test(accept)) return false;
  let most = 0;
  let isCsv = false;
  for (const part of accept.split(',')) {
    const [name, ...parameters] = part.split(';').map((text) => text.trim().toLowerCase());
    const known = ANSWER_TYPES.get(name!);
    const quality = parameters.find((text) => text.startsWith('q='));
    const weight = quality === undefined ? 1 : Number(quality.slice(2)) || 0;
    if (known === undefined || weight <= most) continue;
    most = weight;
    isCsv = known;
  }
  return isCsv;
}

/** Answers every expected failure itself; rejects only for our own mistakes, after answering 500. */
export function answerQuery(
  request: QueryRequest,
  sink: AnswerSink,
  leaving: Ending,
  service: QueryService,
  limits: QueryDoorLimits,
): Promise<void> {
  return new Promise((resolve, reject) => {
    beginAnswer(request, sink, leaving, service, limits, (fault) => {
      if (fault === null) resolve();
      else reject(fault);
    });
  });
}

/** The same without a promise, if it can be; `answered` is called once, with our own mistake or null. */
export function beginAnswer(
  { method, fields, csv }: QueryRequest,
  sink: AnswerSink,
  leaving: Ending,
  service: QueryService,
  limits: QueryDoorLimits,
  answered: (fault: Error | null) => void,
): void {
  const parameters = queryParameters(fields);
  if (typeof parameters === 'string') {
    sink.refuse(400, parameters, { csv, pretty: fields.get('pretty') === 'true' });
    answered(null);
    return;
  }
  const { text, chunkSize, pretty } = parameters;
  const options = optionsOf(parameters, method, leaving, limits);
  const print = printerOf(parameters, csv);
  const settled = (): void => answered(null);
  const failed = (error: unknown): void => {
    let fault: Error | null = null;
    try {
      if (leaving.reason === null) fail(sink, error, csv, pretty);
    } catch (mistake) {
      fault = mistake as Error;
    }
    answered(fault);
  };
  if (parameters.isAsync) {
    runBehind(service.execute(text, { ...options, chunkSize: null, ending: new Ending() }), limits, (problem) => {
      if (problem !== null) failed(problem);
      else {
        sink.noContent();
        settled();
      }
    });
    return;
  }
  const execute = (): void => {
    let results: AsyncGenerator<StatementResult>;
    try {
      results = service.execute(text, options);
    } catch (mistake) {
      answered(mistake as Error);
      return;
    }
    const gathers = chunkSize === null;
    const sent = gathers
      ? sendGathered(results, sink, print, leaving, limits)
      : sendEach(results, sink, print, leaving);
    sent.then(settled, failed);
  };
  const done = (result: StatementResult | null): void => {
    if (result === null) {
      execute();
      return;
    }
    let rest: Promise<void> | null;
    try {
      rest = sendWhole(sink, print([limits.rowsMax > 0 ? cut(result, limits.rowsMax) : result]), leaving);
    } catch (error) {
      failed(error);
      return;
    }
    if (rest === null) settled();
    else rest.then(settled, failed);
  };
  if (service.straight?.(text, options, done) !== true) execute();
}

/** `begun` is told why nothing runs, or null. */
function runBehind(
  results: AsyncGenerator<StatementResult>,
  { failedUnheard }: QueryDoorLimits,
  begun: (problem: Error | null) => void,
): void {
  let refused: Error | null = null;
  let isBegun = false;
  const run = async (): Promise<void> => {
    for await (const { error } of results) if (error !== undefined) failedUnheard?.(error);
  };
  run().catch((problem: Error) => {
    if (isBegun) failedUnheard?.(problem.stack ?? problem.message);
    else refused = problem;
  });
  // The text is parsed in the first turn, and what that throws has come here when it is over.
  setImmediate(() => {
    isBegun = true;
    begun(refused);
  });
}

async function sendGathered(
  results: AsyncGenerator<StatementResult>,
  sink: AnswerSink,
  print: Print,
  leaving: Ending,
  { rowsMax }: QueryDoorLimits,
): Promise<void> {
  await send(sink, print(await gather(results, rowsMax)), leaving, true);
}

async function sendEach(
  results: AsyncGenerator<StatementResult>,
  sink: AnswerSink,
  print: Print,
  leaving: Ending,
): Promise<void> {
  let beganMs = performance.now();
  for await (const result of results) {
    await send(sink, print([result]), leaving, false);
    // Many small ones that are taken at once would leave no other work its turn.
    if (performance.now() - beganMs < TURN_MS) continue;
    await nextTurn();
    beganMs = performance.now();
  }
  // Nothing came: the text held no statement.
  await send(sink, sink.hasBegun ? [] : print([]), leaving, true);
}

function optionsOf(
  parameters: QueryParameters,
  method: string,
  leaving: Ending,
  limits: QueryDoorLimits,
): QueryOptions {
  return {
    database: parameters.database,
    retentionPolicy: parameters.retentionPolicy,
    params: parameters.params,
    nowNs: limits.nowNs(),
    readOnly: method !== 'POST',
    chunkSize: parameters.chunkSize,
    completeness: parameters.completeness,
    consistency: parameters.consistency,
    ending: leaving,
    begun: { left: null },
  };
}

type Print = (some: readonly StatementResult[]) => Iterable<string | Buffer>;

function printerOf({ epoch, pretty }: QueryParameters, csv: boolean): Print {
  if (csv) {
    const printer = new CsvPrinter(epoch);
    return (some) => printer.pieces(some);
  }
  if (pretty) return (some) => indented(jsonPieces(some, epoch));
  return (some) => jsonPieces(some, epoch);
}

/** A whole answer: what is one piece, as most are, leaves at once, and null says so. */
function sendWhole(sink: AnswerSink, pieces: Iterable<string | Buffer>, leaving: Ending): Promise<void> | null {
  leaving.throwIfEnded();
  const left = pieces[Symbol.iterator]();
  const first = left.next();
  if (first.done === true) return send(sink, [], leaving, true);
  const second = left.next();
  if (second.done === true) {
    sink.end(first.value);
    return null;
  }
  return send(sink, behind([first.value, second.value], left), leaving, true);
}

function* behind<T>(first: readonly T[], rest: Iterator<T>): Generator<T> {
  yield* first;
  yield* { [Symbol.iterator]: () => rest };
}

/** `ends`: nothing follows. What is one piece then leaves in one write, with its length. */
async function send(
  sink: AnswerSink,
  pieces: Iterable<string | Buffer>,
  leaving: Ending,
  ends: boolean,
): Promise<void> {
  const left = pieces[Symbol.iterator]();
  const held: Held = { piece: '' };
  for (;;) {
    const sent = await mainTurns.of(sendSome(sink, left, held, leaving), leaving);
    if (sent === null) break;
    await sent.drained;
  }
  leaving.throwIfEnded();
  if (ends) sink.end(held.piece);
  else if (held.piece.length > 0 && !sink.write(held.piece)) await drained(sink, leaving);
}

/** What is not written yet. */
interface Held {
  piece: string | Buffer;
}

/** In an object: a promise that is what another one gives is waited for with that. */
interface Sent {
  readonly drained: Promise<void>;
}

/** Prints and writes piece by piece, until the next one has to wait for these to leave; null: that is all of them. */
function* sendSome(sink: AnswerSink, left: Iterator<string | Buffer>, held: Held, leaving: Ending): Steps<Sent | null> {
  for (;;) {
    const { value: piece, done } = left.next();
    if (done === true) return null;
    const { piece: before } = held;
    if (
      typeof piece === 'string' &&
      typeof before === 'string' &&
      before.length + piece.length < WRITE_CHARACTERS_MIN
    ) {
      held.piece += piece;
      continue;
    }
    held.piece = piece;
    // Listened for at once: what leaves in this call has left before any promise goes on.
    if (before.length > 0 && !sink.write(before)) return { drained: drained(sink, leaving) };
    yield;
  }
}

function drained(sink: AnswerSink, leaving: Ending): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      sink.breakOff();
      leaving.end(new QueryError('the client does not read its answer'));
    }, UNREAD_MS_MAX);
    late.unref();
    const left = (): void => {
      clearTimeout(late);
      reject(leaving.reason!);
    };
    leaving.onEnd(left);
    sink.onDrained(() => {
      clearTimeout(late);
      leaving.forget(left);
      resolve();
    });
  });
}

function fail(sink: AnswerSink, error: unknown, csv: boolean, pretty: boolean): void {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const message = error instanceof Error ? error.message : String(error);
  if (code === 'query-parse') {
    const prefix = 'error parsing query: ';
    sink.refuse(400, message.startsWith(prefix) ? message : prefix + message, { csv, pretty });
    return;
  }
  const status = error instanceof Error && 'status' in error ? Number(error.status) : 500;
  if (!sink.hasBegun) {
    const retry = status === 503 ? { retryAfterSeconds: 1 } : {};
    sink.refuse(status >= 400 && status <= 599 ? status : 500, message, { csv, pretty, ...retry });
  } else {
    // Chunks are out already: the error is one more document, which every client of chunked answers reads.
    sink.end(csv ? '' : jsonError(message));
  }
  if (code === undefined) throw error;
}

/** All results, those of one statement put together again, cut at the row limit. */
async function gather(results: AsyncGenerator<StatementResult>, rowsMax: number): Promise<StatementResult[]> {
  const gathered: StatementResult[] = [];
  let rows = 0;
  for await (const arrived of results) {
    const result = rowsMax > 0 ? cut(arrived, rowsMax - rows) : arrived;
    for (const series of result.series ?? []) rows += series.values.length;
    const last = gathered.at(-1);
    if (last?.statementId === result.statementId && last.partial === true) {
      gathered[gathered.length - 1] = joined(last, result);
    } else gathered.push(result);
    if (rowsMax > 0 && rows >= rowsMax) break;
  }
  // Nothing follows any more: a statement's own `partial` would make the client wait for more.
  const last = gathered.at(-1);
  if (last?.partial === true) gathered[gathered.length - 1] = { ...last, partial: false };
  return gathered;
}

function cut(result: StatementResult, rowsLeft: number): StatementResult {
  const kept: ResultSeries[] = [];
  let left = rowsLeft;
  for (const series of result.series ?? []) {
    const fits = series.values.length <= left;
    kept.push(fits ? series : { ...series, values: series.values.slice(0, left), partial: true });
    left -= Math.min(left, series.values.length);
    if (left === 0) break;
  }
  return result.series === undefined ? result : { ...result, series: kept };
}

function joined(first: StatementResult, second: StatementResult): StatementResult {
  const series = [...(first.series ?? [])];
  const more = [...(second.series ?? [])];
  const open = series.at(-1);
  const next = more[0];
  if (open?.partial === true && next !== undefined && open.name === next.name) {
    const values = [...open.values, ...next.values];
    const { partial: _partial, ...rest } = open;
    series[series.length - 1] = { ...rest, values, ...(next.partial === true && { partial: true }) };
    more.shift();
  }
  const messages = [...(first.messages ?? []), ...(second.messages ?? [])];
  return {
    ...first,
    ...second,
    ...(series.length + more.length > 0 && { series: [...series, ...more] }),
    ...(messages.length > 0 && { messages }),
    partial: second.partial === true,
  };
}
