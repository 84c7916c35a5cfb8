import { expect, it } from 'vitest';
import { circuitReport } from '../../plan/wire.ts';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import type { CircuitView, ExclusionView, OpaqueView, TlsView } from '../data-plane.ts';
import { OperatorError } from './operator-client.ts';
import { Reporter } from './reporter.ts';

function bench() {
  const clock = new ManualClock();
  const posts: { atMs: number; path: string; body: unknown }[] = [];
  const state = {
    fault: null as OperatorError | null,
    circuits: [] as CircuitView[],
    exclusions: [] as ExclusionView[],
    opaque: [] as OpaqueView[],
    tls: [] as TlsView[],
  };
  const reporter = new Reporter({
    post: async (path, body) => {
      posts.push({ atMs: clock.monotonicMs(), path, body });
      if (state.fault) throw state.fault;
    },
    circuits: () => state.circuits,
    exclusions: () => state.exclusions,
    opaque: () => state.opaque,
    tls: () => state.tls,
    locallyDisabled: () => false,
    clock,
    random: () => 0.5,
    log: silentLogger,
  });
  return { clock, posts, state, reporter };
}

it('does not wait any longer when the operator is back', async () => {
  const { clock, posts, state, reporter } = bench();
  state.fault = new OperatorError('unreachable', 'nobody there');
  reporter.verdict('plan', { version: 'v1', applied: true, message: '' });
  await clock.advance(60_000);
  const tries = posts.length;
  // Full backoff: at most one try in five seconds.
  expect(tries).toBeGreaterThan(5);
  expect(tries).toBeLessThan(20);
  state.fault = null;
  reporter.operatorIsBack();
  await clock.advance(1);
  expect(posts.slice(tries).map(({ path }) => path)).toEqual(['/v1/acknowledgements', '/v1/circuits']);
});

it('drops a report that the operator finds wrong, and sends the next one', async () => {
  const { clock, posts, state, reporter } = bench();
  state.fault = new OperatorError('unexpected-answer', 'the operator answered 400');
  reporter.circuitsChanged();
  await clock.advance(60_000);
  expect(posts).toHaveLength(1);
  state.fault = null;
  reporter.verdict('endpoints', { version: 'e1', applied: true, message: '' });
  reporter.verdict('endpoints', { version: 'e2', applied: true, message: '' });
  await clock.advance(1_000);
  expect(posts.slice(1).map(({ body }) => body)).toEqual([
    expect.objectContaining({ stream: 'endpoints', version: 'e2' }),
  ]);
});

it('leaves no timer', async () => {
  const { clock, posts, reporter } = bench();
  reporter.circuitsChanged();
  reporter.close();
  await clock.advance(60_000);
  expect(posts).toEqual([]);
  expect(clock.timers).toBe(0);
});

const open: CircuitView = {
  dependency: 'shop/checkout/payments',
  stateKey: 'circuitBreaker:base',
  state: 'Open',
  sinceUnixMs: 1_000.4,
  failingSinceUnixMs: 500,
  nextProbeUnixMs: 31_000,
  reopenings: 2,
  counts: { calls: 0, failures: 0, slow: 0 },
  reason: '5 consecutive failures (last: ConnectFailure)',
  enforced: true,
};

it('tells of a circuit all that its breaker knows, as the contract has it', async () => {
  const { clock, posts, state, reporter } = bench();
  state.circuits = [open, { ...open, stateKey: 'b', state: 'HalfOpen', nextProbeUnixMs: null }];
  reporter.circuitsChanged();
  await clock.advance(100);
  const [post] = posts;
  const told = {
    dependency: 'shop/checkout/payments',
    since: 1_000,
    failingSince: 500,
    reopenings: 2,
    reason: '5 consecutive failures (last: ConnectFailure)',
  };
  expect(circuitReport.parse(JSON.parse(JSON.stringify(post?.body)))).toEqual({
    circuits: [
      { ...told, stateKey: 'circuitBreaker:base', state: 'Open', nextProbe: 31_000 },
      { ...told, stateKey: 'b', state: 'HalfOpen' },
    ],
  });
});

