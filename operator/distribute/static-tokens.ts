// Identity without a cluster: a table of tokens, one per sidecar, behind the same interface as the API server's review.
import { z } from 'zod';
import { type Authenticator, bearerToken, hashToken, type PodIdentity } from './authenticate.ts';

const name = z.string().min(1).max(253);

export const tokenTable = z
  .array(z.object({ token: z.string().min(16).max(512), namespace: name, name, uid: name }))
  .max(10_000);
export type TokenTable = z.infer<typeof tokenTable>;

export interface StaticAuthenticator extends Authenticator {
  /** Takes effect at once; streams of tokens that are gone end when their pod does. */
  replace(table: TokenTable): void;
}

export function createStaticAuthenticator(table: TokenTable): StaticAuthenticator {
  // By hash, so that the time of a look-up says nothing about the tokens.
  let pods = new Map<string, PodIdentity>();
  const replace = (next: TokenTable) => {
    pods = new Map(next.map(({ token, namespace, name, uid }) => [hashToken(token), { namespace, name, uid }]));
  };
  replace(table);
  return {
    replace,
    authenticate(authorization) {
      const bearer = bearerToken(authorization);
      if (!bearer.ok) return Promise.resolve(bearer);
      const pod = pods.get(hashToken(bearer.token));
      if (pod) return Promise.resolve({ ok: true, pod, expiresUnixMs: Number.POSITIVE_INFINITY });
      return Promise.resolve({
        ok: false,
        status: 401,
        reason: 'TokenRejected',
        message: 'the token belongs to no sidecar of this operator',
      });
    },
  };
}
