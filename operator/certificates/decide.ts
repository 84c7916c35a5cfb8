// What to issue and when: decided from the stored state and the time alone.
//
// A pod is born with the bundle of its day and may come back with nothing else: its container restarts, what it was told later is gone. So
// whatever is served must lead to every authority that was ever in a bundle and is valid: each new one is also signed by the one before
// (`crossSigned`), and these signatures are served with the certificate. A chain that leads from the newest to the oldest leads to all.
//
// Nevertheless a new authority is only announced at first: it joins the bundle, and signs after the overlap, when nearly all clients know it
// and the long way is the exception. An authority is renewed after a third of its life, so that a pod that learns of nothing has two.
import { z } from 'zod';

const DAY_MS = 86_400_000;

export interface Lifetimes {
  authorityMs: number;
  servingMs: number;
  /** How long a new authority is only announced, before it signs. */
  overlapMs: number;
  /** Certificates are valid from a little before now, for clocks that are behind. */
  backdateMs: number;
}

export const LIFETIMES: Lifetimes = {
  authorityMs: 3650 * DAY_MS,
  servingMs: 90 * DAY_MS,
  overlapMs: 7 * DAY_MS,
  backdateMs: 3_600_000,
};

/** The same for certificates that live shorter. */
export function lifetimesOf(authorityMs: number, servingMs: number): Lifetimes {
  return {
    authorityMs,
    servingMs,
    overlapMs: Math.min(LIFETIMES.overlapMs, authorityMs / 20),
    backdateMs: Math.min(LIFETIMES.backdateMs, servingMs / 20),
  };
}

/** Shares of a life after which the next one begins. What is left of it is what all retries have, and clients that hear of nothing. */
const AUTHORITY_RENEWAL = 1 / 3;
const SERVING_RENEWAL = 2 / 3;

const pem = z.string().min(1).max(16_384);
const unixMs = z.number().int().min(0);

const authority = z.object({
  /** Serial number, hexadecimal. */
  id: z.string().min(1).max(64),
  certificate: pem,
  privateKey: pem,
  notBeforeUnixMs: unixMs,
  notAfterUnixMs: unixMs,
  /** Its key certified by the authority before it, for clients that know only that one. The first has none. */
  crossSigned: pem.optional(),
});
export type Authority = z.infer<typeof authority>;

const serving = authority.omit({ crossSigned: true }).extend({
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

export function dueForRenewal(
  certificate: { notBeforeUnixMs: number; notAfterUnixMs: number },
  share: number,
  nowUnixMs: number,
): boolean {
  const lifeMs = certificate.notAfterUnixMs - certificate.notBeforeUnixMs;
  return nowUnixMs >= certificate.notBeforeUnixMs + lifeMs * share;
}

/** Not so of what was made while a clock was ahead: no client takes it before its time. */
function isBegun({ notBeforeUnixMs }: { notBeforeUnixMs: number }, nowUnixMs: number): boolean {
  return notBeforeUnixMs <= nowUnixMs;
}

/** The authority that signs now: the newest one that clients have had time to learn of; any valid one rather than none. */
export function issuingAuthority(
  authorities: readonly Authority[],
  nowUnixMs: number,
  lifetimes: Lifetimes = LIFETIMES,
): Authority | undefined {
  const valid = authorities.filter((one) => isBegun(one, nowUnixMs) && one.notAfterUnixMs > nowUnixMs);
  const announcedForMs = (one: Authority) => nowUnixMs - (one.notBeforeUnixMs + lifetimes.backdateMs);
  const longestAnnounced = valid.toSorted((a, b) => a.notBeforeUnixMs - b.notBeforeUnixMs)[0];
  return valid.find((one) => announcedForMs(one) >= lifetimes.overlapMs) ?? longestAnnounced;
}

/** The authorities to which what is served leads: the one that signed it, and those before it as far as each signed its successor. */
export function servedAuthorities(state: CertificateState): readonly Authority[] {
  const first = state.authorities.findIndex((one) => one.id === state.serving.issuer);
  const below = first < 0 ? [] : state.authorities.slice(first);
  const end = below.findIndex((one) => one.crossSigned === undefined);
  return end < 0 ? below : below.slice(0, end + 1);
}

/** What is served, PEM: the certificate, and the signatures that lead from its authority to all before it. */
export function servedChain(state: CertificateState): string {
  const served = servedAuthorities(state);
  // The signature of an authority that was dropped leads nowhere.
  const links = served.slice(0, -1).map((one) => one.crossSigned ?? '');
  return [state.serving.certificate, ...links].map((certificate) => `${certificate.trim()}\n`).join('');
}

function sameNames(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((name, index) => name === other[index]);
}

/** The next thing to do, or undefined when everything is as it should be. Done steps must be put into the state before asking again. */
export function nextStep(
  state: PartialState,
  names: readonly string[],
  nowUnixMs: number,
  lifetimes: Lifetimes = LIFETIMES,
): Step | undefined {
  const newest = state.authorities[0];
  if (!newest) return { kind: 'AddAuthority', because: 'there is none' };
  if (dueForRenewal(newest, AUTHORITY_RENEWAL, nowUnixMs)) {
    return { kind: 'AddAuthority', because: 'a third of its life is over' };
  }
  const expired = state.authorities.find((one) => one.notAfterUnixMs <= nowUnixMs);
  if (expired) return { kind: 'DropAuthority', id: expired.id, because: 'it expired' };
  const issuer = issuingAuthority(state.authorities, nowUnixMs, lifetimes);
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
  if (!isBegun(current, nowUnixMs)) return 'it is not valid yet';
  if (dueForRenewal(current, SERVING_RENEWAL, nowUnixMs)) return 'two thirds of its life are over';
  if (!sameNames(current.names, names)) return 'its names changed';
  if (current.issuer !== issuer.id) return 'the authority changed';
  return undefined;
}
