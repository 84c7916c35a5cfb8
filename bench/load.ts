// What every load generator tells of the load that it made.
import { z } from 'zod';
import type { BenchCase } from './cases.ts';

export const loadSummary = z.object({
  requests: z.number().int().nonnegative(),
  durationMicros: z.number().positive(),
  bytes: z.number().nonnegative(),
  p50Micros: z.number().nonnegative(),
  p99Micros: z.number().nonnegative(),
  /** Of an open loop: how late the generator was when it sent. */
  lateP99Micros: z.number().nonnegative().optional(),
  socketErrors: z.number().int().nonnegative(),
  timeouts: z.number().int().nonnegative(),
  /** Answers with a status of 400 or more. */
  badStatuses: z.number().int().nonnegative(),
});
export type LoadSummary = z.infer<typeof loadSummary>;

/** Loads what listens on a port of 127.0.0.1. */
export type GenerateLoad = (port: number, seconds: number) => Promise<LoadSummary>;

export interface Load {
  warmUp: GenerateLoad;
  /** `saturation`: requests per second that Envoy answered at most while it was warmed up. */
  measure: (saturation: number) => GenerateLoad;
  /** What is there beside the requests while they are measured; resolves when all of it is there, rejects with NotHeld. */
  hold?: (port: number) => Promise<Held>;
}

/** What was to be there beside the requests did not come: the machine is busy. */
export class NotHeld extends Error {
  override name = 'NotHeld';
}

export interface Held {
  /** Resolves where all of it is there, at this moment; rejects with NotHeld where it does not come. */
  whole(): Promise<void>;
  release(): void;
}

/** Why these figures cannot be used; undefined where they can. */
export function whyVoid(load: LoadSummary, { answerBytes }: BenchCase): string | undefined {
  const { requests, bytes, badStatuses, socketErrors, timeouts } = load;
  if (badStatuses > 0) return `${badStatuses} of ${requests} answers had a status of 400 or more`;
  if (socketErrors > 0) return `${socketErrors} connections failed`;
  if (timeouts > 0) return `${timeouts} requests took longer than 2 s`;
  if (requests === 0) return 'no request was answered';
  // Heads come on top. What the last requests had read when time was over counts too, but only in bytes.
  if (bytes / requests < answerBytes)
    return `answers had ${Math.round(bytes / requests)} bytes instead of ${answerBytes}`;
  return undefined;
}
