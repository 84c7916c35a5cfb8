// What a broken operator, or something that stands in its place, may send: whatever it is, the last good plan stays in force, what was
// refused is told, and neither memory nor log grows with what is sent.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  decodeEndpointsFrame,
  decodePlanFrame,
  type EndpointsFrame,
  encodeFrame,
  PATHS,
  type PlanFrame,
} from '../../plan/wire.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import { seededRandom } from '../../runtime/random.ts';
import { MetricRegistry } from '../metrics/registry.ts';
import { EndpointsFollower } from './endpoints-follower.ts';
import { createSubscribeMetrics } from './metrics.ts';
import { PlanFollower, type Verdict } from './plan-follower.ts';
import { planOf, RecordingDataPlane, setOf } from './recording-data-plane.ts';
import { Subscriber } from './subscriber.ts';
import { createIdentity, type TestIdentity } from './test-operator.ts';

const GOOD = encodeFrame({ kind: 'plan', version: 'good', plan: planOf('shop') }).trim();

function planFollower() {
  const dataPlane = new RecordingDataPlane();
  const verdicts: Verdict[] = [];
  const errors = vi.fn();
  const follower = new PlanFollower({
    dataPlane,
    log: Object.assign(Object.create(silentLogger) as typeof silentLogger, { error: errors }),
    onApplied: () => {},
    onVerdict: (verdict) => verdicts.push(verdict),
    onTrust: () => {
      throw new Error('no certificate');
    },
    onUp: () => {},
    onDown: () => {},
  });
  return { dataPlane, verdicts, errors, follower };
}

/** Any code point, and halves of surrogate pairs: fast-check's own "binary" takes a second and a half to be made. */
const character = fc.integer({ min: 0, max: 0x10_ff_ff }).map((point) => String.fromCodePoint(point));
/** Frames that look like ours, with parts that are none. */
const damaged = fc.oneof(
  fc.string({ unit: character }),
  fc.json(),
  fc
    .record(
      {
        kind: fc.constantFrom('plan', 'trust', 'heartbeat', 'end', 'snapshot', 'update', '__proto__'),
        version: fc.oneof(fc.string(), fc.constantFrom(null, 7, '', 'x'.repeat(200))),
        plan: fc.oneof(
          fc.jsonValue(),
          fc.constantFrom<unknown>({ ...planOf('a'), formatVersion: 2 }, { ...planOf('a'), dependencies: [{}] }),
        ),
        sets: fc.oneof(fc.jsonValue(), fc.constant([{ key: 'a', endpoints: [{ address: 'a', port: 0 }] }])),
        reason: fc.string(),
        bundle: fc.string(),
      },
      { requiredKeys: ['kind'] },
    )
    .map((frame) => JSON.stringify(frame)),
);

/** Damaged frames among good ones, and whether the data path takes what such a one brings. */
const linesAmong = (good: fc.Arbitrary<PlanFrame | EndpointsFrame>) => {
  const line = fc.oneof(
    { weight: 2, arbitrary: damaged },
    { weight: 3, arbitrary: good.map((frame) => JSON.stringify(frame)) },
  );
  return fc.array(fc.tuple(line, fc.boolean()), { maxLength: 20, size: 'max' });
};
const version = fc.constantFrom('good', 'v1', 'v2');
const FAULT = new Error('no room');

