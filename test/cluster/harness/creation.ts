// Pods that are created all the time, as far as the API server goes without keeping them: the webhook is asked for each.
import { sleep } from '../shell.ts';
import { api, type Pod } from './kube.ts';
import { podTemplate } from './objects.ts';
import { isInjected } from './shop.ts';

const CREATORS = 3;
const PAUSE_MS = 100;

export interface Creation {
  injected: number;
  /** What the sidecars of the injected ones trust at birth. */
  bundles: Set<string>;
  /** When and how it failed: an error, or a pod without a sidecar. */
  failures: string[];
}

/** Value of a variable that a pod's sidecar is born with; empty where it has none. */
export const bundleOf = (pod: Pod): string =>
  pod.spec.initContainers
    ?.find(({ name }) => name === 'breakwater')
    ?.env?.find(({ name }) => name === 'BREAKWATER_CA_BUNDLE')?.value ?? '';

/** Begins at once; the returned function stops it and tells what happened. */
export function createPods(namespace: string, app: string): () => Promise<Creation> {
  const found: Creation = { injected: 0, bundles: new Set(), failures: [] };
  const over = new AbortController();
  const template = podTemplate({ namespace, name: app, script: undefined });
  const create = async () => {
    const metadata = { ...template.metadata, generateName: `${app}-` };
    const object = { apiVersion: 'v1', kind: 'Pod', ...template, metadata };
    const pod = await api<Pod>('POST', `/api/v1/namespaces/${namespace}/pods?dryRun=All`, object);
    if (!isInjected(pod)) throw new Error('a pod was not injected');
    found.injected += 1;
    found.bundles.add(bundleOf(pod));
  };
  const creating = Array.from({ length: CREATORS }, async () => {
    while (!over.signal.aborted) {
      await create().catch((error: unknown) => found.failures.push(`${new Date().toISOString()} ${String(error)}`));
      await sleep(PAUSE_MS);
    }
  });
  return async () => {
    over.abort();
    await Promise.all(creating);
    return found;
  };
}
