// What replicas of the operator say to each other: newline-delimited JSON over one long HTTPS response, as everything here.
//
//   GET /v1/peers/sessions    frames: snapshot | update | heartbeat | end
//
// Times are told as durations up to now: no clock of another machine is believed. Fields that a version does not know are left out, so that
// replicas of neighbouring versions understand each other during a rollout.
import { z } from 'zod';
import { circuitReport } from '../../plan/wire.ts';

export const SESSIONS_PATH = '/v1/peers/sessions';

/** One frame; a session has four megabytes at the very most. */
export const MAX_FRAME_BYTES = 8 * 1024 * 1024;

const applied = z
  .object({ version: z.string().min(1).max(128), applied: z.boolean(), message: z.string().max(1024) })
  .nullable();
const durationMs = z.number().min(0);

const peerSession = z.object({
  pod: z.object({ namespace: z.string().max(63), name: z.string().max(253), uid: z.string().min(1).max(128) }),
  workloadId: z.string().max(4096),
  plan: applied,
  endpoints: applied,
  locallyDisabled: z.boolean(),
  circuits: circuitReport.shape.circuits,
  /** Absent where there are none, and of a replica that does not know them. */
  exclusions: circuitReport.shape.exclusions,
  opaque: circuitReport.shape.opaque,
  tls: circuitReport.shape.tls,
  /** Whether a stream of plans is open, and how long ago the last one opened; null: none ever did. */
  hasPlanStream: z.boolean(),
  planOpenedMsAgo: durationMs.nullable(),
  /** Null while a stream is open. */
  idleForMs: durationMs.nullable(),
});
export type PeerSession = z.infer<typeof peerSession>;

const sessions = z.array(peerSession).max(100_000);

export const peerFrame = z.discriminatedUnion('kind', [
  /** Part of everything. What was known before holds until the last part has come, and is replaced by all of them. */
  z.object({ kind: z.literal('snapshot'), sessions, last: z.boolean() }),
  /** What changed, and the uids of the pods that are forgotten. */
  z.object({ kind: z.literal('update'), sessions, removed: z.array(z.string().max(128)).max(100_000) }),
  z.object({ kind: z.literal('heartbeat') }),
  z.object({ kind: z.literal('end'), reason: z.string().max(256) }),
]);
export type PeerFrame = z.infer<typeof peerFrame>;

/** Undefined: a frame of a kind that this version does not know. Throws where it is no frame at all. */
export function decodePeerFrame(line: string): PeerFrame | undefined {
  const value: unknown = JSON.parse(line);
  const result = peerFrame.safeParse(value);
  if (result.success) return result.data;
  const { kind } = z.object({ kind: z.string() }).parse(value);
  if (!['snapshot', 'update', 'heartbeat', 'end'].includes(kind)) return undefined;
  const issue = result.error.issues[0];
  throw new Error(`a frame of another replica does not fit at ${issue?.path.join('.')}: ${issue?.message}`);
}