describe('whatever a line holds,', () => {
  it('the last good plan stays in force, and a plan that was refused is reported', () => {
    const good = fc.oneof(
      fc
        .tuple(version, fc.constantFrom('shop', 'a', 'b'))
        .map(([named, namespace]): PlanFrame => ({ kind: 'plan', version: named, plan: planOf(namespace) })),
      version.map((named): PlanFrame => ({ kind: 'unchanged', version: named })),
      fc.constant<PlanFrame>({ kind: 'heartbeat' }),
    );
    const times = { applied: 0, refused: 0 };
    fc.assert(
      fc.property(linesAmong(good), (lines) => {
        const { dataPlane, verdicts, follower } = planFollower();
        follower.onLine(GOOD);
        let inForce = planOf('shop');
        for (const [one, works] of lines) {
          const before = verdicts.length;
          dataPlane.fault = works ? null : FAULT;
          const verdict = follower.onLine(one);
          const told = verdicts.slice(before);
          const decoded = decodePlanFrame(one);
          const plan = decoded.ok && decoded.frame.kind === 'plan' ? decoded.frame.plan : null;
          if (plan && works) inForce = plan;
          if (plan) expect(told.map(({ applied }) => applied)).toEqual([works]);
          expect(dataPlane.plan).toEqual(inForce);
          expect(told.length).toBeLessThanOrEqual(1);
          for (const { applied, version: named, message } of told) {
            expect(named.length).toBeLessThanOrEqual(128);
            expect(message.length).toBeLessThanOrEqual(1024);
            expect(applied).toBe(message === '');
            times[applied ? 'applied' : 'refused'] += 1;
          }
          if (told.some(({ applied }) => applied)) expect(verdict).toEqual({ kind: 'confirmed' });
        }
      }),
      { numRuns: 150 },
    );
    expect(Math.min(times.applied, times.refused)).toBeGreaterThan(50);
  });

  it('the endpoints are those of the last good snapshot, and of the good updates since that nothing was lost before', () => {
    const sets = fc.array(
      fc
        .tuple(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('10.0.0.1', '10.0.0.2'))
        .map(([key, address]) => setOf(key, address)),
      { maxLength: 2 },
    );
    const good = fc.oneof(
      fc.tuple(version, sets).map(([named, all]): EndpointsFrame => ({ kind: 'snapshot', version: named, sets: all })),
      fc
        .tuple(version, sets, fc.subarray(['a', 'b', 'c']))
        .map(
          ([named, changed, removed]): EndpointsFrame => ({ kind: 'update', version: named, sets: changed, removed }),
        ),
      fc.constant<EndpointsFrame>({ kind: 'heartbeat' }),
    );
    const times = { applied: 0, refused: 0 };
    fc.assert(
      fc.property(linesAmong(good), (lines) => {
        const dataPlane = new RecordingDataPlane();
        const verdicts: Verdict[] = [];
        const follower = new EndpointsFollower({
          dataPlane,
          log: silentLogger,
          onApplied: () => {},
          onVerdict: (verdict) => verdicts.push(verdict),
          onUp: () => {},
          onDown: () => {},
        });
        follower.onLine(JSON.stringify({ kind: 'snapshot', version: 'good', sets: [setOf('a', '10.0.0.1')] }));
        let expected = new Map([['a', setOf('a', '10.0.0.1')]]);
        let lost = false;
        for (const [one, works] of lines) {
          const before = verdicts.length;
          dataPlane.fault = works ? null : FAULT;
          follower.onLine(one);
          const decoded = decodeEndpointsFrame(one);
          const frame = decoded.ok ? decoded.frame : null;
          if (works && frame?.kind === 'snapshot') {
            expected = new Map(frame.sets.map((set) => [set.key, set]));
            lost = false;
          } else if (works && !lost && frame?.kind === 'update') {
            for (const key of frame.removed) expected.delete(key);
            for (const set of frame.sets) expected.set(set.key, set);
          }
          for (const { applied } of verdicts.slice(before)) {
            times[applied ? 'applied' : 'refused'] += 1;
            lost ||= !applied;
          }
          expect(dataPlane.sets).toEqual(expected);
          expect(new Map(follower.sets().map((set) => [set.key, set]))).toEqual(expected);
        }
      }),
      { numRuns: 150 },
    );
    expect(Math.min(times.applied, times.refused)).toBeGreaterThan(50);
  });
});

describe('a plan', () => {
  const dependency = JSON.stringify({
    kind: 'plan',
    version: 'bad',
    plan: { ...planOf('a'), dependencies: [{ id: 'a' }] },
  });

  it('that is refused again and again ends the stream, and is logged a few times only', () => {
    const { errors, follower, dataPlane } = planFollower();
    follower.onLine(GOOD);
    const verdicts = Array.from({ length: 8 }, () => follower.onLine(dependency).kind);
    expect(verdicts).toEqual([...Array.from({ length: 7 }, () => 'heard'), 'failed']);
    expect(errors).toHaveBeenCalledTimes(8);
    expect(dataPlane.plan).toEqual(planOf('shop'));
    expect(follower.version).toBe('good');
  });

  it('of another format, or for another schema, is refused by name', () => {
    const { verdicts, follower } = planFollower();
    follower.onLine(JSON.stringify({ kind: 'plan', version: 'v2', plan: { ...planOf('a'), formatVersion: 2 } }));
    expect(verdicts).toMatchObject([
      { version: 'v2', applied: false, message: expect.stringContaining('plan.formatVersion') as string },
    ]);
  });
});

