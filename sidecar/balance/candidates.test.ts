import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BalancedEndpoint, EndpointCandidates, UNPLACED } from './candidates.ts';
import { excluding } from './testing/endpoints.ts';

interface Given {
  name: string;
  zones?: string[];
  nodes?: string[];
  excluded?: boolean;
}

function endpoint({ name, zones = [], nodes = [] }: Given): BalancedEndpoint {
  const made = new BalancedEndpoint(name);
  made.zones = zones;
  made.nodes = nodes;
  return made;
}

function candidates(given: readonly Given[], { node = '', zone = '', panicThresholdPercent = 50 } = {}) {
  const made = new EndpointCandidates<BalancedEndpoint>();
  const endpoints = given.map(endpoint);
  const excluded = new Set(endpoints.filter((_, index) => given[index]?.excluded));
  made.setOptions({ exclusion: excluding(excluded, panicThresholdPercent), node, zone });
  made.setEndpoints(endpoints);
  return Object.assign(made, { excluded });
}

const names = (made: EndpointCandidates<BalancedEndpoint>) => made.pickable.map(({ name }) => name).join(' ');

describe('hints', () => {
  const zoned = [
    { name: 'a1', zones: ['a'] },
    { name: 'b1', zones: ['b'] },
    { name: 'ab', zones: ['a', 'b'] },
  ];

  it('keep a request in the zone', () => {
    expect(names(candidates(zoned, { zone: 'a' }))).toBe('a1 ab');
    expect(names(candidates(zoned, { zone: 'b' }))).toBe('b1 ab');
  });

  it('are ignored where one endpoint has none, none is for the zone, or the zone is not known', () => {
    expect(names(candidates([...zoned, { name: 'x' }], { zone: 'a' }))).toBe('a1 b1 ab x');
    expect(names(candidates(zoned, { zone: 'c' }))).toBe('a1 b1 ab');
    expect(names(candidates(zoned))).toBe('a1 b1 ab');
  });

  it('are for nobody whose place is not known, were they for nowhere', () => {
    const nowhere = [
      { name: 'x', zones: [''], nodes: [''] },
      { name: 'y', zones: ['a'], nodes: ['one'] },
    ];
    expect(names(candidates(nowhere))).toBe('x y');
    expect(UNPLACED).toEqual({ node: '', zone: '' });
  });

  it('of nodes go before those of zones, by the same rule', () => {
    const both = [
      { name: 'n1', zones: ['a'], nodes: ['one'] },
      { name: 'n2', zones: ['a'], nodes: ['two'] },
      { name: 'n3', zones: ['b'], nodes: ['three'] },
    ];
    expect(names(candidates(both, { node: 'two', zone: 'a' }))).toBe('n2');
    expect(names(candidates(both, { node: 'four', zone: 'a' }))).toBe('n1 n2');
    expect(names(candidates([...both, { name: 'n4', zones: ['b'] }], { node: 'two', zone: 'a' }))).toBe('n1 n2');
  });

  it('are left when less than half of what they assign is usable, first for the zone, then for all', () => {
    const made = candidates(
      [
        { name: 'n1', zones: ['a'], nodes: ['one'], excluded: true },
        { name: 'n2', zones: ['a'], nodes: ['two'] },
        { name: 'n3', zones: ['a'], nodes: ['two'] },
        { name: 'n4', zones: ['b'], nodes: ['three'] },
      ],
      { node: 'one', zone: 'a' },
    );
    expect(names(made)).toBe('n2 n3');
    for (const ejected of made.all.slice(0, 2)) made.excluded.add(ejected);
    made.refresh();
    expect(names(made)).toBe('n3 n4');
    expect(made.panicking).toBe(false);
  });
});

describe('exclusions', () => {
  it('hold for as long as half of all is left', () => {
    const made = candidates([{ name: 'a' }, { name: 'b', excluded: true }]);
    expect(names(made)).toBe('a');
    expect([made.isPickable(0), made.isPickable(1), made.isPickable(2)]).toEqual([true, false, false]);
  });

  it('are disregarded below that, and hold again when it is over', () => {
    const made = candidates([{ name: 'a' }, { name: 'b', excluded: true }, { name: 'c', excluded: true }]);
    expect(names(made)).toBe('a b c');
    expect(made.panicking).toBe(true);
    const [, b] = made.all;
    if (b) made.excluded.delete(b);
    made.refresh();
    expect(names(made)).toBe('a b');
    expect(made.panicking).toBe(false);
  });

  it('leave one endpoint even without a threshold', () => {
    const one = { name: 'a', excluded: true };
    expect(names(candidates([one, { name: 'b' }, { name: 'c', excluded: true }], { panicThresholdPercent: 0 }))).toBe(
      'b',
    );
    expect(names(candidates([one], { panicThresholdPercent: 0 }))).toBe('a');
  });
});

