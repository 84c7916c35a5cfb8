// For tests against an API server: policies whose statuses are written, and what a watch would show of them at this moment.
import { policy, TARGETS } from '../../compile/testing.ts';
import type { ApiClient } from '../../watch/api-client.ts';
import type { OwnObject } from '../../watch/world-source.ts';

const PATH = '/apis/breakwater.dev/v1alpha1/namespaces/shop/resiliencepolicies';

interface Stored {
  metadata: { uid: string; generation: number; resourceVersion: string };
  status?: { summary?: string };
}

export async function createPolicy(api: ApiClient, name: string): Promise<void> {
  const body = policy(name, [TARGETS.dependency('checkout')], { timeouts: { request: '1s' } });
  await api.request('POST', PATH, { body });
}

export function storedPolicy(api: ApiClient, name: string): Promise<Stored> {
  return api.request<Stored>('GET', `${PATH}/${name}`);
}

export async function lookAt(api: ApiClient, name: string): Promise<OwnObject> {
  const { metadata, status } = await storedPolicy(api, name);
  const { uid, generation, resourceVersion } = metadata;
  const of = { kind: 'ResiliencePolicy' as const, namespace: 'shop', name };
  return { ...of, uid, generation, resourceVersion, content: { invalid: { ...of, generation, problems: [] } }, status };
}
