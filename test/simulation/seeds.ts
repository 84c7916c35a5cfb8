// Many seeds, and what came of them.
import { add } from './counts.ts';
import { CALL_OUTCOMES, type CallOutcome } from './ledger.ts';
import { type RunResult, simulate } from './simulate.ts';
import { Violation } from './violation.ts';

/** What is spoken in a world: a seed is another one with HTTP/2 than without. */
export type Protocols = 'http1' | 'http2';

export interface Failure {
  seed: number;
  protocols: Protocols;
  message: string;
}

export interface Summary {
  seeds: number;
  requests: number;
  /** Attempts beyond the first. */
  retries: number;
  outcomes: Record<CallOutcome, number>;
  /** By breakwater-reason. */
  reasons: Record<string, number>;
  counts: Record<string, number>;
  failures: Failure[];
}

export function emptySummary(): Summary {
  const outcomes = Object.fromEntries(CALL_OUTCOMES.map((outcome) => [outcome, 0])) as Record<CallOutcome, number>;
  return { seeds: 0, requests: 0, retries: 0, outcomes, reasons: {}, counts: {}, failures: [] };
}

/** What is no Violation is a mistake of the code, and is told with its stack. */
export async function addSeed(summary: Summary, seed: number, protocols: Protocols = 'http1'): Promise<void> {
  summary.seeds += 1;
  try {
    addRun(summary, await simulate(seed, { http2: protocols === 'http2' }));
  } catch (error) {
    const message = error instanceof Violation ? error.message : String((error as Error).stack ?? error);
    summary.failures.push({ seed, protocols, message });
  }
}

function addRun(summary: Summary, run: RunResult): void {
  summary.requests += run.requests;
  summary.retries += run.retries;
  add(summary.outcomes, run.outcomes);
  add(summary.reasons, Object.fromEntries(run.reasons));
  add(summary.counts, run.counts);
}

export function merge(total: Summary, part: Summary): void {
  total.seeds += part.seeds;
  total.requests += part.requests;
  total.retries += part.retries;
  add(total.outcomes, part.outcomes);
  add(total.reasons, part.reasons);
  add(total.counts, part.counts);
  total.failures.push(...part.failures);
}
