/** What a member that gives copies keeps of them, and for how long. */
import { describe, expect, test } from 'vitest';
import { rootToJson } from '../../repair/ledger.ts';
import type { MessageOf } from '../../repair/replica-messages.ts';
import { shardKeyToJson } from '../../shards/shard-key.ts';
import { STAMP_ZERO } from '../../shards/version.ts';
import { ID, KEY, Trio } from './trio.ts';

const key = shardKeyToJson(KEY);
const floorRoot = rootToJson({ count: 0, identity: 0n, content: 0n });

class Asker {
  readonly trio = new Trio(3, { snapshotsMax: 1, fillPageBytes: 64 });
  private request = 1;
  private answer: MessageOf<'fill-answer'> | null = null;

  constructor() {
    this.trio.write(0, 'all');
    this.trio.onSend = (_, __, message) => {
      if (message.t === 'fill-answer') this.answer = message;
    };
  }

  open(from: number): MessageOf<'fill-answer'> {
    this.trio.say(from, 0, { t: 'fill-open', request: this.request++, key, floor: STAMP_ZERO, floorRoot });
    return this.answer!;
  }

  page(from: number, snapshot: number, index: number): MessageOf<'fill-answer'> {
    this.trio.say(from, 0, { t: 'fill-page', request: this.request++, key, snapshot, index });
    return this.answer!;
  }

  /** All pages of a copy; the answer that ends it. */
  copy(from: number): MessageOf<'fill-answer'> {
    let answer = this.open(from);
    while (answer.status === 'ok' && !answer.last) answer = this.page(from, answer.snapshot, answer.index + 1);
    return answer;
  }
}

describe('giving copies', () => {
  test('one place: a second copy waits while the first is read, and not a moment longer', () => {
    const asker = new Asker();
    const first = asker.open(1);
    expect(first).toMatchObject({ status: 'ok', last: false });
    expect(asker.open(2)).toMatchObject({ status: 'busy' });
    expect(asker.copy(1)).toMatchObject({ status: 'ok', last: true });
    expect(asker.open(2)).toMatchObject({ status: 'ok', last: false });
  });

  test('a replica that is found damaged gives no further page: what is damaged is not told by a block alone', () => {
    const asker = new Asker();
    const { snapshot, index } = asker.open(1);
    asker.trio.storages[0]!.ledgers.get(ID)!.replica = 'damaged';
    expect(asker.page(1, snapshot, index + 1)).toMatchObject({ status: 'gone' });
    asker.trio.storages[0]!.ledgers.get(ID)!.replica = 'full';
    expect(asker.open(2)).toMatchObject({ status: 'ok', last: false });
  });

  test('an end that did not arrive is told again, and forgotten when nobody has asked for long', () => {
    const asker = new Asker();
    const { snapshot, index, bytesTotal } = asker.copy(1);
    expect(bytesTotal).toBeGreaterThan(0);
    expect(asker.page(1, snapshot, index)).toMatchObject({ status: 'ok', last: true, index, bytesTotal });
    expect(asker.page(1, snapshot, 0)).toMatchObject({ status: 'gone' });
    expect(asker.page(2, snapshot, index)).toMatchObject({ status: 'gone' });
    asker.trio.pass(31_000);
    expect(asker.page(1, snapshot, index)).toMatchObject({ status: 'gone' });
  });
});
