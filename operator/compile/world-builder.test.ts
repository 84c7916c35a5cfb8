import { describe, expect, it } from 'vitest';
import { ManifestError } from './objects.ts';
import { policy, serviceDependency, TARGETS } from './testing.ts';
import { addObject, buildWorld, createWorldBuilder } from './world-builder.ts';

const meta = (name: string) => ({ metadata: { name, namespace: 'shop' } });

describe('addObject', () => {
  it('takes Lists apart, passes over other kinds, and lets the later of two count', () => {
    const builder = createWorldBuilder();
    const service = (port: number) => ({
      apiVersion: 'v1',
      kind: 'Service',
      ...meta('a'),
      spec: { ports: [{ port }] },
    });
    expect(addObject(builder, { apiVersion: 'v1', kind: 'List', items: [service(80), service(81)] })).toBe(true);
    expect(addObject(builder, { apiVersion: 'apps/v1', kind: 'Deployment', ...meta('a') })).toBe(false);
    expect(addObject(builder, { apiVersion: 'serving.knative.dev/v1', kind: 'Service', ...meta('a') })).toBe(false);
    const world = buildWorld(builder, 'cluster.local');
    expect(world.services.map((it) => it.ports[0]?.port)).toEqual([81]);
    expect(world.clusterDomain).toBe('cluster.local');
  });

  it('keeps objects of ours that do not fit as invalid, until they fit', () => {
    const builder = createWorldBuilder();
    const broken = policy('p', [TARGETS.service('a')], { retries: { maxAttempts: 0 } }, { generation: 7 });
    addObject(builder, broken);
    addObject(builder, serviceDependency('p'));
    expect(buildWorld(builder, 'cluster.local')).toMatchObject({
      resiliencePolicies: [],
      serviceDependencies: [{ metadata: { name: 'p' } }],
      invalid: [
        {
          kind: 'ResiliencePolicy',
          namespace: 'shop',
          name: 'p',
          generation: 7,
          problems: [{ path: 'spec.retries.maxAttempts' }],
        },
      ],
    });
    addObject(builder, policy('p', [TARGETS.service('a')], {}));
    expect(buildWorld(builder, 'cluster.local')).toMatchObject({ resiliencePolicies: [{}], invalid: [] });
  });

  it('refuses what is no manifest', () => {
    const builder = createWorldBuilder();
    for (const raw of [null, 'text', {}, { kind: 'Service' }, { ...serviceDependency('x'), metadata: {} }]) {
      expect(() => addObject(builder, raw)).toThrow(ManifestError);
    }
  });
});
