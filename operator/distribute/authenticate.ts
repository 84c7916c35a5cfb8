// Who asks. The token alone decides: a sidecar never names itself.
//
// A projected token of the right audience is checked by the API server (TokenReview), which also knows whether the pod it is bound to
// still exists. Answers are kept for a minute at most, so that streams which all reconnect at once cost one review each, not three.
import { createHash } from 'node:crypto';
import { bulkhead, isBulkheadRejectedError } from 'cockatiel';
import { z } from 'zod';
import type { Clock } from '../../runtime/clock.ts';
import { type KubernetesApi, messageOf } from '../certificates/kubernetes-api.ts';

export const TOKEN_AUDIENCE = 'breakwater';
/** Of the tokens by which replicas of the operator know each other. */
export const PEER_AUDIENCE = 'breakwater-peers';

/** Whose tokens are taken. */
export interface Accepted {
  audience: string;
  /** Every pod where absent, otherwise those of this service account alone. */
  account?: { namespace: string; name: string };
}

const SIDECARS: Accepted = { audience: TOKEN_AUDIENCE };

const MAX_TOKEN_LENGTH = 16_384;
const ACCEPTED_FOR_MS = 60_000;
/** A refused token is asked about again after this: short, for the reason may lie in a cache of the API server. */
const REFUSED_FOR_MS = 5_000;
const ACCEPTED_ENTRIES = 20_000;
/** Of tokens that anybody makes up, so as not to be asked about in turn: they take no place of good ones. */
const REFUSED_ENTRIES = 2_000;
/** Reviews under way at once, and those that wait; beyond that a client is told to come back. */
const CONCURRENT_REVIEWS = 32;
const WAITING_REVIEWS = 4_096;
/**
 * Of them for one address. All sidecars of a node may come from one, and the reports that another replica passes on do; whoever makes up
 * tokens takes no more.
 */
const REVIEWS_OF_A_SOURCE = 1_024;
/** When a token without an expiry is looked at again. */
const RECHECK_MS = 3_600_000;

/** A pod, as the API server knows it. */
export interface PodIdentity {
  namespace: string;
  name: string;
  uid: string;
}

export type Refusal = {
  ok: false;
  status: 400 | 401 | 403 | 404 | 503;
  /** CamelCase, stable. */
  reason: string;
  /** What is wrong and what to do; for people. */
  message: string;
};

/** `expiresUnixMs`: when the identity must be proven again; Infinity: never. */
export type Authentication = { ok: true; pod: PodIdentity; expiresUnixMs: number } | Refusal;

export interface Authenticator {
  /** Takes the value of the `authorization` header, and the address that it came from, where that is known. Never rejects. */
  authenticate(authorization: string | undefined, source?: string): Promise<Authentication>;
}

const refuse = (status: Refusal['status'], reason: string, message: string): Refusal => ({
  ok: false,
  status,
  reason,
  message,
});

export const hashToken = (token: string): string => createHash('sha256').update(token).digest('base64url');

/** The token of `Bearer <token>`, or why there is none. */
export function bearerToken(authorization: string | undefined): { ok: true; token: string } | Refusal {
  if (authorization === undefined || authorization === '') {
    return refuse(401, 'TokenMissing', 'send the projected service account token as "authorization: Bearer <token>"');
  }
  const match = /^bearer +([A-Za-z0-9._~+/=-]+) *$/i.exec(authorization);
  const token = match?.[1];
  if (token === undefined || token.length > MAX_TOKEN_LENGTH) {
    return refuse(401, 'TokenMalformed', 'the authorization header is not "Bearer <token>"');
  }
  return { ok: true, token };
}

const claims = z.object({ exp: z.number().optional(), aud: z.union([z.string(), z.array(z.string())]).optional() });

/** What the token says of itself. It is believed only after the API server confirmed the token; before, it only explains refusals. */
export function tokenClaims(
  token: string,
): { expiresUnixMs: number | undefined; audiences: readonly string[] } | undefined {
  const parts = token.split('.');
  if (parts.length !== 3) return undefined;
  try {
    const value = claims.parse(JSON.parse(Buffer.from(parts[1] ?? '', 'base64url').toString('utf8')));
    const audiences = typeof value.aud === 'string' ? [value.aud] : (value.aud ?? []);
    return { expiresUnixMs: value.exp === undefined ? undefined : value.exp * 1000, audiences };
  } catch {
    return undefined;
  }
}

const tokenReview = z.object({
  status: z.object({
    authenticated: z.boolean().optional(),
    error: z.string().optional(),
    audiences: z.array(z.string()).optional(),
    user: z
      .object({ username: z.string().optional(), extra: z.record(z.string(), z.array(z.string())).optional() })
      .optional(),
  }),
});
type ReviewStatus = z.infer<typeof tokenReview>['status'];

const wrongAudience = (audiences: readonly string[], { audience }: Accepted): Refusal =>
  refuse(
    401,
    'WrongAudience',
    `the token is for ${audiences.join(', ') || 'nobody in particular'}; it must be projected with the audience "${audience}"`,
  );

const expired = (expiresUnixMs: number): Refusal =>
  refuse(
    401,
    'TokenExpired',
    `the token expired at ${new Date(expiresUnixMs).toISOString()}; read the token file again`,
  );