const place = fc.constantFrom('a', 'b', 'c');
const anyEndpoint = fc.record({
  name: fc.uuid(),
  zones: fc.uniqueArray(place, { maxLength: 2 }),
  nodes: fc.uniqueArray(place, { maxLength: 2 }),
  excluded: fc.constantFrom(false, false, true),
});
const anyOptions = fc.record({
  node: fc.constantFrom('', 'a', 'b'),
  zone: fc.constantFrom('', 'a', 'b'),
  panicThresholdPercent: fc.integer({ min: 0, max: 100 }),
});

describe('for every set of endpoints', () => {
  it('there is something to pick whenever there is an endpoint, and nothing excluded is picked without panic', () => {
    fc.assert(
      fc.property(fc.array(anyEndpoint, { maxLength: 12, size: 'max' }), anyOptions, (given, options) => {
        const made = candidates(given, options);
        expect(made.pickable.length > 0).toBe(given.length > 0);
        if (!made.panicking) expect(made.pickable.some((one) => made.excluded.has(one))).toBe(false);
        else expect(made.pickable).toEqual(made.all);
        expect(made.pool.filter((_, index) => made.isPickable(index))).toEqual(made.pickable);
      }),
      { numRuns: 500 },
    );
  });

  it('the choice is that of kube-proxy where nothing is excluded', () => {
    fc.assert(
      fc.property(fc.array(anyEndpoint, { maxLength: 8 }), anyOptions, (drawn, options) => {
        const given = drawn.map((one) => ({ ...one, excluded: false }));
        const made = candidates(given, options);
        expect(made.pickable.map(({ name }) => name)).toEqual(kubeProxy(given, options.node, options.zone));
      }),
      { numRuns: 500 },
    );
  });
});

/** topologyModeFromHints and availableForTopology of kube-proxy, for ready endpoints; an unknown place is a hint of nobody's. */
function kubeProxy(ready: readonly { name: string; zones: string[]; nodes: string[] }[], node: string, zone: string) {
  const namesOf = (some: readonly { name: string }[]) => some.map(({ name }) => name);
  const hintedFor = (kind: 'nodes' | 'zones', wanted: string) =>
    ready.every((one) => one[kind].length > 0) ? ready.filter((one) => one[kind].includes(wanted)) : [];
  const byNode = hintedFor('nodes', node);
  if (byNode.length > 0) return namesOf(byNode);
  const byZone = hintedFor('zones', zone);
  return namesOf(byZone.length > 0 ? byZone : ready);
}

describe('the set', () => {
  it('is empty, and nobody panics, before anything is known', () => {
    const made = new EndpointCandidates<BalancedEndpoint>();
    expect([made.all, made.pool, made.pickable]).toEqual([[], [], []]);
    expect([made.panicking, made.isPickable(0), made.poolVersion]).toEqual([false, false, 0]);
    made.setEndpoints([]);
    expect([made.pickable, made.panicking]).toEqual([[], false]);
  });

  it('has nobody excluded until it is told who is', () => {
    const made = new EndpointCandidates<BalancedEndpoint>();
    made.setEndpoints([{ name: 'a' }, { name: 'b' }].map(endpoint));
    expect([names(made), made.panicking]).toEqual(['a b', false]);
  });

  it('is chosen from anew when options change, and its pool is another one only with other endpoints', () => {
    const made = candidates([
      { name: 'a', zones: ['a'] },
      { name: 'b', zones: ['b'] },
    ]);
    expect(made.poolVersion).toBe(1);
    made.setEndpoints([...made.all]);
    expect(made.poolVersion).toBe(1);
    // What chooses may remember its place in them.
    const { pickable } = made;
    made.refresh();
    expect(made.pickable).toBe(pickable);
    made.setOptions({ exclusion: null, node: '', zone: 'b' });
    expect([names(made), made.poolVersion]).toEqual(['b', 2]);
    made.setEndpoints([]);
    expect(made.poolVersion).toBe(3);
  });

  it('stays near with exactly half of what hints assign, without panic, however few are left of all', () => {
    const given = [
      { name: 'a1', zones: ['a'] },
      { name: 'a2', zones: ['a'], excluded: true },
      ...['b1', 'b2', 'b3'].map((name) => ({ name, zones: ['b'], excluded: true })),
    ];
    const made = candidates(given, { zone: 'a' });
    expect([names(made), made.panicking]).toEqual(['a1', false]);
  });
});

describe('an endpoint', () => {
  it('counts what is in flight, for itself and for all, and was there from the start, unmeasured and without hints', () => {
    const endpoint = new BalancedEndpoint('a');
    expect([endpoint.joinedAtMs, endpoint.measuredAtMs]).toEqual([-1, -1]);
    expect([endpoint.zones, endpoint.nodes]).toEqual([[], []]);
    endpoint.begin();
    endpoint.begin();
    endpoint.end();
    expect([endpoint.inFlight, endpoint.total.inFlight]).toEqual([1, 1]);
  });
});
