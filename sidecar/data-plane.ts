// What the rest of the sidecar sees of the data path. `proxy/` implements it; `subscribe/`, `admin/` and `main.ts` drive it.

import type { EndpointSet, Placement } from '../plan/endpoints.ts';
import type { WorkloadPlan } from '../plan/plan.ts';
import type { CircuitState, OpaqueProtocol } from '../plan/wire.ts';
import type { CaptureMode } from './config.ts';
import type { SHED_LEVEL_NAMES } from './policies/load-shedder.ts';
import type { ListenerView } from './proxy/intake/bootstrap-listeners.ts';
import type { NameView } from './resolve/name-directory.ts';
import type { TlsFailure } from './tls/failures.ts';
import type { Expiries } from './tls/origination.ts';

/** A circuit as status, metrics and the admin page show it. */
export interface CircuitView {
  dependency: string;
  stateKey: string;
  state: CircuitState;
  /** Unix milliseconds of the last change of state. */
  sinceUnixMs: number;
  /** When it opened after it had been closed; null while it is closed or forced. */
  failingSinceUnixMs: number | null;
  /** When it lets probes through; null where it is not open. */
  nextProbeUnixMs: number | null;
  /** How often it opened again after probes since it was last closed. */
  reopenings: number;
  /** What its window holds, by which it decides while it is closed. */
  counts: { calls: number; failures: number; slow: number };
  /** Why it is in this state: "5 consecutive failures"; empty while it never changed. */
  reason: string;
  /** False: a kill switch is thrown, and every call passes whatever the state. */
  enforced: boolean;
}

/** An endpoint that is ejected. */
export interface EjectionView {
  /** ADDRESS:PORT. */
  endpoint: string;
  /** "5 consecutive failures (last: Reset)". */
  reason: string;
  sinceUnixMs: number;
  untilUnixMs: number;
  /** This one included, less the intervals that the endpoint was in between. */
  times: number;
}

/** An endpoint that is unhealthy by its health checks. */
export interface UnhealthyView {
  /** ADDRESS:PORT. */
  endpoint: string;
  /** Why the last check that failed did. */
  problem: string;
  sinceUnixMs: number;
}

/** What is left of the endpoints of a dependency to choose from. One for each state that narrows the choice. */
export interface ChoiceView {
  dependency: string;
  /** The state keys of what narrows it: "outlierDetection:base". */
  choice: string;
  endpoints: number;
  pickable: number;
  /** Endpoints that may be ejected at a time. */
  maxEjected: number;
  /** Too few endpoints are left: all are used. */
  panicking: boolean;
  ejected: readonly EjectionView[];
  unhealthy: readonly UnhealthyView[];
  /** False: a kill switch is thrown, and every endpoint is used. */
  enforced: boolean;
}

/** Endpoints of a dependency that get no calls by one state, or would get none: what the operator is told. */
export interface ExclusionView {
  dependency: string;
  /** Of the outlier detection or the health checks. */
  stateKey: string;
  endpoints: number;
  totalEndpoints: number;
  /** When the first of those that are out now went out. */
  sinceUnixMs: number;
  /** Too few are left: all are used. */
  panicking: boolean;
  /** A few of them, the first by name. */
  names: readonly { endpoint: string; reason: string }[];
}

/** What the connections of a dependency turned out to speak that is no HTTP. */
export interface OpaqueView {
  dependency: string;
  protocol: OpaqueProtocol;
  /** Others of its connections speak HTTP. */
  alsoHttp: boolean;
}

/** A limit that is found by measuring, as status shows it. */
export interface AdaptiveLimitView {
  dependency: string;
  stateKey: string;
  limit: number;
  maxConcurrent: number;
  inFlight: number;
  queued: number;
  /** Latency without load as far as it is known, and of the last calls; 0: not known yet. */
  baselineMs: number;
  medianMs: number;
}

/** TLS that is spoken to a host. */
export interface TlsView {
  dependency: string;
  serverName: string;
  port: number;
  /** What is wrong with the certificates that the sidecar has been given, each with its fix. */
  certificates: readonly string[];
  /** What the last handshake failed of; null: nothing. */
  handshake: TlsFailure | null;
  /** Infinity: there is none, or it is not known yet. */
  expiresUnixMs: Expiries;
}

/** How much the sidecar has to do itself, and what it refuses for that. */
export interface LoadView {
  /** By memory. */
  level: (typeof SHED_LEVEL_NAMES)[number];
  /** Share of the requests that is refused by the delay of the event loop. */
  share: number;
  /** Of the memory limit; 0: there is none. */
  memoryShare: number;
  /** Mean length of the rounds of the event loop. */
  loopDelayMs: number;
}

/** How connections come here, as status shows it. */
export interface CaptureView {
  mode: CaptureMode;
  /** What the plan wants of undeclared destinations; null before the first plan. */
  undeclared: WorkloadPlan['undeclared'] | null;
  /** Those of the pod's bootstrap; empty in other modes. */
  listeners: readonly ListenerView[];
  /** Hosts outside the cluster. */
  hosts: readonly NameView[];
}

export interface DataPlane {
  /** Swaps to a plan, at once and whole. State whose key is unchanged survives; requests in flight keep the policies they began with. */
  applyPlan(plan: WorkloadPlan): void;
  /** Replaces the endpoint sets by what a snapshot holds; sets not in it become unknown. `fromDisk`: not confirmed by a live stream yet. */
  applyEndpointsSnapshot(sets: readonly EndpointSet[], fromDisk: boolean): void;
  applyEndpointsUpdate(sets: readonly EndpointSet[], removed: readonly string[]): void;
  /** Where this pod runs, which the hints of endpoints go by; until it is called that is not known. */
  setPlacement(placement: Placement): void;
  /** Whether the endpoints stream is up; while it is not, failed connects fall back to the ClusterIP (fail static). */
  setEndpointsStreamUp(up: boolean): void;
  /** The local kill switch: true forwards everything without policies. */
  setLocallyDisabled(disabled: boolean): void;
  /** Begins to drain: `Connection: close` on every response, no connection kept; existing work goes on. */
  drain(): void;
  /** Requests and tunnels in progress. */
  inFlight(): number;
  circuits(): CircuitView[];
  choices(): ChoiceView[];
  adaptiveLimits(): AdaptiveLimitView[];
  load(): LoadView;
  /** Called on every change of any circuit's state; not where a plan takes one away. */
  onCircuitChange(listener: (circuit: CircuitView) => void): void;
  /** Where any endpoint gets no calls and that is enforced, or would get none by what is in shadow. */
  exclusions(): ExclusionView[];
  /** Called on every change of `exclusions`, some time later. */
  onExclusionChange(listener: () => void): void;
  /** Where anything else than HTTP was found, so that only policies of connections act. */
  opaque(): OpaqueView[];
  /** Called on every change of `opaque`, some time later. */
  onOpaqueChange(listener: () => void): void;
  /** Of every host that TLS is spoken to. */
  tls(): TlsView[];
  /** Called on every change of what is wrong there. */
  onTlsChange(listener: () => void): void;
  capture(): CaptureView;
  /** Where each dependency listens in standalone mode: name of the entry → "127.0.0.1:PORT". Empty on a cluster. */
  addresses(): Record<string, string>;
  listen(): Promise<void>;
  /** Stops listening and ends every connection. */
  close(): Promise<void> | void;
}
