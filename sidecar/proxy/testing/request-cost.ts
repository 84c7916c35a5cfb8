// A process that says what requests cost its data path, for cost.test.ts: application and dependency live in a thread of their own, so that all
// that is counted in the main thread is the data path's. `node request-cost.ts` prints one line of JSON.
import { once } from 'node:events';
import { Socket } from 'node:net';
import { getHeapStatistics } from 'node:v8';
import { Worker } from 'node:worker_threads';
import type { PolicyPlan } from '../../../plan/plan.ts';
import { BREAKER, dependencyPlan, RETRIES, startBench } from './fixtures.ts';

const WARM_UP_REQUESTS = 1_500;
const BATCH_REQUESTS = 250;
const BATCHES = 12;

export interface Cost {
  /** Allocated in the heap of V8. */
  bytes: number;
  writes: number;
  /** Rounds of the event loop's work: something became readable. */
  events: number;
}

export interface Costs {
  /** A GET that is answered with 1 KiB: by a data path without policies, and with all that act on each request. */
  plain: Cost;
  whole: Cost;
  /** With all policies, a POST that is answered with as many bytes. */
  post16k: Cost;
  post64k: Cost;
}

const STACK: Partial<PolicyPlan> = {
  timeouts: { requestMs: 5_000, attemptMs: 2_000, connectMs: 1_000, idleMs: 60_000, opaqueIdleMs: 60_000 },
  retries: RETRIES,
  circuitBreaker: {
    ...BREAKER,
    failureRate: { percent: 50, minimumCalls: 20 },
    slowCalls: { percent: 80, thresholdMs: 1_000, minimumCalls: 20 },
  },
  outlierDetection: {
    stateKey: 'outlierDetection:base',
    failureOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'],
    consecutiveFailures: 5,
    consecutiveLocalOriginFailures: 5,
    successRate: null,
    intervalMs: 10_000,
    maxEjectionPercent: 50,
    ejectForMs: 30_000,
    maxEjectForMs: 300_000,
    panicThresholdPercent: 50,
  },
  bulkhead: { stateKey: 'bulkhead:base', maxConcurrent: 20, maxQueued: 100, queueTimeoutMs: 500, adaptive: null },
  rateLimit: { stateKey: 'rateLimit:base', requestsPerSecond: 1_000_000, burst: 1_000_000, perHeader: null },
  loadBalancing: {
    stateKey: 'loadBalancing:base',
    algorithm: 'PeakEwma',
    consistentHash: null,
    slowStart: null,
    zoneAware: 'Hints',
  },
};

/** A dependency that answers each request with its own body length, and an application that sends one request after the other. */
const WORLD = `
const { parentPort } = require('node:worker_threads');
const net = require('node:net');
const server = net.createServer((socket) => {
  let missing = 0;
  socket.on('data', (data) => {
    while (data.length > 0) {
      if (missing === 0) {
        const end = data.indexOf('\\r\\n\\r\\n') + 4;
        missing = Number(/content-length: (\\d+)/i.exec(data.latin1Slice(0, end))?.[1] ?? 0);
        socket.body = missing;
        data = data.subarray(end);
      }
      const taken = Math.min(missing, data.length);
      missing -= taken;
      data = data.subarray(taken);
      if (missing > 0) return;
      const body = 'x'.repeat(Math.max(1024, socket.body));
      socket.write('HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: ' + body.length + '\\r\\n\\r\\n' + body);
    }
  });
});
server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
let client;
parentPort.on('message', ({ port, requests, body }) => {
  client ??= net.connect({ port, host: '127.0.0.1', noDelay: true });
  const text = body > 0
    ? 'POST /charges HTTP/1.1\\r\\nHost: payments\\r\\nContent-Length: ' + body + '\\r\\n\\r\\n' + 'y'.repeat(body)
    : 'GET /charges/1 HTTP/1.1\\r\\nHost: payments\\r\\nAccept: application/json\\r\\n\\r\\n';
  let left = requests;
  let missing = 0;
  client.removeAllListeners('data');
  client.on('data', (data) => {
    if (missing === 0) {
      if (!data.latin1Slice(0, 12).endsWith(' 200')) throw new Error(data.latin1Slice(0, 200));
      const end = data.indexOf('\\r\\n\\r\\n') + 4;
      missing = Number(/content-length: (\\d+)/i.exec(data.latin1Slice(0, end))[1]) - (data.length - end);
    } else missing -= data.length;
    if (missing > 0) return;
    if (--left > 0) client.write(text);
    else parentPort.postMessage('done');
  });
  client.write(text);
});
`;

let writes = 0;
for (const name of ['_write', '_writev'] as const) {
  const original = Socket.prototype[name] as (...args: unknown[]) => void;
  Socket.prototype[name as '_write'] = function (this: Socket, ...args: unknown[]) {
    writes++;
    original.apply(this, args);
  };
}

/** Of one request; memory of the batch that cost least, for what else this thread does only adds. */
async function costOf(policy: Partial<PolicyPlan>, body: number): Promise<Cost> {
  const world = new Worker(WORLD, { eval: true });
  const [upstreamPort] = (await once(world, 'message')) as [number];
  const bench = await startBench(dependencyPlan(policy), [{ address: '127.0.0.1', port: upstreamPort }]);
  const send = async (requests: number) => {
    world.postMessage({ port: bench.port, requests, body }, []);
    await once(world, 'message');
  };
  await send(WARM_UP_REQUESTS);
  writes = 0;
  const eventsBefore = performance.nodeTiming.uvMetricsInfo.events;
  await send(BATCH_REQUESTS);
  const events = performance.nodeTiming.uvMetricsInfo.events - eventsBefore;
  const counted = writes;
  let bytes = Number.POSITIVE_INFINITY;
  for (let batch = 0; batch < BATCHES; batch++) {
    const before = getHeapStatistics().total_allocated_bytes;
    await send(BATCH_REQUESTS);
    bytes = Math.min(bytes, getHeapStatistics().total_allocated_bytes - before);
  }
  await bench.close();
  await world.terminate();
  const per = (count: number) => Math.round((count / BATCH_REQUESTS) * 100) / 100;
  return { bytes: per(bytes), writes: per(counted), events: per(events) };
}

const costs: Costs = {
  plain: await costOf({}, 0),
  whole: await costOf(STACK, 0),
  post16k: await costOf(STACK, 16_384),
  post64k: await costOf(STACK, 65_536),
};
process.stdout.write(`${JSON.stringify(costs)}\n`);
process.exit(0);
