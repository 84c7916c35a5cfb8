// What takes the place of failures of real upstreams: what the application reads, and what reached which upstream.
import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../../plan/endpoints.ts';
import type { PolicyPlan } from '../../../plan/plan.ts';
import type { FallbackPlan } from '../../../plan/policies/fallback.ts';
import { UNAVAILABLE } from '../testing/calls.ts';
import {
  type Bench,
  BREAKER,
  connect,
  dependencyPlan,
  get,
  HEDGING,
  NO_POLICY,
  RETRIES,
  workloadPlan,
} from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, DEAD_ENDPOINT, OK } from '../testing/upstreams.ts';

const { bench, upstream } = opened();

const ON_EVERYTHING: FallbackPlan = {
  stateKey: 'fallback:base',
  fallbackOn: [
    'CircuitOpen',
    'BulkheadFull',
    'QueueTimeout',
    'NoEndpoints',
    'ConnectFailure',
    'Reset',
    'InvalidResponse',
    'AttemptTimeout',
    'Deadline',
    'ServerError',
  ],
  methods: 'Safe',
  response: null,
  lastGood: null,
  dependency: null,
};
const RESPONSE: FallbackPlan = {
  ...ON_EVERYTHING,
  response: { statusCode: 200, contentType: 'application/json', body: '{"items":[]}' },
};
const lastGood = (changes: Partial<NonNullable<FallbackPlan['lastGood']>> = {}): FallbackPlan => ({
  ...ON_EVERYTHING,
  lastGood: {
    maxAgeMs: 60_000,
    maxBytes: 100_000,
    maxAnswerBytes: 50_000,
    audience: 'Anonymous',
    keyHeaders: [],
    ...changes,
  },
});

interface Answer {
  status: number;
  head: string;
  body: string;
  /** Value of a field; empty where there is none. */
  field: (name: string) => string;
}

/** One request on a connection of its own, answered with a Content-Length. */
async function call(port: number, request = get('/'), withinMs = 5_000): Promise<Answer> {
  const client = connect(port);
  client.send(request);
  const text = await client
    .until((received) => {
      const end = received.indexOf('\r\n\r\n');
      if (end < 0) return false;
      if (request.startsWith('HEAD ')) return true;
      const length = Number(/content-length: (\d+)/i.exec(received)?.[1]);
      return received.length >= end + 4 + length;
    }, withinMs)
    .finally(() => client.socket.destroy());
  const [head = '', ...body] = text.split('\r\n\r\n');
  const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'im').exec(head)?.[1]?.trim() ?? '';
  return { status: Number(text.split(' ')[1]), head, body: body.join('\r\n\r\n'), field };
}

const marksOf = ({ field }: Answer) => [field('breakwater-reason'), field('breakwater-fallback')];

