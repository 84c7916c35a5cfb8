// Pods that were to be injected and were not, as Events of the pod: the webhook is `failurePolicy: Ignore`, so nothing else would tell.
// Their ServiceDependencies say it too, with numbers.
import type { InjectionDefaults } from '../compile/capture.ts';
import { refusedByPodSecurity } from '../compile/injection.ts';
import { restartCommand } from '../compile/restart.ts';
import type { World, WorldNamespace, WorldPod } from '../compile/world.ts';
import type { EventSink } from './events.ts';

const INJECTION_LABEL = 'breakwater.dev/injection';

export class MissedPods {
  readonly #events: EventSink;
  #told = new Set<string>();

  constructor(events: EventSink) {
    this.#events = events;
  }

  /** Tells each missed pod once, for as long as this process lives. */
  report(world: World): void {
    const optedIn = new Map<string, WorldNamespace>();
    for (const namespace of world.namespaces) {
      if (namespace.labels[INJECTION_LABEL] === 'enabled') optedIn.set(namespace.name, namespace);
    }
    const told = new Set<string>();
    for (const pod of world.pods) {
      const of = optedIn.get(pod.namespace);
      if (of === undefined || !isMissed(pod)) continue;
      told.add(pod.uid);
      if (!this.#told.has(pod.uid)) this.#tell(pod, of, world.injection);
    }
    this.#told = told;
  }

  #tell(pod: WorldPod, of: WorldNamespace, injection: InjectionDefaults): void {
    const { namespace, name, uid } = pod;
    this.#events.record({
      regarding: { apiVersion: 'v1', kind: 'Pod', namespace, name, uid },
      type: 'Warning',
      reason: 'NotInjected',
      action: 'Inject',
      note: `This pod has no breakwater sidecar: ${cause(pod, of, injection)}`,
    });
  }
}

function isMissed(pod: WorldPod): boolean {
  const isOver = pod.terminating || pod.phase === 'Succeeded' || pod.phase === 'Failed';
  return !pod.injected && !isOver && pod.labels[INJECTION_LABEL] !== 'disabled';
}

function cause(pod: WorldPod, of: WorldNamespace, injection: InjectionDefaults): string {
  if (pod.mirror) return 'it is a mirror pod of its node; these are never injected.';
  if (pod.hostNetwork)
    return 'it uses the network of its node, where connections cannot be captured for one pod alone.';
  const security = refusedByPodSecurity(of, pod, injection);
  if (security !== undefined) return `${security}.`;
  return `it is older than the label of its namespace, was refused by injection, or was created while the operator was away. Restart it: ${restartCommand([pod])}`;
}
