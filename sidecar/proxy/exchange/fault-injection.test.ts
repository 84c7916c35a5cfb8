// Faults on purpose, on real sockets: what the application sees of them, and that the dependency is never blamed.
import { describe, expect, it } from 'vitest';
import type { FallbackPlan } from '../../../plan/policies/fallback.ts';
import { BREAKER, connect, dependencyPlan, get, NO_POLICY, RETRIES } from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, OK, startUpstream, type Upstream } from '../testing/upstreams.ts';

const { open, bench } = opened();

async function healthy(): Promise<Upstream> {
  const started = await startUpstream(answering(OK));
  open.push(started);
  return started;
}

/** All answers of one connection that is kept alive, one request after the other. */
async function calls(port: number, count: number): Promise<string[]> {
  const client = connect(port);
  const answers: string[] = [];
  for (let nth = 0, from = 0; nth < count; nth++) {
    client.send(get('/'));
    const all = await client.until((received) => {
      const rest = received.slice(from);
      const end = rest.indexOf('\r\n\r\n');
      return end >= 0 && rest.length >= end + 4 + Number(/content-length: (\d+)/i.exec(rest)?.[1]);
    });
    answers.push(all.slice(from));
    from = all.length;
  }
  client.socket.destroy();
  return answers;
}

const delay = (fixedMs: number, percent: number) => ({ delay: { fixedMs, percent }, abort: null });
const abort = (statusCode: number, percent: number) => ({ delay: null, abort: { statusCode, percent } });

describe('an injected error', () => {
  it('is answered in the place of the dependency, which is not called and not blamed', async () => {
    const server = await healthy();
    const policy = { faultInjection: abort(500, 100), circuitBreaker: BREAKER, retries: RETRIES };
    const { port, plane, metric } = await bench(dependencyPlan(policy), server.endpoint);
    const answers = await calls(port, 10);
    for (const answer of answers) {
      expect(answer).toMatch(/^HTTP\/1.1 500 Internal Server Error\r\n/);
      expect(answer).toMatch(/Breakwater-Reason: fault-injected\r\n/);
    }
    expect(JSON.parse(answers[0]?.split('\r\n\r\n')[1] ?? '')).toMatchObject({ status: 500, rule: 'base' });
    expect(server.connections).toBe(0);
    expect(plane.circuits()).toMatchObject([{ state: 'Closed' }]);
    expect(await metric('breakwater_faults_injected_total', { fault: 'abort' })).toBe(10);
    expect(await metric('breakwater_requests_total', { code: '5xx', reason: 'fault-injected' })).toBe(10);
    expect(await metric('breakwater_attempts_total')).toBe(0);
  });

  it('strikes its share, the same one with the same seed', async () => {
    const run = async () => {
      const server = await healthy();
      const { port } = await bench(dependencyPlan({ faultInjection: abort(503, 30) }), server.endpoint);
      const answers = await calls(port, 100);
      expect(server.received.join('').split('GET /').length - 1).toBe(
        answers.filter((answer) => answer.includes(' 200 ')).length,
      );
      return answers.map((answer) => answer.startsWith('HTTP/1.1 503'));
    };
    const struck = await run();
    expect(await run()).toEqual(struck);
    expect(struck.filter(Boolean).length).toBeGreaterThan(15);
    expect(struck.filter(Boolean).length).toBeLessThan(45);
  });

  it('has the fallback that the same status of the dependency would have', async () => {
    const fallback: FallbackPlan = {
      stateKey: 'fallback:base',
      fallbackOn: ['ServerError'],
      methods: 'Safe',
      response: { statusCode: 200, contentType: 'text/plain', body: 'instead' },
      lastGood: null,
      dependency: null,
    };
    const server = await healthy();
    const { port } = await bench(dependencyPlan({ fallback, faultInjection: abort(503, 100) }), server.endpoint);
    const [answer = ''] = await calls(port, 1);
    expect(answer).toMatch(
      /^HTTP\/1.1 200 OK\r\n(.*\r\n)*Breakwater-Reason: fault-injected\r\nBreakwater-Fallback: response\r\n/,
    );
    expect(answer).toMatch(/instead$/);
    const client = await bench(dependencyPlan({ fallback, faultInjection: abort(404, 100) }), server.endpoint);
    expect((await calls(client.port, 1))[0]).toMatch(/^HTTP\/1.1 404 Not Found\r\n/);
  });
});