describe('a fixed answer', () => {
  it('takes the place of a dependency that cannot be reached, and says so', async () => {
    const { port, metric } = await bench(dependencyPlan({ fallback: RESPONSE }), DEAD_ENDPOINT);
    const answer = await call(port, get('/', 'X-Correlation-ID: c-1\r\n'));
    expect([answer.status, answer.body, ...marksOf(answer)]).toEqual([
      200,
      '{"items":[]}',
      'connect-failed',
      'response',
    ]);
    expect([answer.field('content-type'), answer.field('x-correlation-id')]).toEqual(['application/json', 'c-1']);
    expect(await metric('breakwater_requests_total', { code: '2xx', reason: 'connect-failed' })).toBe(1);
    expect(await metric('breakwater_fallbacks_total', { fallback: 'response', reason: 'connect-failed' })).toBe(1);
    expect(await metric('breakwater_attempts_total', { result: 'connect-failure' })).toBe(2);
  });

  it('takes the place of the last answer 5xx, behind all retries, and the circuit has counted every one', async () => {
    const server = await upstream(answering(UNAVAILABLE));
    const policy = { fallback: RESPONSE, retries: RETRIES, circuitBreaker: { ...BREAKER, openForMs: 60_000 } };
    const { port, plane, metric } = await bench(dependencyPlan(policy), server.endpoint);
    expect(marksOf(await call(port))).toEqual(['server-error', 'response']);
    expect(await metric('breakwater_attempts_total', { result: 'failure-status' })).toBe(3);
    expect(plane.circuits()[0]).toMatchObject({ state: 'Closed' });
    await call(port);
    expect(plane.circuits()[0]).toMatchObject({ state: 'Open', reason: '5 consecutive failures (last: ServerError)' });
    const refused = await call(port);
    expect([refused.status, ...marksOf(refused)]).toEqual([200, 'circuit-open', 'response']);
    expect(refused.field('retry-after')).toBe('');
    expect(server.received.join('').split('GET /').length - 1).toBe(5);
    expect(await metric('breakwater_attempts_total', { result: 'success' })).toBe(0);
  });

  it('is given in time where the dependency is silent, and where nobody is there', async () => {
    const silent = await upstream(() => {});
    const timeouts = { ...NO_POLICY.timeouts, requestMs: 80, attemptMs: 80 };
    const { port, setEndpoints } = await bench(dependencyPlan({ fallback: RESPONSE, timeouts }), silent.endpoint);
    expect(marksOf(await call(port))).toEqual(['deadline', 'response']);
    setEndpoints();
    expect(marksOf(await call(port))).toEqual(['no-endpoints', 'response']);
  });

  it('leaves what it does not name, other methods, and answers below 500 as they are', async () => {
    const server = await upstream(
      answering((request) =>
        request.includes(' /missing ') ? 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n' : UNAVAILABLE,
      ),
    );
    const only: FallbackPlan = { ...RESPONSE, fallbackOn: ['CircuitOpen'] };
    const strict = await bench(dependencyPlan({ fallback: only }), server.endpoint);
    expect((await call(strict.port)).status).toBe(503);
    const { port } = await bench(dependencyPlan({ fallback: RESPONSE }), server.endpoint);
    const post = 'POST / HTTP/1.1\r\nHost: payments\r\nContent-Length: 0\r\n\r\n';
    const answers = [await call(port, post), await call(port, get('/missing'))];
    expect(answers.map((answer) => [answer.status, ...marksOf(answer)])).toEqual([
      [503, '', ''],
      [404, '', ''],
    ]);
    const all = await bench(dependencyPlan({ fallback: { ...RESPONSE, methods: 'All' } }), server.endpoint);
    expect(marksOf(await call(all.port, post))).toEqual(['server-error', 'response']);
  });

  it('is without a body for HEAD, and where its status has none', async () => {
    const dead = DEAD_ENDPOINT;
    const { port } = await bench(dependencyPlan({ fallback: RESPONSE }), dead);
    const head = await call(port, 'HEAD / HTTP/1.1\r\nHost: payments\r\n\r\n');
    expect([head.status, head.field('content-length'), head.body]).toEqual([200, '12', '']);
    const empty = { ...RESPONSE, response: { statusCode: 204, contentType: 'text/plain', body: 'ignored' } };
    const second = await bench(dependencyPlan({ fallback: empty }), dead);
    const client = connect(second.port);
    client.send(get('/') + get('/'));
    const text = await client.until((received) => received.split('HTTP/1.1 204 No Content').length === 3);
    client.socket.destroy();
    expect(text).not.toMatch(/content-length|ignored/i);
  });

  it('is of any length, and the connection goes on behind it', async () => {
    const body = 'ö'.repeat(8_192);
    const response = { statusCode: 503, contentType: 'text/plain; charset=utf-8', body };
    const { port } = await bench(dependencyPlan({ fallback: { ...RESPONSE, response } }), DEAD_ENDPOINT);
    const client = connect(port);
    for (let nth = 1; nth <= 3; nth++) {
      client.send(get(`/${nth}`));
      await client.until((received) => received.split('HTTP/1.1 503').length === nth + 1);
      await client.until((received) => received.length >= nth * 16_384);
    }
    client.socket.destroy();
  });

  it('answers what was being sent: the rest of the body is read away, and the connection ends', async () => {
    const closing = await upstream((_received, socket) => socket.resetAndDestroy());
    const all: FallbackPlan = { ...RESPONSE, methods: 'All' };
    const { port, plane } = await bench(dependencyPlan({ fallback: all }), closing.endpoint);
    const client = connect(port);
    client.send('POST / HTTP/1.1\r\nHost: payments\r\nContent-Length: 100000\r\n\r\nabc');
    const text = await client.ended();
    expect(text).toMatch(/^HTTP\/1.1 200 OK\r\n(.*\r\n)*Breakwater-Reason: reset\r\nBreakwater-Fallback: response\r\n/);
    expect(text).toMatch(/Connection: close/);
    client.socket.destroy();
    await expect.poll(() => plane.held()).toMatchObject({ requests: 0, timers: 0, attempts: 0 });
  });
});

