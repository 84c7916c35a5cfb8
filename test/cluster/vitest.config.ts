import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that do not come by their name: those that uninstall Breakwater. */
const LAST = ['docs', 'uninstall'];

/** By name, so that a run can be compared with another. */
class InOrder extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const name = basename(moduleId, '.test.ts');
      return `${LAST.includes(name) ? 1 : 0}${name}`;
    };
    return files.toSorted((a, b) => rank(a).localeCompare(rank(b)));
  }
}

/** These hold answers to a tenth of a second: they come when nothing else runs any more. */
const ALONE = ['bulkhead.test.ts', 'deadline.test.ts'];

/** These take the operator away, or change what all pods of the cluster get from it: where there is a second cluster they have it for themselves. */
const APART = ['docs.test.ts', 'operator-away.test.ts', 'replicas.test.ts', 'rotation.test.ts', 'uninstall.test.ts'];

/** These bring what they need with them, and need no cluster: they run beside the others (run.ts). */
const BESIDE = ['admission-fuzz.test.ts', 'capture.test.ts'];

export default defineConfig({
  test: {
    root: import.meta.dirname,
    // One after the other: they measure times on a machine that may have two cores.
    fileParallelism: false,
    sequence: { sequencer: InOrder },
    projects: [
      { extends: true, test: { name: 'cluster', include: ['**/*.test.ts'], exclude: [...ALONE, ...APART, ...BESIDE] } },
      { extends: true, test: { name: 'alone', include: ALONE } },
      { extends: true, test: { name: 'apart', include: APART } },
      {
        extends: true,
        test: { name: 'beside', include: BESIDE, globalSetup: ['../harness/shared-control-plane.ts'] },
      },
    ],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // A test that failed is a finding: it is not tried again until it passes.
    retry: 0,
  },
});
