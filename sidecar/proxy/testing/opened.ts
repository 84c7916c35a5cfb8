// What a test file opens on real sockets, and closes after each of its tests.
import { afterEach } from 'vitest';
import type { Endpoint } from '../../../plan/endpoints.ts';
import type { DependencyPlan } from '../../../plan/plan.ts';
import { type Bench, startBench } from './fixtures.ts';
import { startUpstream, type Upstream } from './upstreams.ts';

export interface Opened {
  /** Closed after the test, in the order of this list. */
  readonly open: { close(): unknown }[];
  readonly bench: (plan: DependencyPlan, ...endpoints: Endpoint[]) => Promise<Bench>;
  readonly upstream: (...script: Parameters<typeof startUpstream>) => Promise<Upstream>;
}

/** Call it once, outside of all tests. */
export function opened(): Opened {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0)) await each.close();
  });
  return {
    open,
    async bench(plan, ...endpoints) {
      const started = await startBench(plan, endpoints);
      open.push(started);
      return started;
    },
    async upstream(...script) {
      const started = await startUpstream(...script);
      open.push(started);
      return started;
    },
  };
}
