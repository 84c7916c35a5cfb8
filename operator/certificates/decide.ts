// What to issue and when: decided from the stored state and the time alone.
//
// A new authority must be known to every client before anything signed by it is served. Clients learn of it over streams that the old one
// still secures, so a rotation has two steps: the new authority joins the bundle, and only after the overlap does it sign. The old one
// stays in the bundle until it expires, because a pod is born with the bundle of its day and may sleep for long.
import { z } from 'zod';

const DAY_MS = 86_400_000;

export const LIFETIMES = {
  authorityMs: 3650 * DAY_MS,
  servingMs: 90 * DAY_MS,
  /** How long a new authority is only announced, before it signs. */
  overlapMs: 7 * DAY_MS,
  /** Certificates are valid from a little before now, for clocks that are behind. */
  backdateMs: 3_600_000,
} as const;

const pem = z.string().min(1).max(16_384);
const unixMs = z.number().int().min(0);

const authority = z.object({
  /** Serial number, hexadecimal. */
  id: z.string().min(1).max(64),
  certificate: pem,
  privateKey: pem,
  notBeforeUnixMs: unixMs,
  notAfterUnixMs: unixMs,
});
export type Authority = z.infer<typeof authority>;

const serving = authority.extend({
  /** Id of the authority that signed it. */
  issuer: z.string().min(1).max(64),
  names: z.array(z.string().max(253)).max(32),
});
export type Serving = z.infer<typeof serving>;

export const certificateState = z.object({
  formatVersion: z.literal(1),
  /** Newest first. All of them are trusted. */
  authorities: z.array(authority).min(1).max(8),
  serving,
});
/** Everything that is stored; private keys included. */
export type CertificateState = z.infer<typeof certificateState>;

/** State on its way to be complete: what `nextStep` says is done one after the other. */
export interface PartialState {
  authorities: readonly Authority[];
  serving: Serving | undefined;
}

export type Step =
  | { kind: 'AddAuthority'; because: string }
  | { kind: 'DropAuthority'; id: string; because: string }
  | { kind: 'IssueServing'; issuer: string; because: string };

/** True from two thirds of the life on: the last third is what all retries together have. */
export function dueForRenewal(
  certificate: { notBeforeUnixMs: number; notAfterUnixMs: number },
  nowUnixMs: number,
): boolean {
  const lifeMs = certificate.notAfterUnixMs - certificate.notBeforeUnixMs;
  return nowUnixMs >= certificate.notBeforeUnixMs + (lifeMs * 2) / 3;
}

/** The authority that signs now: the newest one that clients have had time to learn of; any valid one rather than none. */
export function issuingAuthority(authorities: readonly Authority[], nowUnixMs: number): Authority | undefined {
  const valid = authorities.filter((one) => one.notAfterUnixMs > nowUnixMs);
  const announced = valid.find(
    (one) => nowUnixMs - (one.notBeforeUnixMs + LIFETIMES.backdateMs) >= LIFETIMES.overlapMs,
  );
  return announced ?? valid.at(-1);
}

function sameNames(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((name, index) => name === other[index]);
}

/** The next thing to do, or undefined when everything is as it should be. Done steps must be put into the state before asking again. */
export function nextStep(state: PartialState, names: readonly string[], nowUnixMs: number): Step | undefined {
  const newest = state.authorities[0];
  if (!newest) return { kind: 'AddAuthority', because: 'there is none' };
  if (dueForRenewal(newest, nowUnixMs)) return { kind: 'AddAuthority', because: 'two thirds of its life are over' };
  const expired = state.authorities.find((one) => one.notAfterUnixMs <= nowUnixMs);
  if (expired) return { kind: 'DropAuthority', id: expired.id, because: 'it expired' };
  const issuer = issuingAuthority(state.authorities, nowUnixMs);
  if (!issuer) return { kind: 'AddAuthority', because: 'none is valid' };
  const because = servingProblem(state, issuer, names, nowUnixMs);
  return because === undefined ? undefined : { kind: 'IssueServing', issuer: issuer.id, because };
}

function servingProblem(
  state: PartialState,
  issuer: Authority,
  names: readonly string[],
  nowUnixMs: number,
): string | undefined {
  const current = state.serving;
  if (!current) return 'there is none';
  if (dueForRenewal(current, nowUnixMs)) return 'two thirds of its life are over';
  if (!sameNames(current.names, names)) return 'its names changed';
  if (current.issuer !== issuer.id) return 'the authority changed';
  return undefined;
}
