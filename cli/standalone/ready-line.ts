// The one line that `breakwater standalone` writes to standard output, when everything is ready.
import { z } from 'zod';

export const readyLine = z.object({
  ready: z.literal(true),
  /** By "<namespace>/<name of the Pod or ServiceDependency>". */
  workloads: z.record(
    z.string(),
    z.object({
      /** Base URL of /livez, /readyz and /metrics. */
      admin: z.string(),
      /** "HOST:PORT" at which the sidecar listens for calls to each dependency, by its name. */
      dependencies: z.record(z.string(), z.string()),
    }),
  ),
});
export type ReadyLine = z.infer<typeof readyLine>;
