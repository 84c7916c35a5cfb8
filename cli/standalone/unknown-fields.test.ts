import { describe, expect, it } from 'vitest';
import { parseResiliencePolicy, parseServiceDependency } from '../../crds/parse.ts';
import { unknownFields } from './unknown-fields.ts';

const policy = (over: object) => ({
  apiVersion: 'breakwater.dev/v1alpha1',
  kind: 'ResiliencePolicy',
  metadata: { name: 'a', namespace: 'b' },
  spec: { targetRefs: [{ group: 'breakwater.dev', kind: 'ServiceDependency', name: 'c' }], ...over },
});

function unknownIn(raw: { spec: object }): string[] {
  const parsed = parseResiliencePolicy(raw);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return unknownFields(raw.spec, parsed.model.spec, 'spec');
}

describe('unknown fields', () => {
  it('are named with their whole path', () => {
    const match = { method: 'GET', header: { a: 'b' } };
    const raw = policy({
      circuitBreakr: {},
      retries: { maxAttempts: 3, hedge: true },
      rules: [{ name: 'one', matches: [match], timeouts: { reqest: '1s' } }],
    });
    expect(unknownIn(raw)).toEqual([
      'spec.circuitBreakr',
      'spec.retries.hedge',
      'spec.rules[0].matches[0].header',
      'spec.rules[0].timeouts.reqest',
    ]);
  });

  it('are none where everything is known, nulls and labels included', () => {
    expect(unknownIn(policy({ timeouts: { request: '1s' }, retries: {}, bulkhead: null }))).toEqual([]);
    const dependency = {
      apiVersion: 'breakwater.dev/v1alpha1',
      kind: 'ServiceDependency',
      metadata: { name: 'a', namespace: 'b' },
      spec: {
        consumer: {
          selector: {
            matchLabels: { 'any/label': 'x' },
            matchExpressions: [{ key: 'k', operator: 'In', values: ['v'] }],
          },
        },
        dependsOn: [{ name: 'c', service: { name: 'c', port: 'http' }, criticality: 'Optional' }],
      },
    };
    const parsed = parseServiceDependency(dependency);
    expect(parsed.ok && unknownFields(dependency.spec, parsed.model.spec, 'spec')).toEqual([]);
  });
});
