/** An answer and its reader. */
import { expect, test, vi } from 'vitest';
import { type AnswerSink, answerQuery } from '../../server/http/query-answer.ts';
import { Ending } from '../../server/query/ending.ts';
import type { QueryService } from '../../server/query/result.ts';

test('a client that reads nothing for minutes is cut off, and its query ends', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    let goOn: () => void = () => {};
    let written = 0;
    let isBroken = false;
    const sink: AnswerSink = {
      hasBegun: true,
      write: () => {
        written++;
        return false;
      },
      onDrained: (listener) => {
        goOn = listener;
      },
      end: () => {},
      refuse: () => {},
      breakOff: () => {
        isBroken = true;
      },
    };
    const leaving = new Ending();
    const service: QueryService = {
      async *execute() {
        for (let statementId = 0; ; statementId++) yield { statementId };
      },
    };
    const fields = new Map([
      ['q', 'x'],
      ['chunked', 'true'],
    ]);
    const limits = { bodyBytesMax: 1, rowsMax: 0, nowNs: () => 0n };
    const answered = answerQuery({ method: 'GET', fields, csv: false }, sink, leaving, service, limits);
    for (let n = 1; n <= 3; n++) {
      while (written < n) await new Promise(setImmediate);
      vi.advanceTimersByTime(299_000);
      goOn();
    }
    while (written < 4) await new Promise(setImmediate);
    expect([isBroken, leaving.reason]).toEqual([false, null]);
    vi.advanceTimersByTime(301_000);
    await answered;
    expect([isBroken, written, leaving.reason?.message]).toEqual([true, 4, 'the client does not read its answer']);
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});
