// Requests that are sent a second time because the answer takes long: who is asked, whose answer is taken, and what is counted, on real
// connections. Every copy of a request to /slow waits at the upstreams until the test answers it.
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { PolicyPlan } from '../../../plan/plan.ts';
import {
  type Bench,
  BREAKER,
  type Client,
  connect,
  dependencyPlan,
  get,
  HEDGING,
  NO_POLICY,
  RETRIES,
  startBench,
} from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { OK, startSwallowing, startUpstream, type Upstream } from '../testing/upstreams.ts';

const { open } = opened();

/** As many calls as have to be seen before anything is hedged. */
const ENOUGH_CALLS = 20;
const FAILURE = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n';
const NOTHING = {
  requests: 0,
  timers: 0,
  replayBytes: 0,
  recordingBytes: 0,
  attempts: 0,
  bulkheadPlaces: 0,
  probes: 0,
};

/** A copy of a request that waits for its answer. */
interface Copy {
  upstream: number;
  text: string;
  socket: Socket;
  answer: (text: string) => void;
  /** Resolves when the sidecar has ended the connection. */
  gone: Promise<string>;
}

interface Hedged {
  bench: Bench;
  copies: Copy[];
  upstreams: Upstream[];
  client: Client;
  /** Sends a request and waits until as many copies of it have arrived. */
  send: (request: string, copies: number) => Promise<void>;
}

function goneOf(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let how = 'ended';
    socket.on('error', (error: NodeJS.ErrnoException) => {
      how = error.code ?? 'error';
    });
    socket.on('close', () => resolve(how));
  });
}

async function slowUpstream(index: number, copies: Copy[]): Promise<Upstream> {
  /** Of each connection, how much belongs to requests that are answered, and the copy that is not. */
  const answered = new WeakMap<Socket, number>();
  const waiting = new WeakMap<Socket, Copy>();
  return startUpstream((received, socket) => {
    const text = received.slice(answered.get(socket) ?? 0);
    const answer = (response: string) => {
      answered.set(socket, received.length);
      waiting.delete(socket);
      socket.write(response, 'latin1');
    };
    const copy = waiting.get(socket);
    if (copy) Object.assign(copy, { text, answer });
    else if (/^\S+ \/slow/.test(text)) {
      const next = { upstream: index, text, socket, answer, gone: goneOf(socket) };
      waiting.set(socket, next);
      copies.push(next);
    } else if (text.endsWith('\r\n\r\n')) answer(OK);
  });
}

async function hedged(
  policy: Partial<PolicyPlan> = {},
  { endpoints = 2, calls = ENOUGH_CALLS }: { endpoints?: number; calls?: number } = {},
): Promise<Hedged> {
  const copies: Copy[] = [];
  const upstreams: Upstream[] = [];
  for (let index = 0; index < endpoints; index++) upstreams.push(await slowUpstream(index, copies));
  const plan = dependencyPlan({ retries: RETRIES, hedging: HEDGING, ...policy });
  const bench = await startBench(
    plan,
    upstreams.map(({ endpoint }) => endpoint),
  );
  open.push(...upstreams, bench);
  const client = connect(bench.port);
  for (let call = 1; call <= calls; call++) {
    client.send(get('/fast'));
    await client.until((text) => text.split('\r\n\r\nok').length > call);
  }
  // What it knows is looked at a few times per second.
  const delaySeconds = () => bench.metric('breakwater_hedging_delay_seconds');
  if (calls >= ENOUGH_CALLS) await expect.poll(delaySeconds, { interval: 10 }).toBeGreaterThan(0);
  const send = async (request: string, expected: number) => {
    const before = copies.length;
    client.send(request);
    await expect.poll(() => copies.length, { interval: 2, timeout: 3_000 }).toBe(expected);
    // They came on connections of their own, so that a later one may be here sooner.
    copies.push(...copies.splice(before).sort((one, other) => numberOf(one) - numberOf(other)));
  };
  return { bench, copies, upstreams, client, send };
}

