/** Memory that is given back at once instead of when the garbage collector comes to it. */
import { MessageChannel } from 'node:worker_threads';

/** A port that is closed: what is moved to it is freed at once. */
const nowhere = (() => {
  const { port1, port2 } = new MessageChannel();
  port1.close();
  port2.close();
  return port1;
})();

/** Arrays on these buffers are empty afterwards. None may be there twice, or belong to a kernel. */
export function freeBuffers(buffers: ArrayBuffer[]): void {
  if (buffers.length > 0) nowhere.postMessage(null, buffers);
}
