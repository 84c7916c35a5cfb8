import * as z from 'zod';
import { milliseconds } from './values.ts';

/** Zero means: no such timeout. `idleMs` holds for HTTP streams and upgrades, `opaqueIdleMs` for tunnelled connections. */
export const timeoutsPlan = z.object({
  requestMs: milliseconds,
  attemptMs: milliseconds,
  connectMs: milliseconds,
  idleMs: milliseconds,
  opaqueIdleMs: milliseconds,
  /** Who is told of deadlines; absent: they are neither told nor looked at, and what an application sends of them passes as it is. */
  deadline: z.enum(['InCluster', 'Always', 'Never']).optional(),
});
export type TimeoutsPlan = z.infer<typeof timeoutsPlan>;