const answerOf = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const hedges = ({ metric }: Bench, result: string) => metric('breakwater_hedges_total', { result });
const suppressed = ({ metric }: Bench, cause: string) => metric('breakwater_hedges_suppressed_total', { cause });
const attempts = ({ metric }: Bench, result: string) => metric('breakwater_attempts_total', { result });
const held = (bench: Bench) => expect.poll(() => bench.plane.held(), { interval: 5 });

function numberOf({ text }: Copy): number {
  return Number(/X-Breakwater-Attempt: (\d+)/.exec(text)?.[1]);
}

function copyAt(copies: readonly Copy[], index: number): Copy {
  const copy = copies[index];
  if (!copy) throw new Error(`no copy ${index}`);
  return copy;
}

describe('a request that is not answered in the time of most', () => {
  it('is sent to another endpoint too, whose answer is taken where it comes first', async () => {
    const { bench, client, copies, send } = await hedged({ circuitBreaker: BREAKER });
    await send(get('/slow'), 2);
    const [first, second] = [copyAt(copies, 0), copyAt(copies, 1)];
    expect(first.upstream).not.toBe(second.upstream);
    expect([first, second].map(numberOf)).toEqual([1, 2]);
    second.answer(answerOf('second'));
    await client.until((text) => text.endsWith('second'));
    expect(await first.gone).toMatch(/ECONNRESET|ended/);
    expect([await hedges(bench, 'won'), await attempts(bench, 'cancelled')]).toEqual([1, 1]);
    expect(await attempts(bench, 'success')).toBe(ENOUGH_CALLS + 1);
    expect(await bench.metric('breakwater_requests_total')).toBe(ENOUGH_CALLS + 1);
    await held(bench).toMatchObject(NOTHING);
  });

  it('keeps the answer of the first where that comes first, and serves the next request on the same connection', async () => {
    const { bench, client, copies, send } = await hedged();
    await send(get('/slow'), 2);
    copyAt(copies, 0).answer(answerOf('first'));
    await client.until((text) => text.endsWith('first'));
    await copyAt(copies, 1).gone;
    expect(await hedges(bench, 'lost')).toBe(1);
    await send(get('/slow'), 4);
    copyAt(copies, 3).answer(answerOf('third'));
    await client.until((text) => text.endsWith('third'));
    client.send('POST /fast HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n');
    await client.until((text) => text.endsWith('\r\n\r\nok'));
    expect(await hedges(bench, 'won')).toBe(1);
    await held(bench).toMatchObject(NOTHING);
  });

  it('is sent once before enough calls were seen', async () => {
    const { bench, client, copies, send } = await hedged({}, { calls: ENOUGH_CALLS - 1 });
    expect(await bench.metric('breakwater_hedging_delay_seconds')).toBe(-1);
    await send(get('/slow'), 1);
    await expect.poll(() => bench.plane.held().timers).toBe(0);
    copyAt(copies, 0).answer(answerOf('first'));
    await client.until((text) => text.endsWith('first'));
    await expect.poll(() => bench.metric('breakwater_hedging_delay_seconds'), { interval: 10 }).toBeGreaterThan(0);
  });

  it('has as many hedges as the policy allows, each at an endpoint of its own', async () => {
    const { bench, client, copies, send } = await hedged({ hedging: { ...HEDGING, maxHedges: 3 } }, { endpoints: 4 });
    await send(get('/slow'), 4);
    expect(new Set(copies.map(({ upstream }) => upstream)).size).toBe(4);
    copyAt(copies, 2).answer(answerOf('third'));
    await client.until((text) => text.endsWith('third'));
    expect([await hedges(bench, 'won'), await hedges(bench, 'lost'), await attempts(bench, 'cancelled')]).toEqual([
      1, 2, 3,
    ]);
    await held(bench).toMatchObject(NOTHING);
  });

  it('is sent with its whole body, where it may run twice', async () => {
    const { client, copies, send } = await hedged();
    const head = 'POST /slow HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 5\r\n\r\n';
    client.send(`${head}he`);
    client.send('llo');
    await send('', 2);
    await expect.poll(() => copies.map(({ text }) => text.split('\r\n\r\n')[1])).toEqual(['hello', 'hello']);
    copyAt(copies, 1).answer(answerOf('done'));
    await client.until((text) => text.endsWith('done'));
  });

  it('waits with its hedge until all of its body has been sent', async () => {
    const { bench, client, copies, send } = await hedged();
    await send(
      'PUT /slow HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
      1,
    );
    // So long that a hedge would be due several times.
    for (let call = 0; call < 10; call++) {
      const other = connect(bench.port);
      other.send(get('/fast'));
      await other.until((text) => text.endsWith('ok'));
      other.socket.destroy();
    }
    expect(copies).toHaveLength(1);
    await send('0\r\n\r\n', 2);
    copyAt(copies, 1).answer(answerOf('done'));
    await client.until((text) => text.endsWith('done'));
    expect(copyAt(copies, 1).text).toContain('3\r\nabc\r\n0\r\n\r\n');
  });

  it('is answered by a hedge while the first connection is still being made', async () => {
    const { bench, client, copies, send, upstreams } = await hedged();
    const swallowing = await startSwallowing();
    open.push(swallowing);
    const [alive] = upstreams;
    bench.setEndpoints(swallowing.endpoint, ...(alive ? [alive.endpoint] : []));
    // Whichever of the two is asked first.
    await send(get('/slow'), 1);
    copyAt(copies, 0).answer(answerOf('answered'));
    await client.until((text) => text.endsWith('answered'));
    await held(bench).toMatchObject(NOTHING);
  });
});

