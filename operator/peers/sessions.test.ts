// What one replica says of its sidecars, and what another one makes of it.
import { array, assert, constantFrom, integer, oneof, property, record } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SESSION_GRACE_MS, type Session, Sessions } from '../distribute/acknowledgements.ts';
import type { PodIdentity } from '../distribute/authenticate.ts';
import { podA, podB, result, workload } from '../distribute/fixtures.ts';
import { type PlanSnapshot, Snapshots } from '../distribute/snapshots.ts';
import { decodePeerFrame, type PeerFrame } from './frames.ts';
import { SessionSource } from './session-source.ts';
import { SessionTable } from './session-table.ts';

const CHECKOUT = 'shop/checkout';
const podOf = (number: number): PodIdentity => ({
  namespace: 'shop',
  name: `checkout-${number}`,
  uid: `uid-${number}`,
});

function published(version: string): PlanSnapshot {
  const snapshots = new Snapshots();
  snapshots.publish(result([workload(version, ['payments'], [podA, podB])]), 0);
  const plan = snapshots.plan(CHECKOUT);
  if (!plan) throw new Error('no plan');
  return plan;
}
const plan = published('v1');

const acknowledgement = (version: string) => ({
  stream: 'plan' as const,
  version,
  applied: true,
  message: '',
  locallyDisabled: false,
});

/** Everything that a source has to say now. */
function frames(source: SessionSource): PeerFrame[] {
  const all: PeerFrame[] = [];
  for (let bytes = source.next(); bytes !== undefined; bytes = source.next()) {
    const frame = decodePeerFrame(bytes.toString());
    if (frame) all.push(frame);
  }
  return all;
}

const shown = (sessions: Iterable<Readonly<Session>>) =>
  [...sessions]
    .map((session) => ({
      ...session,
      change: 0,
      streams: Math.min(1, session.streams),
      planStreams: Math.min(1, session.planStreams),
    }))
    .toSorted((a, b) => (a.pod.uid < b.pod.uid ? -1 : 1));

