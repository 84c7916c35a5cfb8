// A data path for tests that remembers what it was told.
import type { EndpointSet, Placement } from '../../plan/endpoints.ts';
import { PLAN_FORMAT_VERSION, type WorkloadPlan } from '../../plan/plan.ts';
import type {
  AdaptiveLimitView,
  CaptureView,
  ChoiceView,
  CircuitView,
  DataPlane,
  ExclusionView,
  LoadView,
  OpaqueView,
  TlsView,
} from '../data-plane.ts';

export class RecordingDataPlane implements DataPlane {
  readonly calls: string[] = [];
  plan: WorkloadPlan | null = null;
  sets = new Map<string, EndpointSet>();
  fromDisk: boolean | null = null;
  streamUp: boolean | null = null;
  locallyDisabled = false;
  draining = false;
  requestsInFlight = 0;
  circuitViews: CircuitView[] = [];
  listenAddresses: Record<string, string> = {};
  /** Thrown by whatever applies next. */
  fault: Error | null = null;
  #listeners: ((circuit: CircuitView) => void)[] = [];

  applyPlan(plan: WorkloadPlan): void {
    this.#apply(`plan ${plan.namespace}`);
    this.plan = plan;
  }

  applyEndpointsSnapshot(sets: readonly EndpointSet[], fromDisk: boolean): void {
    this.#apply(`snapshot ${fromDisk ? 'from disk' : 'live'}`);
    this.sets = new Map(sets.map((set) => [set.key, set]));
    this.fromDisk = fromDisk;
  }

  applyEndpointsUpdate(sets: readonly EndpointSet[], removed: readonly string[]): void {
    this.#apply('update');
    for (const key of removed) this.sets.delete(key);
    for (const set of sets) this.sets.set(set.key, set);
  }

  setPlacement({ node, zone }: Placement): void {
    this.calls.push(`placement ${node} ${zone}`);
  }

  setEndpointsStreamUp(up: boolean): void {
    this.calls.push(`stream ${up ? 'up' : 'down'}`);
    this.streamUp = up;
  }

  setLocallyDisabled(disabled: boolean): void {
    this.locallyDisabled = disabled;
  }

  drain(): void {
    this.draining = true;
  }

  inFlight(): number {
    return this.requestsInFlight;
  }

  circuits(): CircuitView[] {
    return this.circuitViews;
  }

  adaptiveLimits(): AdaptiveLimitView[] {
    return [];
  }

  load(): LoadView {
    return { level: 'none', share: 0, memoryShare: 0, loopDelayMs: 0 };
  }

  choices(): ChoiceView[] {
    return [];
  }

  exclusions(): ExclusionView[] {
    return [];
  }

  onExclusionChange(): void {}

  opaque(): OpaqueView[] {
    return [];
  }

  onOpaqueChange(): void {}

  tls(): TlsView[] {
    return [];
  }

  onTlsChange(): void {}

  capture(): CaptureView {
    return { mode: 'iptables', undeclared: null, listeners: [], hosts: [] };
  }

  onCircuitChange(listener: (circuit: CircuitView) => void): void {
    this.#listeners.push(listener);
  }

  changeCircuit(circuit: CircuitView): void {
    this.circuitViews = [...this.circuitViews.filter(({ stateKey }) => stateKey !== circuit.stateKey), circuit];
    for (const listener of this.#listeners) listener(circuit);
  }

  addresses(): Record<string, string> {
    return this.listenAddresses;
  }

  listen(): Promise<void> {
    this.calls.push('listen');
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.calls.push('close');
    return Promise.resolve();
  }

  #apply(call: string): void {
    const { fault } = this;
    this.fault = null;
    if (fault !== null) throw fault;
    this.calls.push(call);
  }
}

/** The smallest plan that fits the schema; `namespace` tells plans apart. */
export function planOf(namespace: string): WorkloadPlan {
  return {
    formatVersion: PLAN_FORMAT_VERSION,
    namespace,
    serviceDependencies: [],
    undeclared: 'Allow',
    dependencies: [],
  };
}

export function setOf(key: string, ...addresses: string[]): EndpointSet {
  return { key, endpoints: addresses.map((address) => ({ address, port: 8080 })) };
}
