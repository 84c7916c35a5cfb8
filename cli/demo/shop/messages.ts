// What the demo and the processes of its shop say to each other, over the IPC channel that forking gives them.
import { z } from 'zod';

export const SERVICE_NAMES = ['storefront', 'checkout', 'payments', 'inventory'] as const;
export type ServiceName = (typeof SERVICE_NAMES)[number];

/**
 * How the payments service behaves. Healthy: answers in some 20 ms. Flaky: every fourth answer is a 503. Slow: answers after three
 * seconds. Down: closes every connection without an answer.
 */
export const behaviour = z.enum(['Healthy', 'Flaky', 'Slow', 'Down']);
export type Behaviour = z.infer<typeof behaviour>;

/** To a service. */
export const serviceCommand = z.discriminatedUnion('kind', [
  /** Base URLs of those it calls, by name. */
  z.object({ kind: z.literal('dependencies'), urls: z.record(z.string(), z.string()) }),
  z.object({ kind: z.literal('behaviour'), behaviour }),
]);
export type ServiceCommand = z.infer<typeof serviceCommand>;

/** One call that a service made. `ok`: an answer below 500 came. */
const call = z.object({ dependency: z.string(), ok: z.boolean(), durationMs: z.number() });
export type Call = z.infer<typeof call>;

/** From a service. */
export const serviceReport = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('listening'), port: z.number() }),
  /** Since the last report: the calls that ended, and the Unix times (milliseconds) at which requests arrived. */
  z.object({ kind: z.literal('activity'), calls: z.array(call), arrivals: z.array(z.number()) }),
]);
export type ServiceReport = z.infer<typeof serviceReport>;