describe('a table of another replica', () => {
  test('holds what that replica holds, however the two are asked', () => {
    const pod = integer({ min: 0, max: 4 }).map(podOf);
    const step = oneof(
      record({
        do: constantFrom('open' as const, 'close' as const),
        pod,
        stream: constantFrom('plan' as const, 'endpoints' as const),
      }),
      record({ do: constantFrom('acknowledge' as const), pod, version: constantFrom('v1', 'v2') }),
      record({ do: constantFrom('report' as const), pod, since: integer({ min: 0, max: 3 }) }),
      record({ do: constantFrom('gone' as const, 'send' as const, 'reconnect' as const), pod }),
      record({ do: constantFrom('expire' as const), pod, afterMs: integer({ min: 0, max: 20_000 }) }),
    );
    assert(
      property(array(step, { maxLength: 60, size: 'max' }), (steps) => {
        let nowMs = 1_000;
        const sessions = new Sessions();
        const newSource = () =>
          new SessionSource(
            () => sessions.here(),
            () => nowMs,
          );
        let source = newSource();
        const table = new SessionTable();
        const send = () => {
          for (const frame of frames(source)) table.apply(frame, nowMs);
        };
        for (const taken of steps) {
          nowMs += 7;
          if (taken.do === 'open') sessions.opened(taken.pod, CHECKOUT, taken.stream, nowMs);
          else if (taken.do === 'close') sessions.closed(taken.pod, taken.stream, nowMs);
          else if (taken.do === 'acknowledge')
            sessions.acknowledge(taken.pod, CHECKOUT, acknowledgement(taken.version), nowMs);
          else if (taken.do === 'report') {
            const circuit = {
              dependency: 'shop/checkout/payments',
              stateKey: 'base',
              state: 'Open' as const,
              since: taken.since,
              reason: 'r',
            };
            const exclusion = {
              dependency: 'shop/checkout/payments',
              stateKey: 'outlierDetection:base',
              endpoints: 1,
              totalEndpoints: 2,
              since: taken.since,
              panicking: false,
              names: [{ endpoint: '10.0.0.2:8080', reason: 'r' }],
            };
            const exclusions = taken.since % 2 === 0 ? [exclusion] : [];
            sessions.report(taken.pod, plan, { circuits: [circuit], exclusions }, nowMs);
          } else if (taken.do === 'gone') sessions.gone(taken.pod);
          else if (taken.do === 'expire') sessions.expire((nowMs += taken.afterMs));
          else {
            if (taken.do === 'reconnect') {
              source = newSource();
              table.down(nowMs);
            }
            send();
          }
        }
        send();
        const told = [...table.sessions()].filter(({ pod: { uid } }) => sessions.here().has(uid));
        expect(shown(told)).toEqual(shown(sessions.here().values()));
        // What was forgotten there while nobody could say so is idle here, and forgotten after its grace.
        const others = [...table.sessions()].filter(({ pod: { uid } }) => !sessions.here().has(uid));
        expect(others.filter(({ streams }) => streams > 0)).toEqual([]);
        table.expire(nowMs + SESSION_GRACE_MS);
        expect([...table.sessions()].filter(({ streams }) => streams === 0)).toEqual([]);
      }),
    );
  });

  test('a source that has nothing to say says so once, and then nothing', () => {
    const source = new SessionSource(
      () => new Sessions().here(),
      () => 0,
    );
    expect(frames(source)).toEqual([{ kind: 'snapshot', last: true, sessions: [] }]);
    expect(frames(source)).toEqual([]);
  });

  test('a large snapshot comes in parts, and what was known before holds until the last', () => {
    const sessions = new Sessions();
    for (let number = 0; number < 5_000; number += 1) sessions.opened(podOf(number), CHECKOUT, 'plan', 0);
    const parts = frames(
      new SessionSource(
        () => sessions.here(),
        () => 0,
      ),
    );
    expect(parts.length).toBeGreaterThan(3);
    const table = new SessionTable();
    table.apply({ kind: 'snapshot', last: true, sessions: parts[0]?.kind === 'snapshot' ? parts[0].sessions : [] }, 0);
    const before = table.size;
    for (const part of parts.slice(0, -1)) {
      table.apply(part, 0);
      expect(table.size).toBe(before);
    }
    for (const part of parts.slice(-1)) table.apply(part, 0);
    expect(table.size).toBe(5_000);
  });

  test('outlives its connection for the grace of a session, without an open stream', () => {
    const sessions = new Sessions();
    sessions.opened(podA, CHECKOUT, 'plan', 0);
    const table = new SessionTable();
    for (const frame of frames(
      new SessionSource(
        () => sessions.here(),
        () => 500,
      ),
    ))
      table.apply(frame, 1_000_000);
    expect([...table.sessions()]).toMatchObject([{ streams: 1, planOpenedMs: 999_500 }]);
    expect(table.expire(9_000_000)).toBe(false);
    table.down(2_000_000);
    // The process that follows knows of nobody yet.
    table.apply({ kind: 'snapshot', last: true, sessions: [] }, 2_001_000);
    table.down(2_010_000);
    expect([...table.sessions()]).toMatchObject([{ streams: 0, planStreams: 0, idleSinceMs: 2_000_000 }]);
    expect(table.expire(2_000_000 + SESSION_GRACE_MS - 1)).toBe(false);
    expect(table.expire(2_000_000 + SESSION_GRACE_MS)).toBe(true);
    expect(table.size).toBe(0);
  });

  test.each([
    ['no JSON', 'x'],
    ['no frame', '[]'],
    ['a session without a pod', '{"kind":"update","removed":[],"sessions":[{}]}'],
    ['a time that is none', '{"kind":"snapshot","last":"no","sessions":[]}'],
  ])('%s ends the stream', (_what, line) => {
    expect(() => decodePeerFrame(line)).toThrow();
  });

  test('a kind of frame that a later version may have is passed over', () => {
    expect(decodePeerFrame('{"kind":"greeting"}')).toBeUndefined();
  });
});

describe('a pod that several replicas know', () => {
  const planOf = () => plan;
  const elsewhere = new Sessions();
  const here = new Sessions({ elsewhere: () => elsewhere.here().values() });
  const applied = () => here.applied(planOf, new Map()).get(CHECKOUT);

  test('is counted once, by what it said where it came last', () => {
    elsewhere.opened(podA, CHECKOUT, 'plan', 100);
    elsewhere.acknowledge(podA, CHECKOUT, acknowledgement('v0'), 110);
    expect(applied()).toMatchObject({ applied: 0, of: 1 });
    here.opened(podA, CHECKOUT, 'plan', 200);
    here.acknowledge(podA, CHECKOUT, acknowledgement('v1'), 210);
    expect(applied()).toMatchObject({ applied: 1, of: 1, appliedPods: ['checkout-a'] });
    // The other replica may notice late that it has gone.
    elsewhere.closed(podA, 'plan', 300);
    expect(applied()).toMatchObject({ applied: 1, of: 1 });
    here.closed(podA, 'plan', 400);
    elsewhere.opened(podA, CHECKOUT, 'plan', 390);
    expect(applied()).toMatchObject({ applied: 0, of: 1 });
  });

  test('counts by its stream of plans, not by that of endpoints', () => {
    here.opened(podB, CHECKOUT, 'endpoints', 900);
    elsewhere.opened(podB, CHECKOUT, 'plan', 800);
    elsewhere.acknowledge(podB, CHECKOUT, acknowledgement('v1'), 810);
    expect(applied()).toMatchObject({ applied: 1, of: 2, appliedPods: ['checkout-b'] });
  });
});
