import { expect, it } from 'vitest';
import type { ChoiceView, CircuitView } from '../data-plane.ts';
import { statusLines } from './status.ts';

const facts = {
  ready: true,
  reason: 'plan v1 is in force',
  planVersion: 'v1',
  planStreamUp: true,
  endpointsVersion: 'e1',
  endpointsStreamUp: true,
  endpointsConfirmed: true,
  locallyDisabled: false,
  capture: { mode: 'iptables', undeclared: 'Warn', listeners: [], hosts: [] } as const,
  bypassed: {},
  choices: [],
  adaptiveLimits: [],
  tls: [],
  load: { level: 'none', share: 0, memoryShare: 0.4, loopDelayMs: 1 } as const,
  circuits: [
    {
      dependency: 'shop/checkout/payments',
      stateKey: 'base',
      state: 'Closed',
      sinceUnixMs: 0,
      failingSinceUnixMs: null,
      nextProbeUnixMs: null,
      reopenings: 0,
      counts: { calls: 0, failures: 0, slow: 0 },
      reason: '',
      enforced: true,
    } as const,
  ],
};

it('tells a healthy sidecar in six lines', () => {
  expect(statusLines(facts, 0)).toEqual([
    'policies:  enabled',
    'readiness: ready: plan v1 is in force',
    'plan:      version v1, stream up',
    'endpoints: version e1, stream up',
    'capture:   iptables, undeclared: Warn',
    'circuits:  0 of 1 not closed',
  ]);
});

it('tells what is wrong', () => {
  const lines = statusLines(
    {
      ...facts,
      locallyDisabled: true,
      planVersion: null,
      planStreamUp: false,
      endpointsStreamUp: false,
      endpointsConfirmed: false,
      circuits: [
        ...facts.circuits,
        {
          dependency: 'shop/checkout/stock',
          stateKey: 'charge',
          state: 'Open',
          sinceUnixMs: 1_000,
          failingSinceUnixMs: 1_000,
          nextProbeUnixMs: 31_000,
          reopenings: 0,
          counts: { calls: 0, failures: 0, slow: 0 },
          enforced: true,
          reason: '5 consecutive failures',
        },
      ],
    },
    13_400,
  );
  expect(lines).toEqual([
    'policies:  DISABLED in this sidecar (`breakwater enable` ends it)',
    'readiness: ready: plan v1 is in force',
    'plan:      none yet, stream DOWN',
    'endpoints: version e1, stream DOWN, from disk and not confirmed yet',
    'capture:   iptables, undeclared: Warn',
    'circuits:  1 of 2 not closed',
    '  shop/checkout/stock (charge): Open for 12 s: 5 consecutive failures; next probe in 18 s',
  ]);
});

it('tells of circuits in shadow apart from those that act', () => {
  const [closed] = facts.circuits;
  if (closed === undefined) throw new Error('the facts have a circuit');
  const shadow: CircuitView = {
    ...closed,
    stateKey: 'shadow.circuitBreaker:base',
    state: 'Open',
    reason: 'a probe failed',
  };
  expect(statusLines({ ...facts, circuits: [...facts.circuits, shadow] }, 5_000).slice(-3)).toEqual([
    'circuits:  0 of 1 not closed',
    'shadow:    1 of 1 circuits would not be closed',
    '  shop/checkout/payments (shadow.circuitBreaker:base): Open for 5 s: a probe failed',
  ]);
});

it('tells of ejections and health checks in shadow apart from those that act', () => {
  const shadow = {
    dependency: 'shop/checkout/payments',
    choice: 'shadow.outlierDetection:base default',
    endpoints: 3,
    pickable: 2,
    maxEjected: 1,
    panicking: false,
    ejected: [{ endpoint: '10.0.0.1:80', reason: '5 failures', sinceUnixMs: 1_000, untilUnixMs: 31_000, times: 1 }],
    unhealthy: [{ endpoint: '10.0.0.2:80', problem: 'the answer had status 503', sinceUnixMs: 3_000 }],
    enforced: true,
  };
  expect(statusLines({ ...facts, choices: [shadow] }, 5_000).slice(-3)).toEqual([
    'shadow:    1 endpoints would be ejected, 1 unhealthy',
    '  shop/checkout/payments (shadow.outlierDetection:base default): 10.0.0.1:80 ejected for 4 s: 5 failures',
    '  shop/checkout/payments (shadow.outlierDetection:base default): 10.0.0.2:80 unhealthy for 2 s: the answer had status 503',
  ]);
});

