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
      noContent: expect.fail,
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

test('small chunks that a client takes at once leave other work its turns', async () => {
  const CHUNKS = 500;
  // A chunk takes a millisecond.
  let nowMs = 0;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  try {
    let chunks = 0;
    let longest = 0;
    let beganAt = 0;
    const sink: AnswerSink = {
      hasBegun: true,
      write: () => {
        nowMs++;
        longest = Math.max(longest, ++chunks - beganAt);
        return true;
      },
      onDrained: () => {},
      end: () => {},
      refuse: () => {},
      breakOff: () => {},
      noContent: expect.fail,
    };
    const service: QueryService = {
      async *execute() {
        for (let statementId = 0; statementId < CHUNKS; statementId++) yield { statementId };
      },
    };
    const fields = new Map([
      ['q', 'x'],
      ['chunked', 'true'],
    ]);
    const limits = { bodyBytesMax: 1, rowsMax: 0, nowNs: () => 0n };
    let isAnswered = false;
    const answered = answerQuery({ method: 'GET', fields, csv: false }, sink, new Ending(), service, limits);
    void answered.then(() => {
      isAnswered = true;
    });
    while (!isAnswered) {
      beganAt = chunks;
      await new Promise(setImmediate);
    }
    expect(chunks).toBeGreaterThanOrEqual(CHUNKS);
    expect(longest).toBeLessThanOrEqual(12);
  } finally {
    clock.mockRestore();
  }
});
