// The contract between operator and sidecar: newline-delimited JSON frames over long HTTPS responses, and small POSTs back.
//
//   GET  /v1/plan?version=V          frames: plan | unchanged | trust | heartbeat | end
//   GET  /v1/endpoints?version=V     frames: placement | snapshot | update | unchanged | heartbeat | end
//   POST /v1/acknowledgements        AcknowledgementReport
//   POST /v1/circuits                CircuitReport
//
// Every request carries `authorization: Bearer <projected token>`. Who asks is decided by the token alone, never by what is asked.
// The operator may have several replicas, and each request may reach another one. The answer to a stream names in REPLICA_HEADER the one that
// holds it; reports about that stream carry the name back, and whichever replica takes them passes them on to it. So what a pod says
// is where its stream is, and ends with it: a sidecar that opens a stream anew says it again.
//
// `version` is the last one applied; an equal version is answered `unchanged` in the place of the whole. A frame of an unknown kind is ignored.
import * as z from 'zod';
import { boundedList, parseBoundedJson } from './bounded.ts';
import { endpointSet, placement } from './endpoints.ts';
import { PLAN_LIMITS, workloadPlan } from './plan.ts';

export const PATHS = {
  plan: '/v1/plan',
  endpoints: '/v1/endpoints',
  acknowledgements: '/v1/acknowledgements',
  circuits: '/v1/circuits',
} as const;

export const REPLICA_HEADER = 'breakwater-replica';
/** Name of a pod. */
export const REPLICA_NAME = /^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/;

/** The operator sends a heartbeat this often on a quiet stream; a sidecar that hears nothing for three of them reconnects. */
export const HEARTBEAT_INTERVAL_MS = 5_000;

const version = z.string().min(1).max(128);

export const planFrame = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('plan'), version, plan: workloadPlan }),
  z.object({ kind: z.literal('unchanged'), version }),
  /** The CA bundle (PEM) that the sidecar must trust from now on, in addition to the one it was born with. */
  z.object({ kind: z.literal('trust'), bundle: z.string().max(262_144) }),
  z.object({ kind: z.literal('heartbeat') }),
  /** The operator closes the stream on purpose: TokenExpired, PodGone, WorkloadChanged, Shutdown. */
  z.object({ kind: z.literal('end'), reason: z.string().max(256) }),
]);
export type PlanFrame = z.infer<typeof planFrame>;

export const endpointsFrame = z.discriminatedUnion('kind', [
  /** Where the pod that asks runs, which hints of endpoints go by. It comes before the endpoints, and again when it changes. */
  z.object({ kind: z.literal('placement'), placement }),
  /** Everything: sets that are not in it are unknown. */
  z.object({ kind: z.literal('snapshot'), version, sets: boundedList(endpointSet, { max: PLAN_LIMITS.endpointSets }) }),
  /** The sets that changed, whole, and the keys that became unknown. */
  z.object({
    kind: z.literal('update'),
    version,
    sets: boundedList(endpointSet, { max: PLAN_LIMITS.endpointSets }),
    removed: boundedList(z.string().max(640), { max: PLAN_LIMITS.endpointSets }),
  }),
  z.object({ kind: z.literal('unchanged'), version }),
  z.object({ kind: z.literal('heartbeat') }),
  z.object({ kind: z.literal('end'), reason: z.string().max(256) }),
]);
export type EndpointsFrame = z.infer<typeof endpointsFrame>;

export const acknowledgementReport = z.object({
  stream: z.enum(['plan', 'endpoints']),
  version,
  /** False: the sidecar could not apply it and keeps the last good one; `message` says why. */
  applied: z.boolean(),
  message: z.string().max(1024).default(''),
  /** The local kill switch (`breakwater disable`) is thrown in this sidecar. */
  locallyDisabled: z.boolean().default(false),
});
export type AcknowledgementReport = z.infer<typeof acknowledgementReport>;

/** Forced: by the policy, whatever the calls do. */
export const circuitState = z.enum(['Closed', 'Open', 'HalfOpen', 'ForcedOpen', 'ForcedClosed']);
export type CircuitState = z.infer<typeof circuitState>;

/** Held by the policy, whatever its calls do. */
export function isForced(state: CircuitState): boolean {
  return state === 'ForcedOpen' || state === 'ForcedClosed';
}

/** Unix time in milliseconds that a Date can hold: what goes into a status must be a time. */
const unixMs = z.number().int().min(0).max(8_640_000_000_000_000);

/** Of a report: outlier detection, health checks, and outlier detection in shadow of every dependency. */
export const MAX_EXCLUSIONS = PLAN_LIMITS.dependencies * 3;

