// What was asked and what came of it. Each request ends exactly once; a right answer is whole; what may not run twice did not.
export type Kind = 'HTTP/1.1' | 'HTTP/2' | 'gRPC' | 'WebSocket' | 'TCP';

const MAX_TOLD = 20;

export class Ledger {
  /** By kind and outcome. */
  readonly outcomes = new Map<string, number>();
  readonly violations: string[] = [];
  finished = 0;
  readonly #open = new Map<string, { kind: Kind; once: boolean; beganMs: number }>();
  readonly #executed = new Map<string, number>();
  #next = 0;

  get open(): number {
    return this.#open.size;
  }

  /** `once`: it may not run twice. */
  begin(kind: Kind, once: boolean, nowMs: number): string {
    this.#next += 1;
    const id = `${once ? 'once' : 'again'}-${kind.replaceAll(/\W/g, '')}-${this.#next}`;
    this.#open.set(id, { kind, once, beganMs: nowMs });
    return id;
  }

  /** A server runs it. */
  executed(id: string): void {
    const times = (this.#executed.get(id) ?? 0) + 1;
    this.#executed.set(id, times);
    if (times > 1 && id.startsWith('once')) this.#violated(`${id} ran ${times} times`);
  }

  end(id: string, outcome: string): void {
    const request = this.#open.get(id);
    if (request === undefined) {
      this.#violated(`${id} ended a second time: ${outcome}`);
      return;
    }
    this.#open.delete(id);
    this.finished += 1;
    const key = `${request.kind} ${outcome}`;
    this.outcomes.set(key, (this.outcomes.get(key) ?? 0) + 1);
    if (outcome === 'right' && !this.#executed.has(id)) this.#violated(`${id} was answered and never ran`);
    if (outcome.startsWith('wrong')) this.#violated(`${id} (${request.kind}): ${outcome}`);
    // Kept for a while: a second run may come late, but not much.
    if (this.#executed.size > 100_000) this.#executed.delete(this.#executed.keys().next().value ?? '');
  }

  /** What has not ended by now, though it began so long ago. */
  overdue(limitMs: number, nowMs: number): void {
    for (const [id, { kind, beganMs }] of this.#open) {
      if (nowMs - beganMs < limitMs) continue;
      this.#open.delete(id);
      this.#violated(`${id} (${kind}) has had no end for ${Math.round((nowMs - beganMs) / 1_000)} s`);
    }
  }

  #violated(what: string): void {
    if (this.violations.length < MAX_TOLD) this.violations.push(what);
  }
}