it('tells after a plan or a kill switch what is another by it, and otherwise nothing', async () => {
  const { clock, posts, state, reporter } = bench();
  const circuitsTold = () => posts.map(({ body }) => (body as { circuits: unknown[] }).circuits.length);
  reporter.operatorIsBack();
  await clock.advance(1_000);
  reporter.planApplied();
  await clock.advance(1_000);
  expect(circuitsTold()).toEqual([0]);
  state.circuits = [open];
  reporter.circuitsChanged();
  await clock.advance(1_000);
  // A new openFor moves the next probe.
  state.circuits = [{ ...open, nextProbeUnixMs: 61_000 }];
  reporter.planApplied();
  await clock.advance(1_000);
  // Where nothing is enforced, an open circuit refuses nothing: it is not told.
  state.circuits = [{ ...open, enforced: false }];
  reporter.localSwitchChanged();
  await clock.advance(1_000);
  reporter.planApplied();
  await clock.advance(1_000);
  expect(circuitsTold()).toEqual([0, 1, 1, 0]);
});

const excluded: ExclusionView = {
  dependency: 'shop/checkout/payments',
  stateKey: 'healthCheck:base',
  endpoints: 2,
  totalEndpoints: 5,
  sinceUnixMs: 9_600.4,
  panicking: false,
  names: [{ endpoint: '10.0.0.2:8080', reason: `status ${'5'.repeat(300)}` }],
};

it('tells which endpoints get no calls, together with the circuits, every two seconds at most', async () => {
  const { clock, posts, state, reporter } = bench();
  for (let nth = 0; nth < 8; nth += 1) {
    state.exclusions = [{ ...excluded, endpoints: nth + 1 }];
    reporter.exclusionsChanged();
    await clock.advance(500);
  }
  expect(posts.map(({ atMs }) => atMs)).toEqual([3_000, 5_000]);
  const read = posts.map(({ body }) => circuitReport.parse(JSON.parse(JSON.stringify(body))));
  expect(read.map(({ exclusions }) => exclusions?.[0]?.endpoints)).toEqual([4, 8]);
  expect(read[0]?.exclusions?.[0]).toMatchObject({
    dependency: 'shop/checkout/payments',
    stateKey: 'healthCheck:base',
    totalEndpoints: 5,
    since: 10_000,
    panicking: false,
    names: [{ endpoint: '10.0.0.2:8080', reason: `status ${'5'.repeat(249)}` }],
  });
  state.opaque = [{ dependency: 'shop/checkout/payments', protocol: 'Tls', alsoHttp: false }];
  reporter.exclusionsChanged();
  await clock.advance(2_000);
  expect(circuitReport.parse(JSON.parse(JSON.stringify(posts.at(-1)?.body))).opaque).toEqual(state.opaque);
  // A circuit that opens does not wait for them.
  state.exclusions = [];
  state.opaque = [];
  reporter.exclusionsChanged();
  reporter.circuitsChanged();
  await clock.advance(100);
  expect(JSON.parse(JSON.stringify(posts.at(-1)?.body))).toEqual({ circuits: [] });
});

it('tells of TLS that is not as it should be, and of nothing else of it', async () => {
  const { clock, posts, state, reporter } = bench();
  const well = {
    dependency: 'shop/checkout/stripe',
    serverName: 'api.stripe.com',
    port: 443,
    certificates: [],
    handshake: null,
    expiresUnixMs: { authority: 1, client: 1, host: 1 },
  };
  state.tls = [
    well,
    { ...well, dependency: 'shop/checkout/partner', certificates: ['x'.repeat(600)], handshake: 'tls-name' },
  ];
  reporter.tlsChanged();
  await clock.advance(5_000);
  expect(posts).toHaveLength(1);
  expect(circuitReport.parse(posts[0]?.body).tls).toEqual([
    {
      dependency: 'shop/checkout/partner',
      certificates: ['x'.repeat(512)],
      handshake: expect.stringContaining('not for the name') as string,
    },
  ]);
});