/** Endpoints of a dependency that are told by name, of those that get no calls. */
export const MAX_EXCLUDED_NAMES = 3;

const endpointCount = z.number().int().min(0).max(1_000_000);

/** Endpoints of one dependency that get no calls by one state: ejected by outlier detection, or unhealthy by health checks. */
const exclusion = z.object({
  dependency: z.string().max(768),
  /** Of the outlier detection or the health checks. */
  stateKey: z.string().max(1024),
  endpoints: endpointCount.min(1),
  /** Of how many that there are. */
  totalEndpoints: endpointCount,
  /** When the first of those that are out now went out. */
  since: unixMs,
  /** Too few are left, so that all are used. */
  panicking: z.boolean(),
  /** Some of them, the first by name. */
  names: boundedList(z.object({ endpoint: z.string().max(64), reason: z.string().max(256) }), {
    max: MAX_EXCLUDED_NAMES,
  }),
});

/** Tls: it begins with a handshake. ServerFirst: the server speaks before the application. Opaque: anything else that is no HTTP. */
export const opaqueProtocol = z.enum(['Tls', 'ServerFirst', 'Opaque']);
export type OpaqueProtocol = z.infer<typeof opaqueProtocol>;

/** A dependency on whose connections something else than HTTP was found, so that only policies of connections act there. */
const opaqueDependency = z.object({
  dependency: z.string().max(768),
  protocol: opaqueProtocol,
  /** Others of its connections speak HTTP. */
  alsoHttp: z.boolean(),
});

/** Of one host: bundles of authorities, a client certificate, and what is made of them. */
export const MAX_TLS_PROBLEMS = 10;

/** TLS to a host where somebody has something to mend. */
const tlsTrouble = z.object({
  dependency: z.string().max(768),
  /** What is wrong with the certificates that the sidecar was given, each with its fix. */
  certificates: boundedList(z.string().max(512), { max: MAX_TLS_PROBLEMS }),
  /** What the last handshake failed of; empty: nothing. */
  handshake: z.string().max(512),
});

/**
 * All circuits of a sidecar that are not closed and act; what is absent is closed. Sent on change, and again on every new plan stream.
 * Optional is what sidecars of earlier versions do not send.
 */
export const circuitReport = z.object({
  circuits: boundedList(
    z.object({
      dependency: z.string().max(768),
      stateKey: z.string().max(1024),
      state: circuitState,
      /** When it came into this state. */
      since: unixMs,
      /** Why it is in this state, and of a half-open one why it had opened. */
      reason: z.string().max(256),
      /** When it opened after it had been closed; it may have been half-open and open again since. */
      failingSince: unixMs.optional(),
      /** When it lets probes through; only while it is open. */
      nextProbe: unixMs.optional(),
      /** How often it opened again after probes since it was last closed. */
      reopenings: z.number().int().min(0).max(1_000_000_000).optional(),
    }),
    { max: PLAN_LIMITS.dependencies * 4 },
  ),
  /** All endpoints of a sidecar that get no calls; absent: there are none. */
  exclusions: boundedList(exclusion, { max: MAX_EXCLUSIONS }).optional(),
  /** What its connections turned out to speak that is no HTTP; absent: nothing of that kind. */
  opaque: boundedList(opaqueDependency, { max: PLAN_LIMITS.dependencies }).optional(),
  /** All hosts where TLS is not as it should be; absent: there are none. */
  tls: boundedList(tlsTrouble, { max: PLAN_LIMITS.dependencies }).optional(),
});
export type CircuitReport = z.infer<typeof circuitReport>;

export type Decoded<T> = { ok: true; frame: T } | { ok: false; message: string };

function decode<T>(schema: z.ZodType<T>, line: string): Decoded<T> {
  const parsed = parseBoundedJson(line);
  if (!parsed.ok) return { ok: false, message: `the frame cannot be read: ${parsed.message}` };
  const result = schema.safeParse(parsed.value);
  if (result.success) return { ok: true, frame: result.data };
  const issue = result.error.issues[0];
  return {
    ok: false,
    message: `the frame does not fit the schema at ${issue?.path.join('.') || 'its root'}: ${issue?.message ?? ''}`,
  };
}

export const decodePlanFrame = (line: string): Decoded<PlanFrame> => decode(planFrame, line);
export const decodeEndpointsFrame = (line: string): Decoded<EndpointsFrame> => decode(endpointsFrame, line);

/** One frame, one line. */
export function encodeFrame(frame: PlanFrame | EndpointsFrame): string {
  return `${JSON.stringify(frame)}\n`;
}
