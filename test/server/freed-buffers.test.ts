/** Memory that is freed by hand. */
import { expect, test } from 'vitest';
import { FreedLater } from '../../server/freed-buffers.ts';

test('arrays that share a buffer, as a message may bring them, are freed once', () => {
  const freed = new FreedLater();
  const shared = new Uint8Array(9);
  const large = new Uint8Array(2 << 20);
  freed.add([shared, new Uint8Array(shared.buffer), shared]);
  freed.add([shared, large]);
  expect([shared.byteLength, large.byteLength]).toEqual([0, 0]);
  freed.add([shared, large, new Uint8Array(2 << 20)]);
});
