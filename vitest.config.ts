import { defineConfig } from 'vitest/config';

// unit: everything beside the code, and the whole-process tests that need neither root nor a cluster.
// api-server: needs a real kube-apiserver; test/run.ts decides whether one can be had and says so where not.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{crds,plan,runtime,operator,sidecar,cli,charts,test,bench}/**/*.test.ts'],
          exclude: ['**/*.api.test.ts', 'test/cluster/**', '**/node_modules/**'],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'api-server',
          include: ['{crds,operator,cli,test}/**/*.api.test.ts'],
          exclude: ['test/cluster/**', '**/node_modules/**'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
