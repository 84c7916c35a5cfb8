import { z } from 'zod';
import { milliseconds } from './values.ts';

/** Zero means: no such timeout. `idleMs` holds for HTTP streams and upgrades, `opaqueIdleMs` for tunnelled connections. */
export const timeoutsPlan = z.object({
  requestMs: milliseconds,
  attemptMs: milliseconds,
  connectMs: milliseconds,
  idleMs: milliseconds,
  opaqueIdleMs: milliseconds,
});
export type TimeoutsPlan = z.infer<typeof timeoutsPlan>;
