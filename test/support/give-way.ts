/**
 * Set-up of tests that only compute: files that hold real processes to times run beside them, and come first on the
 * processors. Not by much: they have time-outs, too, on machines that others use.
 */
import { getPriority, setPriority } from 'node:os';

const NICER_BY = 5;
const NICEST = 19;

// From the parent's: a worker that runs many files does this before each of them.
setPriority(Math.min(getPriority(process.ppid) + NICER_BY, NICEST));
