// Which answers are followed by another attempt, when, and what the dependency is told of it; byte for byte at the upstream.
import { describe, expect, it } from 'vitest';
import type { PolicyPlan } from '../../../plan/plan.ts';
import { systemClock } from '../../../runtime/clock.ts';
import {
  type Bench,
  BREAKER,
  connect,
  dependencyPlan,
  get,
  NO_POLICY,
  RETRIES,
  startBench,
} from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, OK, startUpstream, type Upstream } from '../testing/upstreams.ts';

const { open } = opened();

/** One moment for all that is compared with the wall clock: 100 ms before a full second. */
const NOW_UNIX_MS = Date.UTC(2026, 10, 25, 12, 0, 0) - 100;
const clock = { ...systemClock, unixMs: () => NOW_UNIX_MS };

const CORRELATED = 'X-Correlation-ID: c\r\n';
const failure = (fields = '', status = '503 Service Unavailable') =>
  `HTTP/1.1 ${status}\r\n${fields}Content-Length: 0\r\n\r\n`;

/** Upstreams that answer their first requests, together, by `answers`, and then OK. */
async function failing(policy: Partial<PolicyPlan>, answers: readonly string[], endpoints = 1) {
  const left = [...answers];
  const heads: { upstream: number; head: string }[] = [];
  const upstreams: Upstream[] = [];
  for (let index = 0; index < endpoints; index++) {
    upstreams.push(
      await startUpstream(
        answering((head) => {
          heads.push({ upstream: index, head: `${head}\r\n\r\n` });
          return left.shift() ?? OK;
        }),
      ),
    );
  }
  const plan = dependencyPlan({ retries: RETRIES, ...policy });
  const bench = await startBench(
    plan,
    upstreams.map(({ endpoint }) => endpoint),
    { clock },
  );
  open.push(...upstreams, bench);
  return { heads, bench };
}

async function call({ port }: Bench, request = get('/', CORRELATED)): Promise<{ status: number; tookMs: number }> {
  const startedMs = performance.now();
  const client = connect(port);
  client.send(request);
  const text = await client.until((received) => /\r\n\r\n(ok|\{[^]*\}\n)?$/.test(received));
  client.socket.destroy();
  return { status: Number(text.split(' ')[1]), tookMs: performance.now() - startedMs };
}

const suppressed = ({ metric }: Bench, cause: string) => metric('breakwater_retries_suppressed_total', { cause });

describe('x-breakwater-attempt', () => {
  it('counts the attempts for the dependency, whatever the application says', async () => {
    const { heads, bench } = await failing({}, [failure(), failure()]);
    const request = get('/', `X-A: 1\r\nx-breakwater-attempt: 9\r\nX-B: 2\r\n${CORRELATED}`);
    expect((await call(bench, request)).status).toBe(200);
    expect(heads.map(({ head }) => head)).toEqual(
      [1, 2, 3].map(
        (attempt) =>
          `GET / HTTP/1.1\r\nHost: payments.billing\r\nX-A: 1\r\nX-B: 2\r\nX-Correlation-ID: c\r\nX-Breakwater-Attempt: ${attempt}\r\n\r\n`,
      ),
    );
  });

  it.each<[string, Partial<PolicyPlan>]>([
    ['without retries', { retries: null }],
    ['with one attempt', { retries: { ...RETRIES, maxAttempts: 1 } }],
  ])('is not said %s, when nobody asks again', async (_what, policy) => {
    const { heads, bench } = await failing(policy, []);
    await call(bench, get('/', `x-breakwater-attempt: 9\r\n${CORRELATED}`));
    expect(heads[0]?.head).toBe('GET / HTTP/1.1\r\nHost: payments.billing\r\nX-Correlation-ID: c\r\n\r\n');
  });
});

