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

/**
 * These take the operator away, or change what all pods of the cluster get from it, so that each needs a cluster for itself as long as it runs.
 * They are dealt to two clusters, so that both take about as long; the first one has all the others before.
 */
const FIRST = ['chart.test.ts', 'loopback.test.ts', 'policies.test.ts', 'replicas.test.ts'];
const SECOND = ['docs.test.ts', 'operator-away.test.ts', 'rotation.test.ts', 'uninstall.test.ts'];

/** These bring what they need with them, and need no cluster: they run beside the others (run.ts). */
const BESIDE = ['admission-fuzz.test.ts', 'capture.test.ts'];

/** Each of the others has namespaces of its own, and touches nothing else: they wait more than they compute, and two run at a time. */
const ELSEWHERE = [...ALONE, ...FIRST, ...SECOND, ...BESIDE];

export default defineConfig({
  test: {
    root: import.meta.dirname,
    // One after the other, but for the lane `together` (run.ts).
    fileParallelism: false,
    // A worker goes on with the next file: to load the client of Kubernetes anew for each took a twelfth of the time.
    isolate: false,
    sequence: { sequencer: InOrder },
    projects: [
      { extends: true, test: { name: 'together', include: ['**/*.test.ts'], exclude: ELSEWHERE } },
      { extends: true, test: { name: 'first', include: FIRST } },
      { extends: true, test: { name: 'second', include: SECOND } },
      { extends: true, test: { name: 'alone', include: ALONE } },
      {
        extends: true,
        test: { name: 'beside', include: BESIDE, globalSetup: ['../harness/shared-control-plane.ts'] },
      },
    ],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // A test that failed is a finding: it is not tried again until it passes, but for those that say why (harness/real-time.ts).
    retry: 0,
  },
});
