/** What a checker of the simulation says when something that was promised does not hold. */

/** The checks, by what they hold. */
export type Check =
  /** No version is used for two batches (I1). */
  | 'versions-unique'
  /** What was published as proven is at every member of the proof, and stays there (I2, I3). */
  | 'proof-true'
  /** Replicas that name one live pass hold the same batches up to it (I4). */
  | 'live-proof-true'
  /** Nothing is damaged where no bit has fallen over. */
  | 'no-false-damage'
  /** A batch is nowhere only if the simulation destroyed every copy (I2). */
  | 'nothing-lost'
  /** Whoever removes a replica has nothing that an owner lacks (I9), and lets it go in time. */
  | 'let-go-rightly'
  /** Owners are equal within the bound, copies included (I10). */
  | 'converges-in-time'
  /** What was acknowledged, or is on any disk, is at every owner in the end. */
  | 'owners-have-all'
  /** Owners hold the same batches with the content that was written, and their ledgers say so (I5). */
  | 'content-equal'
  /** Queries give what the rules say of the batches (I6). */
  | 'scans-right'
  | 'outbox-bounded'
  | 'fetched-once'
  | 'mailed-once'
  | 'mended-sparingly'
  /** Whoever answers for a shard has the deletes that more than half had. */
  | 'deletes-known'
  | 'levelled-read-complete'
  /** Nobody removes what has not expired for others, or makes it anew; and all of it goes. */
  | 'expires-together'
  /** What is found on the disk of a removed member is rightly called known or lost. */
  | 'leftovers-judged'
  /** A receipt says of no write that is gone that it is there, nor the other way round. */
  | 'receipts-judged'
  /** Members find each other, and have the same metadata. */
  | 'members-agree';

export class Violation extends Error {
  readonly check: Check;

  constructor(check: Check, message: string) {
    super(message);
    this.check = check;
  }
}
