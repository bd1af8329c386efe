/** Windows of a block directory as merging looks at them. */
import type { BlockDirectory } from './block-directory.ts';
import { isSettledVersion } from './row-settle.ts';
import type { Version } from './version.ts';

export interface WindowState {
  readonly window: number;
  readonly runs: number;
  readonly newest: Version;
  /** One run, and no row with a version of its own. */
  readonly isSettled: boolean;
}

export function* windowStates(directory: BlockDirectory): Generator<WindowState> {
  for (const window of directory.windows()) {
    let newest: Version = '';
    let isSettled = true;
    const runs = directory.runsOf(window);
    for (const entries of runs.values()) {
      for (const { minVersion, maxVersion } of entries) {
        if (maxVersion > newest) newest = maxVersion;
        if (minVersion !== maxVersion || !isSettledVersion(maxVersion)) isSettled = false;
      }
    }
    yield { window, runs: runs.size, newest, isSettled: isSettled && runs.size === 1 };
  }
}
