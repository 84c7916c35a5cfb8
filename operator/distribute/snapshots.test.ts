import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Endpoint, EndpointSet } from '../../plan/endpoints.ts';
import { decodeEndpointsFrame, decodePlanFrame } from '../../plan/wire.ts';
import { endpoints, podA, podB, result, workload } from './fixtures.ts';
import { type EndpointsSnapshot, Snapshots } from './snapshots.ts';

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('expected to be there');
  return value;
}

function decode(frame: Buffer) {
  const text = frame.toString();
  expect(text.endsWith('\n')).toBe(true);
  const decoded = decodeEndpointsFrame(text);
  if (!decoded.ok) throw new Error(decoded.message);
  return decoded.frame;
}

/** What a sidecar knows after these frames. */
function apply(frames: readonly Buffer[], before: ReadonlyMap<string, readonly Endpoint[]> = new Map()) {
  let known = new Map(before);
  let version = '';
  for (const frame of frames.map(decode)) {
    if (frame.kind === 'snapshot') known = new Map();
    if (frame.kind !== 'snapshot' && frame.kind !== 'update') throw new Error(`unexpected ${frame.kind}`);
    for (const set of frame.sets) known.set(set.key, set.endpoints);
    if (frame.kind === 'update') for (const key of frame.removed) known.delete(key);
    version = frame.version;
  }
  return { known, version };
}

const current = (snapshots: Snapshots): EndpointsSnapshot => present(snapshots.endpoints('shop/checkout'));

describe('plans', () => {
  test('a plan is one frame that the sidecar can read', () => {
    const snapshots = new Snapshots();
    snapshots.publish(result([workload('v1', ['payments'], [podA])]), 0);
    const frame = present(snapshots.plan('shop/checkout')).frame.toString();
    const decoded = decodePlanFrame(frame);
    expect(decoded).toMatchObject({ ok: true, frame: { kind: 'plan', version: 'v1', plan: { namespace: 'shop' } } });
  });

  test('an equal version keeps the same bytes, and the time it was published first', () => {
    const snapshots = new Snapshots();
    snapshots.publish(result([workload('v1', ['payments'], [podA])]), 10);
    const before = present(snapshots.plan('shop/checkout'));
    snapshots.publish(result([workload('v1', ['payments'], [podA, podB])]), 20);
    expect(snapshots.plan('shop/checkout')).toBe(before);
    snapshots.publish(result([workload('v2', ['payments'], [podA])]), 30);
    expect(present(snapshots.plan('shop/checkout'))).toMatchObject({ version: 'v2', publishedAtMs: 30 });
  });

  test('a plan beyond the limit is told and the one before stays', () => {
    const small = JSON.stringify(workload('v1', ['a'], []).plan).length + 200;
    const snapshots = new Snapshots({ frameBytes: small });
    snapshots.publish(result([workload('v1', ['a'], [podA])]), 0);
    snapshots.publish(result([workload('v2', ['a', 'b', 'c'], [podA])]), 1);
    expect(present(snapshots.plan('shop/checkout')).version).toBe('v1');
    expect(snapshots.tooLarge.get('shop/checkout')).toContain(`${small} is the limit`);
    snapshots.publish(result([workload('v3', ['b'], [podA])]), 2);
    expect(present(snapshots.plan('shop/checkout')).version).toBe('v3');
    expect(snapshots.tooLarge.size).toBe(0);
  });

  test('a workload without dependencies stays once adopted, for as long as somebody needs it; one that vanished does not', () => {
    const snapshots = new Snapshots();
    snapshots.adopt(workload('empty', [], [], ''), 0);
    const isUsed = (id: string) => id === 'shop/';
    snapshots.publish(result([workload('v1', ['payments'], [podA])]), 0, isUsed);
    snapshots.publish(result([]), 0, isUsed);
    expect(present(snapshots.plan('shop/')).version).toBe('empty');
    expect(snapshots.endpoints('shop/')).toBeDefined();
    expect(snapshots.plan('shop/checkout')).toBeUndefined();
    snapshots.publish(result([]), 0, () => false);
    expect(snapshots.plan('shop/')).toBeUndefined();
    expect(snapshots.endpoints('shop/')).toBeUndefined();
  });
});

