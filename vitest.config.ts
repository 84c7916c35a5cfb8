import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

// Half of the processor time of a process of ours that is started goes into reading its TypeScript: the next one finds what came of it.
const env = { NODE_COMPILE_CACHE: join(import.meta.dirname, 'node_modules/.cache/node-compile') };

/** Whole processes, which wait as much as they compute: they run while there is something else to compute. */
const WAITING =
  /\/(test\/standalone|test\/docs\/read-through|test\/faults|test\/conformance|sidecar\/main|cli\/bin|cli\/completion)/;
/** Whoever begins last with one of these computes on one processor at the end. */
const LONG = /\/(test\/simulation\/|sidecar\/proxy\/(http2-)?(contract|cost)\.)/;

/** By size, as vitest sorts what it has never run, the smallest files come last, and those that start a demo or a shell are small. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => (WAITING.test(moduleId) ? 0 : LONG.test(moduleId) ? 1 : 2);
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}

// unit: everything beside the code, and the whole-process tests that need neither root nor a cluster.
// A worker goes on with the next file in the same process, since loading everything anew for each took half of the processor time: what a
// test changes of the process (environment, globals, module state) it puts back.
// api-server: needs a real kube-apiserver; test/run.ts decides whether one can be had and says so where not. One server serves
// all files, one after the other.
// control-plane: the same for files that stop and start servers of their own, so that they can run beside those.
// conformance: programs that others trust, beside the sidecar or against it; test/conformance/run.ts gets them, and says which it could not get.
export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{crds,plan,runtime,operator,sidecar,cli,charts,test,bench}/**/*.test.ts'],
          exclude: ['**/*.{api,control-plane,conformance}.test.ts', 'test/cluster/**', '**/node_modules/**'],
          isolate: false,
          env,
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'api-server',
          isolate: false,
          env,
          include: ['{crds,operator,cli,test}/**/*.api.test.ts'],
          exclude: ['test/cluster/**', '**/node_modules/**'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          globalSetup: ['test/harness/shared-control-plane.ts'],
        },
      },
      {
        test: {
          name: 'control-plane',
          isolate: false,
          env,
          include: ['{operator,test}/**/*.control-plane.test.ts'],
          exclude: ['test/cluster/**', '**/node_modules/**'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'conformance',
          include: ['test/conformance/**/*.conformance.test.ts'],
          exclude: ['**/node_modules/**'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
