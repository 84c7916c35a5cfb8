// The semantics are Kubernetes' own; testdata/workloads shows them in whole worlds.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LabelSelector } from '../../crds/kubernetes.ts';
import { createSelection, matchesSelector } from './selector.ts';
import { serviceDependency, world } from './testing.ts';

describe('matchesSelector', () => {
  it.each<[string, LabelSelector, boolean]>([
    ['the empty selector', {}, true],
    ['an equal label', { matchLabels: { app: 'a' } }, true],
    ['another value', { matchLabels: { app: 'b' } }, false],
    ['one label of two', { matchLabels: { app: 'a', tier: 'x' } }, false],
    ['In', { matchExpressions: [{ key: 'app', operator: 'In', values: ['b', 'a'] }] }, true],
    ['In, absent', { matchExpressions: [{ key: 'tier', operator: 'In', values: ['a'] }] }, false],
    ['NotIn', { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['a'] }] }, false],
    ['NotIn, absent', { matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['a'] }] }, true],
    ['Exists', { matchExpressions: [{ key: 'app', operator: 'Exists' }] }, true],
    ['Exists, with an empty value', { matchExpressions: [{ key: 'empty', operator: 'Exists' }] }, true],
    ['Exists, absent', { matchExpressions: [{ key: 'tier', operator: 'Exists' }] }, false],
    ['DoesNotExist', { matchExpressions: [{ key: 'app', operator: 'DoesNotExist' }] }, false],
    ['DoesNotExist, absent', { matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' }] }, true],
    ['a name that every object has', { matchExpressions: [{ key: 'constructor', operator: 'Exists' }] }, false],
    [
      'labels and expressions',
      { matchLabels: { app: 'a' }, matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['a'] }] },
      false,
    ],
  ])('%s', (_, selector, expected) => {
    expect(matchesSelector(selector, { app: 'a', empty: '' })).toBe(expected);
  });
});

describe('createSelection', () => {
  it('finds what trying every selector finds', () => {
    const labels = fc.dictionary(fc.constantFrom('app', 'tier', 'zone'), fc.constantFrom('a', 'b'), { maxKeys: 3 });
    fc.assert(
      fc.property(fc.array(labels, { maxLength: 8 }), labels, (selectors, pod) => {
        const { serviceDependencies } = world(
          selectors.map((matchLabels, at) => serviceDependency(`d${at}`, { selector: { matchLabels } })),
        );
        const wanted = serviceDependencies.filter((it) => matchesSelector(it.spec.consumer.selector, pod));
        const names = (found: typeof wanted) => found.map((it) => it.metadata.name).sort();
        expect(names(createSelection(serviceDependencies)(pod))).toEqual(names(wanted));
      }),
    );
  });

  it('tries only selectors that demand a label of the pod, however many there are', () => {
    let tried = 0;
    const { serviceDependencies } = world(
      Array.from({ length: 200 }, (_, at) =>
        serviceDependency(`d${at}`, { selector: { matchLabels: { app: `a${at}` } } }),
      ),
    );
    const counted = serviceDependencies.map((it) => ({
      ...it,
      spec: {
        ...it.spec,
        get consumer() {
          tried++;
          return it.spec.consumer;
        },
      },
    }));
    const select = createSelection(counted);
    tried = 0;
    expect(select({ app: 'a7', tier: 'web' }).map((it) => it.metadata.name)).toEqual(['d7']);
    expect(tried).toBe(1);
  });
});