describe('endpoints', () => {
  test('holds only the sets of the workload; unknown sets are absent, empty ones are there', () => {
    const snapshots = new Snapshots();
    const sets = [endpoints('payments', '10.0.0.1'), endpoints('empty'), endpoints('foreign', '10.0.0.9')];
    snapshots.publish(result([workload('v1', ['payments', 'empty', 'unknown'], [podA])], sets), 0);
    const { known } = apply(snapshots.endpointFrames(undefined, current(snapshots)));
    expect([...known.keys()].sort()).toEqual(['billing/empty:8080', 'billing/payments:8080']);
    expect(known.get('billing/empty:8080')).toEqual([]);
  });

  test('equal sets in new objects are no new version; other sets change nothing here', () => {
    const snapshots = new Snapshots();
    snapshots.publish(result([workload('v1', ['payments'], [podA])], [endpoints('payments', '10.0.0.1')]), 0);
    const before = current(snapshots);
    snapshots.publish(
      result(
        [workload('v2', ['payments'], [podA])],
        [endpoints('payments', '10.0.0.1'), endpoints('foreign', '10.0.0.9')],
      ),
      5,
    );
    expect(current(snapshots)).toBe(before);
  });

  test('a delta holds the changed sets only, and is made once for all streams', () => {
    const snapshots = new Snapshots();
    const workloads = [workload('v1', ['payments', 'inventory'], [podA])];
    snapshots.publish(result(workloads, [endpoints('payments', '10.0.0.1'), endpoints('inventory', '10.0.0.2')]), 0);
    const before = current(snapshots);
    snapshots.publish(result(workloads, [endpoints('payments', '10.0.0.3'), endpoints('inventory', '10.0.0.2')]), 1);
    const frames = snapshots.endpointFrames(before, current(snapshots));
    expect(snapshots.endpointFrames(before, current(snapshots))).toBe(frames);
    expect(frames.map(decode)).toEqual([
      {
        kind: 'update',
        version: current(snapshots).version,
        sets: [endpoints('payments', '10.0.0.3')],
        removed: [],
      },
    ]);
  });

  test('keeps no more bytes of what was made than its bound, the latest asked for', () => {
    const addresses = ['10.0.0.1', '10.0.0.2', '10.0.0.3'];
    const set = (address: string) => endpoints('payments', ...Array.from({ length: 100 }, () => address));
    // Room for the frames of two versions.
    const snapshots = new Snapshots({ cacheBytes: 2.5 * JSON.stringify(set('10.0.0.1')).length });
    const [first, second, third] = addresses.map((address, at) => {
      snapshots.publish(result([workload('v1', ['payments'], [podA])], [set(address)]), at);
      return current(snapshots);
    });
    const framesOf = (version: EndpointsSnapshot | undefined) => snapshots.endpointFrames(undefined, present(version));
    const [ofFirst, ofSecond, ofThird] = [first, second, third].map(framesOf);
    expect(framesOf(third)).toBe(ofThird);
    expect(framesOf(second)).toBe(ofSecond);
    // It was there no longer; made anew, it takes the place of the one that was asked for longest ago.
    expect(framesOf(first)).toEqual(ofFirst);
    expect(framesOf(first)).not.toBe(ofFirst);
    expect(framesOf(second)).toBe(ofSecond);
    expect(framesOf(third)).not.toBe(ofThird);
  });

  test('what does not fit one frame comes in several, and only the last has the version', () => {
    const snapshots = new Snapshots({ frameBytes: 512 * 1024 + 100 });
    const names = ['a', 'b', 'c', 'd'];
    const sets = names.map((name) => endpoints(name, '10.0.0.1'));
    snapshots.publish(result([workload('v1', names, [podA])], sets), 0);
    const frames = snapshots.endpointFrames(undefined, current(snapshots));
    const versions = frames.map((frame) => (decode(frame) as { version: string }).version);
    expect(frames.length).toBeGreaterThan(1);
    expect(new Set(versions).size).toBe(frames.length);
    expect(versions.at(-1)).toBe(current(snapshots).version);
    expect(apply(frames).known.size).toBe(4);
  });

  test('property: from any version to any later one, the frames give exactly the sets of the later one', () => {
    const name = fc.constantFrom('a', 'b', 'c', 'd');
    const address = fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3');
    const set = fc
      .tuple(name, fc.uniqueArray(address))
      .map(([one, addresses]): EndpointSet => endpoints(one, ...addresses));
    const state = fc.record({
      sets: fc.uniqueArray(set, { selector: (one) => one.key }),
      names: fc.uniqueArray(name),
    });
    fc.assert(
      fc.property(fc.array(state, { minLength: 1, maxLength: 6 }), fc.nat(), (states, seed) => {
        const snapshots = new Snapshots();
        const seen: EndpointsSnapshot[] = [];
        for (const [index, { sets, names }] of states.entries()) {
          snapshots.publish(result([workload(`v${index}`, names, [podA])], sets), index);
          seen.push(current(snapshots));
        }
        const from = seen[seed % seen.length];
        const to = current(snapshots);
        const start = apply(snapshots.endpointFrames(undefined, present(from)));
        const end = from?.version === to.version ? start : apply(snapshots.endpointFrames(from, to), start.known);
        expect(end.version).toBe(to.version);
        const last = present(states.at(-1));
        const wanted = last.sets.filter((one) =>
          last.names.some((wantedName) => one.key === `billing/${wantedName}:8080`),
        );
        expect(end.known).toEqual(new Map(wanted.map((one) => [one.key, one.endpoints])));
      }),
    );
  });
});