describe('the last good answer', () => {
  const good = (body: string, fields = '') =>
    `HTTP/1.1 200 OK\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`;

  it('is given while the dependency fails, with its age, and never for another target', async () => {
    let healthy = true;
    const server = await upstream(
      answering((request) => (healthy ? good(`of ${request.split(' ')[1]}`, 'ETag: "1"\r\nAge: 7\r\n') : UNAVAILABLE)),
    );
    const { port, metric, plane } = await bench(dependencyPlan({ fallback: lastGood() }), server.endpoint);
    expect((await call(port, get('/a?x=1'))).field('breakwater-fallback')).toBe('');
    healthy = false;
    const answer = await call(port, get('/a?x=1'));
    expect([answer.status, answer.body, ...marksOf(answer)]).toEqual([200, 'of /a?x=1', 'server-error', 'last-good']);
    expect([answer.field('etag'), answer.field('age'), answer.field('content-length')]).toEqual(['"1"', '7', '9']);
    const head = await call(port, 'HEAD /a?x=1 HTTP/1.1\r\nHost: payments.billing\r\n\r\n');
    expect([head.status, head.field('content-length'), head.body]).toEqual([200, '9', '']);
    expect((await call(port, get('/a?x=2'))).status).toBe(503);
    expect((await call(port, 'GET /a?x=1 HTTP/1.1\r\nHost: other\r\n\r\n')).status).toBe(503);
    expect(await metric('breakwater_fallbacks_missed_total', { fallback: 'last-good' })).toBe(2);
    expect(await metric('breakwater_last_good_answers')).toBe(1);
    expect(await metric('breakwater_last_good_bytes')).toBeGreaterThan(9);
    expect(plane.held().recordingBytes).toBe(0);
  });

  it('is never one user’s for another', async () => {
    let healthy = true;
    const server = await upstream(
      answering((request) => (healthy ? good(/authorization: (\S+)/i.exec(request)?.[1] ?? 'nobody') : UNAVAILABLE)),
    );
    const own = await bench(dependencyPlan({ fallback: lastGood() }), server.endpoint);
    const keyed = await bench(
      dependencyPlan({ fallback: lastGood({ keyHeaders: ['authorization'] }) }),
      server.endpoint,
    );
    const shared = await bench(dependencyPlan({ fallback: lastGood({ audience: 'Everyone' }) }), server.endpoint);
    const asked = (bench: Bench, user: string) => call(bench.port, get('/', `Authorization: ${user}\r\n`));
    for (const each of [own, keyed, shared]) await asked(each, 'ann');
    for (const each of [own, keyed]) await call(each.port);
    healthy = false;
    const bodies = async (bench: Bench) => [(await asked(bench, 'ann')).body, (await asked(bench, 'bob')).body];
    expect(await bodies(own)).toEqual(['', '']);
    expect((await call(own.port)).body).toBe('nobody');
    expect(await bodies(keyed)).toEqual(['ann', '']);
    expect(await bodies(shared)).toEqual(['ann', 'ann']);
  });

  it('respects Vary, and what forbids to be kept', async () => {
    let healthy = true;
    const server = await upstream(
      answering((request) => {
        if (!healthy) return UNAVAILABLE;
        const language = /accept-language: (\S+)/i.exec(request)?.[1] ?? '';
        if (request.includes(' /private ')) return good('secret', 'Cache-Control: private\r\n');
        return good(`in ${language}`, 'Vary: Accept-Language\r\n');
      }),
    );
    const { port } = await bench(dependencyPlan({ fallback: lastGood() }), server.endpoint);
    const inLanguage = (language: string) => call(port, get('/', `Accept-Language: ${language}\r\n`));
    await inLanguage('de');
    await inLanguage('en');
    await call(port, get('/private'));
    healthy = false;
    expect([(await inLanguage('de')).body, (await inLanguage('en')).body]).toEqual(['in de', 'in en']);
    expect([(await inLanguage('fr')).status, (await call(port, get('/private'))).status]).toEqual([503, 503]);
  });

  it('is whole or not kept: chunked answers are, cut and unframed ones are not', async () => {
    let turn = 0;
    const bodies = [
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhallo\r\n3\r\n du\r\n0\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ncut',
      'HTTP/1.1 200 OK\r\n\r\nunframed',
    ];
    const server = await upstream((received, socket) => {
      if (received.endsWith('\r\n\r\n')) socket.end(bodies[turn] ?? UNAVAILABLE);
    });
    const { port, plane } = await bench(dependencyPlan({ fallback: lastGood() }), server.endpoint);
    for (; turn < bodies.length; turn++) {
      const client = connect(port);
      client.send(get('/'));
      await client.until((received) => received.includes('\r\n\r\n') && /0\r\n\r\n$|cut|unframed/.test(received));
      client.socket.destroy();
    }
    const answer = await call(port);
    expect([answer.body, answer.field('transfer-encoding')]).toEqual(['hallo du', '']);
    await expect.poll(() => plane.held()).toMatchObject({ requests: 0, recordingBytes: 0 });
  });

  it('outlives a plan with other numbers, and its memory is given back with the policy', async () => {
    let healthy = true;
    const server = await upstream(answering(() => (healthy ? OK : UNAVAILABLE)));
    const { port, plane, metric } = await bench(dependencyPlan({ fallback: lastGood() }), server.endpoint);
    await call(port);
    healthy = false;
    plane.applyPlan(workloadPlan(dependencyPlan({ fallback: lastGood({ maxAgeMs: 30_000 }) })));
    expect((await call(port)).body).toBe('ok');
    plane.applyPlan(workloadPlan(dependencyPlan({})));
    expect((await call(port)).status).toBe(503);
    expect(await metric('breakwater_last_good_answers')).toBe(0);
    expect(plane.held().recordingBytes).toBe(0);
  });

  it('is not kept of an answer that the policy outlived', async () => {
    let finish = () => {};
    const server = await upstream((_received, socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok');
      finish = () => socket.write('ay');
    });
    const { port, plane } = await bench(dependencyPlan({ fallback: lastGood() }), server.endpoint);
    const client = connect(port);
    client.send(get('/'));
    await client.until((received) => received.endsWith('ok'));
    expect(plane.held().recordingBytes).toBe(2);
    plane.applyPlan(workloadPlan(dependencyPlan({})));
    finish();
    await client.until((received) => received.endsWith('okay'));
    client.socket.destroy();
    await expect.poll(() => plane.held()).toMatchObject({ requests: 0, recordingBytes: 0 });
  });
});