describe('an injected delay', () => {
  it('passes before anything else happens, and marks the answer', async () => {
    const server = await healthy();
    const bulkhead = { stateKey: 'b', maxConcurrent: 1, maxQueued: 0, queueTimeoutMs: 0, adaptive: null };
    const { port, plane, metric } = await bench(
      dependencyPlan({ faultInjection: delay(150, 100), bulkhead }),
      server.endpoint,
    );
    const startMs = performance.now();
    const pending = Promise.all([calls(port, 1), calls(port, 1)]);
    await expect.poll(() => plane.held()).toMatchObject({ requests: 2, bulkheadPlaces: 0, attempts: 0 });
    expect(server.connections).toBe(0);
    for (const [answer] of await pending) expect(answer).toMatch(/\r\nBreakwater-Fault: delay\r\n/);
    expect(performance.now() - startMs).toBeGreaterThan(140);
    expect(await metric('breakwater_faults_injected_total', { fault: 'delay' })).toBe(2);
    expect(plane.held()).toMatchObject({ requests: 0, timers: 0 });
  });

  it('counts against the deadline, and what ends there says that it was held back on purpose', async () => {
    const server = await healthy();
    const timeouts = { ...NO_POLICY.timeouts, requestMs: 80 };
    const policy = { faultInjection: delay(5_000, 100), timeouts, circuitBreaker: BREAKER };
    const { port, plane } = await bench(dependencyPlan(policy), server.endpoint);
    const [answer = ''] = await calls(port, 1);
    expect(answer).toMatch(
      /^HTTP\/1.1 504 Gateway Timeout\r\n(.*\r\n)*Breakwater-Reason: deadline\r\nBreakwater-Fault: delay\r\n/,
    );
    expect(answer).toContain('held the request back on purpose');
    expect([server.connections, plane.circuits()[0]?.state]).toEqual([0, 'Closed']);
  });

  it('is over at once when the application goes away', async () => {
    const server = await healthy();
    const { port, plane } = await bench(dependencyPlan({ faultInjection: delay(60_000, 100) }), server.endpoint);
    const client = connect(port);
    client.send(get('/'));
    await expect.poll(() => plane.held().requests).toBe(1);
    client.socket.resetAndDestroy();
    await expect.poll(() => plane.held()).toMatchObject({ requests: 0, timers: 0, clientConnections: 0 });
  });

  it('holds a body back, and both faults may strike one request', async () => {
    const server = await startUpstream((received, socket) => {
      if (received.endsWith('hallo')) socket.write(OK);
    });
    open.push(server);
    const { port } = await bench(dependencyPlan({ faultInjection: delay(50, 100) }), server.endpoint);
    const client = connect(port);
    client.send('POST / HTTP/1.1\r\nHost: p\r\nContent-Length: 5\r\n\r\nhallo');
    expect(await client.until((received) => received.endsWith('ok'))).toMatch(/Breakwater-Fault: delay/);
    client.socket.destroy();
    const both = { ...delay(50, 100), abort: { statusCode: 429, percent: 100 } };
    const second = await bench(dependencyPlan({ faultInjection: both }), server.endpoint);
    const startMs = performance.now();
    const [answer = ''] = await calls(second.port, 1);
    expect(answer).toMatch(
      /^HTTP\/1.1 429 Too Many Requests\r\n(.*\r\n)*Breakwater-Reason: fault-injected\r\nBreakwater-Fault: delay/,
    );
    expect(performance.now() - startMs).toBeGreaterThan(45);
  });
});
