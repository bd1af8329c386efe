/**
 * What can be wrong with the bytes of a block. Both are expected of a disk and of a peer: the block is set aside and
 * fetched again from another owner; nothing of it is served.
 */
export type BlockErrorCode =
  /** A checksum does not match, or bytes that match do not make sense (then they were never written by Starling). */
  | 'damaged-block'
  /** Intact, but of a format version that this program does not know. */
  | 'future-block';

export class BlockError extends Error {
  readonly code: BlockErrorCode;
  readonly status = 500;
  /** Another replica may answer. */
  readonly retry = true;

  constructor(code: BlockErrorCode, message: string) {
    super(message);
    this.name = 'BlockError';
    this.code = code;
  }
}