describe('another dependency', () => {
  const TO_REPLICA: FallbackPlan = { ...ON_EVERYTHING, dependency: 'replica' };

  async function pair(
    policy: Partial<PolicyPlan>,
    replicaPolicy: Partial<PolicyPlan>,
    endpoint: Endpoint,
    replica: Endpoint,
  ): Promise<Bench> {
    const plan = dependencyPlan({ fallback: TO_REPLICA, ...policy });
    const started = await bench(plan, endpoint);
    const other = dependencyPlan(replicaPolicy, {
      id: 'shop/checkout/replica',
      name: 'replica',
      authority: 'replica.billing.svc:80',
      endpointsKey: 'billing/replica:80',
    });
    started.plane.applyPlan(workloadPlan(plan, other));
    started.plane.applyEndpointsUpdate([{ key: 'billing/replica:80', endpoints: [replica] }], []);
    return started;
  }

  it('is asked once, by its own name, and its answer says so', async () => {
    const replica = await upstream(answering(OK));
    const { port, metric } = await pair({}, {}, DEAD_ENDPOINT, replica.endpoint);
    const answer = await call(port, get('/a?b'));
    expect([answer.status, answer.body, ...marksOf(answer)]).toEqual([200, 'ok', 'connect-failed', 'dependency']);
    expect(replica.received).toEqual([
      expect.stringMatching(/^GET \/a\?b HTTP\/1.1\r\nHost: replica.billing.svc:80\r\n/),
    ]);
    const of = (dependency: string, result: string) => metric('breakwater_attempts_total', { dependency, result });
    expect([await of('payments', 'connect-failure'), await of('replica', 'success')]).toEqual([2, 1]);
    expect(await metric('breakwater_requests_total', { dependency: 'payments', reason: 'connect-failed' })).toBe(1);
    expect(await metric('breakwater_requests_total', { dependency: 'replica' })).toBe(0);
    // The next request begins where it was sent to.
    const next = await call(port);
    expect(next.field('breakwater-fallback')).toBe('dependency');
  });

  it('is under its own policies, and its refusal names it', async () => {
    const failing = await upstream(answering(UNAVAILABLE));
    const circuitBreaker = { ...BREAKER, openForMs: 60_000 };
    const { port, plane } = await pair({}, { circuitBreaker }, DEAD_ENDPOINT, failing.endpoint);
    for (let nth = 0; nth < 5; nth++) {
      const answer = await call(port);
      expect([answer.status, ...marksOf(answer)]).toEqual([503, 'connect-failed', 'dependency']);
    }
    expect(plane.circuits()).toMatchObject([{ dependency: 'shop/checkout/replica', state: 'Open' }]);
    const refused = await call(port);
    expect([refused.status, ...marksOf(refused)]).toEqual([503, 'circuit-open', 'dependency']);
    expect(JSON.parse(refused.body)).toMatchObject({ dependency: 'shop/checkout/replica', rescued: 'connect-failed' });
    expect(failing.received.join('').split('GET /').length - 1).toBe(5);
  });

  it('has the time that is left, and none where there is none', async () => {
    const silent = await upstream(() => {});
    const timeouts = { ...NO_POLICY.timeouts, requestMs: 250, attemptMs: 100 };
    const longer = { ...NO_POLICY.timeouts, requestMs: 60_000, attemptMs: 60_000 };
    const { port } = await pair({ timeouts }, { timeouts: longer }, silent.endpoint, silent.endpoint);
    const startMs = performance.now();
    expect(marksOf(await call(port))).toEqual(['deadline', 'dependency']);
    // By no means the minute of the other one.
    expect(performance.now() - startMs).toBeLessThan(10_000);
    const all = { ...NO_POLICY.timeouts, requestMs: 60, attemptMs: 60 };
    const second = await pair({ timeouts: all }, {}, silent.endpoint, silent.endpoint);
    expect(marksOf(await call(second.port))).toEqual(['deadline', '']);
  });

  it('has its own timeouts behind a stream of events that broke with its head', async () => {
    const broken = await upstream((received, socket) => {
      if (received.includes('\r\n\r\n'))
        socket.write(
          'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n',
        );
    });
    const silent = await upstream(() => {});
    const timeouts = { ...NO_POLICY.timeouts, requestMs: 3_000, attemptMs: 3_000, idleMs: 60_000 };
    const shorter = { ...timeouts, attemptMs: 100 };
    const { port, plane } = await pair({ timeouts }, { timeouts: shorter }, broken.endpoint, silent.endpoint);
    const answer = await call(port);
    expect([answer.status, ...marksOf(answer)]).toEqual([504, 'attempt-timeout', 'dependency']);
    expect(silent.connections).toBe(1);
    await expect.poll(() => plane.held()).toMatchObject({ requests: 0, timers: 0, attempts: 0 });
  });

  it('is asked as ever where it was a hedge whose answer broke with its head', async () => {
    const answers = ['', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n', '', ''];
    let well = true;
    const servers = await Promise.all(
      answers.map((broken) => upstream((_received, socket) => void socket.write(well ? OK : broken))),
    );
    const endpoints = servers.map(({ endpoint }) => endpoint);
    const [silent = DEAD_ENDPOINT, ...others] = endpoints;
    const retries = { ...RETRIES, maxAttempts: 1 };
    const timeouts = { ...NO_POLICY.timeouts, requestMs: 3_000, attemptMs: 300 };
    const policy = { hedging: HEDGING, retries, timeouts };
    const { metric, plane, port } = await pair(policy, policy, silent, silent);
    const sets = [
      { key: 'billing/payments:8080', endpoints: [silent, ...others.slice(0, 1)] },
      { key: 'billing/replica:80', endpoints: others.slice(1) },
    ];
    plane.applyEndpointsUpdate(sets, []);
    await expect.poll(() => plane.addresses()).toHaveProperty('replica');
    const replica = Number(plane.addresses()['replica']?.split(':')[1]);
    for (let nth = 0; nth < 30; nth++) await Promise.all([call(port), call(replica)]);
    well = false;
    const hedges = (dependency: string) => metric('breakwater_hedges_total', { dependency });
    while ((await hedges('payments')) === 0) await call(port);
    expect(await hedges('replica')).toBeGreaterThan(0);
    await expect.poll(() => plane.held()).toMatchObject({ requests: 0, timers: 0, attempts: 0 });
  });

  it('gets the body that was sent, where it was kept', async () => {
    const closing = await upstream((received, socket) => {
      if (received.endsWith('hallo')) socket.resetAndDestroy();
    });
    const replica = await upstream((received, socket) => {
      if (received.endsWith('hallo')) socket.write(OK);
    });
    const fallback: FallbackPlan = { ...TO_REPLICA, methods: 'All' };
    const { port, plane } = await pair({ fallback }, {}, closing.endpoint, replica.endpoint);
    const post = 'POST / HTTP/1.1\r\nHost: payments\r\nContent-Length: 5\r\n\r\nhallo';
    const answer = await call(port, post);
    expect([answer.status, ...marksOf(answer)]).toEqual([200, 'reset', 'dependency']);
    expect(replica.received[0]).toMatch(/\r\n\r\nhallo$/);
    await expect.poll(() => plane.held()).toMatchObject({ requests: 0, replayBytes: 0, timers: 0, attempts: 0 });
  });

  it('does not get a body that was not kept', async () => {
    const closing = await upstream((received, socket) => {
      if (received.length > 100_000) socket.resetAndDestroy();
    });
    const replica = await upstream(answering(OK));
    const fallback: FallbackPlan = { ...TO_REPLICA, methods: 'All' };
    const { port, metric } = await pair({ fallback }, {}, closing.endpoint, replica.endpoint);
    const length = 200_000;
    const answer = await call(
      port,
      `POST / HTTP/1.1\r\nHost: p\r\nContent-Length: ${length}\r\n\r\n${'x'.repeat(length)}`,
    );
    expect([answer.status, ...marksOf(answer)]).toEqual([502, 'reset', '']);
    expect(replica.connections).toBe(0);
    expect(await metric('breakwater_fallbacks_missed_total', { fallback: 'dependency' })).toBe(1);
  });

  it('may have a fallback of its own, and a plan that leads round ends all the same', async () => {
    const dead = DEAD_ENDPOINT;
    const { port } = await pair({}, { fallback: RESPONSE }, dead, dead);
    const answer = await call(port);
    expect([answer.status, ...marksOf(answer)]).toEqual([200, 'connect-failed', 'dependency, response']);
    const round = await pair({}, { fallback: { ...ON_EVERYTHING, dependency: 'payments' } }, dead, dead);
    expect((await call(round.port)).status).toBe(502);
    const nowhere = await bench(dependencyPlan({ fallback: { ...ON_EVERYTHING, dependency: 'gone' } }), dead);
    expect(marksOf(await call(nowhere.port))).toEqual(['connect-failed', '']);
  });
});