/** Turns the API server's verdict into ours. Pure. */
export function judgeReview(
  status: ReviewStatus,
  said: { expiresUnixMs: number | undefined; audiences: readonly string[] },
  nowUnixMs: number,
  accepted: Accepted = SIDECARS,
): Authentication {
  if (status.authenticated !== true) {
    if (said.expiresUnixMs !== undefined && said.expiresUnixMs <= nowUnixMs) return expired(said.expiresUnixMs);
    const why = (status.error ?? 'no reason given').slice(0, 300);
    return refuse(401, 'TokenRejected', `the API server does not accept the token: ${why}`);
  }
  if (!status.audiences?.includes(accepted.audience)) return wrongAudience(status.audiences ?? [], accepted);
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(status.user?.username ?? '');
  const namespace = account?.[1];
  const name = status.user?.extra?.['authentication.kubernetes.io/pod-name']?.[0];
  const uid = status.user?.extra?.['authentication.kubernetes.io/pod-uid']?.[0];
  if (namespace === undefined || name === undefined || uid === undefined) {
    return refuse(403, 'NotAPod', 'the token is valid but not bound to a pod; only the sidecar of a pod may ask');
  }
  const wanted = accepted.account;
  if (wanted !== undefined && (wanted.namespace !== namespace || wanted.name !== account?.[2])) {
    return refuse(403, 'WrongAccount', `only pods of the service account ${wanted.namespace}/${wanted.name} may ask`);
  }
  return { ok: true, pod: { namespace, name, uid }, expiresUnixMs: said.expiresUnixMs ?? nowUnixMs + RECHECK_MS };
}

type Claims = NonNullable<ReturnType<typeof tokenClaims>>;

interface CacheEntry {
  answer: Authentication;
  untilMs: number;
}

/** The Authenticator of a cluster. Needs `create` on tokenreviews. */
export function createTokenReviewer({
  api,
  clock,
  accepted = SIDECARS,
}: {
  api: KubernetesApi;
  clock: Clock;
  accepted?: Accepted;
}): Authenticator {
  const accepting = new Map<string, CacheEntry>();
  const refusing = new Map<string, CacheEntry>();
  const reviewsOf = new Map<string, number>();
  const underWay = new Map<string, Promise<Authentication>>();
  const limit = bulkhead(CONCURRENT_REVIEWS, WAITING_REVIEWS);

  function remember(key: string, answer: Authentication): void {
    // An outage is not an answer about the token.
    if (!answer.ok && answer.status === 503) return;
    const lifeMs = answer.ok ? Math.min(ACCEPTED_FOR_MS, answer.expiresUnixMs - clock.unixMs()) : REFUSED_FOR_MS;
    if (lifeMs <= 0) return;
    const [cache, entries] = answer.ok ? [accepting, ACCEPTED_ENTRIES] : [refusing, REFUSED_ENTRIES];
    accepting.delete(key);
    refusing.delete(key);
    cache.set(key, { answer, untilMs: clock.monotonicMs() + lifeMs });
    if (cache.size > entries) {
      const oldest = cache.keys().next().value;
      if (oldest !== undefined) cache.delete(oldest);
    }
  }

  async function review(token: string, said: Claims): Promise<Authentication> {
    try {
      const answer = await limit.execute(() =>
        api.request<unknown>('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
          repeatable: true,
          body: {
            apiVersion: 'authentication.k8s.io/v1',
            kind: 'TokenReview',
            spec: { token, audiences: [accepted.audience] },
          },
        }),
      );
      return judgeReview(tokenReview.parse(answer).status, said, clock.unixMs(), accepted);
    } catch (error) {
      if (isBulkheadRejectedError(error))
        return refuse(503, 'TooBusy', 'too many tokens wait to be reviewed; try again');
      return refuse(503, 'TokenReviewFailed', `the token could not be reviewed: ${messageOf(error).slice(0, 300)}`);
    }
  }

  /** At most so many at a time for one source. */
  async function reviewFor(source: string, token: string, said: Claims): Promise<Authentication> {
    const others = reviewsOf.get(source) ?? 0;
    if (others >= REVIEWS_OF_A_SOURCE) {
      return refuse(503, 'TooBusy', 'too many tokens from this address wait to be reviewed; try again');
    }
    reviewsOf.set(source, others + 1);
    const answer = await review(token, said);
    const left = (reviewsOf.get(source) ?? 1) - 1;
    if (left > 0) reviewsOf.set(source, left);
    else reviewsOf.delete(source);
    return answer;
  }

  return {
    async authenticate(authorization, source) {
      const bearer = bearerToken(authorization);
      if (!bearer.ok) return bearer;
      const said = tokenClaims(bearer.token);
      if (!said) return refuse(401, 'TokenMalformed', 'the token is not a JSON Web Token');
      // The API server would accept it for another minute; a stream opened with it would have to end at once.
      if (said.expiresUnixMs !== undefined && said.expiresUnixMs <= clock.unixMs()) return expired(said.expiresUnixMs);
      if (!said.audiences.includes(accepted.audience)) return wrongAudience(said.audiences, accepted);

      const key = hashToken(bearer.token);
      const cached = accepting.get(key) ?? refusing.get(key);
      if (cached && cached.untilMs > clock.monotonicMs()) return cached.answer;
      const waiting = underWay.get(key);
      if (waiting) return waiting;
      const reviewed = source === undefined ? review(bearer.token, said) : reviewFor(source, bearer.token, said);
      const answer = reviewed.then((result) => {
        remember(key, result);
        underWay.delete(key);
        return result;
      });
      underWay.set(key, answer);
      return answer;
    },
  };
}
