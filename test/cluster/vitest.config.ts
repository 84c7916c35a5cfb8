import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** By name, so that a run can be compared with another; what uninstalls Breakwater last. */
class InOrder extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) =>
      `${/(docs|uninstall)\.test\.ts$/.test(moduleId) ? 1 : 0}${moduleId}`;
    return files.toSorted((a, b) => rank(a).localeCompare(rank(b)));
  }
}

/** These bring what they need with them, and need no cluster: they run beside the others (run.ts). */
const BESIDE = ['admission-fuzz.test.ts', 'capture.test.ts'];

export default defineConfig({
  test: {
    root: import.meta.dirname,
    // One after the other: they measure times on a machine that may have two cores.
    fileParallelism: false,
    sequence: { sequencer: InOrder },
    projects: [
      { extends: true, test: { name: 'cluster', include: ['**/*.test.ts'], exclude: BESIDE } },
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