describe('a server in the place of the operator', () => {
  type Answer = (request: IncomingMessage, response: ServerResponse) => void;
  let directory = '';
  let identity: TestIdentity;
  let closing: (() => Promise<unknown> | void)[] = [];
  beforeAll(async () => {
    identity = await createIdentity();
  });
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'breakwater-hostile-'));
    await writeFile(join(directory, 'token'), 'token');
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await rm(directory, { recursive: true, force: true });
  });

  /** Follows a server that first gives a good plan and then, on every further plan stream, this. */
  async function follow(answer: Answer) {
    let streams = 0;
    const server = createServer({ cert: identity.cert, key: identity.key }, (request, response) => {
      request.resume();
      if (!request.url?.startsWith(PATHS.plan)) {
        response.writeHead(request.method === 'POST' ? 204 : 503).end();
        return;
      }
      streams += 1;
      if (streams > 1) return answer(request, response);
      response.writeHead(200);
      response.end(`${GOOD}\n`);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push(() => {
      server.closeAllConnections();
      server.close();
    });
    const dataPlane = new RecordingDataPlane();
    const warnings: { reason: string; detail: string }[] = [];
    const log = Object.assign(Object.create(silentLogger) as typeof silentLogger, {
      warn: (fields: { stream: string; reason: string; detail: string }) =>
        void (fields.stream === 'plan' && warnings.push(fields)),
    });
    const subscriber = new Subscriber({
      operatorUrl: new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}`),
      tokenFile: join(directory, 'token'),
      lookup: (_name, _options, done) => done(new Error('the operator of this test has an address'), ''),
      caBundle: identity.ca,
      caFile: null,
      stateDirectory: null,
      dataPlane,
      locallyDisabled: () => false,
      onPlanApplied: () => {},
      metrics: createSubscribeMetrics(new MetricRegistry(), () => systemClock.monotonicMs()),
      clock: systemClock,
      random: seededRandom(1),
      log,
      streamSettings: { initialMs: 2, maxMs: 20, connectTimeoutMs: 300, silenceMs: 300, stableAfterMs: 60_000 },
    });
    subscriber.start();
    closing.push(() => subscriber.stop());
    return { dataPlane, warnings, streams: () => streams };
  }

  const dribble = (response: ServerResponse, text: string) => {
    const write = () => {
      if (response.destroyed) return;
      response.write(text);
      systemClock.after(20, write);
    };
    write();
  };

  it.each<[string, string, RegExp, Answer]>([
    [
      'sends the plan compressed',
      'bad-frame',
      /not JSON/,
      (_, response) => {
        response.writeHead(200, { 'content-encoding': 'gzip' });
        response.write(Buffer.concat([gzipSync(Buffer.alloc(1_000_000)), Buffer.from('\n')]));
      },
    ],
    [
      'sends bytes that are no UTF-8',
      'bad-frame',
      /not JSON/,
      (_, response) => {
        response.writeHead(200).write(Buffer.from([0xff, 0xfe, 0x00, 0x80, 0x0a]));
      },
    ],
    [
      'leads elsewhere',
      'unexpected-answer',
      /302/,
      (_, response) => {
        response.writeHead(302, { location: 'https://elsewhere.example.com/' }).end();
      },
    ],
    [
      'sends a header of a megabyte',
      'unreachable',
      /Header overflow|HPE_HEADER_OVERFLOW|Parse Error/,
      (_, response) => {
        response.socket?.write(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(1_000_000)}\r\n\r\n`);
      },
    ],
    [
      'never ends its headers',
      'unreachable',
      /no answer within/,
      (_, response) => {
        response.socket?.write('HTTP/1.1 200 OK\r\nx: ');
      },
    ],
    [
      'refuses, and never ends saying why',
      'unexpected-answer|unreachable',
      /418|no answer/,
      (_, response) => {
        response.writeHead(418);
        dribble(response, 'because '.repeat(10));
      },
    ],
    [
      'floods with heartbeats',
      'bad-frame',
      /more than 20000 frames/,
      (_, response) => {
        response.writeHead(200);
        const flood = '{"kind":"heartbeat"}\n'.repeat(5_000);
        const write = () => {
          while (!response.destroyed && response.write(flood));
          if (!response.destroyed) response.once('drain', write);
        };
        write();
      },
    ],
    [
      'sends one line without end',
      'bad-frame',
      /longer than the 8388608 bytes/,
      (_, response) => {
        response.writeHead(200);
        const piece = Buffer.alloc(262_144, 'x');
        const write = () => {
          while (!response.destroyed && response.write(piece));
          if (!response.destroyed) response.once('drain', write);
        };
        write();
      },
    ],
    [
      'nests without end',
      'bad-frame',
      /nested more than 64/,
      (_, response) => {
        response.writeHead(200).write(`{"kind":"plan","version":"deep","plan":${'['.repeat(1_000_000)}\n`);
      },
    ],
  ])('that %s is left, and the last good plan stays', { timeout: 30_000 }, async (_, reason, detail, answer) => {
    const { dataPlane, warnings, streams } = await follow(answer);
    const found = () =>
      warnings.find((warning) => new RegExp(reason).test(warning.reason) && detail.test(warning.detail));
    await vi.waitFor(() => expect(found(), JSON.stringify(warnings)).toBeDefined(), { timeout: 20_000, interval: 5 });
    // It tries again, and does not tell the same again.
    const seen = streams();
    await vi.waitFor(() => expect(streams()).toBeGreaterThan(seen), { timeout: 20_000, interval: 5 });
    expect(dataPlane.plan).toEqual(planOf('shop'));
    expect(dataPlane.calls.filter((call) => call.startsWith('plan'))).toEqual(['plan shop']);
    expect(warnings.length).toBeLessThan(6);
  });
});
