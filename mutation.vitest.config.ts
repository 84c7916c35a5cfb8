// The tests that mutation testing runs for each mutant of a policy: those of the pure machines, and nothing with sockets. Alone and not a
// project of vitest.config.ts, since Stryker takes no projects. MUTATION_TESTS: fewer of them, for one part in a shorter time.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: [process.env['MUTATION_TESTS'] ?? 'sidecar/{policies,balance,grpc}/**/*.test.ts'],
    isolate: false,
    testTimeout: 60_000,
  },
});
