// A service with several endpoints, called through sidecars, in virtual time: requests arrive by chance (Poisson), each endpoint works on as many
// at once as it has workers, and the real balancers choose. For tests and pictures of what an algorithm does to load and latency.

import type { Random } from '../../../runtime/random.ts';
import type { Balancer } from '../balancer.ts';
import { NO_KEY } from '../balancer.ts';
import { BalancedEndpoint, EndpointCandidates } from '../candidates.ts';
import { observeFailure, observeSuccess } from '../endpoint-cost.ts';
import { exponential } from './distributions.ts';

export interface Behaviour {
  /** How long the work on one request takes at this time. */
  serviceMs(atMs: number, random: Random): number;
  /** Whether a request that begins at this time fails. */
  fails?(atMs: number, random: Random): boolean;
  /** Requests worked on at once; more wait in line. */
  workers: number;
}

export type MakeBalancer = (
  candidates: EndpointCandidates<BalancedEndpoint>,
  random: Random,
) => Balancer<BalancedEndpoint>;

export interface Simulation {
  endpoints: readonly Behaviour[];
  sidecars: number;
  /** Of all sidecars together. */
  requestsPerSecond: number;
  untilMs: number;
  makeBalancer: MakeBalancer;
  random: Random;
}

export interface Served {
  endpoint: number;
  startedAtMs: number;
  tookMs: number;
  failed: boolean;
}

interface Event {
  atMs: number;
  run(): void;
}

class Sidecar {
  readonly endpoints: readonly BalancedEndpoint[];
  readonly balancer: Balancer<BalancedEndpoint>;

  constructor(count: number, makeBalancer: MakeBalancer, random: Random) {
    this.endpoints = Array.from({ length: count }, (_, index) => new BalancedEndpoint(`10.0.0.${index}:80`));
    const candidates = new EndpointCandidates<BalancedEndpoint>();
    candidates.setEndpoints(this.endpoints);
    this.balancer = makeBalancer(candidates, random);
  }
}

class Backend {
  readonly #behaviour: Behaviour;
  readonly #freeAtMs: number[];

  constructor(behaviour: Behaviour) {
    this.#behaviour = behaviour;
    this.#freeAtMs = Array.from({ length: behaviour.workers }, () => 0);
  }

  /** Takes a request; when it will be done, and whether it will have failed. A failure takes no worker. */
  accept(atMs: number, random: Random): { doneAtMs: number; failed: boolean } {
    if (this.#behaviour.fails?.(atMs, random)) return { doneAtMs: atMs + 0.5, failed: true };
    const soonest = Math.min(...this.#freeAtMs);
    const startMs = Math.max(atMs, soonest);
    const doneAtMs = startMs + this.#behaviour.serviceMs(startMs, random);
    this.#freeAtMs[this.#freeAtMs.indexOf(soonest)] = doneAtMs;
    return { doneAtMs, failed: false };
  }
}

/** Every request, in the order of its end. */
export function simulate({
  endpoints,
  sidecars,
  requestsPerSecond,
  untilMs,
  makeBalancer,
  random,
}: Simulation): Served[] {
  const backends = endpoints.map((behaviour) => new Backend(behaviour));
  const callers = Array.from({ length: sidecars }, () => new Sidecar(endpoints.length, makeBalancer, random));
  const events = new EventQueue();
  const served: Served[] = [];
  const arrive = (startedAtMs: number) => {
    const caller = callers[Math.floor(random() * callers.length)];
    const endpoint = caller?.balancer.pick([], NO_KEY, startedAtMs) ?? null;
    if (!caller || !endpoint) return;
    const index = caller.endpoints.indexOf(endpoint);
    const answer = backends[index]?.accept(startedAtMs, random);
    if (!answer) return;
    const { doneAtMs, failed } = answer;
    endpoint.begin();
    events.add(doneAtMs, () => {
      endpoint.end();
      const tookMs = doneAtMs - startedAtMs;
      if (failed) observeFailure(endpoint, tookMs, 0, doneAtMs);
      else observeSuccess(endpoint, tookMs, doneAtMs);
      served.push({ endpoint: index, startedAtMs, tookMs, failed });
    });
  };
  const meanMs = 1000 / requestsPerSecond;
  const schedule = (atMs: number): void => {
    if (atMs >= untilMs) return;
    events.add(atMs, () => {
      arrive(atMs);
      schedule(atMs + exponential(meanMs, random));
    });
  };
  schedule(exponential(meanMs, random));
  events.runAll();
  return served;
}

/** A binary heap. */
class EventQueue {
  readonly #heap: Event[] = [];

  add(atMs: number, run: () => void): void {
    const heap = this.#heap;
    heap.push({ atMs, run });
    let child = heap.length - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (this.#at(parent) <= this.#at(child)) break;
      this.#swap(parent, child);
      child = parent;
    }
  }

  runAll(): void {
    for (let event = this.#take(); event; event = this.#take()) event.run();
  }

  #take(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (heap.length === 0 || last === undefined) return first;
    heap[0] = last;
    let parent = 0;
    for (;;) {
      const left = 2 * parent + 1;
      const least = left + 1 < heap.length && this.#at(left + 1) < this.#at(left) ? left + 1 : left;
      if (least >= heap.length || this.#at(parent) <= this.#at(least)) return first;
      this.#swap(parent, least);
      parent = least;
    }
  }

  #at(index: number): number {
    return this.#heap[index]?.atMs ?? Number.POSITIVE_INFINITY;
  }

  #swap(one: number, other: number): void {
    const [a, b] = [this.#heap[one], this.#heap[other]];
    if (a && b) [this.#heap[one], this.#heap[other]] = [b, a];
  }
}