describe('nothing is sent twice', () => {
  it.each([
    ['that may be retried, but not be under way twice at a time', 'DELETE /slow HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['that may not run twice', 'POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n'],
    ['that asks for another protocol', get('/slow', 'Connection: Upgrade\r\nUpgrade: websocket\r\n')],
    ['that asks for a stream of events', get('/slow', 'Accept: text/event-stream\r\n')],
  ])('%s', async (_what, request) => {
    const { bench, client, copies, send } = await hedged();
    await send(request, 1);
    // No timer is left that could send it.
    expect(bench.plane.held().timers).toBe(0);
    copyAt(copies, 0).answer(answerOf('first'));
    await client.until((text) => text.endsWith('first'));
    expect(await bench.metric('breakwater_hedges_total')).toBe(0);
  });

  const bulkhead = { stateKey: 'bulkhead:base', maxConcurrent: 1, maxQueued: 5, queueTimeoutMs: 500, adaptive: null };
  it.each<[string, Partial<PolicyPlan>, number]>([
    ['budget', { retries: { ...RETRIES, budgetPercent: 0, budgetMinPerSecond: 0 } }, 2],
    ['bulkhead', { bulkhead }, 2],
    ['no-other-endpoint', {}, 1],
  ])('where it is refused: %s', async (cause, policy, endpoints) => {
    const { bench, client, copies, send } = await hedged(policy, { endpoints });
    await send(get('/slow'), 1);
    await expect.poll(() => suppressed(bench, cause), { interval: 5 }).toBe(1);
    copyAt(copies, 0).answer(answerOf('first'));
    await client.until((text) => text.endsWith('first'));
    expect([copies.length, await bench.metric('breakwater_hedges_total')]).toEqual([1, 0]);
    expect(await bench.metric('breakwater_hedges_suppressed_total')).toBe(1);
    await held(bench).toMatchObject(NOTHING);
  });

  it('where its body is too large to be kept', async () => {
    const { bench, client, copies, send } = await hedged();
    const body = 'x'.repeat(70_000);
    await send(
      `PUT /slow HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      1,
    );
    await expect.poll(() => suppressed(bench, 'body'), { interval: 5 }).toBe(1);
    copyAt(copies, 0).answer(answerOf('first'));
    await client.until((text) => text.endsWith('first'));
    expect(copies).toHaveLength(1);
  });

  it('where the circuit has opened meanwhile, or is probed', async () => {
    const circuitBreaker = { ...BREAKER, consecutiveFailures: 1, openForMs: 50, maxOpenForMs: 50 };
    const { bench, client, copies, send } = await hedged({ circuitBreaker, retries: { ...RETRIES, maxAttempts: 1 } });
    await send(get('/slow'), 2);
    copyAt(copies, 0).answer(FAILURE);
    copyAt(copies, 1).answer(FAILURE);
    await client.until((text) => text.endsWith('\r\n\r\n') && text.includes(' 503 '));
    await expect.poll(() => bench.plane.circuits()[0]?.state, { interval: 5 }).toBe('HalfOpen');
    await send(get('/slow'), 3);
    expect(bench.plane.held()).toMatchObject({ timers: 1, probes: 1 });
    copyAt(copies, 2).answer(answerOf('probed'));
    await client.until((text) => text.endsWith('probed'));
    expect(copies).toHaveLength(3);
  });
});

describe('a copy that fails while another is out', () => {
  it.each<[string, (copy: Copy) => void]>([
    ['by its answer', ({ answer }) => answer(FAILURE)],
    ['by a reset', ({ socket }) => socket.resetAndDestroy()],
    ['by an answer that is no HTTP', ({ answer }) => answer('nonsense\r\n\r\n')],
  ])('waits for that: %s', async (_what, fail) => {
    for (const failing of [0, 1]) {
      const { bench, client, copies, send } = await hedged();
      await send(get('/slow'), 2);
      fail(copyAt(copies, failing));
      const result = failing === 0 ? 'success' : 'failed';
      if (failing === 1) await expect.poll(() => hedges(bench, result), { interval: 5 }).toBe(1);
      else await copyAt(copies, failing).gone;
      copyAt(copies, 1 - failing).answer(answerOf('other'));
      await client.until((text) => text.endsWith('other'));
      expect([copies.length, await bench.metric('breakwater_retries_total')]).toEqual([2, 0]);
      await held(bench).toMatchObject(NOTHING);
    }
  });

  it('is one attempt with it: another follows where both have failed, and none beyond maxAttempts', async () => {
    const { bench, client, copies, send } = await hedged({ retries: { ...RETRIES, maxAttempts: 2 } }, { endpoints: 3 });
    await send(get('/slow'), 2);
    copyAt(copies, 0).answer(FAILURE);
    copyAt(copies, 1).answer(FAILURE);
    await expect.poll(() => copies.length, { interval: 2 }).toBe(3);
    expect(new Set(copies.map(({ upstream }) => upstream)).size).toBe(3);
    expect(copyAt(copies, 2).text).toContain('X-Breakwater-Attempt: 3\r\n');
    copyAt(copies, 2).answer('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nlast');
    await client.until((text) => text.endsWith('last'));
    expect(await bench.metric('breakwater_retries_suppressed_total', { cause: 'attempts' })).toBe(1);
    expect([copies.length, await bench.metric('breakwater_retries_total')]).toEqual([3, 1]);
    await held(bench).toMatchObject(NOTHING);
  });

  it('forbids further attempts where its answer says so, though it is not taken', async () => {
    const { bench, client, copies, send } = await hedged();
    await send(get('/slow'), 2);
    copyAt(copies, 0).answer('HTTP/1.1 503 No\r\nX-Breakwater-Retry: never\r\nContent-Length: 0\r\n\r\n');
    await copyAt(copies, 0).gone;
    copyAt(copies, 1).answer('HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nlast');
    await client.until((text) => text.endsWith('last'));
    expect([copies.length, await bench.metric('breakwater_retries_suppressed_total', { cause: 'refused' })]).toEqual([
      2, 1,
    ]);
  });
});

describe('all copies end', () => {
  it('with the deadline', async () => {
    const timeouts = { ...NO_POLICY.timeouts, requestMs: 1_200 };
    const { bench, client, copies, send } = await hedged({ timeouts, circuitBreaker: BREAKER });
    await send(get('/slow'), 2);
    await client.until((text) => text.includes('Breakwater-Reason: deadline'));
    await Promise.all(copies.map(({ gone }) => gone));
    expect([await hedges(bench, 'cancelled'), await attempts(bench, 'attempt-timeout')]).toEqual([1, 2]);
    await held(bench).toMatchObject(NOTHING);
  });

  it('with the time of each of them, and another attempt follows', async () => {
    const timeouts = { ...NO_POLICY.timeouts, attemptMs: 700 };
    const { bench, client, copies, send } = await hedged({ timeouts, retries: { ...RETRIES, maxAttempts: 2 } });
    await send(get('/slow'), 3);
    copyAt(copies, 2).answer(answerOf('third'));
    await client.until((text) => text.endsWith('third'));
    expect([await hedges(bench, 'failed'), await attempts(bench, 'attempt-timeout')]).toEqual([1, 2]);
    await held(bench).toMatchObject(NOTHING);
  });

  it('with the application', async () => {
    const { bench, client, copies, send } = await hedged({ circuitBreaker: BREAKER });
    await send(get('/slow'), 2);
    client.socket.resetAndDestroy();
    await Promise.all(copies.map(({ gone }) => gone));
    await held(bench).toMatchObject(NOTHING);
    expect([await hedges(bench, 'cancelled'), await attempts(bench, 'cancelled')]).toEqual([1, 2]);
    expect(await bench.metric('breakwater_requests_total', { code: 'aborted' })).toBe(1);
  });
});

describe('the answer of a hedge', () => {
  it('may be a stream, which its application ends', async () => {
    const { bench, client, copies, send } = await hedged({ timeouts: { ...NO_POLICY.timeouts, requestMs: 5_000 } });
    await send(get('/slow'), 2);
    copyAt(copies, 1).answer('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n');
    await client.until((text) => text.includes('data: 1'));
    client.socket.destroy();
    await copyAt(copies, 1).gone;
    await held(bench).toMatchObject(NOTHING);
    expect(await attempts(bench, 'success')).toBe(ENOUGH_CALLS + 1);
  });

  it('that is cut off is seen to be cut off', async () => {
    const { bench, client, copies, send } = await hedged();
    await send(get('/slow'), 2);
    copyAt(copies, 1).answer('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf');
    await client.until((text) => text.endsWith('half'));
    copyAt(copies, 1).socket.resetAndDestroy();
    expect(await client.ended()).toMatch(/half$/);
    expect([await hedges(bench, 'won'), await attempts(bench, 'reset')]).toEqual([1, 1]);
    await held(bench).toMatchObject(NOTHING);
  });

  it('is kept as the last good one', async () => {
    const fallback = {
      stateKey: 'fallback:base',
      fallbackOn: ['ServerError' as const],
      methods: 'Safe' as const,
      response: null,
      lastGood: {
        maxAgeMs: 60_000,
        maxBytes: 100_000,
        maxAnswerBytes: 1_000,
        audience: 'Everyone' as const,
        keyHeaders: [],
      },
      dependency: null,
    };
    const { bench, client, copies, send } = await hedged({ fallback, retries: { ...RETRIES, maxAttempts: 1 } });
    await send(get('/slow'), 2);
    copyAt(copies, 1).answer(answerOf('good'));
    await client.until((text) => text.endsWith('good'));
    await send(get('/slow'), 4);
    copyAt(copies, 2).answer(FAILURE);
    copyAt(copies, 3).answer(FAILURE);
    await client.until((text) => /Breakwater-Fallback: last-good\r\n[^]*\r\n\r\ngood$/.test(text));
    await held(bench).toMatchObject(NOTHING);
  });

  it('is told its own deadline', async () => {
    const timeouts = { ...NO_POLICY.timeouts, requestMs: 5_000, attemptMs: 2_000, deadline: 'Always' as const };
    const { client, copies, send } = await hedged({ timeouts });
    await send(get('/slow'), 2);
    const told = copies.map(({ text }) => Number(/X-Breakwater-Deadline: (\d+)/.exec(text)?.[1]));
    expect(told[1]).toBeGreaterThan(told[0] ?? Number.NaN);
    copyAt(copies, 1).answer(answerOf('done'));
    await client.until((text) => text.endsWith('done'));
  });
});
