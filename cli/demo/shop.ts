// One shop: four services in processes of their own, and what they report.
import type { ChildProcess } from 'node:child_process';
import { systemClock as clock } from '../../runtime/clock.ts';
import { endChild, startFollowingChild } from '../following-child.ts';
import type { Measurement } from './measurements.ts';
import {
  type Behaviour,
  SERVICE_NAMES,
  type ServiceCommand,
  type ServiceName,
  serviceReport,
} from './shop/messages.ts';

const STOP_GRACE_MS = 2_000;

export class Shop {
  readonly #processes = new Map<ServiceName, ChildProcess>();
  readonly #ports = new Map<ServiceName, number>();
  readonly #calls = new Map<string, Measurement[]>();
  /** Unix times, in milliseconds, at which a charge reached payments. */
  readonly chargesArrived: number[] = [];
  /** Monotonic time that the measurements count from. */
  startMs = 0;

  /** Resolves when all four listen. Rejects when one ends before. */
  async start(): Promise<void> {
    await Promise.all(SERVICE_NAMES.map((name) => this.#startService(name)));
  }

  port(service: ServiceName): number {
    const port = this.#ports.get(service);
    if (port === undefined) throw new Error(`${service} does not listen`);
    return port;
  }

  /** Where the service finds those it calls: base URLs by name. */
  connect(service: ServiceName, urls: Record<string, string>): void {
    this.#tell(service, { kind: 'dependencies', urls });
  }

  setPayments(behaviour: Behaviour): void {
    this.#tell('payments', { kind: 'behaviour', behaviour });
  }

  /** Calls that the services made to a dependency, as they saw them. */
  callsTo(dependency: ServiceName): readonly Measurement[] {
    return this.#calls.get(dependency) ?? [];
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#processes.values()].map((child) => endChild(child, STOP_GRACE_MS)));
  }

  #tell(service: ServiceName, command: ServiceCommand): void {
    this.#processes.get(service)?.send(command);
  }

  #startService(name: ServiceName): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = startFollowingChild(`cli/demo/shop/${name}.ts`, [], { ipc: true });
      this.#processes.set(name, child);
      child.once('error', reject);
      child.once('exit', (code, signal) => reject(new Error(`${name} ended before it listened (${signal ?? code})`)));
      child.on('message', (message) => {
        const report = serviceReport.parse(message);
        if (report.kind === 'listening') {
          this.#ports.set(name, report.port);
          resolve();
          return;
        }
        if (name === 'payments') this.chargesArrived.push(...report.arrivals);
        const nowMs = clock.monotonicMs() - this.startMs;
        for (const { dependency, ok, durationMs } of report.calls) {
          const calls = this.#calls.get(dependency) ?? [];
          calls.push({ atMs: nowMs - durationMs, ok, durationMs });
          this.#calls.set(dependency, calls);
        }
      });
    });
  }
}