it('tells how connections come, where hosts are, and what goes past', () => {
  const lines = statusLines(
    {
      ...facts,
      capture: {
        mode: 'loopback',
        undeclared: 'Allow',
        listeners: [
          { listen: '127.77.0.1:8080', target: 'billing/payments:8080', problem: '' },
          { listen: '127.77.0.1:9090', target: 'billing/payments:9090', problem: 'EADDRINUSE' },
        ],
        hosts: [
          { name: 'api.example.com', addresses: ['192.0.2.1', '192.0.2.2'], ageMs: 12_000, problem: '' },
          { name: 'gone.example.com', addresses: [], ageMs: null, problem: 'gone.example.com does not exist' },
          { name: 'new.example.com', addresses: null, ageMs: null, problem: '' },
        ],
      },
      bypassed: { payments: 3 },
    },
    0,
  );
  expect(lines.slice(4, -1)).toEqual([
    'capture:   loopback, 1 of 2 listeners open',
    '  127.77.0.1:8080 for billing/payments:8080',
    '  127.77.0.1:9090 for billing/payments:9090: NOT OPEN, EADDRINUSE',
    'hosts:',
    '  api.example.com: 192.0.2.1, 192.0.2.2, 12 s old',
    '  gone.example.com: no address; gone.example.com does not exist',
    '  new.example.com: not known yet',
    'bypassed:  payments: at least 3 connections were made past the sidecar',
  ]);
});

it('tells which endpoints are ejected, why and until when, and that all are used nonetheless', () => {
  const choice: ChoiceView = {
    dependency: 'shop/checkout/payments',
    choice: 'outlierDetection:base',
    endpoints: 3,
    pickable: 2,
    maxEjected: 2,
    panicking: false,
    ejected: [
      {
        endpoint: '10.0.0.2:8080',
        reason: '5 consecutive failures (last: ServerError)',
        sinceUnixMs: 1_000,
        untilUnixMs: 31_000,
        times: 1,
      },
    ],
    unhealthy: [],
    enforced: true,
  };
  const told = (choices: ChoiceView[]) =>
    statusLines({ ...facts, choices }, 13_000).slice(statusLines(facts, 13_000).length);
  expect(told([{ ...choice, ejected: [] }])).toEqual(['out:       0 endpoints ejected, 0 unhealthy']);
  expect(told([choice])).toEqual([
    'out:       1 endpoints ejected, 0 unhealthy',
    '  shop/checkout/payments (outlierDetection:base): 10.0.0.2:8080 ejected for 12 s: 5 consecutive failures (last: ServerError); back in 18 s',
  ]);
  const unhealthy = [{ endpoint: '10.0.0.3:8080', problem: 'the answer had status 503', sinceUnixMs: 3_000 }];
  expect(told([{ ...choice, ejected: [], unhealthy }]).at(-1)).toBe(
    '  shop/checkout/payments (outlierDetection:base): 10.0.0.3:8080 unhealthy for 10 s: the answer had status 503',
  );
  expect(told([{ ...choice, panicking: true }]).at(-1)).toBe(
    '  shop/checkout/payments (outlierDetection:base): PANIC, all 3 endpoints are used: too few are left without those that are out',
  );
});

it('tells what adaptive limits have found, and what the sidecar sheds', () => {
  const limit = { stateKey: 'bulkhead:base', maxConcurrent: 200, inFlight: 12, queued: 3 };
  const lines = statusLines(
    {
      ...facts,
      adaptiveLimits: [
        { ...limit, dependency: 'shop/checkout/payments', limit: 57, baselineMs: 49.6, medianMs: 62.2 },
        { ...limit, dependency: 'shop/checkout/stock', limit: 20, baselineMs: 0, medianMs: 0 },
      ],
      load: { level: 'requests', share: 0.406, memoryShare: 0.957, loopDelayMs: 80.4 },
    },
    0,
  );
  expect(lines.slice(6)).toEqual([
    'limits:',
    '  shop/checkout/payments (bulkhead:base): 57 of at most 200 at a time, 12 now, 3 waiting; latency 62 ms, 50 ms without load',
    '  shop/checkout/stock (bulkhead:base): 20 of at most 200 at a time, 12 now, 3 waiting; latency not known yet',
    'load:      memory 96 % of its limit, so that requests are REFUSED',
    'load:      a round of the event loop takes 80 ms, so that 41 % of the requests are REFUSED',
  ]);
});

it('tells of TLS to hosts: where to, until when, and what is wrong', () => {
  const host = {
    dependency: 'shop/checkout/partner',
    serverName: 'api.partner.example',
    port: 8443,
    certificates: ['Secret client does not exist'],
    handshake: 'tls-expired' as const,
    expiresUnixMs: {
      authority: Number.POSITIVE_INFINITY,
      client: Date.UTC(2026, 3, 1),
      host: Number.POSITIVE_INFINITY,
    },
  };
  const lines = statusLines({ ...facts, tls: [host] }, 0);
  expect(lines).toContain('tls:');
  expect(lines).toContain(
    '  shop/checkout/partner: to api.partner.example, port 8443, client certificate until 2026-04-01T00:00:00.000Z',
  );
  expect(lines).toContain('    PROBLEM: Secret client does not exist');
  expect(lines.filter((line) => line.includes('PROBLEM'))).toHaveLength(2);
});