describe('the next attempt', () => {
  it('goes to an endpoint that has not failed this request, as long as there is one', async () => {
    const retries = { ...RETRIES, maxAttempts: 4 };
    const { heads, bench } = await failing({ retries }, [failure(), failure(), failure()], 4);
    expect((await call(bench)).status).toBe(200);
    expect(new Set(heads.map(({ upstream }) => upstream)).size).toBe(4);
  });

  it('follows a status that is named by its number, which the circuit does not mind', async () => {
    const retries = { ...RETRIES, retryOnStatusCodes: [409] };
    const circuitBreaker = { ...BREAKER, consecutiveFailures: 1 };
    const { heads, bench } = await failing({ retries, circuitBreaker }, [failure('', '409 Conflict')]);
    expect((await call(bench)).status).toBe(200);
    expect(heads).toHaveLength(2);
    expect(bench.plane.circuits()[0]?.state).toBe('Closed');
    expect(await bench.metric('breakwater_retries_total', { cause: 'failure-status' })).toBe(1);
  });

  it('does not follow a status that nobody named', async () => {
    const { heads, bench } = await failing({}, [failure('', '409 Conflict')]);
    expect((await call(bench)).status).toBe(409);
    expect(heads).toHaveLength(1);
    expect(await suppressed(bench, 'attempts')).toBe(0);
  });
});

describe('Retry-After', () => {
  it.each([
    ['in seconds', 'Retry-After: 1\r\n', 1_000],
    ['as a date', `Retry-After: ${new Date(NOW_UNIX_MS + 1_100).toUTCString()}\r\n`, 1_100],
  ])('is waited for: %s', async (_what, field, waitMs) => {
    const { heads, bench } = await failing({ retries: { ...RETRIES, maxRetryAfterMs: 2_000 } }, [failure(field)]);
    const { status, tookMs } = await call(bench);
    expect(status).toBe(200);
    expect(tookMs).toBeGreaterThanOrEqual(waitMs);
    expect(heads).toHaveLength(2);
  });

  it.each([
    ['seconds', 'Retry-After: 2\r\n'],
    ['a date', `Retry-After: ${new Date(NOW_UNIX_MS + 5_100).toUTCString()}\r\n`],
  ])('longer than the policy takes on ends it, and is passed on: %s', async (_what, field) => {
    const { heads, bench } = await failing({ retries: { ...RETRIES, maxRetryAfterMs: 1_500 } }, [failure(field)]);
    expect((await call(bench)).status).toBe(503);
    expect(heads).toHaveLength(1);
    expect(await suppressed(bench, 'retry-after')).toBe(1);
  });

  it('beyond the deadline ends it', async () => {
    const timeouts = { ...NO_POLICY.timeouts, requestMs: 500 };
    const retries = { ...RETRIES, maxRetryAfterMs: 60_000 };
    const { heads, bench } = await failing({ timeouts, retries }, [failure('Retry-After: 1\r\n')]);
    expect((await call(bench)).status).toBe(503);
    expect(heads).toHaveLength(1);
    expect(await suppressed(bench, 'deadline')).toBe(1);
  });

  it.each([
    ['where the policy takes no notice of it', 'Retry-After: 60\r\n', 0],
    ['that cannot be read', 'Retry-After: soon\r\n', 1_000],
    ['of a date that has passed', 'Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n', 1_000],
  ])('makes nobody wait %s', async (_what, field, maxRetryAfterMs) => {
    const { heads, bench } = await failing({ retries: { ...RETRIES, maxRetryAfterMs } }, [failure(field)]);
    const { status, tookMs } = await call(bench);
    expect(status).toBe(200);
    expect(tookMs).toBeLessThan(900);
    expect(heads).toHaveLength(2);
  });
});

it.each([
  'X-Breakwater-Retry: never',
  'X-Should-Retry: false',
  'Stripe-Should-Retry: false',
  'Grpc-Retry-Pushback-Ms: -1',
])('an answer with %s is not asked for again', async (field) => {
  const { heads, bench } = await failing({}, [failure(`${field}\r\n`)]);
  expect((await call(bench)).status).toBe(503);
  expect(heads).toHaveLength(1);
  expect(await suppressed(bench, 'refused')).toBe(1);
  expect(await bench.metric('breakwater_retries_suppressed_total')).toBe(1);
});
